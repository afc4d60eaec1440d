//! Random policies against an evaluator of rules: who reaches whom, by tables of rules over addresses, groups and ports alone.
//!
//! Of every connection, the direction that begins it is decided by the rules of this moment; the other direction passes when
//! that one does. That holds for new connections and for old ones, whatever the rules were when they began.

mod written;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use lflow::Base;
use lflow::interp::State;
use nb_db::tables as nb;
use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::Table;

use super::chassis::Chassis;
use super::connections::Connections;
use super::random::Rng;
use super::{World, insert};

/// Ports of each of the two switches.
const PORTS: usize = 5;
const POLICIES: usize = 210;
const CHANGES: usize = 8;
const PACKETS: usize = 60;
/// So many of the policies are sent to real switches, too (`written.rs`): 2,040 packets.
const WRITTEN: usize = 34;
/// Destination ports that packets have and rules speak of.
const SERVICES: [u128; 4] = [53, 80, 443, 5432];
/// Members of the address set `$hosts` and the networks that rules speak of are among the addresses of guests.
const HOSTS: [usize; 3] = [0, 3, 7];

/// A rule, as the evaluator sees it.
#[derive(Debug, Clone)]
struct Rule {
    uuid: Uuid,
    /// The switch, or the port group.
    owner: Owner,
    direction: &'static str,
    after_lb: bool,
    tier: i64,
    priority: i64,
    action: &'static str,
    only: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Switch(usize),
    Group(usize),
}

/// All of a rule's conditions have to hold.
#[derive(Debug, Clone)]
enum Condition {
    Family(bool),
    /// The sender's or the receiver's port is in a group.
    InGroup {
        is_sender: bool,
        group: usize,
    },
    IsPort {
        is_sender: bool,
        guest: usize,
    },
    /// The IPv4 address at this end is one of `$hosts`.
    IsHost {
        is_source: bool,
        wanted: bool,
    },
    /// The addresses of a group's members, by its own address sets.
    OfGroup {
        is_source: bool,
        is_ip4: bool,
        group: usize,
    },
    Service {
        is_tcp: bool,
        port: u128,
    },
    Services {
        low: u128,
    },
    Icmp,
}

/// What a guest sends.
#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    to: usize,
    is_ip4: bool,
    /// 1 and 58, 6, 17.
    proto: u128,
    source: u128,
    service: u128,
}

/// Who gets something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Heard,
    Dropped,
    Rejected,
}

struct Policy {
    rules: Vec<Rule>,
    groups: Vec<BTreeSet<usize>>,
    drops_by_default: bool,
}

impl Policy {
    /// What becomes of a packet that begins a connection, or goes on in its direction.
    fn fate(&self, sent: &Sent) -> Fate {
        for (direction, after_lb) in [
            ("from-lport", false),
            ("from-lport", true),
            ("to-lport", false),
        ] {
            let fate = self.at(sent, direction, after_lb);
            if fate != Fate::Heard {
                return fate;
            }
        }
        Fate::Heard
    }

    fn at(&self, sent: &Sent, direction: &str, after_lb: bool) -> Fate {
        let switch = sent.from / PORTS;
        let has_rules = self.rules.iter().any(|rule| self.is_on(rule, switch));
        for tier in 0..=3 {
            let rules = self.rules.iter().filter(|rule| {
                (rule.direction, rule.after_lb, rule.tier) == (direction, after_lb, tier)
                    && self.is_on(rule, switch)
                    && rule.only.iter().all(|only| self.holds(only, sent))
            });
            let decides = rules.max_by_key(|rule| rule.priority);
            match decides.map(|rule| rule.action) {
                None | Some("pass") => {}
                Some("drop") => return Fate::Dropped,
                Some("reject") => return Fate::Rejected,
                Some(_) => return Fate::Heard,
            }
        }
        match has_rules && self.drops_by_default {
            true => Fate::Dropped,
            false => Fate::Heard,
        }
    }

    fn is_on(&self, rule: &Rule, switch: usize) -> bool {
        match rule.owner {
            Owner::Switch(of) => of == switch,
            Owner::Group(group) => self.groups[group]
                .iter()
                .any(|guest| guest / PORTS == switch),
        }
    }

    fn holds(&self, condition: &Condition, sent: &Sent) -> bool {
        let end = |is_sender: bool| if is_sender { sent.from } else { sent.to };
        match condition {
            Condition::Family(is_ip4) => sent.is_ip4 == *is_ip4,
            Condition::InGroup { is_sender, group } => {
                self.groups[*group].contains(&end(*is_sender))
            }
            Condition::IsPort { is_sender, guest } => end(*is_sender) == *guest,
            Condition::IsHost { is_source, wanted } => {
                sent.is_ip4 && HOSTS.contains(&end(*is_source)) == *wanted
            }
            Condition::OfGroup {
                is_source,
                is_ip4,
                group,
            } => sent.is_ip4 == *is_ip4 && self.groups[*group].contains(&end(*is_source)),
            Condition::Service { is_tcp, port } => {
                sent.proto == if *is_tcp { 6 } else { 17 } && sent.service == *port
            }
            Condition::Services { low } => sent.proto == 6 && sent.service >= *low,
            Condition::Icmp => matches!(sent.proto, 1 | 58),
        }
    }

