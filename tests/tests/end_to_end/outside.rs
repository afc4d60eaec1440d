//! A tenant and the outside, by the gateway port of the routed lab: much at once, one's own floating address from inside, who is
//! reached from outside and where, what nobody means well, and how all goes on without a control plane.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::bulk::transfer;
use tests::capture::Capture;
use tests::flows::Flows;
use tests::guest::Guest;
use tests::implementation::{Plan, python};
use tests::process::{Daemon, tail};
use tests::routed::{
    GATEWAY, GATEWAY_PORT, GATEWAYS, HYPERVISORS, MEMBERS, Member, OUTSIDE, RoutedLab,
};
use tests::service::{Connection, Service};

/// The router's MAC in the switch of the guest that forges.
const ROUTER_MAC: &str = "02:00:00:01:00:01";
/// The router's address there.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// 100 MB.
const MUCH: usize = 100 << 20;
const SOME: usize = 1 << 20;
/// The port of a service that guests have.
const SSH: u16 = 22;
const LIMIT: Duration = Duration::from_secs(20);

/// Sends one forged frame of each kind.
const FORGE: &str = r#"
import ipaddress, socket, struct, sys
device, own, router, own_ip, router_ip, outside = sys.argv[1:]
mac = lambda text: bytes.fromhex(text.replace(":", ""))
ip = lambda text: ipaddress.ip_address(text).packed
own, router = mac(own), mac(router)

def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return struct.pack(">H", ~total & 0xffff)

def ip4(source, target, protocol, load, ttl=64, fragment=0):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(load), 7, fragment, ttl, protocol, 0) + ip(source) + ip(target)
    return head[:10] + checksum(head) + head[12:] + load

def ip6(source, target, load):
    pseudo = ip(source) + ip(target) + struct.pack(">II", len(load), 58)
    load = load[:2] + checksum(pseudo + load) + load[4:]
    return struct.pack(">IHBB", 6 << 28, len(load), 58, 255) + ip(source) + ip(target) + load

def udp(port, load):
    return struct.pack(">HHHH", 49152, port, 8 + len(load), 0) + load

def icmp(kind, code, load):
    whole = struct.pack(">BBHI", kind, code, 0, 0) + load
    return whole[:2] + checksum(whole) + whole[4:]

raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((device, 0))
everybody = b"\xff" * 6
link = "fe80::bad"
# The router's address and that of the host outside are here: reply and request to nobody in particular.
for operation in (1, 2):
    for claimed in (router_ip, outside):
        body = struct.pack(">HHBBH", 1, 0x800, 6, 4, operation) + own + ip(claimed) + everybody + ip(claimed)
        raw.send(everybody + own + b"\x08\x06" + body.ljust(46, b"\0"))
# The router's own link-local address is here, too; and this is the router.
theirs = "fe80::ff:fe01:1"
na = struct.pack(">BBHI", 136, 0, 0, 0xa0000000) + ip(theirs) + b"\x02\x01" + own
ra = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\x01\x01" + own
for source, load in ((theirs, na), (link, ra)):
    raw.send(b"\x33\x33\0\0\0\x01" + own + b"\x86\xdd" + ip6(source, "ff02::1", load))
    raw.send(router + own + b"\x86\xdd" + ip6(source, theirs, load))
# A session that nobody has: down, up, and one that is too short.
for state, length in ((0x40, 24), (0xc0, 24), (0xc0, 5)):
    bfd = struct.pack(">BBBBIIIII", 0x20, state, 3, length, 1, 1, 100000, 100000, 0)[:length]
    raw.send(router + own + b"\x08\x00" + ip4(own_ip, router_ip, 17, udp(3784, bfd), ttl=255))
