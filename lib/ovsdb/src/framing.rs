//! Cutting a stream of bytes into JSON-RPC messages.
//!
//! RFC 7047, section 4, puts JSON objects one after the other on the stream, with nothing but optional white space
//! between them. A [`Framer`] finds where each ends by counting brackets outside of strings. It looks at every byte
//! once, however the stream was cut into reads, and keeps no more than the limits that it was given. It does not check
//! the JSON otherwise: whoever parses the message does.
//!
//! A large message is in memory once. Its buffer gets room for all of it early, so that it is not copied as it grows,
//! and goes away with it.

use std::borrow::Cow;
use std::ops::Range;

/// How large and how deep a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// The most bytes that a message may have.
    pub bytes: usize,
    /// The most levels of arrays and objects in one another.
    pub depth: usize,
    /// A buffer that grew past this is for one large message: it is not kept for the small ones that follow.
    pub keep: usize,
}

/// So much room such a buffer gets at once, unless messages have to be shorter. Memory that nothing is written to is
/// not taken from anybody.
const ROOM: usize = 256 << 20;

/// The JSON parser gives up beyond 128 levels; a framer does so before it.
pub const MAX_DEPTH: usize = 120;

impl FrameLimits {
    /// For a server: what one client may send as one message. The largest transactions of a northd after a fresh start
    /// have some tens of megabytes.
    pub const SERVER: Self = Self {
        bytes: 256 << 20,
        depth: MAX_DEPTH,
        keep: 1 << 20,
    };

    /// For a client: a server's answer to a monitor request is the whole database, and what comes of the transactions of a
    /// northd is a little more than a megabyte each.
    pub const CLIENT: Self = Self {
        bytes: 2 << 30,
        depth: MAX_DEPTH,
        keep: 2 << 20,
    };
}

/// Why a stream cannot be cut any further. The connection is of no use after this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message is longer than allowed.
    #[error("a message is longer than the limit of {0} bytes")]
    TooLong(usize),
    /// A message is more deeply nested than allowed.
    #[error("a message has more than {0} levels of nesting")]
    TooDeep(usize),
    /// What should be a message does not begin like one.
    #[error("a message should begin with '{{', not with byte 0x{0:02x}")]
    NotAnObject(u8),
}

/// The incremental scanner.
#[derive(Debug)]
pub struct Framer {
    limits: FrameLimits,
    buffer: Vec<u8>,
    /// Where the current message begins in `buffer`; what is before it was handed out.
    start: usize,
    /// How far `buffer` was scanned.
    scanned: usize,
    depth: usize,
    state: State,
    messages: u64,
    error: Option<FrameError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Outside,
    InString,
    AfterBackslash,
}