    /// Whether the switch keeps connections, and this one is never left out of it.
    fn is_tracked(&self, switch: usize) -> bool {
        let here = || self.rules.iter().filter(|rule| self.is_on(rule, switch));
        here().any(|rule| rule.action == "allow-related")
            && here().all(|rule| rule.action != "allow-stateless")
    }
}

impl Condition {
    fn text(&self) -> String {
        let port = |is_sender: &bool| if *is_sender { "inport" } else { "outport" };
        let address = |is_source: &bool| if *is_source { "src" } else { "dst" };
        match self {
            Self::Family(is_ip4) => if *is_ip4 { "ip4" } else { "ip6" }.to_owned(),
            Self::InGroup { is_sender, group } => format!("{} == @g{group}", port(is_sender)),
            Self::IsPort { is_sender, guest } => format!("{} == \"p{guest}\"", port(is_sender)),
            Self::IsHost { is_source, wanted } => {
                let sign = if *wanted { "==" } else { "!=" };
                format!("ip4.{} {sign} $hosts", address(is_source))
            }
            Self::OfGroup {
                is_source,
                is_ip4,
                group,
            } => {
                let family = if *is_ip4 { 4 } else { 6 };
                format!("ip{family}.{} == $g{group}_ip{family}", address(is_source))
            }
            Self::Service { is_tcp, port } => {
                format!("{}.dst == {port}", if *is_tcp { "tcp" } else { "udp" })
            }
            Self::Services { low } => format!("tcp.dst >= {low}"),
            Self::Icmp => "icmp".to_owned(),
        }
    }
}

impl Rule {
    fn random(rng: &mut Rng, priority: i64) -> Self {
        let is_out = rng.once_in(2);
        let actions = [
            "allow",
            "allow-related",
            "allow-related",
            "allow-stateless",
            "drop",
            "drop",
            "reject",
            "pass",
        ];
        let owner = match rng.below(4) {
            group @ 0..2 => Owner::Group(group),
            switch => Owner::Switch(switch - 2),
        };
        let uuid = rng.uuid();
        let action = actions[rng.below(8)];
        let mut only: Vec<Condition> = Vec::new();
        // What tells a sender of a rejection must not be rejected itself.
        if action == "reject" {
            only.push(Condition::Service {
                is_tcp: rng.once_in(2),
                port: SERVICES[rng.below(4)],
            });
        }
        only.extend((0..rng.below(4)).map(|_| {
            // On the way in, nobody knows yet where the packet goes.
            let is_sender = !is_out || rng.once_in(2);
            let is_source = rng.once_in(2);
            let group = rng.below(2);
            match rng.below(8) {
                0 => Condition::Family(rng.once_in(2)),
                1 => Condition::InGroup { is_sender, group },
                2 => Condition::IsPort {
                    is_sender,
                    guest: rng.below(2 * PORTS),
                },
                3 => Condition::IsHost {
                    is_source,
                    wanted: rng.once_in(2),
                },
                4 => Condition::OfGroup {
                    is_source,
                    is_ip4: rng.once_in(2),
                    group,
                },
                5 => Condition::Services {
                    low: SERVICES[rng.below(4)],
                },
                6 => Condition::Icmp,
                _ => Condition::Service {
                    is_tcp: rng.once_in(2),
                    port: SERVICES[rng.below(4)],
                },
            }
        }));
        Self {
            uuid,
            owner,
            only,
            direction: if is_out { "to-lport" } else { "from-lport" },
            after_lb: !is_out && rng.once_in(4),
            tier: [0, 0, 1, 2, 3][rng.below(5)],
            priority,
            action,
        }
    }

    fn text(&self) -> String {
        let row = self.row();
        format!(
            "{:?} {} {} tier {} priority {} after_lb {}: {}",
            self.owner,
            row.direction,
            row.action,
            row.tier,
            row.priority,
            self.after_lb,
            row.r#match
        )
    }

    fn row(&self) -> nb::Acl {
        let texts: Vec<String> = self.only.iter().map(Condition::text).collect();
        let text = match texts.as_slice() {
            [] => "ip".to_owned(),
            some => some.join(" && "),
        };
        let mut row = nb::Acl {
            priority: self.priority,
            direction: self.direction.into(),
            r#match: text.into(),
            action: self.action.into(),
            tier: self.tier,
            ..Default::default()
        };
        if self.after_lb {
            row.options.insert("apply-after-lb".into(), "true".into());
        }
        row
    }
}

