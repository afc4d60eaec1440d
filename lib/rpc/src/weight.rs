//! What messages weigh: how many bytes of memory they take once they are read.
//!
//! In protobuf, an empty operation or an empty atom is two bytes, and takes a hundred in memory:
//! 64 MiB of them would be gigabytes before anybody could count them. So the bytes are walked
//! through, with what the descriptors say of the messages, before one of them is kept.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::OnceLock;

use bytes::{Buf, Bytes};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// The most that a request may weigh, in bytes.
pub const MAX_WEIGHT: usize = 512 << 20;

/// A request would take too much memory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{message} would take more than {MAX_WEIGHT} bytes of memory, it has too many small parts; send \
     it in several requests"
)]
pub struct TooHeavy {
    message: String,
}

/// Weighs messages by what their descriptors say.
#[derive(Debug)]
pub struct Scale {
    shapes: HashMap<String, Shape>,
}

/// What messages of one type consist of.
#[derive(Debug, Default)]
struct Shape {
    /// How many bytes each takes, without what it refers to.
    size: usize,
    fields: HashMap<u32, Field>,
}

/// What one value of a field takes.
#[derive(Clone, Debug)]
struct Field {
    /// In a list or a map, beside what it refers to.
    element: usize,
    content: Content,
}

/// What a field's bytes are, if they stand in the message as bytes.
#[derive(Clone, Debug)]
enum Content {
    /// Another message, by name.
    Message(String),
    /// Themselves.
    Bytes,
    /// Many numbers, of so many bytes each in memory.
    Packed(usize),
}

