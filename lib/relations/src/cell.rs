//! What units read: a relation and a key in it.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::Mac;
use uuid::Uuid;

/// A row of a database, as long as it is there or referred to. Handles of different tables are different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// More rows than these do not fit; the top bit of a first word is free for [`Small`] keys.
    pub(crate) const MAX: u32 = u32::MAX >> 1;

    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Where the row stands among all.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A key of a relation, whatever the relation: five words, read with [`Small::unpack`] by who knows the relation's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key([u32; 5]);

/// By whole words: keys are looked up more often than anything else.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash_with(0, state);
    }
}

impl Key {
    /// A key of these words, for types of one's own that are [`Small`].
    pub const fn new(words: [u32; 5]) -> Self {
        Self(words)
    }

    /// The words.
    pub const fn words(self) -> [u32; 5] {
        self.0
    }

    fn hash_with<H: Hasher>(self, relation: u16, state: &mut H) {
        let Key([a, b, c, d, e]) = self;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        state.write_u64(pair(e, relation.into()));
        if (b, c, d) != (0, 0, 0) {
            state.write_u64(pair(c, d));
        }
        state.write_u64(pair(a, b));
    }
}

/// Something that a unit reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The relation's number: [`Relation::id`](crate::Relation::id), or one of a database's ([`Rows`](crate::Rows)).
    pub relation: u16,
    /// The key in the relation.
    pub key: Key,
}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash_with(self.relation, state);
    }
}

/// A type that fits into a [`Key`] without loss.
pub trait Small: Copy + Eq + Ord + Hash + Debug + Send + Sync + 'static {
    /// The key of this value; different values have different keys.
    fn pack(self) -> Key;
    /// The value of this key, which [`Small::pack`] has made.
    fn unpack(key: Key) -> Self;
}

impl Small for () {
    fn pack(self) -> Key {
        Key::default()
    }

    fn unpack(_: Key) -> Self {}
}

impl Small for u32 {
    fn pack(self) -> Key {
        Key([self, 0, 0, 0, 0])
    }

    fn unpack(Key([word, ..]): Key) -> Self {
        word
    }
}

impl Small for Handle {
    fn pack(self) -> Key {
        self.0.pack()
    }

    fn unpack(key: Key) -> Self {
        Self(u32::unpack(key))
    }
}

impl Small for (Handle, Handle) {
    fn pack(self) -> Key {
        Key([self.0.0, self.1.0, 0, 0, 0])
    }

    fn unpack(Key([first, second, ..]): Key) -> Self {
        (Handle(first), Handle(second))
    }
}

impl Small for (Handle, u32) {
    fn pack(self) -> Key {
        Key([self.0.0, self.1, 0, 0, 0])
    }

    fn unpack(Key([first, second, ..]): Key) -> Self {
        (Handle(first), second)
    }
}

impl Small for (u32, Handle) {
    fn pack(self) -> Key {
        Key([self.0, self.1.0, 0, 0, 0])
    }

    fn unpack(Key([first, second, ..]): Key) -> Self {
        (first, Handle(second))
    }
}

impl Small for (Handle, Mac) {
    fn pack(self) -> Key {
        (self.0, self.1.to_u64()).pack()
    }

    fn unpack(key: Key) -> Self {
        let (row, mac) = <(Handle, u64)>::unpack(key);
        (row, Mac::from_u64(mac))
    }
}

impl Small for (Handle, u64) {
    fn pack(self) -> Key {
        let [low, high] = halves(self.1);
        Key([self.0.0, low, high, 0, 0])
    }

    fn unpack(Key([row, low, high, ..]): Key) -> Self {
        (Handle(row), u64::from(low) | u64::from(high) << 32)
    }
}

impl Small for (Handle, IpAddr) {
    fn pack(self) -> Key {
        match self.1 {
            IpAddr::V4(ip) => Key([self.0.0 | V4, ip.to_bits(), 0, 0, 0]),
            IpAddr::V6(ip) => {
                let [a, b, c, d] = quarters(ip.to_bits());
                Key([self.0.0, a, b, c, d])
            }
        }
    }

    fn unpack(Key([row, a, b, c, d]): Key) -> Self {
        let ip = if row & V4 == 0 {
            Ipv6Addr::from_bits(whole([a, b, c, d])).into()
        } else {
            Ipv4Addr::from_bits(a).into()
        };
        (Handle(row & !V4), ip)
    }
}

impl Small for IpAddr {
    fn pack(self) -> Key {
        (Handle(0), self).pack()
    }

    fn unpack(key: Key) -> Self {
        <(Handle, Self)>::unpack(key).1
    }
}

/// Set in the first word, which a handle leaves free, when the address is of IPv4.
const V4: u32 = 1 << 31;

impl Small for Uuid {
    fn pack(self) -> Key {
        let [a, b, c, d] = quarters(self.as_u128());
        Key([a, b, c, d, 0])
    }

    fn unpack(Key([a, b, c, d, _]): Key) -> Self {
        Uuid::from_u128(whole([a, b, c, d]))
    }
}

impl Small for u64 {
    fn pack(self) -> Key {
        let [low, high] = halves(self);
        Key([low, high, 0, 0, 0])
    }

    fn unpack(Key([low, high, ..]): Key) -> Self {
        u64::from(low) | u64::from(high) << 32
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn quarters(value: u128) -> [u32; 4] {
    let bytes = value.to_be_bytes();
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

fn whole([a, b, c, d]: [u32; 4]) -> u128 {
    u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<K: Small>(keys: &[K]) {
        for (place, key) in keys.iter().enumerate() {
            assert_eq!(K::unpack(key.pack()), *key);
            for other in &keys[..place] {
                assert_ne!(other.pack(), key.pack(), "{other:?} and {key:?}");
            }
        }
    }

    #[test]
    fn keys_are_read_as_they_were_written_and_differ_where_values_do() {
        let (one, last) = (Handle(1), Handle(Handle::MAX));
        check(&[one, last]);
        check(&[(one, last), (last, one)]);
        check(&[(one, 7u32), (one, u32::MAX)]);
        check(&[(one, u64::MAX), (one, 1 << 40), (last, 1 << 40)]);
        check(&[(one, Mac::BROADCAST), (one, Mac([2, 0, 0, 0, 0, 1]))]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        check(&[
            (one, ip("10.0.0.1")),
            (one, ip("::ffff:10.0.0.1")),
            (one, ip("a00:1::")),
            (last, ip("a00:1::")),
            (last, ip("10.0.0.1")),
        ]);
        check(&[Uuid::nil(), Uuid::from_u128(u128::MAX >> 3)]);
        check(&[0u64, 1 << 33, u64::MAX]);
    }
}
