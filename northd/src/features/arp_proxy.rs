//! Addresses that a switch's port to a router answers for, and that are behind the router (`options:arp_proxy`).
//!
//! The option is a MAC, or none for the router's own, and addresses and networks of either family. Arrives: requests of guests
//! that nobody known has answered. Guarantees that one for such an address is answered with the MAC, by the longest network
//! of all ports of the switch, and that what guests then send there goes to the router, which needs a route. What a physical
//! network asks everybody is not answered: every chassis would do it.
//!
//! Of several ports with the same network, or the same MAC, the first has it; a MAC of another port stays that port's.
//! The router never sees a MAC that is not its own: the switch puts that one in its place.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{AddrError, Cidr, Mac};
use lflow::action::Transform;
use lflow::{Expr, Int, Symbol, a, m};
use nb_db::tables::LogicalSwitchPort;
use relations::{Bucket, Handle, Relation, Small};
use uuid::Uuid;

use super::neighbours::ASKED;
use super::ports::{self, ASSIGNED, BINDING, ENTRANCE, LINK, MACS, PORT, PortView, TO_ROUTER};
use super::switch::DATAPATH;
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::identity;
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// The key.
const KEY: &str = "arp_proxy";
/// More networks than these of a port are left out.
const MAX_NETWORKS: usize = 1_024;

/// What ports answer for.
static PROXY: Relation<Handle, Arc<Proxy>> = Relation::new("arp proxy");
/// The ports that answer for a network of a switch, or with a MAC.
static CLAIMED: Bucket<Uuid, Uuid> = Bucket::new("proxied network or mac");

const ANSWER: Rule = Rule::new(
    Stage::InAnswer,
    228,
    "a request to everybody for an address of nobody known, or to a router's port that answers for it, at 100 + prefix: reply to the asker",
);
const TO_MAC: Rule = Rule::new(
    Stage::InLookup,
    50,
    "the MAC with which a router's port answers for others: to that port, with the router's MAC",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index])
            .keys(&[(LogicalSwitchPort::COLUMN.options.index, &[KEY])]),
    ],
    relations: &[&PROXY, &CLAIMED],
    kinds: &[&MODEL, &FLOWS],
    rules: &[ANSWER, TO_MAC],
    #[cfg(test)]
    operator: &[Change {
        weight: 2,
        run: tests::change,
    }],
    ..Feature::new("arp proxy")
};

/// What a port answers for, each network once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proxy {
    mac: Option<Mac>,
    networks: Vec<Cidr>,
}

static MODEL: Kind = Kind {
    name: "model/arp-proxy",
    over: Over::Keys(&TO_ROUTER),
    reads: &[],
    says: &[&PROXY, &CLAIMED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = LogicalSwitchPort::COLUMN;
        let options = Options::read(column.options.name, columns.get(column.options.index));
        let Some(text) = options.text(KEY) else {
            return;
        };
        let mut complaints = unit.complaints::<LogicalSwitchPort>(row, column.name.get(columns));
        let proxy = Proxy::parse(text, &mut complaints);
        unit.problems(complaints.into_problems());
        let (Some(proxy), Some(switch)) = (proxy, ports::owner(unit, row)) else {
            return;
        };
        let (switch, who) = (unit.uuid(switch), unit.uuid(row));
        for claim in proxy.claims(switch) {
            unit.join(&CLAIMED, claim, who);
        }
        unit.say(&PROXY, row, Arc::new(proxy));
    },
};

impl Proxy {
    /// Reads the option. Words that make no sense are left out, and so is the whole if nothing is left.
    fn parse(text: &str, complaints: &mut Complaints) -> Option<Self> {
        let column = LogicalSwitchPort::COLUMN.options.name;
        let mut proxy = Self {
            mac: None,
            networks: Vec::new(),
        };
        let mut wrong = |at: usize, error: &AddrError| {
            let why = format!("{:?} is not {}", error.word, error.wanted);
            let remedy = "it is left out: write [MAC] IP[/LENGTH]..";
            complaints.invalid(column, text, at + error.at, why, remedy);
        };
        for (place, (at, word)) in words(text).enumerate() {
            match (word.parse::<Mac>(), word.parse::<Cidr>()) {
                (Ok(mac), _) if place == 0 && !mac.is_multicast() && !mac.is_zero() => {
                    proxy.mac = Some(mac);
                }
                (_, Ok(network)) => {
                    let network = network.network();
                    if !proxy.networks.contains(&network) {
                        proxy.networks.push(network);
                    }
                }
                (_, Err(error)) => wrong(at, &error),
            }
        }
        if proxy.networks.len() > MAX_NETWORKS {
            let why = format!(
                "{} networks are more than {MAX_NETWORKS}",
                proxy.networks.len()
            );
            complaints.text(column, KEY, 0, why, "those beyond are left out");
            proxy.networks.truncate(MAX_NETWORKS);
        }
        (!proxy.networks.is_empty()).then_some(proxy)
    }