impl Framer {
    /// A framer with these limits.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            depth: 0,
            state: State::Outside,
            messages: 0,
            error: None,
        }
    }

    /// Takes what was read from the stream. After an error it takes nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.reclaim();
            self.make_room(bytes.len());
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// How many messages were handed out.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether a message has begun and not ended, as far as the stream was looked at.
    pub fn is_within_message(&self) -> bool {
        self.depth > 0
    }

    /// How many bytes are held that belong to no message yet handed out.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next complete message, or `None` if more bytes are needed. An error stays.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let range = self.next_range()?;
        Ok(range.map(|range| &self.buffer[range]))
    }

    /// The same; but a message of more than `large` bytes comes with the memory that it is in, to be taken elsewhere.
    pub fn next_message(&mut self, large: usize) -> Result<Option<Cow<'_, [u8]>>, FrameError> {
        let range = self.next_range()?;
        Ok(range.map(|range| {
            if range.len() > large {
                Cow::Owned(self.take(range))
            } else {
                Cow::Borrowed(&self.buffer[range])
            }
        }))
    }

    fn next_range(&mut self) -> Result<Option<Range<usize>>, FrameError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let scanned = self.scan();
        if let Err(error) = &scanned {
            // The bytes stay until the framer goes: whoever has it knows where to let go of so many.
            self.error = Some(error.clone());
        }
        scanned
    }

    /// The bytes of a message that was just found; what comes after them stays.
    fn take(&mut self, range: Range<usize>) -> Vec<u8> {
        if range.start > 0 || self.buffer.capacity() <= self.limits.keep {
            return self.buffer[range].to_vec();
        }
        let rest = self.buffer[range.end..].to_vec();
        let mut message = std::mem::replace(&mut self.buffer, rest);
        message.truncate(range.end);
        (self.start, self.scanned) = (0, 0);
        message
    }

    fn scan(&mut self) -> Result<Option<Range<usize>>, FrameError> {
        let buffer = self.buffer.as_slice();
        let mut at = self.scanned;
        while at < buffer.len() {
            match self.state {
                State::AfterBackslash => {
                    self.state = State::InString;
                    at += 1;
                }
                State::InString => {
                    let rest = &buffer[at..];
                    let Some(skip) = memchr::memchr2(b'"', b'\\', rest) else {
                        at = buffer.len();
                        break;
                    };
                    self.state = if rest[skip] == b'"' {
                        State::Outside
                    } else {
                        State::AfterBackslash
                    };
                    at += skip + 1;
                }
                State::Outside => {
                    let byte = buffer[at];
                    at += 1;
                    match byte {
                        b'{' | b'[' if self.depth > 0 || byte == b'{' => {
                            if self.depth == 0 {
                                self.start = at - 1;
                            }
                            self.depth += 1;
                            if self.depth > self.limits.depth {
                                return Err(FrameError::TooDeep(self.limits.depth));
                            }
                        }
                        b'}' | b']' if self.depth > 0 => {
                            self.depth -= 1;
                            if self.depth == 0 {
                                let start = self.start;
                                self.start = at;
                                self.scanned = at;
                                if at - start > self.limits.bytes {
                                    return Err(FrameError::TooLong(self.limits.bytes));
                                }
                                self.messages += 1;
                                return Ok(Some(start..at));
                            }
                        }
                        b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => self.start = at,
                        _ if self.depth == 0 => return Err(FrameError::NotAnObject(byte)),
                        b'"' => self.state = State::InString,
                        _ => {}
                    }
                }
            }
        }
        self.scanned = at;
        if at - self.start > self.limits.bytes {
            return Err(FrameError::TooLong(self.limits.bytes));
        }
        Ok(None)
    }

    /// Drops what was handed out, once that is cheaper than keeping it.
    fn reclaim(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > self.limits.keep {
                self.buffer = Vec::new();
            }
        } else if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
        } else {
            return;
        }
        self.scanned -= self.start;
        self.start = 0;
    }

    /// Moves a message that turns out to be a large one to where it need not be moved again.
    fn make_room(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed <= self.limits.keep.max(self.buffer.capacity()) {
            return;
        }
        // The end of a message that is too long is seen when it is here.
        let room = ROOM.min(self.limits.bytes) + self.limits.keep;
        let room = if needed <= room { room } else { 2 * needed };
        let mut roomy = Vec::new();
        // If there is not so much to be had, it grows bit by bit.
        if roomy.try_reserve_exact(room).is_ok() {
            roomy.extend_from_slice(&self.buffer[self.start..]);
            self.buffer = roomy;
            self.scanned -= self.start;
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: usize = FrameLimits::SERVER.keep;
    const LIMITS: FrameLimits = FrameLimits {
        keep: KEEP,
        bytes: 200,
        depth: 5,
    };

    fn frames(chunks: &[&[u8]]) -> Result<Vec<String>, FrameError> {
        let mut framer = Framer::new(LIMITS);
        let mut frames = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame()? {
                frames.push(String::from_utf8_lossy(frame).into_owned());
            }
        }
        Ok(frames)
    }

    #[test]
    fn messages_end_where_their_brackets_do() {
        let stream = br#"{"a":"}\"]{"} {"b":[[1],{"c":"\\"}]}{}"#;
        let expected = [r#"{"a":"}\"]{"}"#, r#"{"b":[[1],{"c":"\\"}]}"#, "{}"];
        assert_eq!(frames(&[stream]).unwrap(), expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytes).unwrap(), expected);
    }

    #[test]
    fn limits_hold() {
        assert_eq!(frames(&[b"{{{{{}"]).unwrap(), Vec::<String>::new());
        assert_eq!(frames(&[b"{{{{{{"]), Err(FrameError::TooDeep(5)));
        let long = format!("{{\"{}\"}}", "x".repeat(200));
        assert_eq!(frames(&[long.as_bytes()]), Err(FrameError::TooLong(200)));
        let endless: Vec<&[u8]> = std::iter::once(b"{\"".as_slice())
            .chain(std::iter::repeat_n(b"xxxxxxxxx".as_slice(), 30))
            .collect();
        assert_eq!(frames(&endless), Err(FrameError::TooLong(200)));
        for (stream, byte) in [("[]", b'['), ("x", b'x'), (" }", b'}'), ("{}\"", b'"')] {
            assert_eq!(
                frames(&[stream.as_bytes()]),
                Err(FrameError::NotAnObject(byte))
            );
        }
    }

    #[test]
    fn an_error_stays() {
        let mut framer = Framer::new(LIMITS);
        framer.push(b"x");
        assert!(framer.next_frame().is_err());
        framer.push(b"{}");
        assert!(framer.next_frame().is_err());
        assert_eq!(framer.pending(), 1, "nothing more is taken");
    }

    #[test]
    fn a_large_message_is_in_one_place_and_leaves_with_it() {
        const LIMIT: usize = 8 << 20;
        let mut framer = Framer::new(FrameLimits {
            bytes: LIMIT,
            depth: 5,
            keep: KEEP,
        });
        framer.push(b"{}");
        assert_eq!(framer.next_message(1 << 10), Ok(Some(b"{}".into())));
        framer.push(b"{\"");
        let mut place = None;
        while framer.pending() < LIMIT - (1 << 10) {
            framer.push(&[b'x'; 1 << 10]);
            assert_eq!(framer.next_message(1 << 10), Ok(None));
            if framer.pending() > 2 * KEEP {
                let is = framer.buffer.as_ptr();
                assert_eq!(*place.get_or_insert(is), is, "it does not move");
            }
        }
        framer.push(b"\"}{\"next\"");
        let length = framer.pending() - b"{\"next\"".len();
        match framer.next_message(1 << 10).unwrap() {
            Some(Cow::Owned(message)) => {
                assert_eq!(Some(message.as_ptr()), place);
                assert_eq!(message.len(), length);
                assert!(message.ends_with(b"x\"}"));
            }
            other => panic!("{other:?}"),
        }
        framer.push(b"}");
        assert_eq!(framer.next_message(1 << 10), Ok(Some(b"{\"next\"}".into())));
        assert!(framer.buffer.capacity() <= KEEP, "the room is given back");
    }

    #[test]
    fn a_message_without_end_takes_no_more_than_its_limit() {
        const LIMIT: usize = 4 << 20;
        let mut framer = Framer::new(FrameLimits {
            bytes: LIMIT,
            depth: 5,
            keep: KEEP,
        });
        framer.push(b"{\"");
        let piece = [b'x'; 64 << 10];
        while let Ok(None) = framer.next_message(1) {
            framer.push(&piece);
            assert!(framer.buffer.capacity() <= LIMIT + KEEP);
        }
        assert_eq!(framer.next_message(1), Err(FrameError::TooLong(LIMIT)));
        assert!(framer.pending() <= LIMIT + piece.len());
    }

    proptest! {
        #[test]
        fn how_the_stream_is_cut_makes_no_difference(
            stream in "([{}\\[\\]\"\\\\a ]){0,60}",
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let whole = frames(&[stream.as_bytes()]);
            let large = stream.len() / 2;
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut from = 0;
            let chunks: Vec<&[u8]> = cuts
                .into_iter()
                .map(|to| &stream.as_bytes()[std::mem::replace(&mut from, to)..to])
                .collect();
            prop_assert_eq!(&frames(&chunks), &whole);
            // Nor does it make one whether messages take their memory along.
            let mut framer = Framer::new(LIMITS);
            let mut messages = Ok(Vec::new());
            for chunk in chunks {
                framer.push(chunk);
                while let (Ok(got), next) = (&mut messages, framer.next_message(large)) {
                    match next {
                        Ok(Some(message)) => got.push(String::from_utf8_lossy(&message).into_owned()),
                        Ok(None) => break,
                        Err(error) => messages = Err(error),
                    }
                }
            }
            prop_assert_eq!(messages, whole);
        }
    }
}
