//! The first three bytes of MACs that are given: `NB_Global.options:mac_prefix`.
//!
//! Where nobody has set it, it follows from the UUID of the row and is written back, so that whoever compiles the network
//! next gives MACs of the same kind. Only a prefix that somebody has chosen takes MACs of another one from who has them: one
//! that cannot be read, or that follows from a new row, does not.

use addr::Mac;
use nb_db::tables::NbGlobal;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum};
use relations::{Handle, Key, Relation, Small};

use crate::compiler::feature::{Kind, Over, Owned};
use crate::compiler::options::Options;

/// The prefix of those who have no MAC yet.
pub(super) static PREFIX: Relation<(), Prefix> = Relation::new("MAC prefix");

/// Three bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) bytes: u32,
    /// Whether it is for those who have a MAC, too.
    pub(super) is_chosen: bool,
}

const KEY: &str = "mac_prefix";

pub(super) static COLUMNS: Owned = Owned {
    keys: &[(NbGlobal::COLUMN.options.index, &[KEY])],
    ..Owned::north_columns::<NbGlobal>(&[NbGlobal::COLUMN.options.index])
};

pub(super) static MODEL: Kind = Kind {
    name: "address-management/prefix",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&PREFIX],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let [a, b, ..] = *unit.uuid(row).as_bytes();
        let own = u32::from_be_bytes([0, 2, a, b]);
        let Some(text) = options.text(KEY) else {
            let [_, a, b, c] = own.to_be_bytes();
            let text = format!("{a:02x}:{b:02x}:{c:02x}");
            let pair = (Atom::from(KEY), Atom::from(text));
            let columns = [(column.index, Datum::map([pair]))];
            unit.columns::<NbGlobal>(&COLUMNS, row, columns);
            let prefix = Prefix {
                bytes: own,
                is_chosen: false,
            };
            unit.say(&PREFIX, (), prefix);
            return;
        };
        if let Some(bytes) = parse(text) {
            let is_chosen = bytes != own;
            unit.say(&PREFIX, (), Prefix { bytes, is_chosen });
        } else {
            let mut complaints = unit.complaints::<NbGlobal>(row, "".into());
            let why = format!("{KEY} is not the first three bytes of a unicast MAC");
            let remedy = "write them as 0a:00:00; until then nobody new is given a MAC";
            complaints.text(column.name, text, 0, why, remedy);
            unit.problems(complaints.into_problems());
        }
    },
};

/// Three bytes as in a MAC, which may be followed by others.
fn parse(text: &str) -> Option<u32> {
    let mut bytes = [0; 4];
    let mut words = text.trim().split(':');
    for byte in &mut bytes[1..] {
        let word = words.next().filter(|word| (1..=2).contains(&word.len()))?;
        *byte = u8::from_str_radix(word, 16).ok()?;
    }
    let rest: Option<Vec<u8>> = words
        .map(|word| u8::from_str_radix(word, 16).ok())
        .collect();
    let is_unicast = bytes[1] & 1 == 0 && bytes != [0; 4];
    (rest?.len() <= 3 && is_unicast).then(|| u32::from_be_bytes(bytes))
}

/// The prefix of a MAC, and its number among those with that.
pub(super) fn split(mac: Mac) -> (u32, u32) {
    let [a, b, c, d, e, f] = mac.0;
    (
        u32::from_be_bytes([0, a, b, c]),
        u32::from_be_bytes([0, d, e, f]),
    )
}

/// The MAC of a number.
pub(super) fn mac(prefix: u32, suffix: u32) -> Mac {
    let [_, a, b, c] = prefix.to_be_bytes();
    let [_, d, e, f] = suffix.to_be_bytes();
    Mac([a, b, c, d, e, f])
}

/// Among whom numbers are given.
pub(super) fn among(prefix: u32) -> Key {
    prefix.pack()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_three_bytes_of_a_unicast_mac() {
        for (text, prefix) in [
            ("0a:00:00", Some(0x0a_0000)),
            ("0a:58:1:00:00:00", Some(0x0a_5801)),
            ("01:00:00", None),
            ("00:00:00", None),
            ("0a:00", None),
            ("0a:00:zz", None),
            ("0a:00:00:00:00:00:00", None),
        ] {
            assert_eq!(parse(text), prefix, "{text}");
        }
        let mac = mac(0x0a_5801, 0x0102);
        assert_eq!(mac.to_string(), "0a:58:01:00:01:02");
        assert_eq!(split(mac), (0x0a_5801, 0x0102));
    }
}
