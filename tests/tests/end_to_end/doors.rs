//! Ports that are no guests' own: an address that moves between two guests on two chassis, a gateway of layer 2 on one chassis,
//! a guest behind a physical network that a chassis answers, a link between two switches, and addresses behind a router for which a
//! port answers. On Weft's daemons, and on mixtures
//! with OVN's.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::capture::Capture;
use tests::guest::{DhcpClient, Guest};
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::story::story;
use tests::wait::wait_until;

/// The address that moves.
const MOVING: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 9);
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn an_address_moves_between_guests() {
    address_moves(Plan::under_test());
}

#[test]
fn an_address_moves_between_guests_by_ovns_northd() {
    address_moves(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn an_address_moves_between_guests_by_ovns_controllers() {
    address_moves(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn address_moves(plan: Plan) {
    story(plan, |lab| {
        nb(lab, "ls-add front -- ls-add back")?;
        let [one, two] = [
            guest(lab, "front", "one", "02:ac:10:f7:00:01", "10.7.0.1", 0)?,
            guest(lab, "front", "two", "02:ac:10:f7:00:02", "10.7.0.2", 1)?,
        ];
        let client = guest(lab, "back", "client", "02:ac:10:f7:01:03", "10.7.1.3", 1)?;
        for words in [
            "lr-add between",
            "lrp-add between to-front 02:ac:10:f7:00:fe 10.7.0.254/24",
            "lrp-add between to-back 02:ac:10:f7:01:fe 10.7.1.254/24",
            "lsp-add front front-r -- lsp-set-type front-r router -- lsp-set-addresses front-r router",
            "lsp-set-options front-r router-port=to-front",
            "lsp-add back back-r -- lsp-set-type back-r router -- lsp-set-addresses back-r router",
            "lsp-set-options back-r router-port=to-back",
            "lsp-add front vip -- lsp-set-type vip virtual",
            "set Logical_Switch_Port vip options:virtual-ip=10.7.0.9 options:virtual-parents=\"one,two\"",
        ] {
            nb(lab, words)?;
        }
        for (guest, router) in [
            (&one, "10.7.0.254"),
            (&two, "10.7.0.254"),
            (&client, "10.7.1.254"),
        ] {
            let inside = guest.namespace();
            inside.ip(&["route", "add", "default", "via", router])?;
        }
        lab.sync()?;
        ensure!(!client.reaches(MOVING)?, "nobody has it yet");
        for (from, to) in [(&two, &one), (&one, &two), (&two, &one)] {
            let _absent =
                from.namespace()
                    .ip(&["address", "del", "10.7.0.9/32", "dev", from.device()]);
            to.namespace()
                .ip(&["address", "add", "10.7.0.9/32", "dev", to.device()])?;
            let heard = to.listen("icmp")?;
            announce(to)?;
            wait_for_parent(lab, to.device())?;
            nb(lab, "wait-until Logical_Switch_Port vip up=true")?;
            lab.sync()?;
            client.ping(MOVING)?;
            heard.wait_for(&["10.7.1.3 > 10.7.0.9: ICMP echo request"])?;
        }
        // With its guest it leaves.
        lab.rig.chassis(CHASSIS[0])?.vsctl(&[
            "remove",
            "Interface",
            "one",
            "external_ids",
            "iface-id",
        ])?;
        wait_for_parent(lab, "")?;
        nb(lab, "wait-until Logical_Switch_Port vip up=false").map(drop)
    });
}

/// Tells everybody that the guest has the address.
fn announce(guest: &Guest) -> Result<()> {
    let run = guest.namespace().run("busybox");
    let address = MOVING.to_string();
    run.args(["arping", "-U", "-c", "2", "-I", guest.device(), &address])
        .succeeds()
        .map(drop)
}

fn wait_for_parent(lab: &Lab, parent: &str) -> Result<()> {
    wait_until(&format!("{parent:?} to have the address"), LIMIT, || {
        let find = ["--bare", "--columns=virtual_parent", "find", "Port_Binding"];
        let said = lab.rig.sb(&[&find[..], &["logical_port=vip"]].concat())?;
        Ok(said.trim() == parent)
    })
}

#[test]
fn a_port_answers_for_addresses_behind_its_router() {
    answers_for_others(Plan::under_test());
}

#[test]
fn a_port_answers_for_addresses_behind_its_router_by_ovns_controllers() {
    answers_for_others(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

/// A guest takes a network to be on its link that is behind the router.
fn answers_for_others(plan: Plan) {
    story(plan, |lab| {
        nb(lab, "ls-add front -- ls-add back")?;
        let client = guest(lab, "front", "client", "02:ac:10:f7:00:01", "10.7.0.1", 0)?;
        let server = guest(lab, "back", "server", "02:ac:10:f7:01:03", "10.7.1.3", 1)?;
        for words in [
            "lr-add between",
            "lrp-add between to-front 02:ac:10:f7:00:fe 10.7.0.254/24",
            "lrp-add between to-back 02:ac:10:f7:01:fe 10.7.1.254/24",
            "lsp-add front front-r -- lsp-set-type front-r router -- lsp-set-addresses front-r router",
            "lsp-add back back-r -- lsp-set-type back-r router -- lsp-set-addresses back-r router",
            "lsp-set-options back-r router-port=to-back",
            "lr-route-add between 198.18.0.0/15 10.7.1.3",
        ] {
            nb(lab, words)?;
        }
        let proxy = "options:arp_proxy=\"0a:58:a9:fe:01:01 198.18.9.0/24\"";
        let options = ["options:router-port=to-front", proxy];
        let set = ["set", "Logical_Switch_Port", "front-r"];
        lab.rig.nb(&[&set[..], &options].concat())?;
        let inside = server.namespace();
        inside.ip(&["route", "add", "default", "via", "10.7.1.254"])?;
        for address in ["198.18.9.9/32", "198.18.8.9/32"] {
            inside.ip(&["address", "add", address, "dev", server.device()])?;
        }
        let link = ["route", "add", "198.18.0.0/15", "dev", client.device()];
        client.namespace().ip(&link)?;
        lab.sync()?;
        client.ping(Ipv4Addr::new(198, 18, 9, 9))?;
        let known = client.namespace().ip(&["neigh", "show", "198.18.9.9"])?;
        ensure!(known.contains("0a:58:a9:fe:01:01"), "{known}");
        ensure!(
            !client.reaches(Ipv4Addr::new(198, 18, 8, 9))?,
            "nobody answers for it"
        );
        Ok(())
    });
}

#[test]
fn a_gateway_of_layer_2_is_on_one_chassis() {
    gateway(Plan::under_test());
}

#[test]
fn a_gateway_of_layer_2_is_on_one_chassis_by_ovns_northd() {
    gateway(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn a_gateway_of_layer_2_is_on_one_chassis_by_ovns_controllers() {
    gateway(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn gateway(plan: Plan) {
    story(plan, |lab| {
        nb(lab, "ls-add inside")?;
        let far = guest(lab, "inside", "far", "02:ac:10:f6:00:02", "10.6.0.2", 1)?;
        map_network(lab)?;
        for words in [
            "lsp-add inside gw -- lsp-set-type gw l2gateway -- lsp-set-addresses gw unknown",
            "set Logical_Switch_Port gw options:network_name=phys",
        ] {
            nb(lab, words)?;
        }
        nb(
            lab,
            &format!(
                "set Logical_Switch_Port gw options:l2gateway-chassis={}",
                CHASSIS[0]
            ),
        )?;
        let outside = lab.rig.namespace();
        outside.ip(&["address", "add", "10.6.0.1/24", "dev", "underlay"])?;
        nb(lab, "wait-until Logical_Switch_Port gw up=true")?;
        lab.sync()?;
        far.ping("10.6.0.1".parse::<Ipv4Addr>()?)?;
        let first = lab.rig.chassis(CHASSIS[0])?;
        let patch = first.vsctl(&["get", "Port", "patch-br-int-to-gw", "external_ids"])?;
        ensure!(patch.trim() == "{ovn-l2gateway-port=gw}", "{patch}");
        // With a VLAN, if it has one.
        let wire = Capture::start(outside, "underlay", "vlan 7", lab.rig.dir())?;
        nb(lab, "--wait=hv set Logical_Switch_Port gw tag=7")?;
        ensure!(!far.reaches("10.6.0.3".parse()?)?);
        wire.wait_for(&["vlan 7", "who-has 10.6.0.3"])?;
        // On the other chassis there is none.
        let second = lab.rig.chassis(CHASSIS[1])?;
        let ports = second.vsctl(&["list-ports", "br-int"])?;
        ensure!(!ports.contains("patch-br-int-to-gw"), "{ports}");
        Ok(())
    });
}

#[test]
fn a_chassis_answers_for_a_guest_behind_a_physical_network() {
    external(Plan::under_test());
}

#[test]
fn a_chassis_answers_for_a_guest_behind_a_physical_network_by_ovns_northd() {
    external(Plan {
        northd: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

#[test]
fn a_chassis_answers_for_a_guest_behind_a_physical_network_by_ovns_controllers() {
    external(Plan {
        controller: Implementation::Ovn,
        door: Door::Ovsdb,
        ..Plan::weft()
    });
}

fn external(plan: Plan) {
    story(plan, |lab| {
        nb(lab, "ls-add phys")?;
        map_network(lab)?;
        let here = guest(lab, "phys", "here", "02:ac:10:f5:00:02", "10.5.0.2", 1)?;
        for words in [
            "lsp-add phys door -- lsp-set-type door localnet -- lsp-set-addresses door unknown",
            "lsp-set-options door network_name=phys",
            "lsp-add phys sriov -- lsp-set-type sriov external",
            "ha-chassis-group-add group",
        ] {
            nb(lab, words)?;
        }
        for (chassis, priority) in CHASSIS.iter().zip(["10", "20"]) {
            lab.rig
                .nb(&["ha-chassis-group-add-chassis", "group", chassis, priority])?;
        }
        let options = "create DHCP_Options cidr=10.5.0.0/24 options:server_id=10.5.0.254 \
                       options:server_mac=\"02:00:00:00:00:fe\" options:lease_time=3600";
        let options = nb(lab, options)?;
        let group = lab.rig.nb(&["get", "HA_Chassis_Group", "group", "_uuid"])?;
        lab.rig
            .nb(&["lsp-set-addresses", "sriov", "02:ac:10:f5:00:01 10.5.0.1"])?;
        let (options, group) = (options.trim(), group.trim());
        nb(
            lab,
            &format!(
                "set Logical_Switch_Port sriov ha_chassis_group={group} dhcpv4_options={options}"
            ),
        )?;
        nb(lab, "wait-until Logical_Switch_Port sriov up=true")?;
        lab.sync()?;
        let sriov = Guest::new(&lab.rig, "sriov", "02:ac:10:f5:00:01")?;
        let outside = lab.rig.namespace();
        for words in [
            "link add sriov type veth peer name sriov-u",
            "link set sriov-u master underlay up",
            &format!("link set sriov netns {}", sriov.namespace().name()),
        ] {
            let words: Vec<&str> = words.split_whitespace().collect();
            outside.ip(&words)?;
        }
        sriov.set_mac(sriov.mac())?;
        sriov.namespace().disable_checksum_offload("sriov")?;
        sriov.namespace().ip(&["link", "set", "sriov", "up"])?;
        let lease = sriov.lease(DhcpClient::Udhcpc)?;
        ensure!(lease.address == Ipv4Addr::new(10, 5, 0, 1), "{lease:?}");
        here.ping(lease.address)?;
        // The best of the group has claimed it.
        let best = lab.rig.sb(&[
            "--bare",
            "--columns=_uuid",
            "find",
            "Chassis",
            &format!("name={}", CHASSIS[1]),
        ])?;
        let find = ["--bare", "--columns=chassis", "find", "Port_Binding"];
        let has = lab.rig.sb(&[&find[..], &["logical_port=sriov"]].concat())?;
        ensure!(has.trim() == best.trim(), "{has} instead of {best}");
        Ok(())
    });
}

#[test]
fn two_switches_are_linked() {
    story(Plan::under_test(), |lab| {
        nb(lab, "ls-add spine -- ls-add leaf")?;
        for (switch, port, peer) in [("spine", "down", "up"), ("leaf", "up", "down")] {
            nb(
                lab,
                &format!(
                    "lsp-add {switch} {port} -- set Logical_Switch_Port {port} type=switch \
                     peer={peer} addresses=unknown"
                ),
            )?;
        }
        let a = guest(lab, "spine", "near", "02:ac:10:f4:00:01", "10.4.0.1", 0)?;
        let _b = guest(lab, "leaf", "far", "02:ac:10:f4:00:02", "10.4.0.2", 1)?;
        lab.sync()?;
        a.ping(Ipv4Addr::new(10, 4, 0, 2)).map(drop)
    });
}

fn map_network(lab: &Lab) -> Result<()> {
    for chassis in CHASSIS {
        let mappings = "external_ids:ovn-bridge-mappings=phys:br-phys";
        let chassis = lab.rig.chassis(chassis)?;
        chassis.vsctl(&["set", "Open_vSwitch", ".", mappings])?;
    }
    Ok(())
}

/// A guest of a switch, on a chassis, with an address.
fn guest(
    lab: &Lab,
    switch: &str,
    port: &str,
    mac: &str,
    address: &str,
    chassis: usize,
) -> Result<Guest> {
    let addresses = format!("{mac} {address}");
    lab.rig.nb(&["lsp-add", switch, port])?;
    lab.rig.nb(&["lsp-set-addresses", port, &addresses])?;
    let guest = Guest::new(&lab.rig, port, mac)?;
    let id = format!("external_ids:iface-id={port}");
    let chassis = lab.rig.chassis(CHASSIS[chassis])?;
    guest.plug(chassis, "br-int", &[["Interface", &id]])?;
    guest
        .namespace()
        .ip(&["address", "add", &format!("{address}/24"), "dev", port])?;
    lab.rig
        .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
    Ok(guest)
}

fn nb(lab: &Lab, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    lab.rig.nb(&words)
}
