//! A packet's way through the logical flows of a network.
//!
//! `next` calls a table as a subroutine: what it changes stays changed when it returns. `output` in the ingress pipeline
//! runs the egress pipeline on a copy, without registers; for a group, once for each member. A packet that came in through
//! a port does not leave through it unless `flags.loopback` says so.
//!
//! What only the world can answer (connection tracking, learned addresses, port security) is asked of the [`Network`].
//! Work is bounded: [`MAX_STEPS`] look-ups for one packet, [`MAX_DEPTH`] calls within each other.

use super::eval::matches;
use super::state::State;
use super::transform::transformed;
use crate::action::{Action, Actions, Function, Pipeline, Query, Transform, prerequisites};
use crate::constant::{Constant, Name};
use crate::expr::{Expr, Lookup, ResolveError, port_key};
use crate::symbols::{Base, Field};

/// The most look-ups for one packet.
const MAX_STEPS: usize = 100_000;
/// The most calls within each other.
const MAX_DEPTH: usize = 200;

/// A logical flow as the interpreter takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalFlow {
    /// Of several flows that match, one of the highest priority applies.
    pub priority: u16,
    /// What it applies to, the prerequisites of its actions included.
    pub matches: Expr,
    /// What it does.
    pub actions: Actions,
}

impl LogicalFlow {
    /// A flow whose match says what its actions imply.
    pub fn new(priority: u16, matches: Expr, actions: Actions) -> Self {
        let matches = matches & prerequisites(&actions);
        Self {
            priority,
            matches,
            actions,
        }
    }
}

/// The world in which packets move. Datapaths are named by their tunnel keys, ports by theirs.
pub trait Network {
    /// The flows of a table, the highest priority first.
    fn flows(&self, datapath: u32, pipeline: Pipeline, table: u8) -> &[LogicalFlow];
    /// What names mean in a datapath.
    fn lookup(&self, datapath: u32) -> &dyn Lookup;
    /// The members of a multicast group; nothing when the key is that of a port.
    fn members(&self, datapath: u32, key: u32) -> Option<&[u32]>;
    /// The other end of a port that leads to another datapath: that datapath and its port.
    fn peer(&self, datapath: u32, port: u32) -> Option<(u32, u32)>;
    /// The answer to a query, or the key that a look-up finds; `args` are the values of its fields.
    fn query(&self, datapath: u32, state: &State, query: &Query, args: &[u128]) -> u128;
    /// The MAC address of a neighbour, 0 when it is not known.
    fn neighbour(&self, datapath: u32, port: u32, ip: u128) -> u128;
    /// Does what a connection tracking action does to the packet.
    fn track(&self, datapath: u32, state: &mut State, action: &Action);
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It leaves through a port.
    Output {
        /// The datapath.
        datapath: u32,
        /// The key of the port.
        port: u32,
        /// The packet.
        state: State,
    },
    /// `put_arp`, `put_fdb`, …: the network is asked to remember.
    Call {
        /// The datapath.
        datapath: u32,
        /// What is asked.
        function: Function,
        /// The values of its arguments.
        args: Vec<u128>,
    },
    /// Any other message to the controller, or observation: `igmp`, `log`, `mirror`, …
    Message {
        /// The datapath.
        datapath: u32,
        /// The action.
        action: Action,
    },
}

/// A table that the packet was looked up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many calls deep.
    pub depth: usize,
    /// The datapath.
    pub datapath: u32,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The table.
    pub table: u8,
    /// Which of the table's flows applied, if one did.
    pub flow: Option<usize>,
}

/// What became of a packet, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What happened, in order.
    pub effects: Vec<Effect>,
    /// The tables it went through, in order.
    pub steps: Vec<Step>,
    /// It ran in circles, and was given up.
    pub endless: bool,
    /// Flows that could not be evaluated because they name what does not exist.
    pub errors: Vec<ResolveError>,
}

/// Sends a packet into a datapath through a port.
pub fn run(network: &dyn Network, datapath: u32, port: u32, packet: &State) -> Outcome {
    let mut machine = Machine {
        network,
        outcome: Outcome::default(),
        depth: 0,
    };
    machine.enter(datapath, port, packet.clone());
    machine.outcome
}

/// Where in a network a packet is.
#[derive(Clone, Copy)]
struct Place {
    datapath: u32,
    pipeline: Pipeline,
    table: u8,
}

struct Machine<'a> {
    network: &'a dyn Network,
    outcome: Outcome,
    depth: usize,
}

/// What `push` put aside.
type Stack = Vec<u128>;

