//! With the whole control plane killed, the network goes on; started again, it takes over what it finds.
//!
//! Databases, compiler and controllers get a SIGKILL while guests ping each other. Nothing may be lost. Then all are
//! started again, and what is installed in the switches must be what was: the same flows, each as old as it ought to
//! be, none removed and none added. And it must be a living network: one more guest is plugged in and gets its lease.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::chassis::Chassis;
use tests::flows::Flows;
use tests::implementation::Plan;
use tests::lab::{Lab, MEMBERS, NEWCOMER};
use tests::process::Daemon;
use tests::story::story;
use tests::wait::wait_until;

#[test]
fn the_network_outlives_its_control_plane_and_is_taken_over_untouched() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        let before = settled_flows(lab)?;
        let pings = [
            lab.guest(&MEMBERS[0]).keep_pinging(MEMBERS[1].address)?,
            lab.guest(&MEMBERS[3]).keep_pinging(MEMBERS[1].address)?,
        ];

        lab.rig
            .control_plane()
            .into_iter()
            .try_for_each(Daemon::kill)?;
        for ping in &pings {
            let received = ping.received()?;
            wait_until("pings to go on", Duration::from_secs(20), || {
                Ok(ping.received()? > received + 20)
            })?;
        }
        lab.rig
            .control_plane()
            .into_iter()
            .try_for_each(Daemon::start_again)?;
        lab.wait_all_up()?;

        for (chassis, before) in lab.rig.chassis.iter().zip(&before) {
            before.check_untouched(&Flows::of(chassis)?)?;
        }
        for ping in pings {
            let (sent, received) = ping.stop()?;
            // The last one may have been on its way.
            ensure!(
                received + 1 >= sent,
                "of {sent} pings only {received} came back"
            );
        }
        lab.welcome(&NEWCOMER).map(drop)
    });
}

/// The flows of every chassis, old enough that one installed anew would be told from them.
fn settled_flows(lab: &Lab) -> Result<Vec<Flows>> {
    let settled = |chassis: &Chassis| {
        let mut flows = Flows::of(chassis)?;
        wait_until(
            "flows to be two seconds old",
            Duration::from_secs(20),
            || {
                flows = Flows::of(chassis)?;
                Ok(!flows.is_empty() && flows.youngest() > Duration::from_secs(2))
            },
        )?;
        Ok(flows)
    };
    lab.rig.chassis.iter().map(settled).collect()
}
