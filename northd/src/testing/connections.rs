//! Connection tracking of switches, as the kernel does it: a connection is new until there is a reply.

use std::collections::BTreeMap;

use lflow::action::Action;
use lflow::interp::State;
use lflow::{Base, Constant};

const NEW: u128 = 1;
const ESTABLISHED: u128 = 1 << 1;
const REPLY: u128 = 1 << 3;
const TRACKED: u128 = 1 << 5;

/// Zone, addresses, protocol, ports.
type Tuple = ((u32, u128), (u128, u128), u128, (u128, u128));

/// What is remembered, by the direction that began it.
#[derive(Debug, Clone, Default)]
pub struct Connections(BTreeMap<Tuple, Connection>);

#[derive(Debug, Clone, Default)]
struct Connection {
    is_answered: bool,
    mark: u128,
    label: u128,
}

impl Connections {
    /// Does what an action does. Translation is not part of it.
    pub fn track(&mut self, datapath: u32, state: &mut State, action: &Action) {
        let (there, back) = tuples(datapath, state);
        match action {
            Action::CtNext(_) => self.look_up(state, &there, &back),
            Action::CtCommit(assignments) => {
                let place = match self.0.contains_key(&back) {
                    true => back,
                    false => there,
                };
                let known = self.0.entry(place).or_default();
                let mut marks = state.clone();
                marks.set(Base::CtMark, known.mark);
                marks.set(Base::CtLabel, known.label);
                for assignment in assignments {
                    match assignment {
                        Action::Assign(field, Constant::Int(int)) => {
                            marks.write(*field, int.value, u128::MAX);
                        }
                        Action::Copy { to, from } => marks.write(*to, marks.read(*from), u128::MAX),
                        other => panic!("{other:?} in ct_commit"),
                    }
                }
                known.mark = marks.get(Base::CtMark);
                known.label = marks.get(Base::CtLabel);
            }
            _ => {}
        }
    }

    fn look_up(&mut self, state: &mut State, there: &Tuple, back: &Tuple) {
        let (flags, known) = if let Some(known) = self.0.get_mut(back) {
            known.is_answered = true;
            (ESTABLISHED | REPLY, Some(known))
        } else {
            let known = self.0.get_mut(there);
            let is_answered = known.as_ref().is_some_and(|known| known.is_answered);
            (if is_answered { ESTABLISHED } else { NEW }, known)
        };
        state.set(Base::CtState, TRACKED | flags);
        state.set(Base::CtMark, known.as_ref().map_or(0, |known| known.mark));
        state.set(Base::CtLabel, known.as_ref().map_or(0, |known| known.label));
    }
}

/// The connection of a packet, and the same seen from the other end. The zone is that of the port on the pipeline's side.
fn tuples(datapath: u32, state: &State) -> (Tuple, Tuple) {
    let outport = state.get(Base::Outport);
    let port = if outport == 0 {
        state.get(Base::Inport)
    } else {
        outport
    };
    let sum = |a, b| state.get(a) | state.get(b);
    let (src, dst) = (
        sum(Base::Ip4Src, Base::Ip6Src),
        sum(Base::Ip4Dst, Base::Ip6Dst),
    );
    let (from, to) = match state.get(Base::IpProto) {
        // An answer is of the kind that is asked for.
        1 => asked(state.get(Base::Icmp4Type), (8, 0)),
        58 => asked(state.get(Base::Icmp6Type), (128, 129)),
        _ => (
            sum(Base::TcpSrc, Base::UdpSrc) | state.get(Base::SctpSrc),
            sum(Base::TcpDst, Base::UdpDst) | state.get(Base::SctpDst),
        ),
    };
    let (zone, proto) = ((datapath, port), state.get(Base::IpProto));
    (
        (zone, (src, dst), proto, (from, to)),
        (zone, (dst, src), proto, (to, from)),
    )
}

fn asked(kind: u128, (request, reply): (u128, u128)) -> (u128, u128) {
    match kind == reply {
        true => (reply, request),
        false => (request, reply),
    }
}
