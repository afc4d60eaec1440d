//! `lsp-get-up` tells the truth: `up` for every port that a guest is behind, containers too, and `down` for one that
//! nobody is behind.

use std::time::Duration;

use tests::implementation::Plan;
use tests::lab::{CHASSIS, MEMBERS, SWITCH};
use tests::process::log_file;
use tests::story::story;
use tests::wait::wait_until;

#[test]
fn ports_with_a_guest_are_up_and_others_are_not() {
    story(Plan::under_test(), |lab| {
        lab.rig.nb(&["lsp-add", SWITCH, "dmz-nobody"])?;
        lab.sync()?;
        for member in &MEMBERS {
            assert!(lab.is_up(member.port)?, "{} is down", member.port);
        }
        assert!(!lab.is_up("dmz-nobody")?, "a port without guest is up");

        // A guest that goes takes `up` with it.
        let chassis = lab.rig.chassis("ubuntu3")?;
        chassis.vsctl(&["del-port", "br-int", "vm2"])?;
        lab.wait_down("dmz-vm2")
    });
}

/// The lines are those of OVN's controller, for which scripts wait.
#[test]
fn what_becomes_of_a_port_is_logged() {
    story(Plan::under_test(), |lab| {
        let vm2 = &MEMBERS[1];
        let (name, port) = (CHASSIS[vm2.chassis], vm2.port);
        let chassis = lab.rig.chassis(name)?;
        let log = log_file(chassis.dir(), "controller");
        let says = |lines: &[String]| {
            wait_until(
                &format!("{lines:?} in {}", log.display()),
                Duration::from_secs(10),
                || {
                    let text = std::fs::read_to_string(&log)?;
                    let mut lines = lines.iter();
                    Ok(lines.all(|line| text.lines().any(|told| told.ends_with(line))))
                },
            )
        };
        says(&[
            format!("|binding|INFO|Claiming lport {port} for this chassis."),
            format!("|binding|INFO|Setting lport {port} ovn-installed in OVS"),
            format!("|binding|INFO|Setting lport {port} up in Southbound"),
        ])?;
        // It is wanted elsewhere.
        lab.rig
            .nb(&["lsp-set-options", port, "requested-chassis=elsewhere"])?;
        lab.wait_down(port)?;
        says(&[
            format!("|binding|INFO|Releasing lport {port} from this chassis (sb_readonly=0)"),
            format!("|binding|INFO|Setting lport {port} down in Southbound"),
            format!(
                "|binding|INFO|Removing iface {} ovn-installed in OVS",
                vm2.device
            ),
            format!("|binding|INFO|Removing lport {port} ovn-installed in OVS"),
        ])?;
        // One that never was here.
        lab.rig.nb(&["lsp-add", SWITCH, "dmz-guest"])?;
        lab.rig.nb(&[
            "lsp-set-options",
            "dmz-guest",
            "requested-chassis=elsewhere",
        ])?;
        lab.sync()?;
        let id = "external_ids:iface-id=dmz-guest";
        let plug = ["add-port", "br-int", "guest", "--"];
        let set = ["set", "Interface", "guest", "type=internal", id];
        chassis.vsctl(&[&plug[..], &set].concat())?;
        says(&[format!(
            "|binding|INFO|Not claiming lport dmz-guest, chassis {name} requested-chassis elsewhere pb->chassis "
        )])?;
        // Once is enough.
        lab.sync()?;
        let text = std::fs::read_to_string(&log)?;
        assert_eq!(text.matches("Not claiming lport dmz-guest").count(), 1);
        lab.rig.nb(&[
            "remove",
            "Logical_Switch_Port",
            port,
            "options",
            "requested-chassis",
        ])?;
        lab.wait_up(vm2)
    });
}
