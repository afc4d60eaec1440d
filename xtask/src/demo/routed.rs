//! The routed lab before the eyes of whoever looks: who reaches whom across the router and outside, and what it costs when
//! the gateway dies under traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::Table;
use rig::implementation::Plan;
use rig::lab::Observer;
use rig::routed::{Failover, GATEWAY, GATEWAYS, MEMBERS, OUTSIDE, RoutedLab};

use super::{Progress, empty_table, milliseconds, show_logs};

/// The host outside, in the table.
const INTERNET: &str = "internet";

/// Builds the lab, shows it, and returns it as it runs.
pub(super) fn show(progress: &mut Progress) -> Result<RoutedLab> {
    let mut lab = RoutedLab::build(Plan::under_test(), progress)?;
    let shown = meet(&mut lab, progress);
    progress.end();
    if shown.is_err() {
        show_logs(&lab.rig);
    }
    shown.context("the routed lab")?;
    Ok(lab)
}

fn meet(lab: &mut RoutedLab, progress: &mut Progress) -> Result<()> {
    progress.doing("guests ping each other, and the outside");
    let pings = lab.ping_all()?;
    progress.doing("the gateway is killed under 1,000 packets a second both ways");
    let Failover { out, back } = lab.kill_gateway()?;
    progress.doing("the gateway comes back");
    lab.revive_gateway()?;
    progress.end();
    println!(
        "\nWho reaches whom across the router, and in how many milliseconds; {INTERNET} is {OUTSIDE}, and sees {GATEWAY} or \
         the address that a guest has there:\n{}",
        table(&pings)
    );
    let [first, second] = GATEWAYS;
    println!(
        "\nThe switch of {first} was killed under 1,000 packets a second each way, and {second} took over:\n  \
         from inside  {} of {} lost, nothing answered for {} ms\n  \
         from outside {} of {} lost, nothing answered for {} ms",
        out.lost,
        out.sent,
        out.silence.as_millis(),
        back.lost,
        back.sent,
        back.silence.as_millis()
    );
    Ok(())
}

fn table(pings: &[(&str, String, Duration)]) -> Table {
    let times: BTreeMap<(&str, &str), Duration> = pings
        .iter()
        .map(|(from, to, time)| ((*from, to.as_str()), *time))
        .collect();
    let names = || MEMBERS.iter().map(|member| member.name).chain([INTERNET]);
    let mut table = empty_table();
    table.set_header(std::iter::once("from \\ to").chain(names()));
    for from in names() {
        let cells = names().map(|to| milliseconds(times.get(&(from, to))));
        table.add_row(std::iter::once(from.to_owned()).chain(cells));
    }
    table
}
