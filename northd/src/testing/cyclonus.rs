//! The Kubernetes network-policy suite "cyclonus", as port groups and rules: three namespaces `x`, `y`, `z` with the pods `a`, `b`, `c`
//! each, all of which serve TCP, UDP and SCTP on two ports; in each case there are policies, something may change, and every pod asks
//! every other for every service.
//!
//! The model ([`Cluster::allows`]) decides by labels what Kubernetes promises: a pod that some policy of a direction selects is isolated in
//! it, and then what any of those policies allows passes; replies always do. The translation ([`Cluster::rows`]) is what a network plugin
//! writes: for each policy a port group of the pods that it selects, with a rule that drops and, above it, rules that allow.
//!
//! The cases are made here from the public description of the suite's features: 230 of them (`cases.rs`). The test end to end takes them
//! from a file, and so must say the same (`written.rs`).

mod cases;
mod written;

use std::collections::{BTreeMap, BTreeSet};
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
use super::{World, insert};

const TCP: u128 = 6;
const UDP: u128 = 17;
const SCTP: u128 = 132;
/// What each pod serves, with the names of its ports.
const SERVICES: [(u128, u128, &str); 6] = [
    (TCP, 80, "serve-80-tcp"),
    (TCP, 81, "serve-81-tcp"),
    (UDP, 80, "serve-80-udp"),
    (UDP, 81, "serve-81-udp"),
    (SCTP, 80, "serve-80-sctp"),
    (SCTP, 81, "serve-81-sctp"),
];

type Labels = BTreeMap<&'static str, &'static str>;

