//! A UDP service answers from its virtual address; one whose address and backends are variables of the chassis is where they say, also
//! when they come to say something else. Rules that are stateless do not keep it from its clients, and one that is distributed chooses
//! among the backends of the client's chassis. Rules let datagrams of several fragments pass.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab, MEMBERS, Member};
use tests::story::story;
use tests::traffic::Traffic;
use tests::wait::{wait_for, wait_until};

const VIP: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 180);
/// The port of [`Traffic`].
const PORT: u16 = 7777;
/// Rules that let the service's port pass and nothing else of UDP.
const RULES: [[&str; 5]; 2] = [
    ["dmz", "to-lport", "100", "udp.dst == 7777", "allow-related"],
    ["dmz", "to-lport", "1", "udp", "drop"],
];
/// As much as fills several packets.
const LARGE: usize = 4_000;
const LIMIT: Duration = Duration::from_secs(20);

/// Datagrams to the virtual address come to this guest, and are answered from there.
fn reaches(lab: &Lab, backend: &Member) -> Result<()> {
    // Nobody answers for the address in a switch without a router.
    lab.guest(&MEMBERS[0]).know_neighbour(VIP, backend.mac)?;
    let [from, to] = [&MEMBERS[0], backend].map(|member| lab.guest(member).namespace());
    let traffic = Traffic::start(from, to, VIP, Duration::from_millis(20))?;
    let what = format!("{} to answer as {VIP}", backend.port);
    wait_until(&what, LIMIT, || Ok(traffic.answered() > 5))
}

fn at(member: &Member) -> String {
    format!("{}:{PORT}", member.address)
}

#[test]
fn a_datagram_service_answers_from_its_virtual_address() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let vip = format!("{VIP}:{PORT}");
        lab.rig
            .nb(&["lb-add", "echo", &vip, &at(&MEMBERS[1]), "udp"])?;
        lab.rig.nb(&["ls-lb-add", "dmz", "echo"])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[1])
    });
}

#[test]
fn variables_of_the_chassis_say_where_a_service_is() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let backends = |member: &Member| {
            let backend = at(member);
            format!("variables:backends=\"{backend}\"")
        };
        let chassis = format!("chassis={}", CHASSIS[0]);
        let vip = format!("variables:vip={VIP}");
        lab.rig.nb(&[
            "create",
            "Chassis_Template_Var",
            &chassis,
            &vip,
            &backends(&MEMBERS[1]),
        ])?;
        let vip = format!("^vip:{PORT}");
        lab.rig.nb(&[
            "--template",
            "lb-add",
            "echo",
            &vip,
            "^backends",
            "udp",
            "ipv4",
        ])?;
        lab.rig.nb(&["ls-lb-add", "dmz", "echo"])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[1])?;
        let row = ["--bare", "--columns=_uuid", "list", "Chassis_Template_Var"];
        let row = lab.rig.nb(&row)?;
        let set = backends(&MEMBERS[2]);
        lab.rig
            .nb(&["set", "Chassis_Template_Var", row.trim(), &set])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[2])
    });
}

#[test]
fn rules_let_all_fragments_of_a_datagram_pass_once_they_ask_connections() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        for rule in RULES {
            lab.rig.nb(&[&["acl-add"], &rule[..]].concat())?;
        }
        lab.sync()?;
        let to = &MEMBERS[1];
        let there = listening(lab, to)?;
        let here = sending(lab, &MEMBERS[0], (to.address, PORT))?;
        // This datapath hands fragments on as they came, and only the first of them has a port.
        ensure!(
            !passes_with_small(&here, &there)?,
            "rules find ports in fragments that have none"
        );
        let ask = "options:acl_ct_translation=true";
        lab.rig.nb(&["set", "NB_Global", ".", ask])?;
        lab.sync()?;
        wait_until("all fragments to pass", LIMIT, || {
            passes_with_small(&here, &there)
        })
    });
}

#[test]
fn a_service_is_reached_past_rules_that_are_stateless() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        for direction in ["from-lport", "to-lport"] {
            lab.rig
                .nb(&["acl-add", "dmz", direction, "1", "ip", "allow-stateless"])?;
        }
        let vip = format!("{VIP}:{PORT}");
        lab.rig
            .nb(&["lb-add", "echo", &vip, &at(&MEMBERS[1]), "udp"])?;
        lab.rig.nb(&["ls-lb-add", "dmz", "echo"])?;
        let together = "other_config:enable-stateless-acl-with-lb=true";
        lab.rig.nb(&["set", "Logical_Switch", "dmz", together])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[1])?;
        // Who speaks to the backend by its own address is not tracked, and hears of it.
        let [from, to] = [&MEMBERS[0], &MEMBERS[1]].map(|member| lab.guest(member).namespace());
        let traffic = Traffic::start(from, to, MEMBERS[1].address, Duration::from_millis(20))?;
        wait_until("the backend to answer as itself", LIMIT, || {
            Ok(traffic.answered() > 5)
        })
    });
}

