//! Messages of which a server encodes a part once and sends it to many clients.
//!
//! On the wire, a message inside of another is bytes with their length before them. So whoever has these bytes already
//! puts them there as they are.

use bytes::Bytes;
use prost::Message;

use crate::v1::RowUpdate;

/// The message `TableUpdate` of `database.proto`, with its rows encoded.
#[derive(Clone, PartialEq, Message)]
pub struct TableUpdate {
    /// The table's name.
    #[prost(string, tag = "1")]
    pub table: String,
    /// A [`RowUpdate`] each, see [`encode_row`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub rows: Vec<Bytes>,
}

/// A row of a [`TableUpdate`].
pub fn encode_row(row: &RowUpdate) -> Bytes {
    row.encode_to_vec().into()
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

    /// The struct above is written by hand: when the definition changes, so must it.
    #[test]
    fn the_definition_is_the_one_that_is_known_here() {
        let message = described("TableUpdate");
        let fields: Vec<_> = message
            .field
            .iter()
            .map(|field| (field.name(), field.number(), field.type_name()))
            .collect();
        let known = [("table", 1, ""), ("rows", 2, ".weft.db.v1.RowUpdate")];
        assert_eq!(fields, known);
    }
}