impl Machine<'_> {
    /// The packet arrives at a port: metadata are as for a new packet.
    fn enter(&mut self, datapath: u32, port: u32, mut state: State) {
        for base in (0..10)
            .map(Base::reg)
            .chain([Base::Flags, Base::Outport, Base::CtState])
        {
            state.set(base, 0);
        }
        state.set(Base::Inport, port.into());
        let place = Place {
            datapath,
            pipeline: Pipeline::Ingress,
            table: 0,
        };
        self.table(place, &mut state);
    }

    /// Looks the packet up and does what the flow says.
    fn table(&mut self, place: Place, state: &mut State) {
        if self.outcome.steps.len() >= MAX_STEPS || self.depth >= MAX_DEPTH {
            self.outcome.endless = true;
            return;
        }
        let network = self.network;
        let flows = network.flows(place.datapath, place.pipeline, place.table);
        let lookup = network.lookup(place.datapath);
        let flow = flows
            .iter()
            .position(|flow| match matches(&flow.matches, state, lookup) {
                Ok(yes) => yes,
                Err(error) => {
                    self.outcome.errors.push(error);
                    false
                }
            });
        self.outcome.steps.push(Step {
            depth: self.depth,
            datapath: place.datapath,
            pipeline: place.pipeline,
            table: place.table,
            flow,
        });
        if let Some(flow) = flow {
            self.depth += 1;
            self.actions(&flows[flow].actions, place, state);
            self.depth -= 1;
        }
    }

    fn actions(&mut self, actions: &Actions, place: Place, state: &mut State) {
        let mut stack = Stack::new();
        for action in &actions.0 {
            if !self.action(action, place, state, &mut stack) {
                return;
            }
        }
    }

    /// Does one action. False when the packet ends here.
    fn action(
        &mut self,
        action: &Action,
        place: Place,
        state: &mut State,
        stack: &mut Stack,
    ) -> bool {
        match action {
            Action::Drop => return false,
            Action::Output => self.output(place, state),
            Action::Next { pipeline, table } => {
                let next = Place {
                    pipeline: pipeline.unwrap_or(place.pipeline),
                    table: table.unwrap_or(place.table.saturating_add(1)),
                    ..place
                };
                self.table(next, state);
            }
            Action::Assign(field, constant) => self.assign(*field, constant, place, state),
            Action::Copy { to, from } => state.write(*to, state.read(*from), u128::MAX),
            Action::Exchange(a, b) => {
                let (old_a, old_b) = (state.read(*a), state.read(*b));
                state.write(*a, old_b, u128::MAX);
                state.write(*b, old_a, u128::MAX);
            }
            Action::Push(field) => stack.push(state.read(*field)),
            Action::Pop(field) => state.write(*field, stack.pop().unwrap_or(0), u128::MAX),
            Action::DecrementTtl => {
                let ttl = state.get(Base::IpTtl);
                if ttl <= 1 {
                    return false;
                }
                state.set(Base::IpTtl, ttl - 1);
            }
            Action::Within(transform, actions) => {
                let mut new = transformed(state, *transform);
                if *transform != Transform::Clone {
                    self.message(place, action);
                }
                self.depth += 1;
                self.actions(actions, place, &mut new);
                self.depth -= 1;
            }
            Action::Call(function, args) => self.call(*function, args, place, state),
            Action::Query(to, query) => {
                let args = match query {
                    Query::Lookup(_, fields) => {
                        fields.iter().map(|field| state.read(*field)).collect()
                    }
                    _ => Vec::new(),
                };
                let answer = self.network.query(place.datapath, state, query, &args);
                state.write(*to, answer, u128::MAX);
                if matches!(query, Query::Select(_)) {
                    self.table(next_of(place), state);
                }
            }
            // These continue in the next table, with what tracking found; what follows does not see it.
            Action::CtNext(_)
            | Action::CtCommitNat(_)
            | Action::Nat { .. }
            | Action::Balance(_) => {
                let mut tracked = state.clone();
                self.network.track(place.datapath, &mut tracked, action);
                self.table(next_of(place), &mut tracked);
            }
            Action::CtCommit(_)
            | Action::CtCommitToZone(_)
            | Action::Plain(crate::action::Plain::CtSnatToVip) => {
                self.network.track(place.datapath, state, action);
            }
            Action::Plain(crate::action::Plain::CtClear) => state.set(Base::CtState, 0),
            Action::ForwardGroup { children, .. } => self.forward(children, place, state),
            Action::Plain(_)
            | Action::BindVport { .. }
            | Action::CommitEcmpNextHop { .. }
            | Action::CommitAffinity(_)
            | Action::Log(_)
            | Action::Sample(_)
            | Action::Mirror(_)
            | Action::Event(_) => self.message(place, action),
            Action::SetQueue(_) | Action::SetMeter { .. } => {}
        }
        true
    }

    fn message(&mut self, place: Place, action: &Action) {
        self.outcome.effects.push(Effect::Message {
            datapath: place.datapath,
            action: action.clone(),
        });
    }

    fn assign(&mut self, field: Field, constant: &Constant, place: Place, state: &mut State) {
        match constant {
            Constant::Int(int) => state.write(field, int.value, int.mask),
            Constant::Str(name) => {
                let key = port_key(name, self.network.lookup(place.datapath));
                state.write(field, key.unwrap_or(0).into(), u128::MAX);
            }
            Constant::Template(name) => self
                .outcome
                .errors
                .push(ResolveError::Template(name.clone())),
            Constant::AddressSet(_) | Constant::PortGroup(_) => {}
        }
    }

    fn call(&mut self, function: Function, args: &[Field], place: Place, state: &mut State) {
        let args: Vec<u128> = args.iter().map(|field| state.read(*field)).collect();
        if let (Function::GetArp | Function::GetNd, [port, ip]) = (function, &args[..]) {
            let port = u32::try_from(*port).unwrap_or(0);
            let mac = self.network.neighbour(place.datapath, port, *ip);
            state.set(Base::EthDst, mac);
            return;
        }
        self.outcome.effects.push(Effect::Call {
            datapath: place.datapath,
            function,
            args,
        });
    }

    /// `output;`
    fn output(&mut self, place: Place, state: &State) {
        let port = u32::try_from(state.get(Base::Outport)).unwrap_or(0);
        if place.pipeline == Pipeline::Egress {
            return self.leave(place.datapath, port, state);
        }
        match self.network.members(place.datapath, port) {
            None => self.egress(place, port, state),
            Some(members) => {
                for member in members {
                    self.egress(place, *member, state);
                }
            }
        }
    }

    /// Runs the egress pipeline on a copy of the packet.
    fn egress(&mut self, place: Place, port: u32, state: &State) {
        let loopback = state.get(Base::Flags) & 1 == 1;
        if port == 0 || (u128::from(port) == state.get(Base::Inport) && !loopback) {
            return;
        }
        let mut copy = state.clone();
        for base in (0..10).map(Base::reg) {
            copy.set(base, 0);
        }
        copy.set(Base::Outport, port.into());
        let egress = Place {
            pipeline: Pipeline::Egress,
            table: 0,
            ..place
        };
        self.table(egress, &mut copy);
    }

    /// The packet leaves the datapath: into the world, or into the datapath at the other end.
    fn leave(&mut self, datapath: u32, port: u32, state: &State) {
        match self.network.peer(datapath, port) {
            Some((datapath, port)) => {
                self.depth += 1;
                self.enter(datapath, port, state.clone());
                self.depth -= 1;
            }
            None => self.outcome.effects.push(Effect::Output {
                datapath,
                port,
                state: state.clone(),
            }),
        }
    }

    /// `fwd_group(…);`: the first port that exists.
    fn forward(&mut self, children: &[Name], place: Place, state: &mut State) {
        let lookup = self.network.lookup(place.datapath);
        if let Some(key) = children.iter().find_map(|child| lookup.port(child)) {
            state.set(Base::Outport, key.into());
            self.output(place, state);
        }
    }
}

