//! One connection to a switch, without I/O.
//!
//! The caller moves bytes: what it reads goes into [`Session::receive`], what [`Session::take_output`] gives goes to the socket,
//! and [`Session::tick`] is called at [`Session::deadline`]. The session cuts the stream into messages, settles the version, answers
//! and sends echoes, and hands every answer back with the token of its question.
//!
//! ```text
//!  new ──hello──▶ Greeting ──hello received──▶ Up ──silence, probe, silence──▶ SessionError::Silent
//! ```

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::message::{HEADER_LEN, Message, MultipartReply, VERSION, Xid};
use crate::{DecodeError, ErrorMessage};

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The switch does not speak OpenFlow 1.5.
    #[error(
        "the switch does not speak OpenFlow 1.5 (it offers versions {offered:#x}): add OpenFlow15 to the bridge's protocols"
    )]
    Version {
        /// The versions that it offers, one bit each.
        offered: u32,
    },
    /// The switch refused our hello.
    #[error("the switch refused the connection: {0}")]
    Refused(ErrorMessage),
    /// Something that is not OpenFlow 1.5.
    #[error("malformed message from the switch: {0}")]
    Malformed(#[from] DecodeError),
    /// Nothing came for a whole interval after a probe.
    #[error("the switch did not answer an echo request within {} s", .interval.as_secs())]
    Silent {
        /// The interval.
        interval: Duration,
    },
}

/// What came from the switch.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<T> {
    /// The version is settled; requests may be sent.
    Up,
    /// An answer, or one of several, to the request with this token.
    Answer {
        /// What was given to [`Session::request`].
        token: T,
        /// The answer.
        message: Message,
        /// No more answers to this request follow.
        last: bool,
    },
    /// A message that nobody asked for, or an error about a message that was sent without a token.
    Message {
        /// Its xid.
        xid: Xid,
        /// The message.
        message: Message,
    },
}

/// A connection to a switch. `T` is whatever tells the caller's requests apart.
#[derive(Debug)]
pub struct Session<T> {
    input: Vec<u8>,
    output: Vec<u8>,
    up: bool,
    next_xid: Xid,
    pending: FxHashMap<Xid, T>,
    probe_interval: Option<Duration>,
    last_heard: Instant,
    probed: bool,
}

impl<T: Clone> Session<T> {
    /// Starts with our hello. `probe_interval` is the silence after which an echo request is sent, and the silence after that which
    /// ends the session; `None` never probes.
    pub fn new(now: Instant, probe_interval: Option<Duration>) -> Self {
        let mut session = Session {
            input: Vec::new(),
            output: Vec::new(),
            up: false,
            next_xid: 1,
            pending: FxHashMap::default(),
            probe_interval: probe_interval.filter(|i| !i.is_zero()),
            last_heard: now,
            probed: false,
        };
        session.send(&Message::Hello {
            versions: 1 << VERSION,
        });
        session
    }

    /// Queues a message that has no answer but an error.
    pub fn send(&mut self, message: &Message) -> Xid {
        let xid = self.take_xid();
        message.encode(xid, &mut self.output);
        xid
    }

    /// Queues a message; its answers, errors too, come with the token. What has no answer but an error keeps its token until a
    /// barrier sent after it is answered: whoever sends much asks for one now and then.
    pub fn request(&mut self, message: &Message, token: T) -> Xid {
        let xid = self.send(message);
        self.pending.insert(xid, token);
        xid
    }

    /// What is to be written to the socket; empty when there is nothing.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether the version is settled.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Takes bytes as they were read, whole messages or not. An error ends the session; what came before it is lost with it.
    pub fn receive(
        &mut self,
        now: Instant,
        bytes: &[u8],
    ) -> Result<Vec<Incoming<T>>, SessionError> {
        self.last_heard = now;
        self.probed = false;
        self.input.extend_from_slice(bytes);
        let mut incoming = Vec::new();
        let mut at = 0;
        while let Some(length) = frame_len(&self.input[at..])? {
            let Some(frame) = self.input.get(at..at + length) else {
                break;
            };
            let (xid, message) = Message::decode(frame)?;
            at += length;
            incoming.extend(self.dispatch(xid, message)?);
        }
        self.input.drain(..at);
        Ok(incoming)
    }

