//! What connection tracking does to a packet, as far as somebody who looks at a database can say.
//!
//! Nobody knows here which connections there are. What conntrack would find is asked of the options (`--ct`, `--lb-dst`);
//! by default a packet belongs to an established connection whose addresses are not translated (ovn-trace(8), "STATEFUL
//! ACTIONS"). The packet that conntrack gives back goes on in the next table; what follows in the flow's actions has the
//! packet as it was.

use std::net::IpAddr;

use lflow::Base;
use lflow::action::{Action, Balance, NatKind};

use super::names::{CT_FLAGS, flags};
use super::packet::{IP4, IP6, Packet};

/// `ct.est`
pub const ESTABLISHED: u128 = 1 << 1;
/// `ct.trk`
pub const TRACKED: u128 = 1 << 5;
/// `ct.snat`
const SOURCE_TRANSLATED: u128 = 1 << 6;
/// `ct.dnat`
const DESTINATION_TRANSLATED: u128 = 1 << 7;

const DEFAULT: &str = " /* default (use --ct to customize) */";

/// What the options say of connections; each answer is used once.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// `--ct`: the `ct_state`s that are found, in order.
    pub states: std::collections::VecDeque<u128>,
    /// `--lb-dst`: the backend to choose.
    pub backend: Option<(IpAddr, Option<u16>)>,
}

impl Answers {
    /// The next state, and what is to be said of it.
    fn next(&mut self) -> (u128, &'static str) {
        match self.states.pop_front() {
            Some(state) => (state, ""),
            None => (ESTABLISHED | TRACKED, DEFAULT),
        }
    }
}

/// A packet that conntrack gives back, in words and as it is; and what is wrong.
#[derive(Debug)]
pub struct Tracked {
    /// What happened.
    pub text: String,
    /// The packet for the next table.
    pub packet: Packet,
    /// What cannot be.
    pub remark: Option<&'static str>,
}

/// What an action of connection tracking gives back; nothing if it is none that goes on in the next table. With `remembers`,
/// the packet knows afterwards where its connection's first packet was sent to.
pub fn track(
    action: &Action,
    packet: &Packet,
    answers: &mut Answers,
    remembers: bool,
) -> Option<Tracked> {
    let mut new = packet.clone();
    if remembers && new.original.is_none() {
        new.original = packet.destination();
    }
    let mut remark = None;
    let text = match action {
        Action::CtNext(_) => {
            let (state, comment) = answers.next();
            new.state.set(Base::CtState, state);
            format!("ct_next(ct_state={}{comment})", flags(state, &CT_FLAGS))
        }
        Action::CtCommitNat(_) => {
            let text = "ct_commit_nat /* assuming no un-nat entry, so no change */";
            format!("{text}{}", ensure_tracked(&mut new, answers))
        }
        Action::CtCommitToZone(zone) => {
            let comment = ensure_tracked(&mut new, answers);
            format!("ct_commit_to_zone({}){comment}", zone.name())
        }
        Action::Nat { kind, ip, .. } => translate(*kind, *ip, &mut new, answers),
        Action::Balance(balance) => balance_load(balance, &mut new, answers, &mut remark),
        _ => return None,
    };
    Some(Tracked {
        text,
        packet: new,
        remark,
    })
}

/// Translation implies tracking.
fn ensure_tracked(packet: &mut Packet, answers: &mut Answers) -> &'static str {
    let before = packet.state.get(Base::CtState);
    if before & TRACKED != 0 {
        return "";
    }
    let (state, comment) = answers.next();
    packet.state.set(Base::CtState, before | state);
    comment
}

/// Whether it is the destination that is translated.
pub fn is_of_destination(kind: NatKind) -> bool {
    matches!(kind, NatKind::Dnat | NatKind::DnatInCommonZone)
}

fn translate(
    kind: NatKind,
    ip: Option<IpAddr>,
    packet: &mut Packet,
    answers: &mut Answers,
) -> String {
    let is_destination = is_of_destination(kind);
    let side = if is_destination { "dst" } else { "src" };
    let name = kind.name();
    let text = match ip {
        None => {
            let letter = if is_destination { 'd' } else { 's' };
            format!("{name} /* assuming no un-{letter}nat entry, so no change */")
        }
        Some(ip) => {
            let before = packet.state.get(Base::CtState);
            let bit = match is_destination {
                true => {
                    packet.set_destination(ip, None);
                    DESTINATION_TRANSLATED
                }
                false => {
                    packet.set_source(ip);
                    SOURCE_TRANSLATED
                }
            };
            packet.state.set(Base::CtState, before | bit);
            let family = if ip.is_ipv4() { 4 } else { 6 };
            format!("{name}(ip{family}.{side}={ip})")
        }
    };
    format!("{text}{}", ensure_tracked(packet, answers))
}

fn balance_load(
    balance: &Balance,
    packet: &mut Packet,
    answers: &mut Answers,
    remark: &mut Option<&'static str>,
) -> String {
    let name = balance.kind.name();
    if !matches!(packet.state.get(Base::EthType), IP4 | IP6) {
        return name.to_owned();
    }
    let is_ip4 = packet.state.get(Base::EthType) == IP4;
    let wanted = answers.backend.filter(|(ip, _)| ip.is_ipv4() == is_ip4);
    let has_backends = !balance.backends.is_empty() || balance.template.is_some();
    let chosen = if has_backends {
        let of_family = balance
            .backends
            .iter()
            .filter(|backend| backend.ip.is_ipv4() == is_ip4);
        let backends: Vec<(IpAddr, Option<u16>)> = of_family
            .map(|backend| (backend.ip, backend.port))
            .collect();
        let asked = wanted.and_then(|(ip, _)| backends.iter().find(|backend| backend.0 == ip));
        if asked.is_some() {
            answers.backend = None;
        }
        let chosen = asked.or_else(|| backends.get(packet.choice(backends.len())));
        if chosen.is_none() {
            *remark = Some("*** no load balancing destination (use --lb-dst)");
        }
        chosen.copied()
    } else {
        wanted
    };
    if let Some((ip, port)) = chosen {
        packet.original = packet.destination();
        packet.set_destination(ip, port);
    }
    let (found, comment) = answers.next();
    let translated = match chosen {
        Some(_) => DESTINATION_TRANSLATED,
        None => 0,
    };
    let before = packet.state.get(Base::CtState);
    packet.state.set(Base::CtState, before | found | translated);
    format!("{name}{comment}")
}