    /// What only one port of a switch can answer for, or with.
    fn claims(&self, switch: Uuid) -> impl Iterator<Item = Uuid> {
        let mac = self.mac.map(|mac| claim(switch, &mac.to_string()));
        let networks = self.networks.iter();
        mac.into_iter()
            .chain(networks.map(move |network| claim(switch, &network.to_string())))
    }
}

fn claim(switch: Uuid, what: &str) -> Uuid {
    identity::derive(&[b"arp proxy", switch.as_bytes(), what.as_bytes()])
}

/// The words of a text, with where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.split_whitespace().next()?;
        let at = rest.find(word)?;
        let begin = text.len() - rest.len() + at;
        rest = &rest[at + word.len()..];
        Some((begin, word))
    })
}

static FLOWS: Kind = Kind {
    name: "arp-proxy",
    over: Over::Keys(&PROXY),
    reads: &[
        &PROXY, &CLAIMED, &PORT, &BINDING, &LINK, &ASSIGNED, &ENTRANCE, &MACS, &DATAPATH,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let (Some(view), Some(proxy)) = (
            ports::view(unit, key),
            unit.get(&PROXY, Handle::unpack(key)),
        ) else {
            return;
        };
        let Some(link) = view.link.filter(|_| view.port.is_enabled) else {
            return;
        };
        let own = link.addresses.mac;
        let mut complaints =
            unit.complaints::<LogicalSwitchPort>(view.row, Arc::clone(&view.port.name));
        let mac = proxy.mac.unwrap_or(own);
        let is_free = mac == own || is_free(unit, &view, mac, &mut complaints);
        if is_free {
            answer(unit, &view, (proxy.as_ref(), mac), &mut complaints);
            if mac != own {
                deliver(unit, &view, mac, own);
            }
        }
        unit.problems(complaints.into_problems());
    },
};

/// Whether no other port has the MAC.
fn is_free(unit: &Unit<'_>, view: &PortView<'_>, mac: Mac, complaints: &mut Complaints) -> bool {
    let is_of_port = !unit.members(&MACS, (view.switch, mac)).is_empty();
    let is_first = has(unit, view, &mac.to_string());
    if is_of_port || !is_first {
        let who = if is_of_port {
            "a port of the switch has the MAC"
        } else {
            "another port of the switch answers with the MAC"
        };
        let column = LogicalSwitchPort::COLUMN.options.name;
        let remedy = "nothing is answered for here: write another one, or none for the router's";
        complaints.text(column, &mac.to_string(), 0, who, remedy);
    }
    !is_of_port && is_first
}

/// Whether of all ports of the switch that answer for a network, or with a MAC, this is the first.
fn has(unit: &Unit<'_>, view: &PortView<'_>, what: &str) -> bool {
    let claim = claim(unit.uuid(view.switch), what);
    unit.members(&CLAIMED, claim).first() == Some(&unit.uuid(view.row))
}

fn answer(
    unit: &mut Unit<'_>,
    view: &PortView<'_>,
    (proxy, mac): (&Proxy, Mac),
    complaints: &mut Complaints,
) {
    let (good, taken): (Vec<Cidr>, Vec<Cidr>) = proxy
        .networks
        .iter()
        .copied()
        .partition(|network| has(unit, view, &network.to_string()));
    for network in taken {
        let column = LogicalSwitchPort::COLUMN.options.name;
        let why = "another port of the switch answers for it";
        let remedy = "it is left out here: remove it from one of them";
        complaints.text(column, &network.to_string(), 0, why, remedy);
    }
    let mut flows = view.flows(unit);
    for network in good {
        let rule = ANSWER.at(100 + u16::from(network.prefix_len()));
        // Who has been answered asks again, that one alone, whether it is still there.
        let asked = (unanswered() | m::eth_dst(mac)) & request(network);
        match network.addr() {
            IpAddr::V4(_) => {
                let reply = [
                    a::copy(Symbol::EthDst, Symbol::EthSrc),
                    a::set(Symbol::EthSrc, mac),
                    a::set(Symbol::ArpOp, Int::new(2)),
                    a::copy(Symbol::ArpTha, Symbol::ArpSha),
                    a::set(Symbol::ArpSha, mac),
                    a::exchange(Symbol::ArpTpa, Symbol::ArpSpa),
                    a::copy(Symbol::Outport, Symbol::Inport),
                    a::loopback(),
                    a::output(),
                ];
                flows.add(rule, &asked, reply);
            }
            IpAddr::V6(_) => {
                let advertisement = a::within(
                    Transform::NdNa,
                    [
                        a::set(Symbol::EthSrc, mac),
                        a::copy(Symbol::Ip6Src, Symbol::NdTarget),
                        a::set(Symbol::NdTll, mac),
                        a::copy(Symbol::Outport, Symbol::Inport),
                        a::loopback(),
                        a::output(),
                    ],
                );
                flows.add(rule, &asked, [advertisement]);
            }
        }
    }
}