    /// When [`Session::tick`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let interval = self.probe_interval?;
        Some(self.last_heard + interval * if self.probed { 2 } else { 1 })
    }

    /// Probes a silent switch, and gives up on one that stays silent.
    pub fn tick(&mut self, now: Instant) -> Result<(), SessionError> {
        let (Some(interval), Some(deadline)) = (self.probe_interval, self.deadline()) else {
            return Ok(());
        };
        if now < deadline {
            return Ok(());
        }
        if self.probed {
            return Err(SessionError::Silent { interval });
        }
        self.probed = true;
        self.send(&Message::EchoRequest(Vec::new()));
        Ok(())
    }

    fn take_xid(&mut self) -> Xid {
        let xid = self.next_xid;
        // 0 is left to messages that the switch sends unasked.
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        xid
    }

    fn dispatch(
        &mut self,
        xid: Xid,
        message: Message,
    ) -> Result<Option<Incoming<T>>, SessionError> {
        match message {
            Message::Hello { versions } if versions & (1 << VERSION) == 0 => {
                Err(SessionError::Version { offered: versions })
            }
            Message::Hello { .. } => {
                let first = !std::mem::replace(&mut self.up, true);
                Ok(first.then_some(Incoming::Up))
            }
            Message::Error(e) if e.kind == ErrorMessage::HELLO_FAILED => {
                Err(SessionError::Refused(e))
            }
            Message::EchoRequest(data) => {
                Message::EchoReply(data).encode(xid, &mut self.output);
                Ok(None)
            }
            Message::EchoReply(_) => Ok(None),
            message => {
                let last = !matches!(&message, Message::MultipartReply(part) if MultipartReply::more(part));
                let token = if last {
                    self.pending.remove(&xid)
                } else {
                    self.pending.get(&xid).cloned()
                };
                if matches!(message, Message::BarrierReply) {
                    // The switch is through with all that was sent before: what had no answer has none (section 7.3.7).
                    self.pending.retain(|pending, _| !is_before(*pending, xid));
                }
                Ok(Some(match token {
                    Some(token) => Incoming::Answer {
                        token,
                        message,
                        last,
                    },
                    None => Incoming::Message { xid, message },
                }))
            }
        }
    }
}

/// Whether one message was sent before another; numbers begin again after the last.
fn is_before(one: Xid, other: Xid) -> bool {
    other.wrapping_sub(one) < u32::MAX / 2
}

