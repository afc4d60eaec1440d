//! Access control lists: who may connect to whom, by real connects over IPv4 and IPv6, is what the rules say, cell by cell; a
//! refusal answers at once and a drop does not; a connection that passes lives on while controllers restart, dies when its
//! rule goes and lives again when the rule is back; what is logged is logged in OVN's form and no more often than its meter
//! allows. On Weft's daemons and on mixtures with OVN's.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::guest::Guest;
use tests::implementation::Implementation::{Ovn, Weft};
use tests::implementation::{Door, Plan};
use tests::lab::{Lab, MEMBERS, Member};
use tests::story::story;
use tests::wait::{wait_for, wait_until};

/// The roles of the lab's members, in their order.
const ROLES: [Role; 5] = [Role::Web, Role::Web, Role::App, Role::Db, Role::Outsider];
/// The one whose address is in `admins`.
const ADMIN: usize = 1;
/// Where everybody listens.
const PORTS: [u16; 5] = [22, 80, 443, 5432, 8080];
/// How long an answer that will come may take.
const SOON: Duration = Duration::from_millis(400);
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Web,
    App,
    Db,
    Outsider,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Connected,
    Refused,
    Silence,
}

#[test]
fn connections_are_as_the_rules_say() {
    the_policy_holds_on(Plan::under_test());
}

#[test]
fn ovns_controllers_keep_the_rules_that_our_northd_compiles() {
    the_policy_holds_on(Plan {
        controller: Ovn,
        ..over_ovsdb()
    });
}

#[test]
fn our_controllers_keep_the_rules_that_ovns_northd_compiles() {
    the_policy_holds_on(Plan {
        northd: Ovn,
        ..over_ovsdb()
    });
}

/// A connection that began before there were rules goes on or dies as these say. What they let pass without state is not tracked.
#[test]
fn connections_that_began_before_the_rules_are_judged_by_them() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        let (client, server) = (&MEMBERS[4], &MEMBERS[0]);
        let listeners = Listeners::of(lab.guest(server))?;
        let open = |port: u16| {
            let here = lab.guest(client).namespace().inside(|| {
                let to: SocketAddr = (server.address, port).into();
                Ok(TcpStream::connect_timeout(&to, LIMIT)?)
            })?;
            let there = listeners.accept(port, here.local_addr()?)?;
            for stream in [&here, &there] {
                stream.set_read_timeout(Some(LIMIT))?;
                stream.set_nodelay(true)?;
            }
            anyhow::Ok((here, there))
        };
        let (mut allowed, mut forbidden) = (open(80)?, open(8080)?);
        for (here, there) in [&mut allowed, &mut forbidden] {
            say(here, there)?;
            say(there, here)?;
        }
        let out = format!("outport == \"{}\"", server.port);
        for (direction, priority, text, action) in [
            (
                "to-lport",
                "100",
                format!("{out} && tcp.dst == 80"),
                "allow-related",
            ),
            ("to-lport", "1", format!("{out} && ip"), "drop"),
            (
                "from-lport",
                "200",
                "udp.dst == 4789 || udp.src == 4789".to_owned(),
                "allow-stateless",
            ),
            (
                "to-lport",
                "200",
                "udp.dst == 4789 || udp.src == 4789".to_owned(),
                "allow-stateless",
            ),
        ] {
            lab.rig
                .nb(&["acl-add", "dmz", direction, priority, &text, action])?;
        }
        lab.sync()?;
        let (here, there) = &mut allowed;
        for _ in 0..3 {
            say(here, there)?;
            say(there, here)?;
        }
        let (here, there) = &mut forbidden;
        there.set_read_timeout(Some(Duration::from_secs(1)))?;
        here.write_all(b"?")?;
        let silent = there.read(&mut [0; 1]);
        ensure!(silent.is_err(), "no rule allows it: {silent:?}");

        let (ours, theirs) = (socket(lab, client, 4789)?, socket(lab, server, 4789)?);
        let mut buffer = [0; 16];
        for (from, to, address) in [
            (&ours, &theirs, server.address),
            (&theirs, &ours, client.address),
        ] {
            wait_until("a datagram to pass without state", LIMIT, || {
                from.send_to(b"vx", (address, 4789))?;
                Ok(to.recv_from(&mut buffer).is_ok())
            })?;
        }
        for chassis in &lab.rig.chassis {
            let tracked = chassis.appctl(&["dpctl/dump-conntrack"])?;
            let mut lines = tracked.lines();
            let of_it = lines.find(|line| line.starts_with("udp") && line.contains("dport=4789"));
            ensure!(of_it.is_none(), "{} tracks {of_it:?}", chassis.name());
        }
        Ok(())
    });
}

