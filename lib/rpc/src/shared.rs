//! Messages with parts that are kept as the bytes that they are on the wire.
//!
//! A message inside of another is bytes with their length before them. So whoever has these bytes already puts them there as
//! they are: a server encodes an update once and sends it to many clients. And whoever can read them, or write them, without
//! a message in between does so, which rows are many enough for.

use std::borrow::Cow;

use bytes::Bytes;
use ovsdb::{Datum, Uuid};
use prost::{Message, Name};

use crate::v1::{LockToken, Operation, RowUpdate};
use crate::wire::write;

/// The message `TransactRequest` of `database.proto`, with its operations encoded.
#[derive(Clone, PartialEq, Message)]
pub struct TransactRequest {
    /// The database's name.
    #[prost(string, tag = "1")]
    pub database: String,
    /// An [`Operation`] each, see [`encode_operation`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub operations: Vec<Bytes>,
    /// The transaction's name, 16 bytes, or nothing.
    #[prost(bytes = "vec", tag = "3")]
    pub name: Vec<u8>,
    /// Locks that `assert` operations may rely on.
    #[prost(message, repeated, tag = "4")]
    pub locks: Vec<LockToken>,
    /// A `Consistency`.
    #[prost(enumeration = "crate::v1::Consistency", tag = "5")]
    pub consistency: i32,
}

impl Name for TransactRequest {
    const NAME: &'static str = "TransactRequest";
    const PACKAGE: &'static str = "weft.db.v1";
}

/// The message `TableUpdate` of `database.proto`, with its rows encoded.
#[derive(Clone, PartialEq, Message)]
pub struct TableUpdate {
    /// The table's name.
    #[prost(string, tag = "1")]
    pub table: String,
    /// A [`RowUpdate`] each, see [`encode_row`] and [`encode_change`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub rows: Vec<Bytes>,
}

/// An operation of a [`TransactRequest`].
pub fn encode_operation(operation: &Operation) -> Bytes {
    operation.encode_to_vec().into()
}

/// A row of a [`TableUpdate`].
pub fn encode_row(row: &RowUpdate) -> Bytes {
    row.encode_to_vec().into()
}

/// Columns of a row by their names.
pub type NamedColumns<'a> = Vec<(&'a str, Cow<'a, Datum>)>;

/// What happened to a row, as `RowUpdate.change` tells it.
#[derive(Clone, Debug)]
pub enum Told<'a> {
    /// It came, with these columns.
    Inserted(NamedColumns<'a>),
    /// It has these columns now.
    Modified(NamedColumns<'a>),
    /// It went.
    Deleted,
    /// It has the columns of the first list now, and those of the second one differ by this.
    Changed(NamedColumns<'a>, NamedColumns<'a>),
}

/// A row of a [`TableUpdate`]: the bytes of a [`RowUpdate`].
pub fn encode_change(row: Uuid, told: &Told<'_>) -> Bytes {
    let length = |columns: &NamedColumns<'_>| write::row_len(named(columns));
    // What a row of this tag that may be missing takes.
    let optional = |columns: &NamedColumns<'_>| match columns.is_empty() {
        true => 0,
        false => write::field_len(length(columns)),
    };
    let (tag, size) = match told {
        Told::Inserted(columns) => (2, length(columns)),
        Told::Modified(columns) => (3, length(columns)),
        Told::Deleted => (4, 0),
        Told::Changed(replaced, toggled) => (5, optional(replaced) + optional(toggled)),
    };
    let mut out = Vec::with_capacity(write::UUID_LEN + write::field_len(size));
    write::uuid(1, row, &mut out);
    write::field(tag, size, &mut out);
    match told {
        Told::Inserted(columns) | Told::Modified(columns) => write::row(named(columns), &mut out),
        Told::Deleted => {}
        Told::Changed(replaced, toggled) => {
            for (tag, columns) in [(1, replaced), (2, toggled)] {
                if !columns.is_empty() {
                    write::field(tag, length(columns), &mut out);
                    write::row(named(columns), &mut out);
                }
            }
        }
    }
    out.into()
}

fn named<'a>(
    columns: &'a NamedColumns<'_>,
) -> impl Iterator<Item = (&'a str, &'a Datum)> + Clone + 'a {
    columns.iter().map(|(name, datum)| (*name, &**datum))
}

#[cfg(test)]
mod tests {
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;

    fn described(name: &str) -> DescriptorProto {
        let set = FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
        let messages = set.file.into_iter().flat_map(|file| file.message_type);
        let mut found = messages.filter(|message| message.name() == name);
        found.next().unwrap()
    }

    /// The structs above are written by hand: when the definition changes, so must they.
    #[test]
    fn the_definition_is_the_one_that_is_known_here() {
        let fields = |name: &str| -> Vec<_> {
            let message = described(name);
            let fields = message.field.iter();
            fields
                .map(|field| {
                    let ty = field.type_name().to_owned();
                    (field.name().to_owned(), field.number(), ty)
                })
                .collect()
        };
        let known = |fields: &[(&str, i32, &str)]| -> Vec<_> {
            let owned =
                |(name, tag, ty): &(&str, i32, &str)| ((*name).to_owned(), *tag, (*ty).to_owned());
            fields.iter().map(owned).collect()
        };
        let update = [("table", 1, ""), ("rows", 2, ".weft.db.v1.RowUpdate")];
        assert_eq!(fields("TableUpdate"), known(&update));
        let request = [
            ("database", 1, ""),
            ("operations", 2, ".weft.db.v1.Operation"),
            ("name", 3, ""),
            ("locks", 4, ".weft.db.v1.LockToken"),
            ("consistency", 5, ".weft.db.v1.Consistency"),
        ];
        assert_eq!(fields("TransactRequest"), known(&request));
        assert_eq!(TransactRequest::full_name(), "weft.db.v1.TransactRequest");
    }
}