/// The length of the message at the start; `None` when not even its header is there. The field has 16 bits, so that no message
/// can make us keep more than 64 KiB.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some(header) = bytes.get(..HEADER_LEN) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length < HEADER_LEN {
        return Err(DecodeError::Length {
            what: "message",
            length,
        });
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_ends_the_wait_for_what_was_sent_before() {
        let mut session: Session<&str> = Session::new(Instant::now(), None);
        let answer = |session: &mut Session<&str>, xid: Xid, message: &Message| {
            let mut bytes = Vec::new();
            message.encode(xid, &mut bytes);
            session
                .receive(Instant::now(), &bytes)
                .expect("a message")
                .len()
        };
        for _ in 0..2 {
            for _ in 0..70_000 {
                session.request(&Message::BarrierRequest, "change");
            }
            let barrier = session.request(&Message::BarrierRequest, "barrier");
            let later = session.request(&Message::BarrierRequest, "later");
            let mut bytes = Vec::new();
            Message::BarrierReply.encode(barrier, &mut bytes);
            let incoming = session.receive(Instant::now(), &bytes).expect("a message");
            assert!(
                matches!(
                    &incoming[..],
                    [Incoming::Answer {
                        token: "barrier",
                        ..
                    }]
                ),
                "{incoming:?}"
            );
            assert_eq!(session.pending.len(), 1);
            assert_eq!(answer(&mut session, later, &Message::BarrierReply), 1);
        }
    }
    use crate::Match;
    use crate::message::{FlowRequest, MultipartRequest};

    fn bytes(messages: &[(Xid, Message)]) -> Vec<u8> {
        let mut out = Vec::new();
        messages
            .iter()
            .for_each(|(xid, m)| m.encode(*xid, &mut out));
        out
    }

    fn up(now: Instant) -> Session<&'static str> {
        let mut s = Session::new(now, Some(Duration::from_secs(5)));
        assert_eq!(
            Message::decode(&s.take_output()).expect("hello").1,
            Message::Hello { versions: 0x40 }
        );
        assert_eq!(
            s.receive(now, &bytes(&[(9, Message::Hello { versions: 0x7e })])),
            Ok(vec![Incoming::Up])
        );
        s
    }

    #[test]
    fn answers_find_their_requests_however_the_stream_is_cut() {
        let now = Instant::now();
        let mut s = up(now);
        let request = FlowRequest {
            table: None,
            matches: Match::new(),
        };
        let flows = s.request(
            &Message::MultipartRequest(MultipartRequest::Flows(Box::new(request))),
            "flows",
        );
        let barrier = s.request(&Message::BarrierRequest, "barrier");
        let part = |more| {
            Message::MultipartReply(MultipartReply::Flows {
                more,
                flows: vec![],
                unreadable: vec![],
            })
        };
        let stream = bytes(&[
            (flows, part(true)),
            (flows, part(false)),
            (barrier, Message::BarrierReply),
        ]);
        let mut seen = Vec::new();
        for byte in stream {
            for i in s.receive(now, &[byte]).expect("well-formed") {
                let Incoming::Answer { token, last, .. } = i else {
                    panic!("{i:?}")
                };
                seen.push((token, last));
            }
        }
        assert_eq!(seen, [("flows", false), ("flows", true), ("barrier", true)]);
        let again = s
            .receive(now, &bytes(&[(barrier, Message::BarrierReply)]))
            .expect("well-formed");
        assert!(matches!(again[..], [Incoming::Message { .. }]));
    }

    #[test]
    fn a_silent_switch_is_probed_and_then_given_up() {
        let now = Instant::now();
        let mut s = up(now);
        let s5 = Duration::from_secs(5);
        assert_eq!(s.tick(now + s5 / 2), Ok(()));
        assert!(s.take_output().is_empty());
        assert_eq!(s.tick(now + s5), Ok(()));
        assert!(matches!(
            Message::decode(&s.take_output()),
            Ok((_, Message::EchoRequest(_)))
        ));
        assert_eq!(
            s.tick(now + s5 * 2),
            Err(SessionError::Silent { interval: s5 })
        );
        let heard = now + s5 * 3 / 2;
        s.receive(heard, &bytes(&[(1, Message::EchoReply(vec![]))]))
            .expect("well-formed");
        assert_eq!(s.deadline(), Some(heard + s5));
    }

    #[test]
    fn echoes_are_answered_with_their_own_bytes() {
        let now = Instant::now();
        let mut s = up(now);
        assert_eq!(
            s.receive(now, &bytes(&[(77, Message::EchoRequest(vec![1, 2]))])),
            Ok(vec![])
        );
        assert_eq!(
            Message::decode(&s.take_output()),
            Ok((77, Message::EchoReply(vec![1, 2])))
        );
    }

    #[test]
    fn what_is_not_openflow_15_ends_the_session() {
        let now = Instant::now();
        let fresh = || Session::<()>::new(now, None);
        let old = bytes(&[(1, Message::Hello { versions: 0x02 })]);
        assert_eq!(
            fresh().receive(now, &old),
            Err(SessionError::Version { offered: 2 })
        );
        assert!(matches!(
            fresh().receive(now, &[6, 0, 0, 7, 0, 0, 0, 0]),
            Err(SessionError::Malformed(_))
        ));
        let refused = ErrorMessage {
            kind: 0,
            code: 0,
            experimenter: None,
            data: vec![],
        };
        let answer = fresh().receive(now, &bytes(&[(1, Message::Error(refused.clone()))]));
        assert_eq!(answer, Err(SessionError::Refused(refused)));
        assert_eq!(VERSION, 6);
    }
}
