//! Connection tracking with translation, as the kernel does it: a connection is two tuples, one as it was begun and one as
//! replies to it are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lflow::action::{Action, NatKind, Plain};
use lflow::interp::State;
use lflow::{Base, Constant};

use super::random::Rng;

const NEW: u128 = 1;
const ESTABLISHED: u128 = 1 << 1;
const REPLY: u128 = 1 << 3;
const TRACKED: u128 = 1 << 5;
/// Bits of `ct_mark` that a load balancer sets.
const NATTED: u128 = 1 << 1;
const SKIP_SNAT: u128 = 1 << 2;
const FORCE_SNAT: u128 = 1 << 3;

/// One end: address and port.
pub type End = (IpAddr, u128);

/// From whom to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    from: End,
    to: End,
    proto: u128,
}

#[derive(Debug, Clone)]
struct Connection {
    begun: Tuple,
    answer: Tuple,
    mark: u128,
    is_answered: bool,
}

/// A zone: of a port of a switch, or of a datapath for one kind of translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Zone {
    Port(u32, u128),
    Source(u32),
    Destination(u32),
}

/// What is remembered.
pub struct Translations {
    routers: BTreeSet<u32>,
    zones: BTreeMap<Zone, Vec<Connection>>,
    /// Chooses backends.
    rng: Rng,
}

impl Translations {
    /// Nothing yet; these datapaths are routers.
    pub fn new(routers: BTreeSet<u32>, seed: u64) -> Self {
        Self {
            routers,
            zones: BTreeMap::new(),
            rng: Rng::new(seed),
        }
    }

    /// Does what an action does.
    pub fn track(&mut self, datapath: u32, state: &mut State, action: &Action) {
        let main = self.main_zone(datapath, state);
        match action {
            Action::CtNext(_) => self.look_up(main, state, false),
            Action::Nat { kind, ip, .. } => {
                let (zone, is_source) = match kind {
                    NatKind::Snat | NatKind::SnatInCommonZone => (Zone::Source(datapath), true),
                    NatKind::Dnat | NatKind::DnatInCommonZone => {
                        (Zone::Destination(datapath), false)
                    }
                };
                match ip {
                    None => self.look_up(zone, state, true),
                    Some(ip) => self.translate(zone, state, is_source, (*ip, None)),
                }
            }
            Action::Balance(balance) if balance.backends.is_empty() => {
                self.look_up(main, state, true);
            }
            Action::Balance(balance) => {
                let chosen = &balance.backends[self.rng.below(balance.backends.len())];
                self.translate(main, state, false, (chosen.ip, chosen.port));
                let mut mark = NATTED;
                mark |= if balance.skip_snat { SKIP_SNAT } else { 0 };
                mark |= if balance.force_snat { FORCE_SNAT } else { 0 };
                self.remember(main, state, mark);
            }
            Action::Plain(Plain::CtSnatToVip) => {
                let begun = self.find(main, &tuple(state)).map(|(at, _)| at);
                let begun = begun.map(|at| self.zones[&main][at].begun);
                let vip = begun.expect("a hairpin is a connection").to.0;
                self.translate(Zone::Source(datapath), state, true, (vip, None));
            }
            Action::CtCommit(assignments) => {
                let mut mark = 0;
                for assignment in assignments {
                    if let Action::Assign(field, Constant::Int(int)) = assignment {
                        let mut marks = State::default();
                        marks.write(*field, int.value, u128::MAX);
                        mark |= marks.get(Base::CtMark);
                    }
                }
                self.translate(main, state, false, (tuple(state).to.0, None));
                self.remember(main, state, mark);
            }
            _ => {}
        }
    }

    /// Whether a packet answers one that has come back to its own sender.
    pub fn answers_hairpin(&self, datapath: u32, state: &State) -> bool {
        let known = self.zones.get(&Zone::Source(datapath));
        let answered = tuple(state);
        known.is_some_and(|known| known.iter().any(|of| of.answer == answered))
    }

    /// The zone of what is neither source nor destination translation by name.
    fn main_zone(&self, datapath: u32, state: &State) -> Zone {
        if self.routers.contains(&datapath) {
            return Zone::Destination(datapath);
        }
        let outport = state.get(Base::Outport);
        let is_egress = outport != 0;
        Zone::Port(
            datapath,
            if is_egress {
                outport
            } else {
                state.get(Base::Inport)
            },
        )
    }

