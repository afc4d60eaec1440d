//! What units say. The words are generic and closed: a feature adds relations, tables and kinds of units, never a fact.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use lflow::action::CoppProtocol;
use ovsdb::{Atom, Row};
use relations::{Cell, Handle, Key, Small};
use smallvec::SmallVec;
use uuid::Uuid;

pub use super::pool::Identity;
use super::pool::Pool;
use super::problem::Problem;

/// A table that somebody owns, by its place in the order of writing.
pub type TableId = u8;

/// A row of an owned table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The table.
    pub table: TableId,
    /// The row.
    pub uuid: Uuid,
}

/// A row as somebody says that it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The columns that are said; the others are at their defaults.
    pub row: Arc<Row>,
    /// Columns whose members others say.
    pub sets: Box<[(usize, Cell)]>,
}

/// A southbound row of others that has had its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stale {
    /// Its table.
    pub table: u16,
    /// Its UUID.
    pub row: Uuid,
    /// How many such rows are deleted at once; 0 is no limit.
    pub limit: u32,
    /// The column that says so, and its value: with another one the row is left alone.
    pub by: Option<(u16, i64)>,
}

/// Numbers of a pool that nobody is to be given. Several units may reserve the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reserve {
    /// The pool.
    pub pool: u16,
    /// Among which of its numbers ([`Want::among`]).
    pub among: Key,
    /// The first of them.
    pub from: u32,
    /// The last of them.
    pub to: u32,
}

/// What a unit says.
pub enum Fact {
    /// A relation has this value at a key.
    Value(Cell, Box<dyn Any + Send>),
    /// A bucket has this member at a key.
    Join(Cell, Key),
    /// A set has this member at a key. Several units may say the same.
    Member(Cell, Atom),
    /// A set has at a key the members of this column of a northbound row, as they come and go.
    Mirror(Cell, Handle, usize),
    /// A row should be there.
    Row(RowId, Wanted),
    /// A logical flow of one datapath, or of the datapaths in a set; its UUID says all of it. Of what is sent to the controllers, the
    /// protocol by which meters know it.
    Flow(RowId, Option<Cell>, Arc<Row>, Option<CoppProtocol>),
    /// A datapath has a meter for what it sends of a protocol to the controllers.
    Limit(Uuid, CoppProtocol, Arc<str>),
    /// A number is wanted.
    Want(Box<Want>),
    /// Numbers are not to be given.
    Reserve(Reserve),
    /// The unit has to run again at this time (milliseconds since 1970).
    Deadline(i64),
    /// A southbound row of others has had its time.
    Expired(Stale),
    /// Something makes no sense.
    Problem(Box<Problem>),
}

/// What identifies a fact among those of a unit, and says what is to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKey {
    /// By cell.
    Value(Cell),
    /// By cell and member.
    Join(Cell, Key),
    /// By cell and member: a UUID itself, or the hash of another atom.
    Member(Cell, Key),
    /// By cell.
    Mirror(Cell),
    /// By row.
    Row(RowId),
    /// By content.
    Flow(RowId),
    /// By datapath and protocol.
    Limit(Uuid, CoppProtocol),
    /// By pool and owner.
    Want(u16, Key),
    /// By all of it.
    Reserve(Reserve),
    /// By time.
    Deadline(i64),
    /// By all of it.
    Expired(Stale),
    /// By content.
    Problem(Uuid),
}

impl Fact {
    /// What identifies this fact.
    pub fn key(&self) -> FactKey {
        match self {
            Self::Value(cell, _) => FactKey::Value(*cell),
            Self::Join(cell, member) => FactKey::Join(*cell, *member),
            Self::Member(cell, atom) => FactKey::Member(*cell, member_key(atom)),
            Self::Mirror(cell, ..) => FactKey::Mirror(*cell),
            Self::Row(id, _) => FactKey::Row(*id),
            Self::Flow(id, ..) => FactKey::Flow(*id),
            Self::Limit(datapath, protocol, _) => FactKey::Limit(*datapath, *protocol),
            Self::Want(want) => FactKey::Want(want.pool.id(), want.owner),
            Self::Reserve(reserve) => FactKey::Reserve(*reserve),
            Self::Deadline(at_ms) => FactKey::Deadline(*at_ms),
            Self::Expired(stale) => FactKey::Expired(*stale),
            Self::Problem(problem) => FactKey::Problem(problem.uuid()),
        }
    }
}

impl FactKey {
    /// Whether facts of this key are all equal.
    pub fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Join(..)
                | Self::Member(..)
                | Self::Flow(_)
                | Self::Reserve(_)
                | Self::Deadline(_)
                | Self::Expired(..)
                | Self::Problem(_)
        )
    }
}

/// The keys of what a unit said, packed: most are much shorter than the longest, and there are millions.
///
/// Each is a byte for its kind and what it has: a row's table and UUID, a cell's relation and how many words of its key
/// follow, without the zeros at the end.
#[derive(Default)]
pub struct Said(Box<[u8]>);