impl Sent {
    fn random(rng: &mut Rng) -> Self {
        let switch = rng.below(2) * PORTS;
        let from = rng.below(PORTS);
        let to = (from + 1 + rng.below(PORTS - 1)) % PORTS;
        let is_ip4 = rng.once_in(2);
        let proto = [if is_ip4 { 1 } else { 58 }, 6, 6, 17][rng.below(4)];
        let has_ports = proto == 6 || proto == 17;
        Self {
            from: switch + from,
            to: switch + to,
            is_ip4,
            proto,
            source: if has_ports {
                10_000 + rng.below(50_000) as u128
            } else {
                0
            },
            service: if has_ports { SERVICES[rng.below(4)] } else { 0 },
        }
    }

    fn state(&self, is_reply: bool) -> State {
        let (from, to) = if is_reply {
            (self.to, self.from)
        } else {
            (self.from, self.to)
        };
        let (source, service) = match is_reply {
            true => (self.service, self.source),
            false => (self.source, self.service),
        };
        let bits = |guest| match address(guest, self.is_ip4) {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let (kind, src, dst) = match self.is_ip4 {
            true => (0x800u128, Base::Ip4Src, Base::Ip4Dst),
            false => (0x86dd, Base::Ip6Src, Base::Ip6Dst),
        };
        let mut state = State::default()
            .with(Base::EthSrc, mac(from))
            .with(Base::EthDst, mac(to))
            .with(Base::EthType, kind)
            .with(Base::IpProto, self.proto)
            .with(Base::IpTtl, 64u128)
            .with(src, bits(from))
            .with(dst, bits(to));
        match self.proto {
            1 => state.set(Base::Icmp4Type, if is_reply { 0 } else { 8 }),
            58 => state.set(Base::Icmp6Type, if is_reply { 129 } else { 128 }),
            6 => {
                state.set(Base::TcpSrc, source);
                state.set(Base::TcpDst, service);
            }
            _ => {
                state.set(Base::UdpSrc, source);
                state.set(Base::UdpDst, service);
            }
        }
        state
    }

    /// What becomes of it, or of its reply, on flows.
    fn send(&self, chassis: &Chassis, is_reply: bool) -> Fate {
        let (from, to) = if is_reply {
            (self.to, self.from)
        } else {
            (self.from, self.to)
        };
        let (datapath, port) = chassis.find(&format!("p{from}"));
        let heard = chassis.send_state(datapath, port, &self.state(is_reply));
        let names: Vec<String> = heard.iter().map(|(name, _)| name.to_string()).collect();
        match names.as_slice() {
            [] => Fate::Dropped,
            [name] if *name == format!("p{to}") => Fate::Heard,
            [name] if *name == format!("p{from}") => Fate::Rejected,
            other => panic!("{self:?}: {other:?} hear it"),
        }
    }
}

fn mac(guest: usize) -> u128 {
    0x0200_0000_0001 + guest as u128
}

fn address(guest: usize, is_ip4: bool) -> IpAddr {
    let text = match is_ip4 {
        true => format!("10.0.0.{}", guest + 1),
        false => format!("fd00::{}", guest + 1),
    };
    text.parse().expect("an address")
}

#[test]
fn packets_pass_as_the_rules_say_and_replies_as_what_they_answer() {
    let seed = std::env::var("WEFT_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut rng = Rng::new(seed);
    let mut counts = [0usize; 4];
    let mut written = written::Written::default();
    for number in 0..POLICIES {
        let (mut world, mut policy, switches, groups) = network(&mut rng);
        let mut connections = Connections::default();
        let mut made = 0;
        let mut sent: Vec<Sent> = Vec::new();
        for change in 0..CHANGES {
            for _ in 0..1 + rng.below(4) {
                // No two rules have one priority.
                made += 1;
                let priority = made * 7919 % 32_768;
                change_rules(
                    &mut world,
                    &mut policy,
                    (&switches, &groups),
                    priority,
                    &mut rng,
                );
            }
            sent.truncate(PACKETS / 2);
            sent.resize_with(PACKETS, || Sent::random(&mut rng));
            let mut chassis = Chassis::new(&world);
            chassis.connections = Some(connections.into());
            for packet in &sent {
                let wanted = policy.fate(packet);
                let place = || {
                    let rules: Vec<String> = policy.rules.iter().map(Rule::text).collect();
                    format!(
                        "seed {seed}, policy {number}, change {change}: {packet:?} under {rules:#?}"
                    )
                };
                let is_tracked = policy.is_tracked(packet.from / PORTS);
                let got = packet.send(&chassis, false);
                // What tells of a rejection is itself asked about, unless it belongs to a connection.
                let is_lost = wanted == Fate::Rejected
                    && got == Fate::Dropped
                    && !(is_tracked && packet.proto == 6);
                assert!(
                    got == wanted || is_lost,
                    "{got:?}, not {wanted:?}: {}",
                    place()
                );
                counts[wanted as usize] += 1;
                // A packet that nobody has heard has no reply: what comes from there begins a connection.
                if is_tracked && wanted == Fate::Heard {
                    assert_eq!(
                        packet.send(&chassis, true),
                        Fate::Heard,
                        "reply: {}",
                        place()
                    );
                    counts[3] += 1;
                }
            }
            connections = chassis.connections.expect("tracked").into_inner();
        }
        if number < WRITTEN {
            written.policy(number, &policy, &sent);
        }
        let differences = world.recompute().expect("compiles");
        assert!(differences.is_empty(), "{differences:#?}");
    }
    assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
    if seed == 1 {
        written.check();
    }
}

/// A rule comes, goes, or becomes another.
fn change_rules(
    world: &mut World,
    policy: &mut Policy,
    (switches, groups): (&[Uuid], &[Uuid]),
    priority: i64,
    rng: &mut Rng,
) {
    let goes = policy.rules.len() > 8 || !policy.rules.is_empty() && rng.once_in(4);
    let mut operations = Vec::new();
    let owner = if goes {
        policy
            .rules
            .swap_remove(rng.below(policy.rules.len()))
            .owner
    } else {
        let rule = Rule::random(rng, priority);
        operations.push(insert(rule.uuid, &rule.row()));
        let owner = rule.owner;
        policy.rules.push(rule);
        owner
    };
    let of = policy.rules.iter().filter(|rule| rule.owner == owner);
    let acls: Vec<Uuid> = of.map(|rule| rule.uuid).collect();
    operations.push(match owner {
        Owner::Switch(switch) => {
            let columns = vec![nb::LogicalSwitch::COLUMN.acls.to(&acls)];
            Operation::update_row(nb::LogicalSwitch::INDEX, switches[switch], columns)
        }
        Owner::Group(group) => {
            let columns = vec![nb::PortGroup::COLUMN.acls.to(&acls)];
            Operation::update_row(nb::PortGroup::INDEX, groups[group], columns)
        }
    });
    world.north(operations);
}

fn network(rng: &mut Rng) -> (World, Policy, Vec<Uuid>, Vec<Uuid>) {
    let mut world = World::new();
    let mut operations = Vec::new();
    let ports: Vec<Uuid> = (0..2 * PORTS).map(|_| rng.uuid()).collect();
    for (guest, uuid) in ports.iter().enumerate() {
        let (v4, v6) = (address(guest, true), address(guest, false));
        let row = nb::LogicalSwitchPort {
            name: format!("p{guest}").into(),
            addresses: vec![format!("02:00:00:00:00:{:02x} {v4} {v6}", guest + 1).into()],
            ..Default::default()
        };
        operations.push(insert(*uuid, &row));
    }
    let switches = vec![rng.uuid(), rng.uuid()];
    for (switch, ports) in switches.iter().zip(ports.chunks(PORTS)) {
        let row = nb::LogicalSwitch {
            name: switch.to_string().into(),
            ports: ports.to_vec(),
            ..Default::default()
        };
        operations.push(insert(*switch, &row));
    }
    let uuids = vec![rng.uuid(), rng.uuid()];
    let mut groups = Vec::new();
    for (number, uuid) in uuids.iter().enumerate() {
        let members: BTreeSet<usize> = (0..2 * PORTS).filter(|_| rng.once_in(3)).collect();
        let row = nb::PortGroup {
            name: format!("g{number}").into(),
            ports: members.iter().map(|guest| ports[*guest]).collect(),
            ..Default::default()
        };
        operations.push(insert(*uuid, &row));
        groups.push(members);
    }
    let hosts: Vec<Arc<str>> = HOSTS
        .map(|guest| address(guest, true).to_string().into())
        .into();
    let set = nb::AddressSet {
        name: "hosts".into(),
        addresses: hosts,
        ..Default::default()
    };
    operations.push(insert(rng.uuid(), &set));
    let drops_by_default = rng.once_in(4);
    if drops_by_default && let Some((uuid, _)) = world.nb::<nb::NbGlobal>().pop() {
        let options = [("default_acl_drop".into(), "true".into())].into();
        let columns = vec![nb::NbGlobal::COLUMN.options.to(&options)];
        operations.push(Operation::update_row(nb::NbGlobal::INDEX, uuid, columns));
    }
    world.north(operations);
    let policy = Policy {
        rules: Vec::new(),
        groups,
        drops_by_default,
    };
    (world, policy, switches, uuids)
}