# An error about an error, with no hop left; a later fragment with none; one that ends beyond all packets.
error = icmp(3, 1, ip4(outside, own_ip, 1, icmp(3, 3, b"\0" * 28)))
raw.send(router + own + b"\x08\x00" + ip4(own_ip, outside, 1, error, ttl=1))
raw.send(router + own + b"\x08\x00" + ip4(own_ip, outside, 17, b"x" * 64, ttl=1, fragment=8))
raw.send(router + own + b"\x08\x00" + ip4(own_ip, outside, 17, b"x" * 64, fragment=0x1fff))
raw.send(router + own + b"\x08\x00" + ip4(own_ip, router_ip, 17, b"x" * 64, fragment=0x2000))
# What no host has as its address.
for source in ("127.0.0.1", "224.0.0.1", "255.255.255.255", router_ip):
    raw.send(router + own + b"\x08\x00" + ip4(source, outside, 17, udp(9, b"x")))
# The last one, which is answered: whatever came before has been looked at.
raw.send(router + own + b"\x08\x00" + ip4(own_ip, router_ip, 1, icmp(8, 0, b"last" * 20)))
"#;

#[test]
fn the_outside_takes_much_and_what_is_forged_harms_nobody() {
    told(|lab| story(lab));
}

#[test]
fn the_outside_is_reached_without_any_control_plane() {
    told(without_control_plane);
}

fn told(story: impl FnOnce(&mut RoutedLab) -> Result<()>) {
    let plan = Plan::under_test();
    let mut lab = RoutedLab::build(plan, &mut ()).expect("the lab is built");
    let told = story(&mut lab).and_then(|()| lab.rig.check_alive());
    if let Err(error) = told {
        for log in lab.rig.logs() {
            eprintln!("---- {}\n{}", log.display(), tail(&log, 25));
        }
        panic!("{error:#} ({plan})");
    }
}

fn story(lab: &RoutedLab) -> Result<()> {
    lab.ping_all()?;
    let [dmz1, dmz2, inside1, inside2] = &MEMBERS;
    // By the gateway's address, and back to a floating one.
    let outside = lab.outside();
    let network = |member: &Member| lab.guest(member).namespace();
    transfer(network(dmz2), outside, OUTSIDE.into(), MUCH)?;
    for to in [dmz1, inside2] {
        arrives(lab, outside, to)?;
        // Also from inside, and from the guest whose address it is not, on its own switch.
        for from in [dmz2, inside1] {
            arrives(lab, network(from), to)?;
        }
    }
    only_floating_addresses(lab)?;
    forged(lab, dmz2)
}

/// A connection from outside to a floating address goes to where that is served; to a guest without one there is no connection.
fn only_floating_addresses(lab: &RoutedLab) -> Result<()> {
    let [dmz1, dmz2, _, inside2] = &MEMBERS;
    let [gateway, _] = GATEWAYS;
    let wire = |name| {
        let network = lab.rig.chassis(name)?.namespace();
        Capture::start(network, "eth0", "tcp port 22", lab.rig.dir())
    };
    let (own, central) = (wire(HYPERVISORS[dmz1.hypervisor])?, wire(gateway)?);
    let outside = lab.outside();
    for (to, place) in [(dmz1, &own), (inside2, &central)] {
        let (floating, _) = to.floating.context("a guest with a floating address")?;
        let _service = Service::start(lab.guest(to), SSH)?;
        let connection = Connection::open_from(outside, (floating, SSH).into(), LIMIT)?;
        ensure!(connection.server == to.name, "{connection:?}");
        ensure!(connection.seen_as == OUTSIDE, "{connection:?}");
        place.wait_for(&[&format!("{OUTSIDE}."), &format!("> {floating}.{SSH}")])?;
    }
    let (floating, _) = dmz1.floating.context("a floating address")?;
    let strayed = central.heard()?.into_iter();
    let strayed = strayed.filter(|packet| packet.contains(&floating.to_string()));
    let strayed: Vec<String> = strayed.collect();
    ensure!(strayed.is_empty(), "the gateway has {strayed:#?}");
    // Neither by the router's own address nor by the guest's, even for who sends that to the router.
    let _service = Service::start(lab.guest(dmz2), SSH)?;
    let inside = ["route", "add", "10.0.0.0/8", "via", &GATEWAY.to_string()];
    outside.ip(&inside)?;
    for address in [GATEWAY, dmz2.address] {
        let limit = Duration::from_secs(2);
        let opened = Connection::open_from(outside, (address, SSH).into(), limit);
        ensure!(opened.is_err(), "{opened:?} by {address}");
    }
    outside.ip(&["route", "del", "10.0.0.0/8"]).map(drop)
}

