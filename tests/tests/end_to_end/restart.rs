//! With the whole control plane killed, the network goes on; started again, it takes over what it finds.
//!
//! Databases, compiler and controllers get a SIGKILL while guests ping each other. Nothing may be lost. Then all are
//! started again, and what is installed in the switches must be what was: the same flows, each as old as it ought to
//! be, none removed and none added. And it must be a living network: one more guest is plugged in and gets its lease.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::chassis::Chassis;
use tests::flows::Flows;
use tests::guest::Pinging;
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
        await_more(&pings, 20)?;
        lab.rig
            .control_plane()
            .into_iter()
            .try_for_each(Daemon::start_again)?;
        lab.wait_all_up()?;

        for (chassis, before) in lab.rig.chassis.iter().zip(&before) {
            before.check_untouched(&Flows::of(chassis)?)?;
        }
        await_more(&pings, 1)?;
        for ping in pings {
            let lost = ping.stop()?;
            ensure!(lost.is_empty(), "pings {lost:?} did not come back");
        }
        lab.welcome(&NEWCOMER).map(drop)
    });
}

/// Waits until so many more of each have come back.
fn await_more(pings: &[Pinging], more: usize) -> Result<()> {
    for ping in pings {
        let received = ping.received()?;
        wait_until("pings to go on", Duration::from_secs(20), || {
            Ok(ping.received()? >= received + more)
        })?;
    }
    Ok(())
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
