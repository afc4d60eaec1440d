//! The Kubernetes network-policy suite "cyclonus", as port groups and rules: three namespaces `x`, `y`, `z` with the pods `a`, `b`, `c`
//! each, all of which serve TCP, UDP and SCTP on two ports; in each case there are policies, something may change, and every pod asks
//! every other for every service.
//!
//! The model ([`Cluster::allows`]) decides by labels what Kubernetes promises: a pod that some policy of a direction selects is isolated in
//! it, and then what any of those policies allows passes; replies always do. The translation ([`Cluster::rows`]) is what a network plugin
//! writes: for each policy a port group of the pods that it selects, with a rule that drops and, above it, rules that allow.
//!
//! The cases are made here from the public description of the suite's features: 230 of them.

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

/// One direction of a policy.
fn one_way(
    is_ingress: bool,
    (namespace, pods): (&'static str, Selector),
    allowed: Vec<Allowed>,
) -> Policy {
    let (ingress, egress) = match is_ingress {
        true => (Some(allowed), None),
        false => (None, Some(allowed)),
    };
    Policy {
        namespace,
        pods,
        ingress,
        egress,
    }
}

fn to(peers: &[Peer], ports: &[Ports]) -> Vec<Allowed> {
    vec![Allowed {
        peers: peers.to_vec(),
        ports: ports.to_vec(),
    }]
}

/// Pods of the other namespaces, by every kind of selectors.
fn peers_by_label() -> Vec<Peer> {
    let namespaces = [
        None,
        Some(Selector::All),
        Some(Selector::Is("ns", "y")),
        Some(Selector::In("ns", &["y", "z"])),
        Some(Selector::Is("ns", "nowhere")),
    ];
    let pods = [
        Selector::All,
        Selector::Is("pod", "b"),
        Selector::In("pod", &["b", "c"]),
        Selector::NotIn("pod", &["b", "c"]),
        Selector::Is("pod", "nobody"),
    ];
    let all = namespaces
        .iter()
        .flat_map(|of| pods.iter().map(|pods| Peer::Pods(of.clone(), pods.clone())));
    all.collect()
}

fn networks(is_ip4: bool) -> [Peer; 5] {
    match is_ip4 {
        true => [
            Peer::Network("10.0.0.5/32", &[]),
            Peer::Network("0.0.0.0/0", &[]),
            Peer::Network("0.0.0.0/0", &["10.0.0.5/32"]),
            Peer::Network("10.0.0.0/24", &["10.0.0.4/30", "10.0.0.1/32"]),
            Peer::Network("192.0.2.0/24", &[]),
        ],
        false => [
            Peer::Network("fd00::5/128", &[]),
            Peer::Network("::/0", &[]),
            Peer::Network("::/0", &["fd00::5/128"]),
            Peer::Network("fd00::/64", &["fd00::4/126", "fd00::1/128"]),
            Peer::Network("2001:db8::/32", &[]),
        ],
    }
}

const DIRECTIONS: [(bool, &str); 2] = [(true, "ingress"), (false, "egress")];

fn xa() -> (&'static str, Selector) {
    ("x", Selector::Is("pod", "a"))
}

/// All cases.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (is_ingress, direction) in DIRECTIONS {
        peers(is_ingress, direction, &mut cases);
        ports(is_ingress, direction, &mut cases);
        rules(is_ingress, direction, &mut cases);
        targets(is_ingress, direction, &mut cases);
        changes(is_ingress, direction, &mut cases);
    }
    stacks(&mut cases);
    cases
}

fn case(cases: &mut Vec<Case>, name: String, steps: impl Into<Vec<Cluster>>) {
    cases.push(Case {
        name,
        steps: steps.into(),
    });
}

/// 2 × (25 + 5 + 5 + 12).
fn peers(is_ingress: bool, direction: &str, cases: &mut Vec<Case>) {
    let all = peers_by_label();
    let by_label = all.iter().map(|peer| (true, peer.clone()));
    let by_network = [true, false].into_iter();
    let by_network = by_network.flat_map(|is_ip4| networks(is_ip4).map(|peer| (is_ip4, peer)));
    // Labels mean the same for addresses of both families.
    let again = all
        .iter()
        .step_by(2)
        .take(12)
        .map(|peer| (false, peer.clone()));
    for (is_ip4, peer) in by_label.chain(by_network).chain(again) {
        let name = format!("{direction}: peer {peer:?}, IPv4 {is_ip4}");
        let allowed = to(&[peer], &[Ports::Number(TCP, 80)]);
        let cluster = Cluster::new(is_ip4).with("p", one_way(is_ingress, xa(), allowed));
        case(cases, name, [cluster]);
    }
}

/// 2 × 20.
fn ports(is_ingress: bool, direction: &str, cases: &mut Vec<Case>) {
    let mut all = vec![Ports::Named("serve-80-tcp"), Ports::Named("nothing")];
    for proto in [TCP, UDP, SCTP] {
        all.extend([
            Ports::All(proto),
            Ports::Number(proto, 80),
            Ports::Number(proto, 81),
            Ports::Number(proto, 7981),
            Ports::Range(proto, 79, 80),
            Ports::Range(proto, 80, 81),
        ]);
    }
    for ports in all {
        let name = format!("{direction}: {ports:?}");
        let policy = one_way(is_ingress, xa(), to(&[], &[ports]));
        case(cases, name, [Cluster::new(true).with("p", policy)]);
    }
}

