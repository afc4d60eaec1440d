//! Large transactions: several entries of the log that count as one.
//!
//! An entry of hundreds of megabytes would hold up whatever has to go through the same stream, and
//! heartbeats first of all. So what [`crate::entry`] encodes goes into the log in parts:
//!
//! ```text
//! part = version u8 = 2, number varint, 0 | 1, bytes
//! ```
//!
//! The parts are numbered from 0, the last has a 1, and their bytes one after the other are a
//! whole entry. They have no effect until the last is committed; then the transaction is applied,
//! as a whole.
//!
//! A leader proposes the parts of a transaction at once, so they stand in the log one after the
//! other, in one term. If it is deposed in between, the next leader's first entry follows the parts
//! that it has, and they count for nothing.
//!
//! While a transaction is unfinished, a member is *settled* at the entry before its first part:
//! that is where its rows stand, what a restart begins with, where a snapshot stands, and how far
//! the log may be forgotten. The parts come from the log again, whoever begins there.

use bytes::Bytes;

use crate::codec::{self, DecodeError, Decoder};
use crate::storage::LogPosition;

/// So many bytes of a transaction go into one entry of the log: half of what goes into a message,
/// so that a message has its limit in truth.
pub const PART_BYTES: usize = 512 << 10;

/// In the place of an entry's version: this is a part.
const PART: u8 = 2;

/// Why an entry cannot be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PartError {
    /// The bytes make no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The parts before it did not come.
    #[error("part {number} of a transaction follows on part {expected} of none")]
    OutOfOrder {
        /// Its number.
        number: u64,
        /// The number that was due.
        expected: u64,
    },
}

/// Cuts a transaction's entry into what goes into the log. What fits into one stays as it is.
pub fn split(entry: Vec<u8>, part_bytes: usize) -> Vec<Vec<u8>> {
    if entry.len() <= part_bytes {
        return vec![entry];
    }
    let chunks = entry.chunks(part_bytes.max(1));
    let last = chunks.len() - 1;
    let part = |(number, chunk): (usize, &[u8])| {
        let mut part = Vec::with_capacity(chunk.len() + 8);
        part.push(PART);
        codec::put_count(&mut part, number);
        part.push(u8::from(number == last));
        part.extend_from_slice(chunk);
        part
    };
    chunks.enumerate().map(part).collect()
}

/// Whether a transaction ends with this entry, be it in one piece or in parts.
pub fn ends(data: &[u8]) -> bool {
    match read(data) {
        Ok(Some(part)) => part.last,
        _ => !data.is_empty(),
    }
}

struct Part<'a> {
    number: u64,
    last: bool,
    bytes: &'a [u8],
}

/// `None` if the entry is no part.
fn read(data: &[u8]) -> Result<Option<Part<'_>>, DecodeError> {
    let mut decoder = Decoder::new(data);
    if data.first() != Some(&PART) {
        return Ok(None);
    }
    decoder.byte()?;
    Ok(Some(Part {
        number: decoder.varint()?,
        last: decoder.byte()? != 0,
        bytes: decoder.rest(),
    }))
}

/// The parts of the transaction that is unfinished, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    unfinished: Option<Unfinished>,
}

#[derive(Clone, Debug)]
struct Unfinished {
    /// The entry before the first part.
    before: LogPosition,
    /// The newest part.
    newest: LogPosition,
    bytes: Vec<Bytes>,
}

/// A transaction whose last entry has come.
#[derive(Debug)]
pub struct Whole(Vec<Bytes>);

impl Whole {
    /// What [`crate::entry::decode`] reads.
    pub fn bytes(mut self) -> Bytes {
        match self.0.len() {
            1 => self.0.remove(0),
            _ => self.0.concat().into(),
        }
    }
}