fn over_ovsdb() -> Plan {
    Plan {
        door: Door::Ovsdb,
        databases: Weft,
        ..Plan::weft()
    }
}

/// What the rules say of a TCP connection.
fn expected(from: usize, to: usize, port: u16) -> Fate {
    use Role::{App, Db, Outsider, Web};
    match (ROLES[from], ROLES[to], port) {
        (Web, Db, _) => Fate::Refused,
        (_, Outsider, _) | (_, Web, 80 | 443) | (Web, App, 8080) | (App, Db, 5432) => {
            Fate::Connected
        }
        (_, _, 22) if from == ADMIN => Fate::Connected,
        _ => Fate::Silence,
    }
}

fn the_policy_holds_on(plan: Plan) {
    story(plan, |lab| {
        lab.address_all()?;
        address_ipv6(lab)?;
        let listeners: Vec<Listeners> = MEMBERS
            .iter()
            .map(|member| Listeners::of(lab.guest(member)))
            .collect::<Result<_>>()?;
        // Everybody knows everybody's MAC before there are rules.
        lab.ping_all()?;
        describe(lab)?;
        lab.sync()?;
        matrix(lab)?;
        datagrams(lab)?;
        held(lab, &listeners)?;
        matrix(lab)?;
        logged(lab)
    });
}

fn ip6(member: usize) -> Ipv6Addr {
    let last = 0x30 + u16::try_from(member).expect("few");
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last)
}

/// Each member has an IPv6 address, too.
fn address_ipv6(lab: &Lab) -> Result<()> {
    for (number, member) in MEMBERS.iter().enumerate() {
        let addresses = format!("{} {} {}", member.mac, member.address, ip6(number));
        lab.rig
            .nb(&["lsp-set-addresses", member.port, &addresses])?;
        lab.rig
            .nb(&["lsp-set-port-security", member.port, &addresses])?;
        let guest = lab.guest(member);
        let address = format!("{}/64", ip6(number));
        let device = guest.device();
        guest
            .namespace()
            .ip(&["-6", "address", "add", &address, "dev", device, "nodad"])?;
    }
    lab.sync()
}

/// The groups and the rules. OVN's northd of this version knows no tiers: there, a higher priority says the same.
fn describe(lab: &Lab) -> Result<()> {
    let has_tiers = lab.rig.plan().northd == Weft;
    let ports = |role: Role| -> Vec<&str> {
        let members = MEMBERS.iter().zip(ROLES);
        let members = members.filter(|(_, of)| *of == role);
        members.map(|(member, _)| member.port).collect()
    };
    let groups = [
        ("pg_web", ports(Role::Web)),
        ("pg_app", ports(Role::App)),
        ("pg_db", ports(Role::Db)),
    ];
    let all: Vec<&str> = groups
        .iter()
        .flat_map(|(_, ports)| ports.iter().copied())
        .collect();
    for (group, ports) in groups.iter().chain([&("pg_all", all)]) {
        let mut words = vec!["pg-add", group];
        words.extend(ports);
        lab.rig.nb(&words)?;
    }
    let admin = MEMBERS[ADMIN].address.to_string();
    lab.rig.nb(&[
        "create",
        "Address_Set",
        "name=admins",
        &format!("addresses={admin}"),
    ])?;
    lab.rig.nb(&[
        "create",
        "Address_Set",
        "name=admins6",
        &format!("addresses=\"{}\"", ip6(ADMIN)),
    ])?;
    for (group, direction, tier, priority, matches, action) in RULES {
        let tiered = format!("--tier={tier}");
        let raised = (3 - tier) * 1000 + priority;
        let priority = if has_tiers { *priority } else { raised }.to_string();
        let mut words = vec![];
        if has_tiers {
            words.push(tiered.as_str());
        }
        words.extend(["acl-add", group, direction, &priority, matches, action]);
        lab.rig.nb(&words)?;
    }
    Ok(())
}