impl incr::Said<FactKey> for Said {
    fn keep(keys: impl ExactSizeIterator<Item = FactKey>) -> Self {
        let mut bytes = Bytes::new();
        keys.for_each(|key| pack(key, &mut bytes));
        Self(Box::from(&*bytes))
    }

    fn iter(&self) -> impl Iterator<Item = FactKey> {
        let mut bytes = &*self.0;
        std::iter::from_fn(move || unpack(&mut bytes))
    }
}

/// Room for the keys of most units, so that what is kept is made once, as long as it has to be.
type Bytes = SmallVec<[u8; 512]>;

fn pack(key: FactKey, bytes: &mut Bytes) {
    fn words(key: Key, bytes: &mut Bytes) {
        let words = key.words();
        let count = words
            .iter()
            .rposition(|word| *word != 0)
            .map_or(0, |at| at + 1);
        bytes.push(u8::try_from(count).unwrap_or(u8::MAX));
        let mut all = [0; 20];
        for (place, word) in all.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes.extend_from_slice(&all[..4 * count]);
    }
    fn cell(cell: Cell, bytes: &mut Bytes) {
        bytes.extend_from_slice(&cell.relation.to_le_bytes());
        words(cell.key, bytes);
    }
    fn row(id: RowId, bytes: &mut Bytes) {
        bytes.push(id.table);
        bytes.extend_from_slice(id.uuid.as_bytes());
    }
    let kind = bytes.len();
    bytes.push(0);
    bytes[kind] = match key {
        FactKey::Value(of) => {
            cell(of, bytes);
            0
        }
        FactKey::Join(of, member) => {
            cell(of, bytes);
            words(member, bytes);
            1
        }
        FactKey::Member(of, member) => {
            cell(of, bytes);
            words(member, bytes);
            2
        }
        FactKey::Mirror(of) => {
            cell(of, bytes);
            3
        }
        FactKey::Row(id) => {
            row(id, bytes);
            4
        }
        FactKey::Flow(id) => {
            row(id, bytes);
            5
        }
        FactKey::Limit(datapath, protocol) => {
            bytes.extend_from_slice(datapath.as_bytes());
            bytes.push(protocol as u8);
            11
        }
        FactKey::Want(pool, owner) => {
            bytes.extend_from_slice(&pool.to_le_bytes());
            words(owner, bytes);
            6
        }
        FactKey::Reserve(reserve) => {
            bytes.extend_from_slice(&reserve.pool.to_le_bytes());
            words(reserve.among, bytes);
            bytes.extend_from_slice(&reserve.from.to_le_bytes());
            bytes.extend_from_slice(&reserve.to.to_le_bytes());
            10
        }
        FactKey::Deadline(at_ms) => {
            bytes.extend_from_slice(&at_ms.to_le_bytes());
            7
        }
        FactKey::Problem(uuid) => {
            bytes.extend_from_slice(uuid.as_bytes());
            8
        }
        FactKey::Expired(stale) => {
            bytes.extend_from_slice(&stale.table.to_le_bytes());
            bytes.extend_from_slice(stale.row.as_bytes());
            bytes.extend_from_slice(&stale.limit.to_le_bytes());
            let (column, value) = stale.by.unwrap_or_default();
            bytes.push(u8::from(stale.by.is_some()));
            bytes.extend_from_slice(&column.to_le_bytes());
            bytes.extend_from_slice(&value.to_le_bytes());
            9
        }
    };
}

/// Reads what [`pack`] has written.
fn unpack(bytes: &mut &[u8]) -> Option<FactKey> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(*taken)
    }
    fn words(bytes: &mut &[u8]) -> Option<Key> {
        let mut words = [0; 5];
        let [count] = take(bytes)?;
        for word in words.iter_mut().take(usize::from(count)) {
            *word = u32::from_le_bytes(take(bytes)?);
        }
        Some(Key::new(words))
    }
    fn cell(bytes: &mut &[u8]) -> Option<Cell> {
        let relation = u16::from_le_bytes(take(bytes)?);
        let key = words(bytes)?;
        Some(Cell { relation, key })
    }
    fn row(bytes: &mut &[u8]) -> Option<RowId> {
        let [table] = take(bytes)?;
        let uuid = Uuid::from_bytes(take(bytes)?);
        Some(RowId { table, uuid })
    }
    let [kind] = take(bytes)?;
    Some(match kind {
        0 => FactKey::Value(cell(bytes)?),
        1 => FactKey::Join(cell(bytes)?, words(bytes)?),
        2 => FactKey::Member(cell(bytes)?, words(bytes)?),
        3 => FactKey::Mirror(cell(bytes)?),
        4 => FactKey::Row(row(bytes)?),
        5 => FactKey::Flow(row(bytes)?),
        6 => {
            let pool = u16::from_le_bytes(take(bytes)?);
            FactKey::Want(pool, words(bytes)?)
        }
        7 => FactKey::Deadline(i64::from_le_bytes(take(bytes)?)),
        9 => FactKey::Expired(Stale {
            table: u16::from_le_bytes(take(bytes)?),
            row: Uuid::from_bytes(take(bytes)?),
            limit: u32::from_le_bytes(take(bytes)?),
            by: {
                let [is_some] = take(bytes)?;
                let column = u16::from_le_bytes(take(bytes)?);
                let value = i64::from_le_bytes(take(bytes)?);
                (is_some != 0).then_some((column, value))
            },
        }),
        10 => FactKey::Reserve(Reserve {
            pool: u16::from_le_bytes(take(bytes)?),
            among: words(bytes)?,
            from: u32::from_le_bytes(take(bytes)?),
            to: u32::from_le_bytes(take(bytes)?),
        }),
        11 => {
            let datapath = Uuid::from_bytes(take(bytes)?);
            let [protocol] = take(bytes)?;
            let protocol = CoppProtocol::ALL.get(usize::from(protocol))?;
            FactKey::Limit(datapath, *protocol)
        }
        _ => FactKey::Problem(Uuid::from_bytes(take(bytes)?)),
    })
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.key())
    }
}