/// With northd, the databases and all controllers dead, guests reach each other and the outside, and are reached from there, also by
/// connections that begin only then; started again, they find what they left.
fn without_control_plane(lab: &mut RoutedLab) -> Result<()> {
    lab.ping_all()?;
    let [dmz1, dmz2, inside1, inside2] = &MEMBERS;
    // What the outside has not asked for yet has to be known: to ask is the controllers' part.
    let flows =
        |lab: &RoutedLab| -> Result<Vec<Flows>> { lab.rig.chassis.iter().map(Flows::of).collect() };
    lab.rig.nb(&["--wait=hv", "sync"])?;
    let before = flows(lab)?;
    lab.rig
        .control_plane()
        .into_iter()
        .try_for_each(Daemon::kill)?;
    lab.ping_all()?;
    for from in &MEMBERS {
        let network = lab.guest(from).namespace();
        transfer(network, lab.outside(), OUTSIDE.into(), SOME)?;
    }
    for to in [dmz1, inside2] {
        arrives(lab, lab.outside(), to)?;
        arrives(lab, lab.guest(dmz2).namespace(), to)?;
    }
    let (from, to) = (lab.guest(dmz1).namespace(), lab.guest(inside1).namespace());
    transfer(from, to, inside1.address.into(), SOME)?;
    lab.rig
        .control_plane()
        .into_iter()
        .try_for_each(Daemon::start_again)?;
    lab.rig.nb(&["--wait=hv", "sync"])?;
    for (before, after) in before.iter().zip(flows(lab)?) {
        before.check_untouched(&after)?;
    }
    lab.ping_all().map(drop)
}

/// A connection to the floating address of a guest gets there.
fn arrives(lab: &RoutedLab, from: &tests::namespace::Namespace, to: &Member) -> Result<()> {
    let (floating, _) = to.floating.context("a guest with a floating address")?;
    let guest = lab.guest(to).namespace();
    // The guest has it by translation only, so that it listens at its own address.
    tests::bulk::transfer_by(from, guest, floating.into(), to.address.into(), SOME)
        .with_context(|| format!("from {} to {floating}", from.name()))
}

fn forged(lab: &RoutedLab, from: &Member) -> Result<()> {
    let guest: &Guest = lab.guest(from);
    let heard = guest.listen("icmp or icmp6")?;
    let python = guest.namespace().run(python()?);
    let [own, router, outside] = [from.address, ROUTER, OUTSIDE].map(|ip| ip.to_string());
    let words = ["-c", FORGE, guest.device(), from.mac, ROUTER_MAC];
    python
        .args(words)
        .args([&own, &router, &outside])
        .output()?;
    heard.wait_for(&[&format!("{router} > {own}: ICMP echo reply"), "length 88"])?;
    // A datagram, or the first part of one, may be refused, for nobody takes it; nothing else is answered.
    let answer = format!("{ROUTER_MAC} > {}", from.mac);
    let errors = heard.heard()?.into_iter().filter(|packet| {
        let is_error = packet.contains("exceeded") || packet.contains("unreachable");
        packet.contains(&answer) && is_error && !packet.contains("udp port")
    });
    let errors: Vec<String> = errors.collect();
    ensure!(errors.is_empty(), "errors that must not be: {errors:#?}");
    // What it has said of the host outside is a matter of its own switch.
    let outside = format!("logical_port={GATEWAY_PORT}");
    let find = ["--bare", "--columns=mac", "find", "MAC_Binding", &outside];
    let learned = lab.rig.sb(&find)?;
    let is_taken_in = learned.lines().any(|mac| mac == from.mac);
    ensure!(!is_taken_in, "learned at the gateway port: {learned}");
    lab.ping_all().map(drop)
}