/// 2 × 9.
fn rules(is_ingress: bool, direction: &str, cases: &mut Vec<Case>) {
    let y = || Peer::Pods(Some(Selector::Is("ns", "y")), Selector::All);
    let b = || Peer::Pods(None, Selector::Is("pod", "b"));
    let (tcp, udp) = (Ports::Number(TCP, 80), Ports::Number(UDP, 81));
    let all: [(&str, Vec<Allowed>); 9] = [
        ("deny all", vec![]),
        ("allow all", vec![Allowed::default()]),
        ("any peer, a port", to(&[], &[tcp])),
        ("a peer, any port", to(&[y()], &[])),
        ("two peers", to(&[y(), b()], &[])),
        ("two ports", to(&[], &[tcp, udp])),
        ("two peers, two ports", to(&[y(), b()], &[tcp, udp])),
        (
            "two rules",
            [to(&[y()], &[tcp]), to(&[b()], &[udp])].concat(),
        ),
        (
            "one rule twice",
            [to(&[y()], &[tcp]), to(&[y()], &[tcp])].concat(),
        ),
    ];
    for (what, allowed) in all {
        let policy = one_way(is_ingress, xa(), allowed);
        let name = format!("{direction}: {what}");
        case(cases, name, [Cluster::new(true).with("p", policy)]);
    }
}

/// 2 × 15.
fn targets(is_ingress: bool, direction: &str, cases: &mut Vec<Case>) {
    for namespace in ["x", "y", "z"] {
        for pods in [
            Selector::All,
            Selector::Is("pod", "a"),
            Selector::In("pod", &["b", "c"]),
            Selector::NotIn("pod", &["b"]),
            Selector::Has("nothing"),
        ] {
            let name = format!("{direction}: target {namespace} {pods:?}");
            let policy = one_way(is_ingress, (namespace, pods), to(&[], &[Ports::All(TCP)]));
            case(cases, name, [Cluster::new(true).with("p", policy)]);
        }
    }
}

/// 2 × 12.
fn changes(is_ingress: bool, direction: &str, cases: &mut Vec<Case>) {
    let peer = Peer::Pods(
        Some(Selector::Is("ns", "y")),
        Selector::In("pod", &["b", "c"]),
    );
    let policy =
        |ports: &[Ports]| one_way(is_ingress, xa(), to(std::slice::from_ref(&peer), ports));
    let before = || Cluster::new(true).with("p", policy(&[Ports::All(TCP)]));
    let mut step = |what: &str, changed: &dyn Fn(&mut Cluster)| {
        let mut after = before();
        changed(&mut after);
        let name = format!("{direction}: {what}");
        case(cases, name, [before(), after, before()]);
    };
    step("the policy goes", &|c| c.policies.clear());
    step("the policy allows another port", &|c| {
        c.policies.insert("p", policy(&[Ports::Number(UDP, 80)]));
    });
    step("the policy is said twice", &|c| {
        c.policies.insert("q", policy(&[Ports::All(TCP)]));
    });
    step("a second policy denies all", &|c| {
        let all = ("x", Selector::All);
        c.policies.insert("q", one_way(is_ingress, all, vec![]));
    });
    step("the policy selects others", &|c| {
        let others = ("x", Selector::HasNot("nothing"));
        c.policies.insert("p", one_way(is_ingress, others, vec![]));
    });
    step("a namespace has another label", &|c| {
        c.namespaces.insert("y", [("ns", "other")].into());
    });
    step("a second namespace has the label", &|c| {
        c.namespaces.insert("z", [("ns", "y")].into());
    });
    step("the target has another label", &|c| {
        c.pods[0].labels = [("pod", "other")].into();
    });
    step("a peer has another label", &|c| {
        c.pods[4].labels = [("pod", "other")].into();
    });
    step("a peer goes", &|c| drop(c.pods.remove(4)));
    step("the target goes", &|c| drop(c.pods.remove(0)));
    step("a pod comes", &|c| {
        c.pods.push(Pod {
            namespace: "y",
            name: "d",
            labels: [("pod", "b")].into(),
            number: 20,
        });
    });
}

/// 24: policies of both directions, and two that contradict each other.
fn stacks(cases: &mut Vec<Case>) {
    let (deny, allow) = (Vec::new, || vec![Allowed::default()]);
    let some = || to(&[], &[Ports::Number(TCP, 80)]);
    for (what, ingress, egress) in [
        ("deny, deny", deny(), deny()),
        ("deny, allow", deny(), allow()),
        ("allow, deny", allow(), deny()),
        ("allow, allow", allow(), allow()),
        ("some, deny", some(), deny()),
        ("deny, some", deny(), some()),
        ("some, some", some(), some()),
        ("some, allow", some(), allow()),
    ] {
        let policy = Policy {
            namespace: "x",
            pods: Selector::Is("pod", "a"),
            ingress: Some(ingress),
            egress: Some(egress),
        };
        let cluster = Cluster::new(true).with("p", policy);
        case(cases, format!("ingress {what} egress"), [cluster]);
    }
    // What the sender's policy and the receiver's say.
    let ends = [("x", "y"), ("y", "x"), ("x", "x"), ("z", "y")];
    for (sender, receiver) in ends {
        for (what, out, into) in [
            ("deny against allow", deny(), allow()),
            ("allow against deny", allow(), deny()),
            ("allow against some", allow(), some()),
            ("some against some", some(), some()),
        ] {
            let cluster = Cluster::new(true)
                .with("p", one_way(false, (sender, Selector::All), out))
                .with("q", one_way(true, (receiver, Selector::All), into));
            case(cases, format!("{sender} to {receiver}: {what}"), [cluster]);
        }
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
    let cases = cases();
    assert_eq!(cases.len(), 230);
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "each case is another");
    let mut sent = 0;
    for case in &cases {
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
            let mut chassis = Chassis::new(&world);
            chassis.connections = Some(Connections::default().into());
            sent += probe(case, cluster, &chassis);
            before = Some(cluster);
        }
    }
    assert!(sent > 150_000, "{sent}");
}
