//! The cases of the suite: policies of every kind of peers, ports and targets, and what becomes of them.

use super::{Allowed, Case, Cluster, Peer, Pod, Policy, Ports, SCTP, Selector, TCP, UDP};

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
pub(super) fn cases() -> Vec<Case> {
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
