//! What a QoS rule marks is marked at its receiver, on whichever chassis that is, and nothing else is; without the rule
//! nothing is any more.

use tests::implementation::Plan;
use tests::lab::MEMBERS;
use tests::story::story;

/// DSCP 46 as it stands in the header, above the two bits of ECN.
const MARKED: &str = "tos 0xb8";
const PLAIN: &str = "tos 0x0";

#[test]
fn packets_that_a_rule_matches_carry_its_dscp() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let (vm1, vm2, vm5) = (&MEMBERS[0], &MEMBERS[1], &MEMBERS[2]);
        let matches = format!("inport == \"{}\" && ip4", vm1.port);
        lab.rig
            .nb(&["qos-add", "dmz", "from-lport", "100", &matches, "dscp=46"])?;
        lab.sync()?;

        let from = |from: std::net::Ipv4Addr| format!("{from} > ");
        for receiver in [vm2, vm5] {
            let there = lab.guest(receiver).listen("icmp")?;
            lab.guest(vm1).ping(receiver.address)?;
            there.wait_for(&[MARKED, &from(vm1.address), "echo request"])?;
            let here = lab.guest(vm1).listen("icmp")?;
            lab.guest(receiver).ping(vm1.address)?;
            here.wait_for(&[PLAIN, &from(receiver.address), "echo request"])?;
        }

        lab.rig.nb(&["qos-del", "dmz"])?;
        lab.sync()?;
        let heard = lab.guest(vm2).listen("icmp")?;
        lab.guest(vm1).ping(vm2.address)?;
        heard.wait_for(&[PLAIN, &from(vm1.address), "echo request"])?;
        assert!(!heard.heard()?.iter().any(|packet| packet.contains(MARKED)));
        Ok(())
    });
}
