//! `lsp-get-up` tells the truth: `up` for every port that a guest is behind, containers too, and `down` for one that
//! nobody is behind.

use tests::implementation::Plan;
use tests::lab::{MEMBERS, SWITCH};
use tests::story::story;

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