impl Parts {
    /// The committed entry at `position` says this; the one before it stands at `before`. The
    /// answer is the transaction that ends with it, if one does.
    pub fn take(
        &mut self,
        before: LogPosition,
        position: LogPosition,
        data: &Bytes,
    ) -> Result<Option<Whole>, PartError> {
        let unfinished = self.unfinished.take();
        let Some(part) = read(data)? else {
            return Ok((!data.is_empty()).then(|| Whole(vec![data.clone()])));
        };
        let fresh = Unfinished {
            before,
            newest: before,
            bytes: Vec::new(),
        };
        let mut unfinished = match unfinished {
            Some(unfinished) if part.number > 0 => unfinished,
            _ => fresh,
        };
        let expected = unfinished.bytes.len() as u64;
        let follows = unfinished.newest.index + 1 == position.index
            && (part.number == 0 || unfinished.newest.term == position.term);
        if part.number != expected || !follows {
            let number = part.number;
            return Err(PartError::OutOfOrder { number, expected });
        }
        unfinished.newest = position;
        unfinished.bytes.push(data.slice_ref(part.bytes));
        if part.last {
            return Ok(Some(Whole(unfinished.bytes)));
        }
        self.unfinished = Some(unfinished);
        Ok(None)
    }

    /// Something else stands in the log, or took its place: the parts count for nothing.
    pub fn cancel(&mut self) {
        self.unfinished = None;
    }

    /// Where a member is settled that has applied the log up to here.
    pub fn settled(&self, applied: LogPosition) -> LogPosition {
        let unfinished = self.unfinished.as_ref();
        unfinished.map_or(applied, |unfinished| unfinished.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, term: u64) -> LogPosition {
        LogPosition { index, term }
    }

    fn take(
        parts: &mut Parts,
        index: u64,
        term: u64,
        data: &[u8],
    ) -> Result<Option<Bytes>, PartError> {
        let data = Bytes::copy_from_slice(data);
        let whole = parts.take(at(index - 1, 1), at(index, term), &data)?;
        Ok(whole.map(Whole::bytes))
    }

    fn entry() -> Vec<u8> {
        (0..=250).map(|byte| byte | 1).collect()
    }

    #[test]
    fn a_transaction_is_whole_with_its_last_part() {
        for size in [1, 2, 100, 125, 250, 251, 252, 1000] {
            let cut = split(entry(), size);
            assert_eq!(cut.len(), 251_usize.div_ceil(size));
            let mut parts = Parts::default();
            for (number, part) in cut.iter().enumerate() {
                let index = 7 + number as u64;
                let is_last = number + 1 == cut.len();
                assert_eq!(ends(part), is_last);
                let taken = take(&mut parts, index, 1, part).unwrap();
                assert_eq!(taken, is_last.then(|| entry().into()));
                let settled = if is_last { index } else { 6 };
                assert_eq!(parts.settled(at(index, 1)), at(settled, 1));
            }
        }
    }

    #[test]
    fn a_new_beginning_or_a_whole_entry_cancels_what_is_unfinished() {
        let cut = split(entry(), 100);
        let mut parts = Parts::default();
        assert_eq!(take(&mut parts, 5, 1, &cut[0]), Ok(None));
        assert_eq!(take(&mut parts, 6, 2, &cut[0]), Ok(None));
        assert_eq!(parts.settled(at(6, 2)), at(5, 1));
        let whole = take(&mut parts, 7, 2, &[1, 2, 3]).unwrap();
        assert_eq!(whole, Some(Bytes::from_static(&[1, 2, 3])));
        assert_eq!(parts.settled(at(7, 2)), at(7, 2));
        assert_eq!(take(&mut parts, 8, 2, &[]), Ok(None));
        assert!(!ends(&[]));
    }

    #[test]
    fn parts_of_nothing_are_refused() {
        let cut = split(entry(), 100);
        let out_of_order = |number, expected| Err(PartError::OutOfOrder { number, expected });
        let mut parts = Parts::default();
        assert_eq!(take(&mut parts, 5, 1, &cut[1]), out_of_order(1, 0));
        assert_eq!(take(&mut parts, 6, 1, &cut[0]), Ok(None));
        assert_eq!(take(&mut parts, 7, 1, &cut[2]), out_of_order(2, 1));
        assert_eq!(take(&mut parts, 8, 1, &cut[0]), Ok(None));
        assert_eq!(take(&mut parts, 9, 2, &cut[1]), out_of_order(1, 1));
        assert!(take(&mut parts, 9, 2, &[PART]).is_err());
    }
}