impl Scale {
    /// The scale for all that a server is asked by its clients.
    pub fn of_requests() -> &'static Self {
        static SCALE: OnceLock<Scale> = OnceLock::new();
        SCALE.get_or_init(|| Self::of_descriptors(crate::DESCRIPTORS))
    }

    /// The scale for messages of which these are the encoded descriptors.
    pub fn of_descriptors(descriptors: &[u8]) -> Self {
        // A build has written them; without them, nothing is known, and nothing weighs.
        let set = FileDescriptorSet::decode(descriptors).unwrap_or_default();
        Self::new(&set)
    }

    fn new(set: &FileDescriptorSet) -> Self {
        let mut types = HashMap::new();
        for file in &set.file {
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                collect(&package, message, &mut types);
            }
        }
        let mut scale = Self {
            shapes: HashMap::new(),
        };
        for name in types.keys() {
            scale.learn(name, &types);
        }
        scale
    }

    /// Learns the shape of a message and of those in it; how many bytes it takes.
    fn learn(&mut self, name: &str, types: &HashMap<String, &DescriptorProto>) -> usize {
        if let Some(shape) = self.shapes.get(name) {
            return shape.size;
        }
        let Some(message) = types.get(name) else {
            return 0;
        };
        // Whatever contains itself is in a box.
        let boxed = Shape {
            size: size_of::<usize>(),
            ..Shape::default()
        };
        self.shapes.insert(name.to_owned(), boxed);
        let mut shape = Shape::default();
        let mut choices: HashMap<i32, usize> = HashMap::new();
        for field in &message.field {
            let size = self.size_of_value(field, types);
            let place = match (field.label(), field.oneof_index) {
                (Label::Repeated, _) if is_map(field, types) => size_of::<HashMap<String, u8>>(),
                (Label::Repeated, _) => size_of::<Vec<u8>>(),
                (_, Some(choice)) => {
                    let largest = choices.entry(choice).or_default();
                    *largest = size.max(*largest);
                    0
                }
                _ if field.r#type() == Type::Message => size + size_of::<usize>(),
                _ => size,
            };
            shape.size += place;
            let content = match field.r#type() {
                Type::Message => Content::Message(field.type_name().to_owned()),
                Type::String | Type::Bytes => Content::Bytes,
                _ => Content::Packed(size),
            };
            let element = match field.label() {
                Label::Repeated => size,
                _ => 0,
            };
            let number = u32::try_from(field.number()).unwrap_or_default();
            shape.fields.insert(number, Field { element, content });
        }
        let choices = choices.values().map(|size| size + size_of::<usize>());
        shape.size += choices.sum::<usize>();
        let size = shape.size;
        self.shapes.insert(name.to_owned(), shape);
        size
    }

    fn size_of_value(
        &mut self,
        field: &FieldDescriptorProto,
        types: &HashMap<String, &DescriptorProto>,
    ) -> usize {
        match field.r#type() {
            Type::Message => self.learn(field.type_name(), types),
            Type::String => size_of::<String>(),
            Type::Bytes => size_of::<Bytes>(),
            _ => size_of::<u64>(),
        }
    }

    /// Whether a request of this type is light enough. What is not known, is not a request, or is
    /// no protobuf, weighs nothing.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, name: &str, bytes: &[u8]) -> Result<(), TooHeavy> {
        let is_request = name.ends_with("Request");
        match is_request && self.weigh(name, bytes, MAX_WEIGHT) > MAX_WEIGHT {
            true => Err(TooHeavy {
                message: name.to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// How many bytes a message takes, or more than a limit.
    pub fn weigh(&self, name: &str, bytes: &[u8], limit: usize) -> usize {
        let Some(shape) = self.shapes.get(&format!(".{name}")) else {
            return 0;
        };
        let mut weight = shape.size;
        self.walk(shape, bytes, limit, &mut weight);
        weight
    }

    /// Adds what is in a message. `None` ends the walk: the limit is reached, or this is no
    /// protobuf.
    fn walk(
        &self,
        shape: &Shape,
        mut bytes: &[u8],
        limit: usize,
        weight: &mut usize,
    ) -> Option<()> {
        while !bytes.is_empty() {
            let (number, kind) = decode_key(&mut bytes).ok()?;
            let field = shape.fields.get(&number);
            *weight += field.map_or(0, |field| field.element);
            match kind {
                WireType::Varint => {
                    decode_varint(&mut bytes).ok()?;
                }
                WireType::SixtyFourBit => bytes = bytes.get(8..)?,
                WireType::ThirtyTwoBit => bytes = bytes.get(4..)?,
                WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                    let content = bytes.get(..length)?;
                    bytes.advance(length);
                    match field.map(|field| &field.content) {
                        Some(Content::Message(name)) => {
                            let shape = self.shapes.get(name)?;
                            self.walk(shape, content, limit, weight)?;
                        }
                        Some(Content::Bytes) => *weight += length,
                        Some(Content::Packed(size)) => *weight += length * size,
                        None => (),
                    }
                }
                // No message of ours has groups: what is in one is skipped, and counted at worst.
                WireType::StartGroup | WireType::EndGroup => (),
            }
            if *weight > limit {
                return None;
            }
        }
        Some(())
    }
}

/// Notes a message and those that are declared in it.
fn collect<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    types: &mut HashMap<String, &'a DescriptorProto>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, types);
    }
    types.insert(name, message);
}

