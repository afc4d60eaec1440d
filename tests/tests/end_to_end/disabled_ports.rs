//! A disabled port is cut off, and enabled again it is as before.

use tests::implementation::Plan;
use tests::lab::MEMBERS;
use tests::story::story;

#[test]
fn nobody_reaches_a_disabled_port() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        let (vm1, vm2, c51) = (&MEMBERS[0], &MEMBERS[1], &MEMBERS[3]);
        for disabled in [vm2, c51] {
            lab.rig
                .nb(&["lsp-set-enabled", disabled.port, "disabled"])?;
            lab.sync()?;
            assert!(
                !lab.guest(vm1).reaches(disabled.address)?,
                "{}",
                disabled.port
            );
            assert!(
                !lab.guest(disabled).reaches(vm1.address)?,
                "{}",
                disabled.port
            );
            lab.rig.nb(&["lsp-set-enabled", disabled.port, "enabled"])?;
            lab.guest(vm1).ping(disabled.address)?;
        }
        lab.ping_all()?;
        Ok(())
    });
}
