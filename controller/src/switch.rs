//! The OpenFlow connection to the integration bridge.
//!
//! ```text
//!  Greeting ──up──▶ Mapping ──Geneve's option has a field──▶ Reading ──flows, groups, meters are read──▶ Ready
//! ```
//!
//! Nothing is changed before everything is read. After that, changes go in bundles, each with a barrier behind it, and
//! [`Switch::confirmed`] says how far the switch has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openflow::message::{
    AsyncConfig, BundleAdd, BundleControl, BundleKind, BundleOp, CtFlush, FlowRequest, GroupMod,
    MultipartReply, MultipartRequest, PacketIn, SwitchConfig, TlvMap, TlvTableCommand,
};
use openflow::{DecodeError, ErrorMessage, Incoming, Match, Message, Session, SessionError};

use crate::desired::{Changes, Installed};
use crate::flow::FlowKey;
use crate::physical::tunnel::GENEVE_OPTION;

/// What tells our requests apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// The question how options are mapped.
    Mapping,
    /// The wish to map one.
    Map,
    /// The question for all flows.
    Flows,
    /// The question for all groups.
    Groups,
    /// The question for all meters.
    Meters,
    /// A flow in a bundle.
    Flow(Arc<FlowKey>),
    /// A group in a bundle.
    Group(u32),
    /// A meter.
    Meter(u32),
    /// Connections to be forgotten.
    Flush,
    /// Opening or committing a bundle.
    Bundle,
    /// The barrier with this number.
    Barrier(u64),
}

/// Something that the switch said.
#[derive(Debug)]
pub enum Notice {
    /// Geneve's option is this `tun_metadata` field.
    GeneveField(u8),
    /// This is all that it has; and so many more flows are of others' making, with parts that are not known here.
    Read(Installed, Vec<DecodeError>),
    /// It does not take this flow.
    Refused(Arc<FlowKey>, ErrorMessage),
    /// It does not take the group with this number.
    GroupRefused(u32, ErrorMessage),
    /// It does not take the meter with this number.
    MeterRefused(u32, ErrorMessage),
    /// It did not take a whole bundle. What it has is being read again.
    BundleFailed {
        /// Why.
        error: ErrorMessage,
        /// It has refused bundles again and again, and not said what is wrong in them: it should be left alone for a while.
        again: bool,
    },
    /// It is through with all changes up to this number.
    Confirmed(u64),
    /// A packet for us.
    Packet(Box<PacketIn>),
    /// It cannot forget single connections.
    CannotFlush(ErrorMessage),
    /// An error about something else.
    Error(ErrorMessage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Mapping,
    Reading,
    Ready,
}

/// The connection, from its start to its end.
#[derive(Debug)]
pub struct Switch {
    session: Session<Token>,
    phase: Phase,
    read: Installed,
    /// How many of the questions for what there is have not been answered to the end.
    unanswered: u32,
    unreadable: Vec<DecodeError>,
    next_bundle: u32,
    /// It has said that it cannot forget single connections.
    cannot_flush: bool,
    /// How many bundles failed, since one succeeded, without a word of what was wrong in them.
    failures: u32,
    /// Something was refused since a bundle last failed: the next will be without it.
    has_refused: bool,
    sent: u64,
    confirmed: u64,
}

/// `NXT_PACKET_IN2`, the format of packet-ins that has userdata.
const PACKET_IN2: u32 = 2;
/// After how many failed bundles in a row, of which the switch said no more than that, it is left alone for a while.
const MAX_FAILURES: u32 = 3;
/// How many fields for tunnel options are used here.
const OPTION_FIELDS: u16 = 8;

impl Switch {
    /// A connection that has just been made. Numbers of barriers go on from `sent`, so that none is used twice.
    pub fn new(now: Instant, probe: Option<Duration>, sent: u64) -> Self {
        Switch {
            session: Session::new(now, probe),
            phase: Phase::Greeting,
            read: Installed::default(),
            unanswered: 0,
            unreadable: Vec::new(),
            next_bundle: 1,
            cannot_flush: false,
            failures: 0,
            has_refused: false,
            sent,
            confirmed: sent,
        }
    }