/// Group, direction, tier, priority, match, action.
const RULES: &[(&str, &str, u16, u16, &str, &str)] = &[
    (
        "pg_db",
        "to-lport",
        0,
        200,
        "outport == @pg_db && (ip4.src == $pg_web_ip4 || ip6.src == $pg_web_ip6)",
        "reject",
    ),
    (
        "pg_all",
        "to-lport",
        1,
        100,
        "outport == @pg_all && (ip4.src == $admins || ip6.src == $admins6) && tcp.dst == 22",
        "allow-related",
    ),
    (
        "pg_web",
        "to-lport",
        2,
        100,
        "outport == @pg_web && tcp.dst == {80, 443}",
        "allow-related",
    ),
    (
        "pg_app",
        "to-lport",
        2,
        100,
        "outport == @pg_app && (ip4.src == $pg_web_ip4 || ip6.src == $pg_web_ip6) && tcp.dst == 8080",
        "allow-related",
    ),
    (
        "pg_db",
        "to-lport",
        2,
        100,
        "outport == @pg_db && (ip4.src == $pg_app_ip4 || ip6.src == $pg_app_ip6) && tcp.dst == 5432",
        "allow-related",
    ),
    (
        "pg_db",
        "to-lport",
        2,
        99,
        "outport == @pg_db && (ip4.src == $pg_app_ip4 || ip6.src == $pg_app_ip6) && udp.dst == 53",
        "allow-related",
    ),
    (
        "pg_all",
        "to-lport",
        3,
        0,
        "outport == @pg_all && ip",
        "drop",
    ),
];