fn is_map(field: &FieldDescriptorProto, types: &HashMap<String, &DescriptorProto>) -> bool {
    let entry = types.get(field.type_name());
    let options = entry.and_then(|entry| entry.options.as_ref());
    options.is_some_and(prost_types::MessageOptions::map_entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use crate::v1::atom::Value;
    use crate::v1::datum::Kind;

    #[test]
    fn what_descriptors_say_is_near_what_the_compiler_makes_of_it() {
        let scale = Scale::of_requests();
        for (name, size) in [
            (
                "TransactRequest",
                size_of::<crate::shared::TransactRequest>(),
            ),
            ("Operation", size_of::<v1::Operation>()),
            ("Insert", size_of::<v1::Insert>()),
            ("Wait", size_of::<v1::Wait>()),
            ("Row", size_of::<v1::Row>()),
            ("Row.ColumnsEntry", size_of::<(String, v1::Datum)>()),
            ("Datum", size_of::<v1::Datum>()),
            ("Pair", size_of::<v1::Pair>()),
            ("Atom", size_of::<v1::Atom>()),
            ("Clause", size_of::<v1::Clause>()),
            ("Comparison", size_of::<v1::Comparison>()),
            ("Mutation", size_of::<v1::Mutation>()),
            ("LockToken", size_of::<v1::LockToken>()),
            ("MonitorRequest", size_of::<v1::MonitorRequest>()),
            ("TableMonitor", size_of::<v1::TableMonitor>()),
        ] {
            let estimate = scale.shapes[&format!(".weft.db.v1.{name}")].size;
            let near = size..=2 * size + 16;
            assert!(near.contains(&estimate), "{name}: {estimate} for {size}");
        }
    }

    fn weight(request: &crate::shared::TransactRequest) -> usize {
        let bytes = request.encode_to_vec();
        Scale::of_requests().weigh("weft.db.v1.TransactRequest", &bytes, usize::MAX)
    }

    fn insert(columns: impl IntoIterator<Item = (String, Kind)>) -> crate::shared::TransactRequest {
        let datum = |(name, kind)| (name, v1::Datum { kind: Some(kind) });
        let row = v1::Row {
            columns: columns.into_iter().map(datum).collect(),
        };
        let insert = v1::Insert {
            row: Some(row),
            ..v1::Insert::default()
        };
        crate::shared::TransactRequest {
            operations: vec![crate::shared::encode_operation(&v1::Operation {
                kind: Some(v1::operation::Kind::Insert(insert)),
            })],
            ..crate::shared::TransactRequest::default()
        }
    }

    #[test]
    fn every_part_weighs_what_it_takes() {
        let atom = |value| v1::Atom { value: Some(value) };
        let empty = weight(&crate::shared::TransactRequest::default());
        let bare = weight(&insert([]));
        assert_eq!(bare - empty, weigh_one("Operation"));

        let column = |kind| weight(&insert([("name".to_owned(), kind)])) - bare;
        let entry = weigh_one("Row.ColumnsEntry") + "name".len();
        let text = Kind::Scalar(atom(Value::String("text".to_owned())));
        assert_eq!(column(text), entry + "text".len());
        let atoms = vec![v1::Atom::default(); 1000];
        let set = Kind::Set(v1::Set { atoms });
        assert_eq!(column(set), entry + 1000 * weigh_one("Atom"));
        let pairs = vec![v1::Pair::default(); 1000];
        let map = Kind::Map(v1::Map { pairs });
        assert_eq!(column(map), entry + 1000 * weigh_one("Pair"));
    }

    fn weigh_one(name: &str) -> usize {
        Scale::of_requests().shapes[&format!(".weft.db.v1.{name}")].size
    }

    #[test]
    fn many_small_parts_are_too_heavy_long_before_they_fill_a_message() {
        let scale = Scale::of_requests();
        let (name, response) = ("weft.db.v1.TransactRequest", "weft.db.v1.TransactResponse");
        // Operations without anything in them.
        let many = [0x12, 0].repeat(crate::MAX_MESSAGE_BYTES / 2);
        let error = scale.check(name, &many).unwrap_err();
        assert!(error.to_string().contains("send it in several"), "{error}");
        assert_eq!(scale.check(name, &many[..1 << 20]), Ok(()));
        // What members answer is theirs.
        assert_eq!(scale.check(response, &many), Ok(()));
    }

    #[test]
    fn what_is_no_protobuf_is_left_to_those_who_read_it() {
        let whole = insert([("name".to_owned(), Kind::Set(v1::Set::default()))]).encode_to_vec();
        let name = "weft.db.v1.TransactRequest";
        for end in 0..whole.len() {
            let weight = Scale::of_requests().weigh(name, &whole[..end], usize::MAX);
            assert!(weight < 2000);
        }
        for wrong in [&[0xff; 20][..], &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            let weight = Scale::of_requests().weigh(name, wrong, usize::MAX);
            assert!(weight < 2000);
        }
    }
}