/// The key of a member of a set. A text has one of 128 bits, keyed at random in every process: nobody can find two texts
/// with the same.
pub fn member_key(atom: &Atom) -> Key {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::OnceLock;
    static HASHERS: OnceLock<[RandomState; 2]> = OnceLock::new();
    let uuid = atom.as_uuid().unwrap_or_else(|| {
        let hashers = HASHERS.get_or_init(|| [RandomState::new(), RandomState::new()]);
        let [high, low] = hashers.each_ref().map(|hasher| hasher.hash_one(atom));
        Uuid::from_u64_pair(high, low)
    });
    uuid.pack()
}

/// A number that is wanted of a pool.
#[derive(Clone)]
pub struct Want {
    /// Of which.
    pub pool: &'static Pool,
    /// By whom: a key of the pool's relation.
    pub owner: Key,
    /// The row that is to have it, for messages and for an order that does not depend on history; no other owner has it.
    pub row: Uuid,
    /// The northbound row that messages are about, if not that one.
    pub about: Option<Uuid>,
    /// The name of the row that messages are about.
    pub name: Arc<str>,
    /// The table and the column where a number is requested, if not as the pool says.
    pub place: Option<(&'static str, &'static str)>,
    /// Numbers exclude each other among those with the same key.
    pub among: Key,
    /// The row that gets the number, for pools of identities: one that is recorded, or the next.
    pub identity: Uuid,
    /// The row if that one is somebody else's.
    pub derived: Uuid,
    /// The number that the southbound database records.
    pub recorded: Option<u32>,
    /// The number that it has to be.
    pub requested: Option<u32>,
    /// The number that it should be if nobody else has it.
    pub preferred: Option<u32>,
    /// The largest number that may be chosen, and the largest that may be requested.
    pub max: (u32, u32),
}

impl PartialEq for Want {
    fn eq(&self, other: &Self) -> bool {
        let of = |want: &Self| {
            (
                want.pool.id(),
                want.row,
                want.among,
                want.requested,
                want.preferred,
                want.max,
            )
        };
        of(self) == of(other) && self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use incr::Said as _;

    use super::*;

    #[test]
    fn keys_are_read_as_they_were_packed() {
        let cell = |relation, words| Cell {
            relation,
            key: Key::new(words),
        };
        let cells = [
            cell(0, [0; 5]),
            cell(7, [3, 0, 0, 0, 0]),
            cell(u16::MAX, [0, 0, 0, 0, u32::MAX]),
        ];
        let rows = [(0, Uuid::nil()), (u8::MAX, Uuid::max())];
        let rows = rows.map(|(table, uuid)| RowId { table, uuid });
        let mut keys = Vec::new();
        for cell in cells {
            keys.extend([FactKey::Value(cell), FactKey::Mirror(cell)]);
            for other in cells {
                keys.push(FactKey::Join(cell, other.key));
                keys.push(FactKey::Member(cell, other.key));
            }
        }
        for id in rows {
            keys.extend([
                FactKey::Row(id),
                FactKey::Flow(id),
                FactKey::Problem(id.uuid),
            ]);
        }
        let protocols = CoppProtocol::ALL.iter();
        keys.extend(protocols.map(|protocol| FactKey::Limit(Uuid::max(), *protocol)));
        keys.extend([i64::MIN, 0, i64::MAX].map(FactKey::Deadline));
        keys.extend([None, Some((0, 0)), Some((3, i64::MIN))].map(|by| {
            FactKey::Expired(Stale {
                table: 5,
                row: Uuid::from_u128(9),
                limit: 7,
                by,
            })
        }));
        keys.push(FactKey::Reserve(Reserve {
            pool: 3,
            among: Key::new([1, 0, 2, 0, 0]),
            from: 1,
            to: u32::MAX,
        }));
        keys.extend([0, 5].map(|row| FactKey::Want(row, Key::new([u32::from(row); 5]))));
        let said = Said::keep(keys.iter().copied());
        assert_eq!(said.iter().collect::<Vec<_>>(), keys);
        assert_eq!(Said::keep([].into_iter()).iter().count(), 0);
    }
}
