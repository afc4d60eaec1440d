//! Where chassis offer GRE only, packets between them are GRE, with a key of 24 bits: the datapath's in the low twelve, the output
//! port's in the high twelve. VLANs of a trunk stay apart on the one tunnel.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab, MEMBERS};
use tests::story::story;
use tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(30);
const VLANS: [u16; 3] = [10, 20, 30];

#[test]
fn the_lab_talks_gre() {
    story(Plan::weft(), |lab| {
        talk_gre(lab)?;
        lab.address_all()?;
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);
        let wire = gre_on_the_wire(lab)?;
        lab.ping_all()?;
        let key = key_of(lab, "dmz-vm2")? << 12 | lab.datapath_key()?;
        let key = format!("key={key:#x}, ");
        let inner = format!("{} > {}: ICMP echo request", vm1.address, vm2.address);
        wire.wait_for(&["GREv0, Flags [key present]", &key, "TEB (0x6558)", &inner])?;
        let problems = lab
            .rig
            .nb(&["--bare", "--columns=why", "list", "Weft_Problem"])?;
        ensure!(!problems.contains("GRE"), "{problems}");

        // Who does not offer it is told.
        let other = lab.rig.chassis(CHASSIS[1])?;
        offer(other, "geneve")?;
        wait_until("a problem", LIMIT, || {
            let problems = lab
                .rig
                .nb(&["--bare", "--columns=why", "list", "Weft_Problem"])?;
            let [one, other] = CHASSIS;
            let text = format!("chassis {one} offers GRE tunnels and chassis {other} does not");
            Ok(problems.contains(&text))
        })
    });
}

#[test]
fn vlans_of_a_trunk_stay_apart_across_one_gre_tunnel() {
    story(Plan::weft(), |lab| {
        talk_gre(lab)?;
        lab.rig.nb(&["ls-add", "trunks"])?;
        let mut guests = Vec::new();
        for vlan in VLANS {
            lab.rig.nb(&["ls-add", &format!("v{vlan}")])?;
        }
        for place in 0..CHASSIS.len() {
            guests.push(trunk(lab, place)?);
        }
        let mut names = guests.iter().flatten().map(Guest::device);
        names.try_for_each(|port| {
            lab.rig
                .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])
                .map(drop)
        })?;
        lab.sync()?;
        let wire = gre_on_the_wire(lab)?;
        for (vlan, from) in guests[0].iter().enumerate() {
            for (other, tag) in VLANS.iter().enumerate() {
                let to: Ipv4Addr = address(1, other).parse()?;
                if vlan == other {
                    from.ping(to)?;
                    continue;
                }
                ensure!(!from.reaches(to)?, "{} reaches {tag}", VLANS[vlan]);
            }
        }
        for (vlan, tag) in VLANS.iter().enumerate() {
            let name = format!("external_ids:name=v{tag}");
            let find = [
                "--bare",
                "--columns=tunnel_key",
                "find",
                "Datapath_Binding",
                &name,
            ];
            let datapath: u32 = lab.rig.sb(&find)?.trim().parse()?;
            let key = key_of(lab, &format!("b{tag}"))? << 12 | datapath;
            let inner = format!(
                "{} > {}: ICMP echo request",
                address(0, vlan),
                address(1, vlan)
            );
            wire.wait_for(&[&format!("key={key:#x}, "), &inner])?;
        }
        for chassis in &lab.rig.chassis {
            let find = ["--bare", "--columns=name", "find", "Interface", "type=gre"];
            let tunnels = chassis.vsctl(&find)?;
            ensure!(tunnels.split_whitespace().count() == 1, "{tunnels}");
        }
        Ok(())
    });
}

/// A host with a container in each VLAN, which are ports of the VLANs' switches.
fn trunk(lab: &Lab, place: usize) -> Result<Vec<Guest>> {
    let letter = ["a", "b"][place];
    let (port, bridge) = (format!("trunk-{letter}"), format!("br-{letter}"));
    let chassis = lab.rig.chassis(CHASSIS[place])?;
    lab.rig.nb(&["lsp-add", "trunks", &port])?;
    let (inner, outer) = (format!("{letter}-in"), format!("{letter}-out"));
    for words in [
        format!("add-br {bridge} -- set Bridge {bridge} datapath_type=netdev"),
        format!(
            "add-port {bridge} {inner} -- set Interface {inner} type=patch options:peer={outer}"
        ),
        format!(
            "add-port br-int {outer} -- set Interface {outer} type=patch options:peer={inner} external_ids:iface-id={port}"
        ),
    ] {
        chassis.vsctl(&words.split_whitespace().collect::<Vec<_>>())?;
    }
    let containers = VLANS.iter().enumerate().map(|(number, vlan)| {
        let (name, tag) = (format!("{letter}{vlan}"), vlan.to_string());
        let mac = format!("02:ac:10:2f:0{place}:0{number}");
        lab.rig
            .nb(&["lsp-add", &format!("v{vlan}"), &name, &port, &tag])?;
        lab.rig.nb(&["lsp-set-addresses", &name, &mac])?;
        let guest = Guest::new(&lab.rig, &name, &mac)?;
        guest.plug(chassis, &bridge, &[["Port", &format!("tag={vlan}")]])?;
        let prefix = format!("{}/24", address(place, number));
        guest
            .namespace()
            .ip(&["address", "add", &prefix, "dev", &name])?;
        Ok(guest)
    });
    containers.collect()
}

/// Of a container: all VLANs have one network, so that nothing but the VLAN keeps them apart.
fn address(place: usize, vlan: usize) -> String {
    format!("10.47.0.{}", place * 100 + vlan + 1)
}

fn talk_gre(lab: &Lab) -> Result<()> {
    lab.rig
        .chassis
        .iter()
        .try_for_each(|chassis| offer(chassis, "gre"))?;
    wait_until("GRE tunnels", LIMIT, || {
        let mut all = lab.rig.chassis.iter();
        let find = ["--bare", "--columns=name", "find", "Interface", "type=gre"];
        all.try_fold(true, |so_far, chassis| {
            Ok(so_far && !chassis.vsctl(&find)?.trim().is_empty())
        })
    })
}

fn offer(chassis: &tests::chassis::Chassis, kind: &str) -> Result<()> {
    let kind = format!("external_ids:ovn-encap-type={kind}");
    chassis
        .vsctl(&["set", "Open_vSwitch", ".", &kind])
        .map(drop)
}

fn gre_on_the_wire(lab: &Lab) -> Result<Capture> {
    let rig = &lab.rig;
    Capture::start(rig.namespace(), "underlay", "ip proto 47", rig.dir())
}

fn key_of(lab: &Lab, port: &str) -> Result<u32> {
    let name = format!("logical_port={port}");
    let find = [
        "--bare",
        "--columns=tunnel_key",
        "find",
        "Port_Binding",
        &name,
    ];
    Ok(lab.rig.sb(&find)?.trim().parse()?)
}
