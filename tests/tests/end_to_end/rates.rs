//! A guest that a rule limits gets its rate and no more, on whichever chassis the other end is, and all of it without the rule. A
//! port with a rate has a queue at the interface to the physical network of its switch, on the chassis that has it.

use std::time::Duration;

use tests::implementation::Plan;
use tests::lab::{CHASSIS, MEMBERS};
use tests::story::story;
use tests::traffic::measure;
use tests::wait::wait_until;

/// The rate of the rule, in kbit/s, and what is offered, in bit/s.
const RATE: u64 = 5_000;
const OFFERED: u64 = 8_000_000;

#[test]
fn a_guest_with_a_rate_gets_it_and_no_more() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);
        let reached = |lab: &tests::lab::Lab| {
            let [from, to] = [vm1, vm2].map(|member| lab.guest(member).namespace());
            measure(from, to, vm2.address, OFFERED)
        };
        lab.guest(vm1).ping(vm2.address)?;
        let matches = format!("inport == \"{}\" && ip4", vm1.port);
        let rate = format!("rate={RATE}");
        lab.rig
            .nb(&["qos-add", "dmz", "from-lport", "100", &matches, &rate])?;
        lab.sync()?;
        let limited = reached(lab)?;
        println!("limited to {RATE} kbit/s: {} kbit/s", limited / 1000);
        let share = limited * 100 / (RATE * 1000);
        assert!((90..=110).contains(&share), "{limited} bit/s");

        lab.rig.nb(&["qos-del", "dmz"])?;
        lab.sync()?;
        let free = reached(lab)?;
        println!("without a limit: {} kbit/s", free / 1000);
        assert!(free > RATE * 1300, "{free} bit/s");
        Ok(())
    });
}

#[test]
fn a_port_with_a_rate_has_a_queue_where_it_is() {
    story(Plan::under_test(), |lab| {
        let net = [
            "lsp-add",
            "dmz",
            "net",
            "--",
            "lsp-set-type",
            "net",
            "localnet",
            "--",
            "lsp-set-addresses",
            "net",
            "unknown",
            "--",
            "lsp-set-options",
            "net",
            "network_name=phys",
        ];
        lab.rig.nb(&net)?;
        for chassis in CHASSIS {
            let mapping = "external_ids:ovn-bridge-mappings=phys:br-phys";
            let chassis = lab.rig.chassis(chassis)?;
            chassis.vsctl(&["set", "Open_vSwitch", ".", mapping])?;
        }
        let vm1 = &MEMBERS[0];
        let set = |rate: &str| {
            let option = format!("options:qos_max_rate={rate}");
            lab.rig
                .nb(&["set", "Logical_Switch_Port", vm1.port, &option])
        };
        let has = |chassis: &str, rate: &str, wanted: bool| {
            let chassis = lab.rig.chassis(chassis)?;
            let what = format!("{}: a class of {rate}: {wanted}", chassis.name());
            wait_until(&what, Duration::from_secs(20), || {
                let show = ["class", "show", "dev", "eth0"];
                let classes = chassis.namespace().run("tc").args(show).output()?;
                Ok(classes.contains(&format!("ceil {rate} ")) == wanted)
            })
        };
        set("5000000")?;
        has(CHASSIS[0], "5Mbit", true)?;
        has(CHASSIS[1], "5Mbit", false)?;
        set("7000000")?;
        has(CHASSIS[0], "7Mbit", true)?;
        has(CHASSIS[0], "5Mbit", false)?;
        lab.rig.nb(&[
            "remove",
            "Logical_Switch_Port",
            vm1.port,
            "options",
            "qos_max_rate",
        ])?;
        has(CHASSIS[0], "7Mbit", false)
    });
}