/// A request to everybody that still goes to everybody: nobody known has the address.
fn unanswered() -> Expr {
    ASKED.is_set() & m::eq(Symbol::EthDst.bit(40), Int::new(1))
}

fn request(network: Cidr) -> Expr {
    match network.addr() {
        IpAddr::V4(_) => m::arp_op(1) & m::eq(Symbol::ArpTpa, network),
        IpAddr::V6(_) => m::nd_ns() & m::eq(Symbol::NdTarget, network),
    }
}

/// Packets to the MAC go where those to the router's go.
fn deliver(unit: &mut Unit<'_>, view: &PortView<'_>, mac: Mac, own: Mac) {
    let entrance = unit.get(&ENTRANCE, view.row);
    let way = entrance.map_or(&view.port.name, |entrance| &entrance.name);
    let residence = view.link.and_then(|link| link.residence.clone());
    let here = m::eth_dst(mac);
    let here = match residence.filter(|_| entrance.is_none()) {
        Some(residence) => here & m::resident(residence),
        None => here,
    };
    let deliver = [
        a::set(Symbol::EthDst, own),
        a::set_outport(way.clone()),
        a::output(),
    ];
    view.flows(unit).add(TO_MAC, &here, deliver);
}

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;
    use ovsdb::typed::Table;

    use super::*;
    use crate::testing::World;
    use crate::testing::random::Rng;

    /// A port answers for other addresses, or for none.
    pub(super) fn change(world: &mut World, rng: &mut Rng) -> String {
        let ports = world.nb::<LogicalSwitchPort>();
        let routers: Vec<_> = ports
            .into_iter()
            .filter(|(_, port)| &*port.r#type == "router")
            .collect();
        let Some((uuid, mut port)) = rng.pick(&routers).cloned() else {
            return "no port to a router".to_owned();
        };
        let texts = [
            "",
            "198.18.9.9",
            "0a:58:a9:fe:01:01 198.18.9.0/24 fd7b::/64",
            "0a:58:a9:fe:01:01  198.18.9.8/31 fd7b::7 ",
            "0a:58:a9:fe:01:02 198.18.8.0/22 nonsense",
        ];
        let text = texts[rng.below(texts.len())];
        match text {
            "" => drop(port.options.remove(KEY)),
            text => drop(port.options.insert(KEY.into(), text.into())),
        }
        let columns = vec![LogicalSwitchPort::COLUMN.options.to(&port.options)];
        let update = Operation::update_row(LogicalSwitchPort::INDEX, uuid, columns);
        world.north(vec![update]);
        format!("{} answers for {text:?}", port.name)
    }

    #[test]
    fn words_that_make_no_sense_are_named_and_the_rest_is_used() {
        for (text, expected, wrong) in [
            ("10.0.0.1", "None 10.0.0.1/32", vec![]),
            (
                "  02:00:00:00:00:01\t10.0.0.1  10.1.0.7/16 fd00::1 ",
                "Some 10.0.0.1/32 10.1.0.0/16 fd00::1/128",
                vec![],
            ),
            ("10.0.0.1 10.0.0.1/32", "None 10.0.0.1/32", vec![]),
            (
                "10.0.0.1  what 10.0.0.2",
                "None 10.0.0.1/32 10.0.0.2/32",
                vec![10],
            ),
            ("10.0.0.1 02:00:00:00:00:01", "None 10.0.0.1/32", vec![9]),
            ("01:00:00:00:00:01 10.0.0.1", "None 10.0.0.1/32", vec![0]),
            ("02:00:00:00:00:01", "", vec![]),
            ("10.0.0.1,10.0.0.2", "", vec![0]),
        ] {
            let mut complaints = Complaints::about("T", Uuid::nil(), "".into());
            let proxy = Proxy::parse(text, &mut complaints);
            let said = proxy.map_or_else(String::new, |proxy| {
                let mac = proxy.mac.map_or("None", |_| "Some");
                let networks = proxy
                    .networks
                    .iter()
                    .map(|network| format!(" {}/{}", network.addr(), network.prefix_len()));
                format!("{mac}{}", networks.collect::<String>())
            });
            let problems = complaints.into_problems().into_iter();
            let at: Vec<usize> = problems
                .filter_map(|problem| Some(problem.place?.1))
                .collect();
            assert_eq!((said.as_str(), at), (expected, wrong), "{text}");
        }
    }
}