    /// Takes bytes from the switch.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<Vec<Notice>, SessionError> {
        let mut notices = Vec::new();
        for incoming in self.session.receive(now, bytes)? {
            match incoming {
                Incoming::Up => self.greet(),
                Incoming::Answer {
                    token,
                    message,
                    last,
                } => self.answer(token, message, last, &mut notices),
                Incoming::Message {
                    message: Message::PacketIn(packet),
                    ..
                } => {
                    notices.push(Notice::Packet(Box::new(packet)));
                }
                Incoming::Message {
                    message: Message::Error(error),
                    ..
                } => notices.push(Notice::Error(error)),
                Incoming::Message { .. } => {}
            }
        }
        Ok(notices)
    }

    /// Probes a silent switch. To be called at [`Switch::deadline`].
    pub fn tick(&mut self, now: Instant) -> Result<(), SessionError> {
        self.session.tick(now)
    }

    /// When [`Switch::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.session.deadline()
    }

    /// What is to be written.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.session.take_output()
    }

    /// Whether all flows were read and changes may be made.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Makes changes, all at once.
    ///
    /// Meters cannot be part of a bundle; those that flows come to need are made before it, those that they needed go after it.
    pub fn change_flows(&mut self, changes: Changes) {
        for meter in changes.meters {
            self.session
                .request(&Message::MeterMod(meter), Token::Meter(meter.meter.id));
        }
        let group = |group: GroupMod| (Token::Group(group.group.id), Message::GroupMod(group));
        let flow = |(key, flow)| (Token::Flow(key), Message::FlowMod(flow));
        let bundled = changes.groups.into_iter().map(group);
        let bundled = bundled.chain(changes.flows.into_iter().map(flow));
        let mut bundled = bundled
            .chain(changes.groups_gone.into_iter().map(group))
            .peekable();
        if bundled.peek().is_some() {
            let (id, kind) = (self.next_bundle, BundleKind::ATOMIC_ORDERED);
            self.next_bundle = self.next_bundle.wrapping_add(1);
            let control = |op| {
                Message::BundleControl(BundleControl {
                    id,
                    op,
                    reply: false,
                    kind,
                })
            };
            self.session
                .request(&control(BundleOp::Open), Token::Bundle);
            for (token, message) in bundled {
                let add = BundleAdd {
                    id,
                    kind,
                    message: Box::new(message),
                };
                self.session.request(&Message::BundleAdd(add), token);
            }
            self.session
                .request(&control(BundleOp::Commit), Token::Bundle);
        }
        for meter in changes.meters_gone {
            self.session
                .request(&Message::MeterMod(meter), Token::Meter(meter.meter.id));
        }
    }

    /// Asks for a confirmation of all that was sent so far. Returns its number.
    pub fn ask_confirmation(&mut self) -> u64 {
        self.sent += 1;
        self.session
            .request(&Message::BarrierRequest, Token::Barrier(self.sent));
        self.sent
    }

    /// Has the switch forget connections, if it can.
    pub fn flush(&mut self, flush: CtFlush) {
        if !self.cannot_flush {
            self.session.request(&Message::CtFlush(flush), Token::Flush);
        }
    }

    /// Sends something that has no answer.
    pub fn send(&mut self, message: &Message) {
        self.session.send(message);
    }

    /// The number of the last confirmation that was asked for.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of the last confirmation that came.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    fn greet(&mut self) {
        self.session.send(&Message::SetPacketInFormat(PACKET_IN2));
        // Packet-ins for actions, and nothing about ports and flows, which the database tells.
        self.session.send(&Message::SetConfig(SwitchConfig {
            flags: 0,
            miss_send_len: u16::MAX,
        }));
        let wanted = AsyncConfig {
            packet_in: Some(u32::MAX >> 26),
            port_status: Some(0),
            flow_removed: Some(0),
        };
        self.session.send(&Message::SetAsync(wanted));
        self.ask_mapping();
    }

    fn ask_mapping(&mut self) {
        self.phase = Phase::Mapping;
        self.session
            .request(&Message::TlvTableRequest, Token::Mapping);
    }

    fn read(&mut self) {
        self.phase = Phase::Reading;
        self.read = Installed::default();
        self.unreadable.clear();
        let request = FlowRequest {
            table: None,
            matches: Match::new(),
        };
        let requests = [
            (MultipartRequest::Flows(Box::new(request)), Token::Flows),
            (MultipartRequest::Groups, Token::Groups),
            (MultipartRequest::Meters, Token::Meters),
        ];
        self.unanswered = 0;
        for (request, token) in requests {
            self.unanswered += 1;
            self.session
                .request(&Message::MultipartRequest(request), token);
        }
    }

    /// One of the questions for what there is has been answered.
    fn answered(&mut self, notices: &mut Vec<Notice>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0 {
            self.phase = Phase::Ready;
            let (read, unreadable) = (
                std::mem::take(&mut self.read),
                std::mem::take(&mut self.unreadable),
            );
            notices.push(Notice::Read(read, unreadable));
        }
    }

    fn answer(&mut self, token: Token, message: Message, last: bool, notices: &mut Vec<Notice>) {
        match (token, message) {
            (Token::Mapping, Message::TlvTableReply(table)) => {
                let ours = |map: &&TlvMap| TlvMap { index: 0, ..**map } == GENEVE_OPTION;
                if let Some(map) = table.maps.iter().find(ours) {
                    notices.push(Notice::GeneveField(
                        u8::try_from(map.index).unwrap_or(u8::MAX),
                    ));
                    self.read();
                } else if let Some(index) =
                    (0..OPTION_FIELDS).find(|i| table.maps.iter().all(|m| m.index != *i))
                {
                    let map = TlvMap {
                        index,
                        ..GENEVE_OPTION
                    };
                    self.session.request(
                        &Message::TlvTableMod(TlvTableCommand::Add(vec![map])),
                        Token::Map,
                    );
                    self.ask_mapping();
                } else {
                    self.read();
                }
            }
            (Token::Mapping, Message::Error(error)) => {
                notices.push(Notice::Error(error));
                self.read();
            }
            (
                Token::Flows,
                Message::MultipartReply(MultipartReply::Flows {
                    flows, unreadable, ..
                }),
            ) => {
                self.read.flows.extend(flows);
                self.unreadable.extend(unreadable);
                if last {
                    self.answered(notices);
                }
            }
            (Token::Groups, Message::MultipartReply(MultipartReply::Groups { groups, .. })) => {
                self.read.groups.extend(groups);
                if last {
                    self.answered(notices);
                }
            }
            (Token::Meters, Message::MultipartReply(MultipartReply::Meters { meters, .. })) => {
                self.read.meters.extend(meters);
                if last {
                    self.answered(notices);
                }
            }
            // A switch that can have none has none.
            (Token::Groups | Token::Meters, Message::Error(_)) => self.answered(notices),
            // What was sent after a bundle that failed may have built on it, and nothing more is sent until all is read: the
            // answers tell what came of it.
            (Token::Flow(_) | Token::Group(_) | Token::Bundle, Message::Error(_))
                if self.phase == Phase::Reading => {}
            (Token::Flow(key), Message::Error(error)) => {
                self.has_refused = true;
                notices.push(Notice::Refused(key, error));
            }
            (Token::Group(number), Message::Error(error)) => {
                self.has_refused = true;
                notices.push(Notice::GroupRefused(number, error));
            }
            (Token::Meter(number), Message::Error(error)) => {
                self.has_refused = true;
                notices.push(Notice::MeterRefused(number, error));
            }
            (Token::Bundle, Message::Error(error)) => {
                // It names the first thing that it refuses, and the next bundle is without that.
                match std::mem::take(&mut self.has_refused) {
                    true => self.failures = 0,
                    false => self.failures += 1,
                }
                let again = self.failures > MAX_FAILURES;
                notices.push(Notice::BundleFailed { error, again });
                self.read();
            }
            (Token::Bundle, Message::BundleControl(done)) if done.op == BundleOp::Commit => {
                self.failures = 0;
            }
            // Told once: it says the same to each.
            (Token::Flush, Message::Error(_)) if self.cannot_flush => {}
            (Token::Flush, Message::Error(error)) => {
                self.cannot_flush = true;
                notices.push(Notice::CannotFlush(error));
            }
            (Token::Barrier(number), Message::BarrierReply) => {
                self.confirmed = number;
                notices.push(Notice::Confirmed(number));
            }
            (_, Message::Error(error)) => notices.push(Notice::Error(error)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use openflow::Xid;
    use openflow::message::{Group, GroupCommand, GroupKind};

    use super::*;

    const FAILED: ErrorMessage = ErrorMessage {
        kind: 17,
        code: 14,
        experimenter: None,
        data: Vec::new(),
    };

    /// A switch that is ready, without anything in it.
    fn ready(now: Instant) -> Switch {
        let mut switch = Switch::new(now, None, 0);
        let versions = 1 << 6;
        say(&mut switch, now, vec![(0, Message::Hello { versions })]);
        for _ in 0..2 {
            let asked = heard(&mut switch);
            let answers = asked.into_iter().filter_map(|(xid, message)| {
                let answer = match message {
                    Message::TlvTableRequest => Message::Error(FAILED),
                    Message::MultipartRequest(request) => Message::MultipartReply(empty(&request)),
                    _ => return None,
                };
                Some((xid, answer))
            });
            let answers = answers.collect();
            say(&mut switch, now, answers);
        }
        assert!(switch.is_ready());
        switch
    }

    fn empty(request: &MultipartRequest) -> MultipartReply {
        let (more, groups, meters) = (false, Vec::new(), Vec::new());
        match request {
            MultipartRequest::Groups => MultipartReply::Groups { more, groups },
            MultipartRequest::Meters => MultipartReply::Meters { more, meters },
            _ => MultipartReply::Flows {
                more,
                flows: Vec::new(),
                unreadable: Vec::new(),
            },
        }
    }

    fn say(switch: &mut Switch, now: Instant, messages: Vec<(Xid, Message)>) -> Vec<Notice> {
        let mut bytes = Vec::new();
        for (xid, message) in messages {
            message.encode(xid, &mut bytes);
        }
        switch.receive(now, &bytes).expect("well-made")
    }

    fn heard(switch: &mut Switch) -> Vec<(Xid, Message)> {
        let bytes = switch.take_output();
        let mut rest = bytes.as_slice();
        let mut messages = Vec::new();
        while rest.len() >= 8 {
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            let (message, others) = rest.split_at(length);
            messages.push(Message::decode(message).expect("well-made"));
            rest = others;
        }
        messages
    }

    fn with_group(id: u32) -> Changes {
        let group = Group {
            id,
            kind: GroupKind::All,
            buckets: Vec::new(),
            selection: None,
        };
        let command = GroupCommand::Add;
        Changes {
            groups: vec![GroupMod { command, group }],
            ..Changes::default()
        }
    }

    /// What a switch says of a bundle that it does not take because of what is in it.
    fn refusal(bundle: &[(Xid, Message)]) -> Vec<(Xid, Message)> {
        let ends = |message: &Message| match message {
            Message::BundleControl(control) => control.op == BundleOp::Commit,
            message => matches!(message, Message::BundleAdd(_)),
        };
        let blamed = bundle.iter().filter(|(_, message)| ends(message));
        blamed
            .map(|(xid, _)| (*xid, Message::Error(FAILED)))
            .collect()
    }

    #[test]
    fn what_follows_a_bundle_that_failed_is_not_blamed_and_all_is_read_once() {
        let now = Instant::now();
        let mut switch = ready(now);
        switch.change_flows(with_group(1));
        let first = refusal(&heard(&mut switch));
        switch.change_flows(with_group(2));
        let second = refusal(&heard(&mut switch));

        let notices = say(&mut switch, now, first);
        assert!(
            matches!(
                notices.as_slice(),
                [Notice::GroupRefused(1, _), Notice::BundleFailed { .. }]
            ),
            "{notices:?}"
        );
        let questions = heard(&mut switch);
        let notices = say(&mut switch, now, second);
        assert!(notices.is_empty(), "{notices:?}");
        assert!(heard(&mut switch).is_empty(), "it is being read already");

        let answers = questions.iter().map(|(xid, message)| match message {
            Message::MultipartRequest(request) => (*xid, Message::MultipartReply(empty(request))),
            other => panic!("{other:?}"),
        });
        let answers = answers.collect();
        let notices = say(&mut switch, now, answers);
        assert!(
            matches!(notices.as_slice(), [Notice::Read(..)]),
            "{notices:?}"
        );
        assert!(switch.is_ready());
    }
}