fn next_of(place: Place) -> Place {
    Place {
        table: place.table.saturating_add(1),
        ..place
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::constant::Int;

    /// One switch with ports `a` (1), `b` (2), `c` (3) and the group `all`.
    struct Switch {
        tables: Vec<Vec<LogicalFlow>>,
    }

    impl Lookup for Switch {
        fn port(&self, name: &str) -> Option<u32> {
            match name {
                "a" => Some(1),
                "b" => Some(2),
                "c" => Some(3),
                "all" => Some(32_768),
                _ => None,
            }
        }

        fn address_set(&self, _: &str) -> Option<Arc<[Int]>> {
            None
        }

        fn port_group(&self, _: &str) -> Option<Arc<[u32]>> {
            None
        }

        fn is_resident(&self, _: &str) -> bool {
            true
        }
    }

    impl Network for Switch {
        fn flows(&self, _: u32, pipeline: Pipeline, table: u8) -> &[LogicalFlow] {
            let table = match pipeline {
                Pipeline::Ingress => usize::from(table),
                Pipeline::Egress => self.tables.len() - 1 + usize::from(table),
            };
            self.tables.get(table).map_or(&[], |flows| flows)
        }

        fn lookup(&self, _: u32) -> &dyn Lookup {
            self
        }

        fn members(&self, _: u32, key: u32) -> Option<&[u32]> {
            (key == 32_768).then_some(&[1, 2, 3])
        }

        fn peer(&self, _: u32, _: u32) -> Option<(u32, u32)> {
            None
        }

        fn query(&self, _: u32, _: &State, _: &Query, args: &[u128]) -> u128 {
            u128::from(args == [0xb])
        }

        fn neighbour(&self, _: u32, _: u32, _: u128) -> u128 {
            0
        }

        fn track(&self, _: u32, _: &mut State, _: &Action) {}
    }

    fn switch(tables: &[&[(u16, &str, &str)]]) -> Switch {
        let flow = |(priority, matches, actions): &(u16, &str, &str)| {
            LogicalFlow::new(
                *priority,
                Expr::parse(matches).unwrap(),
                Actions::parse(actions).unwrap(),
            )
        };
        Switch {
            tables: tables
                .iter()
                .map(|flows| flows.iter().map(flow).collect())
                .collect(),
        }
    }

    /// The ports out of which a packet to `mac` from port `a` comes.
    fn ports(switch: &Switch, mac: u128) -> Vec<u32> {
        let outcome = run(switch, 1, 1, &State::default().with(Base::EthDst, mac));
        assert!(!outcome.endless);
        let effects = outcome.effects.into_iter();
        effects
            .filter_map(|effect| match effect {
                Effect::Output { port, .. } => Some(port),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_switch() {
        let switch = switch(&[
            &[
                (50, "inport == \"a\"", "reg0[3] = 1; next;"),
                (0, "1", "next;"),
            ],
            &[
                (90, "eth.dst == 9", "outport = \"a\"; output;"),
                (
                    80,
                    "eth.dst == 8",
                    "outport = \"a\"; flags.loopback = 1; output;",
                ),
                (70, "eth.mcast", "outport = \"all\"; output;"),
                (
                    60,
                    "eth.dst == 6",
                    "clone { outport = \"b\"; output; }; outport = \"c\"; output;",
                ),
                (50, "eth.dst == 2 && reg0[3]", "outport = \"b\"; output;"),
                (
                    40,
                    "eth.dst == 11",
                    "outport = get_fdb(eth.dst); flags.loopback = 1; output;",
                ),
            ],
            &[
                (100, "outport == \"c\" && eth.mcast", "drop;"),
                (0, "!reg0[3]", "output;"),
            ],
        ]);
        for (mac, expected) in [
            (2, vec![2]),
            (9, vec![]),
            (8, vec![1]),
            (1 << 40, vec![2]),
            (6, vec![2, 3]),
            (11, vec![1]),
            (77, vec![]),
        ] {
            assert_eq!(ports(&switch, mac), expected, "{mac}");
        }
    }

    #[test]
    fn circles_end() {
        let switch = switch(&[&[(0, "1", "next(0); next(0);")], &[]]);
        let outcome = run(&switch, 1, 1, &State::default());
        assert!(outcome.endless);
    }

    #[test]
    fn replies() {
        let switch = switch(&[
            &[(
                0,
                "arp.op == 1",
                "eth.dst = eth.src; eth.src = 5; arp.op = 2; arp.tha = arp.sha; arp.sha = 5; \
                 arp.tpa <-> arp.spa; outport = inport; flags.loopback = 1; output;",
            )],
            &[(0, "1", "output;")],
        ]);
        let request = State::default()
            .with(Base::EthType, 0x806u32)
            .with(Base::EthSrc, 0xau32)
            .with(Base::ArpOp, 1u32)
            .with(Base::ArpSha, 0xau32)
            .with(Base::ArpSpa, 1u32)
            .with(Base::ArpTpa, 2u32);
        let outcome = run(&switch, 1, 1, &request);
        let [Effect::Output { port: 1, state, .. }] = &outcome.effects[..] else {
            panic!("{outcome:?}");
        };
        let got = [
            Base::ArpOp,
            Base::EthDst,
            Base::EthSrc,
            Base::ArpSpa,
            Base::ArpTpa,
            Base::ArpTha,
        ];
        assert_eq!(got.map(|base| state.get(base)), [2, 0xa, 5, 2, 1, 0xa]);
    }
}
