//! Reading and writing big-endian structures.
//!
//! A [`Reader`] never goes past the end of its slice: every read names what it was after, and a short message becomes a
//! [`DecodeError`] rather than a panic. Writers append to a `Vec<u8>` through [`Put`].

use crate::DecodeError;

/// A cursor over received bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next `n` bytes. `what` names them in the error.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(DecodeError::Truncated {
                what,
                needed: n,
                left: self.rest.len(),
            })?;
        self.rest = rest;
        Ok(head)
    }

    /// Skips `n` bytes.
    pub fn skip(&mut self, n: usize, what: &'static str) -> Result<(), DecodeError> {
        self.take(n, what).map(|_| ())
    }

    /// The next `n` bytes as a reader of their own.
    pub fn sub(&mut self, n: usize, what: &'static str) -> Result<Reader<'a>, DecodeError> {
        self.take(n, what).map(Reader::new)
    }

    /// The next byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    /// The next two bytes.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// The next sixteen bytes.
    pub fn u128(&mut self, what: &'static str) -> Result<u128, DecodeError> {
        self.array(what).map(u128::from_be_bytes)
    }

    /// The next `n` bytes, at most 16, as one number.
    pub fn uint(&mut self, n: usize, what: &'static str) -> Result<u128, DecodeError> {
        Ok(self
            .take(n, what)?
            .iter()
            .fold(0, |acc, &b| (acc << 8) | u128::from(b)))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N, what)?.try_into().expect("take gave N bytes"))
    }
}

/// Appending big-endian numbers to a buffer.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, n: u8);
    /// Two bytes.
    fn put_u16(&mut self, n: u16);
    /// Four bytes.
    fn put_u32(&mut self, n: u32);
    /// Eight bytes.
    fn put_u64(&mut self, n: u64);
    /// The lowest `n` bytes of a number, at most 16.
    fn put_uint(&mut self, value: u128, n: usize);
    /// `n` zeros.
    fn put_zeros(&mut self, n: usize);
    /// Zeros until the length since `start` is a multiple of 8.
    fn pad_to_8(&mut self, start: usize);
    /// Writes the length since `start` into the two bytes at `at`.
    fn put_len(&mut self, start: usize, at: usize);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, n: u8) {
        self.push(n);
    }
    fn put_u16(&mut self, n: u16) {
        self.extend_from_slice(&n.to_be_bytes());
    }
    fn put_u32(&mut self, n: u32) {
        self.extend_from_slice(&n.to_be_bytes());
    }
    fn put_u64(&mut self, n: u64) {
        self.extend_from_slice(&n.to_be_bytes());
    }
    fn put_uint(&mut self, value: u128, n: usize) {
        self.extend_from_slice(&value.to_be_bytes()[16 - n..]);
    }
    fn put_zeros(&mut self, n: usize) {
        self.resize(self.len() + n, 0);
    }
    fn pad_to_8(&mut self, start: usize) {
        let len = self.len() - start;
        self.put_zeros(len.next_multiple_of(8) - len);
    }
    fn put_len(&mut self, start: usize, at: usize) {
        let len = u16::try_from(self.len() - start).unwrap_or(u16::MAX);
        self[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }
}