/// Everybody tries to connect to everybody, on every port, over both families.
fn matrix(lab: &Lab) -> Result<()> {
    let rows = std::thread::scope(|scope| {
        let all = 0..MEMBERS.len();
        let pairs = all
            .clone()
            .flat_map(|from| all.clone().map(move |to| (from, to)));
        let pairs: Vec<_> = pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| scope.spawn(move || attempts(lab, from, to)))
            .collect();
        pairs
            .into_iter()
            .map(|pair| pair.join().expect("connecting does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let wrong: Vec<String> = rows.into_iter().flatten().collect();
    ensure!(wrong.is_empty(), "not as the rules say: {wrong:#?}");
    Ok(())
}

/// One member's attempts to connect to another: those that went otherwise than the rules say.
fn attempts(lab: &Lab, from: usize, to: usize) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let addresses: [IpAddr; 2] = [MEMBERS[to].address.into(), ip6(to).into()];
    for (address, port) in addresses
        .into_iter()
        .flat_map(|address| PORTS.map(|port| (address, port)))
    {
        let wanted = expected(from, to, port);
        // An answer that is to come may take long on a machine that has other things to do.
        let limit = if wanted == Fate::Silence { SOON } else { LIMIT };
        let fate = connect(lab.guest(&MEMBERS[from]), (address, port).into(), limit)?;
        if fate != wanted {
            let (from, to) = (MEMBERS[from].port, MEMBERS[to].port);
            wrong.push(format!(
                "{from} to {to}, {address} {port}: {fate:?}, not {wanted:?}"
            ));
        }
    }
    Ok(wrong)
}

fn connect(from: &Guest, to: SocketAddr, limit: Duration) -> Result<Fate> {
    from.namespace()
        .inside(|| match TcpStream::connect_timeout(&to, limit) {
            Ok(_) => Ok(Fate::Connected),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Ok(Fate::Refused),
                ErrorKind::TimedOut => Ok(Fate::Silence),
                _ => Err(error).with_context(|| format!("connecting to {to}")),
            },
        })
}

/// UDP: what passes is answered by its socket, what is refused by an ICMP error, whatever port it comes from.
fn datagrams(lab: &Lab) -> Result<()> {
    let (web, app, db) = (&MEMBERS[0], &MEMBERS[2], &MEMBERS[3]);
    let there = lab
        .guest(db)
        .namespace()
        .inside(|| Ok(UdpSocket::bind((db.address, 53))?))?;
    there.set_read_timeout(Some(SOON))?;
    let asked = socket(lab, app, 0)?;
    asked.send_to(b"who?", (db.address, 53))?;
    let mut buffer = [0; 16];
    let (_, asker) = there
        .recv_from(&mut buffer)
        .context("the datagram passes")?;
    there.send_to(b"me", asker)?;
    asked.recv_from(&mut buffer).context("its answer passes")?;

    let refused = socket(lab, web, 0)?;
    refused.connect((db.address, 53))?;
    wait_until("a datagram to be refused", LIMIT, || {
        let _sent = refused.send(b"who?");
        let answer = refused.recv(&mut [0; 16]);
        Ok(answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    })?;

    // From the port of a name server, a datagram is no answer of one.
    for from in [0, 53] {
        let target = lab
            .guest(web)
            .namespace()
            .inside(|| Ok(UdpSocket::bind((web.address, 5353))?))?;
        target.set_read_timeout(Some(SOON))?;
        socket(lab, app, from)?.send_to(b"boo", (web.address, 5353))?;
        let heard = target.recv_from(&mut buffer);
        ensure!(
            heard.is_err(),
            "a datagram from port {from} passed: {heard:?}"
        );
    }
    Ok(())
}

fn socket(lab: &Lab, member: &Member, port: u16) -> Result<UdpSocket> {
    let socket = lab
        .guest(member)
        .namespace()
        .inside(|| Ok(UdpSocket::bind((member.address, port))?))?;
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket)
}

/// A connection lives while controllers restart, is cut when a rule forbids it, and goes on when it does not any more.
fn held(lab: &mut Lab, listeners: &[Listeners]) -> Result<()> {
    let (from, to) = (&MEMBERS[4], &MEMBERS[0]);
    let mut here = lab.guest(from).namespace().inside(|| {
        let to: SocketAddr = (to.address, 80).into();
        Ok(TcpStream::connect_timeout(&to, LIMIT)?)
    })?;
    let mut there = listeners[0].accept(80, here.local_addr()?)?;
    for stream in [&here, &there] {
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
    }
    say(&mut here, &mut there)?;
    say(&mut there, &mut here)?;

    for chassis in &mut lab.rig.chassis {
        if let Some(controller) = chassis.controller() {
            controller.kill()?;
        }
        chassis.start_controller()?;
    }
    say(&mut here, &mut there)?;
    lab.sync()?;
    say(&mut there, &mut here)?;

    let web = "outport == @pg_web && tcp.dst == {80, 443}";
    lab.rig.nb(&["acl-del", "pg_web"])?;
    lab.sync()?;
    there.set_read_timeout(Some(Duration::from_secs(1)))?;
    here.write_all(b"?")?;
    let silent = there.read(&mut [0; 1]);
    ensure!(
        silent.is_err(),
        "a connection outlives its rule: {silent:?}"
    );
    here.set_read_timeout(Some(Duration::from_secs(1)))?;
    there.write_all(b"!")?;
    let silent = here.read(&mut [0; 1]);
    ensure!(silent.is_err(), "so do its answers: {silent:?}");

    let has_tiers = lab.rig.plan().northd == Weft;
    let words: &[&str] = match has_tiers {
        true => &[
            "--tier=2",
            "acl-add",
            "pg_web",
            "to-lport",
            "100",
            web,
            "allow-related",
        ],
        false => &[
            "acl-add",
            "pg_web",
            "to-lport",
            "1100",
            web,
            "allow-related",
        ],
    };
    lab.rig.nb(words)?;
    lab.sync()?;
    for (stream, sent) in [(&mut there, b"?"), (&mut here, b"!")] {
        stream.set_read_timeout(Some(LIMIT))?;
        let mut buffer = [0; 1];
        stream.read_exact(&mut buffer).context("it goes on")?;
        ensure!(buffer == *sent, "{buffer:?}");
    }
    Ok(())
}

/// A byte goes through a connection.
fn say(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    from.write_all(b"x")?;
    to.read_exact(&mut [0; 1]).context("the connection lives")
}

/// Drops are logged in OVN's form, no more often than the meter allows.
fn logged(lab: &Lab) -> Result<()> {
    const RATE: usize = 10;
    const SENT: usize = 300;
    let (from, to) = (&MEMBERS[4], &MEMBERS[2]);
    let rate = RATE.to_string();
    lab.rig
        .nb(&["meter-add", "slow", "drop", &rate, "pktps", "1"])?;
    lab.rig.nb(&[
        "--log",
        "--name=no-games",
        "--severity=warning",
        "--meter=slow",
        "acl-add",
        "dmz",
        "from-lport",
        "32000",
        "ip4 && udp.dst == 27015",
        "drop",
    ])?;
    lab.sync()?;
    let socket = socket(lab, from, 40_000)?;
    for _ in 0..SENT {
        socket.send_to(b"play", (to.address, 27_015))?;
    }
    let chassis = lab.rig.chassis("ubuntu2")?;
    let file = chassis.dir().join("controller.log");
    let lines = || -> Result<Vec<String>> {
        let text = fs::read_to_string(&file)?;
        let lines = text.lines().filter(|line| line.contains("no-games"));
        Ok(lines.map(str::to_owned).collect())
    };
    let first = wait_for("a line in the log", LIMIT, || Ok(lines()?.pop()))?;
    let head = "name=\"no-games\", verdict=drop, severity=warning, direction=from-lport: udp,vlan_tci=0x0000,dl_src=";
    let tail = format!(
        "{},dl_dst={},nw_src={},nw_dst={},nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no,tp_src=40000,tp_dst=27015",
        from.mac, to.mac, from.address, to.address
    );
    ensure!(
        first.contains("acl_log") && first.contains(head) && first.contains(&tail),
        "a line in another form: {first}"
    );
    // What comes later is another second's.
    lab.sync()?;
    let count = lines()?.len();
    if count > 4 * RATE {
        bail!("{count} of {SENT} packets are logged, at {RATE} a second");
    }
    Ok(())
}

/// Sockets that listen on every port of a guest, over both families.
struct Listeners(Vec<(u16, TcpListener)>);

impl Listeners {
    fn of(guest: &Guest) -> Result<Self> {
        let sockets = guest.namespace().inside(|| {
            let all =
                PORTS.map(|port| Ok((port, TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?)));
            all.into_iter().collect::<Result<Vec<_>>>()
        })?;
        Ok(Self(sockets))
    }

    /// The connection from this address; those that were only tried are let go.
    fn accept(&self, port: u16, from: SocketAddr) -> Result<TcpStream> {
        let mut listeners = self.0.iter();
        let (_, listener) = listeners
            .find(|(of, _)| *of == port)
            .context("a port that is listened on")?;
        loop {
            let (stream, peer) = listener.accept()?;
            if peer.port() == from.port() && peer.ip().to_canonical() == from.ip() {
                return Ok(stream);
            }
        }
    }
}