    /// The connection of a packet, and whether the packet is a reply.
    fn find(&self, zone: Zone, of: &Tuple) -> Option<(usize, bool)> {
        let known = self.zones.get(&zone)?;
        known.iter().enumerate().find_map(|(at, connection)| {
            let is_reply = connection.answer == *of;
            (is_reply || connection.begun == *of || connection.answer == of.turned())
                .then_some((at, is_reply))
        })
    }

    fn look_up(&mut self, zone: Zone, state: &mut State, translates: bool) {
        let Some((at, is_reply)) = self.find(zone, &tuple(state)) else {
            state.set(Base::CtState, TRACKED | NEW);
            state.set(Base::CtMark, 0u128);
            return;
        };
        let known = self.zones.get_mut(&zone).expect("found");
        let connection = &mut known[at];
        connection.is_answered |= is_reply;
        let flags = match (is_reply, connection.is_answered) {
            (true, _) => ESTABLISHED | REPLY,
            (false, true) => ESTABLISHED,
            (false, false) => NEW,
        };
        state.set(Base::CtState, TRACKED | flags);
        state.set(Base::CtMark, connection.mark);
        if translates {
            let to = match is_reply {
                true => connection.begun.turned(),
                false => connection.answer.turned(),
            };
            to.write(state);
        }
    }

    /// Remembers a connection whose source or destination is this from now on.
    fn translate(
        &mut self,
        zone: Zone,
        state: &mut State,
        is_source: bool,
        (ip, port): (IpAddr, Option<u16>),
    ) {
        let before = tuple(state);
        if self.find(zone, &before).is_some() {
            return self.look_up(zone, state, true);
        }
        let mut after = before;
        let end = if is_source {
            &mut after.from
        } else {
            &mut after.to
        };
        *end = (ip, port.map_or(end.1, u128::from));
        self.zones.entry(zone).or_default().push(Connection {
            begun: before,
            answer: after.turned(),
            mark: 0,
            is_answered: false,
        });
        after.write(state);
        state.set(Base::CtState, TRACKED | NEW);
    }

    fn remember(&mut self, zone: Zone, state: &mut State, mark: u128) {
        if let Some((at, _)) = self.find(zone, &tuple(state)) {
            let known = self.zones.get_mut(&zone).expect("found");
            known[at].mark |= mark;
            state.set(Base::CtMark, known[at].mark);
        }
    }
}

impl Tuple {
    fn turned(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            proto: self.proto,
        }
    }

    fn write(self, state: &mut State) {
        for (end, [v4, v6, tcp, udp]) in [
            (
                self.from,
                [Base::Ip4Src, Base::Ip6Src, Base::TcpSrc, Base::UdpSrc],
            ),
            (
                self.to,
                [Base::Ip4Dst, Base::Ip6Dst, Base::TcpDst, Base::UdpDst],
            ),
        ] {
            match end.0 {
                IpAddr::V4(ip) => state.set(v4, u128::from(ip.to_bits())),
                IpAddr::V6(ip) => state.set(v6, ip.to_bits()),
            }
            state.set(if self.proto == 6 { tcp } else { udp }, end.1);
        }
    }
}

/// The ends of a packet: its source and its destination.
pub fn ends(state: &State) -> (End, End) {
    let tuple = tuple(state);
    (tuple.from, tuple.to)
}

fn tuple(state: &State) -> Tuple {
    let ip = |v4, v6| match state.get(Base::EthType) {
        0x800 => {
            let bits = u32::try_from(state.get(v4)).expect("32 bits");
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        _ => IpAddr::V6(Ipv6Addr::from_bits(state.get(v6))),
    };
    let proto = state.get(Base::IpProto);
    let (src, dst) = match proto {
        6 => (Base::TcpSrc, Base::TcpDst),
        _ => (Base::UdpSrc, Base::UdpDst),
    };
    Tuple {
        from: (ip(Base::Ip4Src, Base::Ip6Src), state.get(src)),
        to: (ip(Base::Ip4Dst, Base::Ip6Dst), state.get(dst)),
        proto,
    }
}
