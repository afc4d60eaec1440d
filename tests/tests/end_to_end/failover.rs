//! A distributed gateway port on two chassis: everybody inside reaches the outside and is reached from there, also after a
//! gateway has died and come back and after one was drained; a controller that dies moves nothing. How long nobody is reached
//! meanwhile is a matter of `cargo xtask bench failover`.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::bulk::transfer;
use tests::capture::Capture;
use tests::implementation::{Door, Implementation, Plan};
use tests::process::tail;
use tests::routed::{GATEWAY_PORT, GATEWAYS, HYPERVISORS, MEMBERS, OUTSIDE, RoutedLab};
use tests::wait::wait_until;

#[test]
fn gateways_replace_each_other_on_weft() {
    gateways_replace_each_other(Plan::under_test());
}

#[test]
fn gateways_of_ovns_northd_replace_each_other() {
    gateways_replace_each_other(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn gateways_replace_each_other(plan: Plan) {
    let mut lab = RoutedLab::build(plan, &mut ()).expect("the lab is built");
    let told = story(&mut lab).and_then(|()| lab.rig.check_alive());
    if let Err(error) = told {
        for log in lab.rig.logs() {
            eprintln!("---- {}\n{}", log.display(), tail(&log, 25));
        }
        panic!("{error:#} ({plan})");
    }
}

fn story(lab: &mut RoutedLab) -> Result<()> {
    let [first, second] = GATEWAYS;
    lab.ping_all()?;

    lab.kill_gateway()?;
    ensure!(lab.gateway()? == second, "nobody else took over");
    lab.ping_all()?;
    lab.revive_gateway()?;
    lab.ping_all()?;

    // The controller alone: packets go on as they were.
    lab.under_traffic(|lab| {
        let chassis = lab.chassis(first)?;
        if let Some(controller) = chassis.controller() {
            controller.kill()?;
        }
        chassis.start_controller()?;
        lab.rig.nb(&["--wait=hv", "sync"]).map(drop)
    })?;
    ensure!(
        lab.gateway()? == first,
        "a controller's death moved the gateway"
    );

    // As an administrator empties a chassis.
    lab.under_traffic(|lab| {
        let drain = ["lrp-set-gateway-chassis", GATEWAY_PORT, second, "30"];
        lab.rig.nb(&drain)?;
        wait_until("the drain", Duration::from_secs(30), || {
            Ok(lab.gateway()? == second)
        })
    })?;
    lab.wait_for_gateway(second)?;
    lab.ping_all()?;
    too_large(lab)?;
    by_the_physical_network(lab)
}

/// With `redirect-type=bridged`, guests' chassis send to the gateway by the physical network, each from a MAC of its own there.
fn by_the_physical_network(lab: &RoutedLab) -> Result<()> {
    for (place, name) in HYPERVISORS.iter().enumerate() {
        let mac = format!("external_ids:ovn-chassis-mac-mappings=phys:02:00:00:0c:00:0{place}");
        lab.rig
            .chassis(name)?
            .vsctl(&["set", "Open_vSwitch", ".", &mac])?;
    }
    let bridged = "options:redirect-type=bridged";
    lab.rig
        .nb(&["set", "Logical_Router_Port", GATEWAY_PORT, bridged])?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    let wire = Capture::start(lab.rig.namespace(), "underlay", "icmp", lab.rig.dir())?;
    for member in MEMBERS.iter().filter(|member| member.floating.is_none()) {
        lab.guest(member).ping(OUTSIDE)?;
        let own = format!("02:00:00:0c:00:0{} > 02:00:00:cb:00:01", member.hypervisor);
        let request = format!("{} > {OUTSIDE}: ICMP echo request", member.address);
        wire.wait_for(&[&own, &request])?;
    }
    lab.ping_all().map(drop)
}

/// What is too large for the network outside is told by the gateway, and TCP goes on.
fn too_large(lab: &RoutedLab) -> Result<()> {
    let mtu = [
        "set",
        "Logical_Router_Port",
        GATEWAY_PORT,
        "options:gateway_mtu=1200",
    ];
    lab.rig.nb(&mtu)?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    for member in &MEMBERS {
        let guest = lab.guest(member);
        let errors = guest.listen("icmp")?;
        transfer(guest.namespace(), lab.outside(), OUTSIDE.into(), 1 << 20)?;
        errors.wait_for(&["203.0.113.100 unreachable - need to frag (mtu 1200)"])?;
    }
    Ok(())
}