#[test]
fn a_distributed_service_stays_on_the_chassis_of_its_client() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        // Of the backends, one is where the client is.
        let (client, near, far) = (&MEMBERS[0], &MEMBERS[2], &MEMBERS[1]);
        let vip = format!("{VIP}:{PORT}");
        let backends = format!("{},{}", at(near), at(far));
        lab.rig.nb(&["lb-add", "echo", &vip, &backends, "udp"])?;
        for member in [near, far] {
            let of = format!(
                "ip_port_mappings:\"{}\"=\"{}:172.16.255.189\"",
                member.address, member.port
            );
            lab.rig.nb(&["set", "Load_Balancer", "echo", &of])?;
        }
        lab.rig
            .nb(&["set", "Load_Balancer", "echo", "options:distributed=true"])?;
        lab.rig.nb(&["ls-lb-add", "dmz", "echo"])?;
        lab.sync()?;
        lab.guest(client).know_neighbour(VIP, near.mac)?;
        let services = [listening(lab, near)?, listening(lab, far)?];
        let mut tally = [0, 0];
        // A service that chose among both would keep to one of them once in a million times.
        for number in 0..20_u8 {
            let here = sending(lab, client, (VIP, PORT))?;
            let what = format!("datagram {number} to come to a backend");
            wait_until(&what, LIMIT, || {
                here.send(&[number])?;
                for (service, count) in services.iter().zip(&mut tally) {
                    let mut buffer = [0; 8];
                    if let Ok(size) = service.recv(&mut buffer)
                        && buffer[..size] == [number]
                    {
                        *count += 1;
                        return Ok(true);
                    }
                }
                Ok(false)
            })?;
        }
        ensure!(
            tally == [20, 0],
            "{tally:?}, of one that is near and one that is far"
        );
        Ok(())
    });
}

/// A socket at the service's port of a guest, which waits for no datagram for long.
fn listening(lab: &Lab, member: &Member) -> Result<UdpSocket> {
    lab.guest(member).namespace().inside(|| {
        let socket = UdpSocket::bind((member.address, PORT))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    })
}

/// A socket of a guest that sends there.
fn sending(lab: &Lab, member: &Member, to: (Ipv4Addr, u16)) -> Result<UdpSocket> {
    lab.guest(member).namespace().inside(|| {
        let socket = UdpSocket::bind((member.address, 0))?;
        socket.connect(to)?;
        Ok(socket)
    })
}

/// Whether a large datagram is there when the small one is that was sent after it.
fn passes_with_small(here: &UdpSocket, there: &UdpSocket) -> Result<bool> {
    wait_for("a small datagram to pass", LIMIT, || {
        here.send(&[1; LARGE])?;
        here.send(&[2])?;
        let (mut buffer, mut has_large) = ([0; LARGE], false);
        while let Ok(size) = there.recv(&mut buffer) {
            has_large |= size == LARGE;
            if size == 1 {
                return Ok(Some(has_large));
            }
        }
        Ok(None)
    })
}

/// The kernel need not have SCTP, nor this datapath track it; what the switch would do with a packet, it says.
#[test]
fn a_service_of_sctp_is_balanced() {
    story(Plan::under_test(), |lab| {
        let client = &MEMBERS[0];
        let chassis = lab.rig.chassis(CHASSIS[client.chassis])?;
        let port = chassis.vsctl(&["get", "Interface", client.device, "ofport"])?;
        let port = port.trim();
        lab.rig.nb(&["lsp-set-port-security", client.port])?;
        for (name, field, vip, backend, packet) in [
            (
                "four",
                "ip_src",
                "172.16.255.180:7777",
                "172.16.255.131:9999",
                "sctp,nw_src=172.16.255.130,nw_dst=172.16.255.180,nw_ttl=64",
            ),
            (
                "six",
                "ipv6_src",
                "[fd00::180]:7777",
                "[fd00::131]:9999",
                "sctp6,ipv6_src=fd00::130,ipv6_dst=fd00::180,nw_ttl=64",
            ),
        ] {
            lab.rig.nb(&["lb-add", name, vip, backend, "sctp"])?;
            // What chooses by a hash of the datapath's, the switch cannot foretell.
            let fields = format!("selection_fields={field}");
            lab.rig.nb(&["set", "Load_Balancer", name, &fields])?;
            lab.rig.nb(&["ls-lb-add", "dmz", name])?;
            lab.sync()?;
            let (from, to) = (client.mac, MEMBERS[1].mac);
            let packet =
                format!("in_port={port},eth_src={from},eth_dst={to},{packet},sctp_dst=7777");
            let new = ["--ct-next", "trk,new"];
            let words = [&["ofproto/trace"], &new[..], &new, &["br-int", &packet]].concat();
            let trace = chassis.appctl(&words)?;
            let translated = format!("nat(dst={backend})");
            ensure!(trace.contains(&translated), "no {translated} in {trace}");
        }
        Ok(())
    });
}