/// Which labels are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selector {
    All,
    Is(&'static str, &'static str),
    In(&'static str, &'static [&'static str]),
    NotIn(&'static str, &'static [&'static str]),
    Has(&'static str),
    HasNot(&'static str),
}

impl Selector {
    fn selects(&self, labels: &Labels) -> bool {
        let value = |key| labels.get(key).copied();
        match self {
            Self::All => true,
            Self::Is(key, wanted) => value(key) == Some(wanted),
            Self::In(key, wanted) => value(key).is_some_and(|value| wanted.contains(&value)),
            Self::NotIn(key, wanted) => value(key).is_none_or(|value| !wanted.contains(&value)),
            Self::Has(key) => value(key).is_some(),
            Self::HasNot(key) => value(key).is_none(),
        }
    }
}

/// The other end of what is allowed.
#[derive(Debug, Clone)]
enum Peer {
    /// Pods of namespaces; without a selector of namespaces, of the policy's own.
    Pods(Option<Selector>, Selector),
    /// A network, but for others in it.
    Network(&'static str, &'static [&'static str]),
}

/// Ports that are allowed.
#[derive(Debug, Clone, Copy)]
enum Ports {
    All(u128),
    Number(u128, u128),
    Range(u128, u128, u128),
    Named(&'static str),
}

/// What is allowed: with one of the peers and by one of the ports; none of either is any.
#[derive(Debug, Clone, Default)]
struct Allowed {
    peers: Vec<Peer>,
    ports: Vec<Ports>,
}

#[derive(Debug, Clone)]
struct Policy {
    namespace: &'static str,
    pods: Selector,
    /// Nothing where the policy says nothing of the direction.
    ingress: Option<Vec<Allowed>>,
    egress: Option<Vec<Allowed>>,
}

#[derive(Debug, Clone)]
struct Pod {
    namespace: &'static str,
    name: &'static str,
    labels: Labels,
    /// The last byte of its addresses.
    number: usize,
}

#[derive(Debug, Clone)]
struct Cluster {
    namespaces: BTreeMap<&'static str, Labels>,
    pods: Vec<Pod>,
    policies: BTreeMap<&'static str, Policy>,
    is_ip4: bool,
}

/// A case: what there is, and what becomes of it step by step.
struct Case {
    name: String,
    steps: Vec<Cluster>,
}

impl Pod {
    fn id(&self) -> String {
        format!("{}-{}", self.namespace, self.name)
    }

    fn address(&self, is_ip4: bool) -> IpAddr {
        let text = match is_ip4 {
            true => format!("10.0.0.{}", self.number),
            false => format!("fd00::{}", self.number),
        };
        text.parse().expect("an address")
    }
}

impl Cluster {
    fn new(is_ip4: bool) -> Self {
        let namespaces = ["x", "y", "z"];
        let pods = namespaces
            .iter()
            .flat_map(|namespace| ["a", "b", "c"].map(|name| (*namespace, name)));
        let pods = pods.zip(1..).map(|((namespace, name), number)| Pod {
            namespace,
            name,
            labels: [("pod", name)].into(),
            number,
        });
        Self {
            namespaces: namespaces.map(|name| (name, [("ns", name)].into())).into(),
            pods: pods.collect(),
            policies: BTreeMap::new(),
            is_ip4,
        }
    }

    fn with(mut self, name: &'static str, policy: Policy) -> Self {
        self.policies.insert(name, policy);
        self
    }

    fn selects(&self, policy: &Policy, pod: &Pod) -> bool {
        pod.namespace == policy.namespace && policy.pods.selects(&pod.labels)
    }

    /// What Kubernetes promises.
    fn allows(&self, from: &Pod, to: &Pod, service: (u128, u128, &str)) -> bool {
        let passes = |isolated: &Pod, other: &Pod, is_ingress: bool| {
            let policies = self.policies.values();
            let mut concerned = policies
                .filter(|policy| self.selects(policy, isolated))
                .filter_map(|policy| {
                    let said = if is_ingress {
                        &policy.ingress
                    } else {
                        &policy.egress
                    };
                    said.as_ref().map(|allowed| (policy, allowed))
                })
                .peekable();
            concerned.peek().is_none()
                || concerned.any(|(policy, allowed)| {
                    allowed.iter().any(|allowed| {
                        let mut peers = allowed.peers.iter();
                        let is_peer = allowed.peers.is_empty()
                            || peers.any(|peer| self.is_peer(policy, peer, other));
                        let mut ports = allowed.ports.iter();
                        let is_port =
                            allowed.ports.is_empty() || ports.any(|ports| ports.are(service));
                        is_peer && is_port
                    })
                })
        };
        passes(from, to, false) && passes(to, from, true)
    }

    fn is_peer(&self, policy: &Policy, peer: &Peer, pod: &Pod) -> bool {
        match peer {
            Peer::Pods(namespaces, pods) => {
                let is_there = match namespaces {
                    None => pod.namespace == policy.namespace,
                    Some(selector) => selector.selects(&self.namespaces[pod.namespace]),
                };
                is_there && pods.selects(&pod.labels)
            }
            Peer::Network(network, others) => {
                let ip = pod.address(self.is_ip4);
                let is_in =
                    |text: &&str| text.parse::<addr::Cidr>().expect("a network").contains(ip);
                is_in(network) && !others.iter().any(&is_in)
            }
        }
    }

    /// The northbound rows: all of the policies, and the pods that come or go since `before`.
    fn rows(&self, before: Option<&Self>, world: &World, switch: Uuid) -> Vec<Operation> {
        let mut operations = Vec::new();
        let uuid = |pod: &Pod| Uuid::from_u128(1000 + pod.number as u128);
        let ports: Vec<Uuid> = self.pods.iter().map(uuid).collect();
        for pod in &self.pods {
            let known = before.into_iter().flat_map(|before| &before.pods);
            if known.into_iter().any(|known| known.number == pod.number) {
                continue;
            }
            let [ip4, ip6] = [true, false].map(|is_ip4| pod.address(is_ip4));
            let row = nb::LogicalSwitchPort {
                name: pod.id().into(),
                addresses: vec![format!("02:00:00:00:00:{:02x} {ip4} {ip6}", pod.number).into()],
                ..Default::default()
            };
            operations.push(insert(uuid(pod), &row));
        }
        let column = nb::LogicalSwitch::COLUMN.ports.to(&ports);
        operations.push(Operation::update_row(
            nb::LogicalSwitch::INDEX,
            switch,
            vec![column],
        ));
        let groups = world.nb::<nb::PortGroup>().into_iter();
        operations.extend(groups.map(|(row, _)| Operation::delete_row(nb::PortGroup::INDEX, row)));
        let sets = world.nb::<nb::AddressSet>().into_iter();
        operations.extend(sets.map(|(row, _)| Operation::delete_row(nb::AddressSet::INDEX, row)));
        for (name, policy) in &self.policies {
            self.translate(name, policy, &uuid, &mut operations);
        }
        operations
    }

    fn translate(
        &self,
        name: &str,
        policy: &Policy,
        uuid: &impl Fn(&Pod) -> Uuid,
        operations: &mut Vec<Operation>,
    ) {
        let group = format!("np_{name}");
        let selected = self.pods.iter().filter(|pod| self.selects(policy, pod));
        let mut acls = Vec::new();
        let mut sets = 0;
        for (said, is_ingress) in [(&policy.ingress, true), (&policy.egress, false)] {
            let Some(allowed) = said else { continue };
            let (port, direction) = match is_ingress {
                true => ("outport", "to-lport"),
                false => ("inport", "from-lport"),
            };
            let mut rule = |action: &str, priority: i64, only: String, operations: &mut Vec<_>| {
                let mut row = nb::Acl {
                    priority,
                    direction: direction.into(),
                    action: action.into(),
                    r#match: format!("{port} == @{group} && {only}").into(),
                    ..Default::default()
                };
                if !is_ingress {
                    row.options.insert("apply-after-lb".into(), "true".into());
                }
                let uuid = Uuid::new_v4();
                operations.push(insert(uuid, &row));
                acls.push(uuid);
            };
            rule("drop", 1000, "ip".into(), operations);
            for allowed in allowed {
                let peers = match allowed.peers.is_empty() {
                    true => vec!["ip".to_owned()],
                    false => {
                        let mut texts = Vec::new();
                        for peer in &allowed.peers {
                            sets += 1;
                            let set = format!("{group}_{sets}");
                            texts.push(self.peer(policy, peer, is_ingress, &set, operations));
                        }
                        texts
                    }
                };
                let ports = allowed.ports.iter().filter_map(Ports::text);
                let mut ports: Vec<String> = ports.collect();
                if allowed.ports.is_empty() {
                    ports.push("ip".to_owned());
                }
                for peer in &peers {
                    for ports in &ports {
                        let only = format!("{peer} && {ports}");
                        rule("allow-related", 1001, only, operations);
                    }
                }
            }
        }
        let row = nb::PortGroup {
            name: group.into(),
            ports: selected.map(uuid).collect(),
            acls,
            ..Default::default()
        };
        operations.push(insert(Uuid::new_v4(), &row));
    }

    /// The match of a peer, for whose pods there is an address set.
    fn peer(
        &self,
        policy: &Policy,
        peer: &Peer,
        is_ingress: bool,
        set: &str,
        operations: &mut Vec<Operation>,
    ) -> String {
        let family = if self.is_ip4 { "ip4" } else { "ip6" };
        let end = if is_ingress { "src" } else { "dst" };
        match peer {
            Peer::Network(network, others) => {
                let others: Vec<String> = others
                    .iter()
                    .map(|other| format!(" && {family}.{end} != {other}"))
                    .collect();
                format!("{family}.{end} == {network}{}", others.concat())
            }
            Peer::Pods(..) => {
                let pods = self
                    .pods
                    .iter()
                    .filter(|pod| self.is_peer(policy, peer, pod));
                let addresses: Vec<Arc<str>> = pods
                    .map(|pod| pod.address(self.is_ip4).to_string().into())
                    .collect();
                let row = nb::AddressSet {
                    name: set.into(),
                    addresses,
                    ..Default::default()
                };
                operations.push(insert(Uuid::new_v4(), &row));
                format!("{family}.{end} == ${set}")
            }
        }
    }
}

impl Ports {
    fn are(&self, (proto, port, name): (u128, u128, &str)) -> bool {
        match *self {
            Self::All(of) => of == proto,
            Self::Number(of, wanted) => (of, wanted) == (proto, port),
            Self::Range(of, from, to) => of == proto && (from..=to).contains(&port),
            Self::Named(wanted) => wanted == name,
        }
    }

    /// The match; nothing for a name that no pod gives a port.
    fn text(&self) -> Option<String> {
        let word = |proto| match proto {
            TCP => "tcp",
            UDP => "udp",
            _ => "sctp",
        };
        Some(match *self {
            Self::All(of) => word(of).to_owned(),
            Self::Number(of, port) => format!("{}.dst == {port}", word(of)),
            Self::Range(of, from, to) => {
                let of = word(of);
                format!("{of}.dst >= {from} && {of}.dst <= {to}")
            }
            Self::Named(name) => {
                let mut services = SERVICES.iter();
                let (of, port, _) = services.find(|(_, _, known)| *known == name)?;
                format!("{}.dst == {port}", word(*of))
            }
        })
    }
}

/// A packet of one pod to another, or its answer.
fn packet(is_ip4: bool, from: &Pod, to: &Pod, (proto, ports): (u128, (u128, u128))) -> State {
    let bits = |pod: &Pod| match pod.address(is_ip4) {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let mac = |pod: &Pod| 0x0200_0000_0000 + pod.number as u128;
    let (kind, src, dst) = match is_ip4 {
        true => (0x800u128, Base::Ip4Src, Base::Ip4Dst),
        false => (0x86dd, Base::Ip6Src, Base::Ip6Dst),
    };
    let (source, destination) = match proto {
        TCP => (Base::TcpSrc, Base::TcpDst),
        UDP => (Base::UdpSrc, Base::UdpDst),
        _ => (Base::SctpSrc, Base::SctpDst),
    };
    State::default()
        .with(Base::EthSrc, mac(from))
        .with(Base::EthDst, mac(to))
        .with(Base::EthType, kind)
        .with(Base::IpProto, proto)
        .with(Base::IpTtl, 64u128)
        .with(src, bits(from))
        .with(dst, bits(to))
        .with(source, ports.0)
        .with(destination, ports.1)
}

/// Every pod asks every other for every service, and is answered if the model says so; how many packets that were.
fn probe(case: &Case, cluster: &Cluster, chassis: &Chassis) -> usize {
    let mut sent = 0;
    for from in &cluster.pods {
        let (datapath, port) = chassis.find(&from.id());
        for to in cluster.pods.iter().filter(|to| to.number != from.number) {
            for service in SERVICES {
                let wanted = cluster.allows(from, to, service);
                let (proto, asked, _) = service;
                let there = packet(cluster.is_ip4, from, to, (proto, (40_000, asked)));
                let heard = chassis.send_state(datapath, port, &there);
                let is_heard = heard.iter().any(|(name, _)| **name == *to.id());
                assert_eq!(
                    is_heard,
                    wanted,
                    "{}: {} to {}, {service:?}: {:#?}",
                    case.name,
                    from.id(),
                    to.id(),
                    cluster.policies
                );
                sent += 1;
                if wanted {
                    let back = packet(cluster.is_ip4, to, from, (proto, (asked, 40_000)));
                    let (datapath, port) = chassis.find(&to.id());
                    let heard = chassis.send_state(datapath, port, &back);
                    let is_answered = heard.iter().any(|(name, _)| **name == *from.id());
                    assert!(is_answered, "{}: no answer of {}", case.name, to.id());
                    sent += 1;
                }
            }
        }
    }
    sent
}

#[test]
fn pods_reach_each_other_as_network_policies_say() {
    let cases = cases::cases();
    assert_eq!(cases.len(), 230);
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "each case is another");
    let mut sent = 0;
    let mut written = written::Written::default();
    for case in &cases {
        written.begin(case);
        let mut world = World::new();
        let switch = Uuid::from_u128(1);
        // Connections are tracked also where policies allow nothing: whoever may ask is answered.
        let tracked = nb::Acl {
            priority: 1,
            direction: "from-lport".into(),
            r#match: "ip".into(),
            action: "allow-related".into(),
            ..Default::default()
        };
        let acl = Uuid::from_u128(2);
        let row = nb::LogicalSwitch {
            name: "cluster".into(),
            acls: vec![acl],
            ..Default::default()
        };
        world.north(vec![insert(acl, &tracked), insert(switch, &row)]);
        let mut before = None;
        for cluster in &case.steps {
            let operations = cluster.rows(before, &world, switch);
            world.north(operations);
            written.step(cluster, &world);
            let mut chassis = Chassis::new(&world);
            chassis.connections = Some(Connections::default().into());
            sent += probe(case, cluster, &chassis);
            before = Some(cluster);
        }
    }
    assert!(sent > 150_000, "{sent}");
    written.check();
}
