//! Objects as JSON and YAML, with the names that the protocol has for fields.
//!
//! A document is an object, a list of objects, or `{owner: …, objects: […]}`. A file of YAML may have several.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;

use crate::catalog::catalog;
use crate::error::{Code, Refused, Violation};

/// So many levels a document may have.
const MAX_DEPTH: usize = 16;
/// So many bytes a file may have.
pub const MAX_BYTES: usize = 64 << 20;

/// What a file declares.
#[derive(Debug, Default)]
pub struct Document {
    /// The owner, if a document names one.
    pub owner: Option<String>,
    /// The objects, as messages `Object`.
    pub objects: Vec<DynamicMessage>,
    /// Whether something declares objects, and be it an empty list of them. A file of nothing does not: whoever should
    /// have written it may have died.
    pub declares: bool,
}

/// Reads a file of YAML, of which JSON is a part.
pub fn read(text: &str) -> Result<Document, Refused> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the file has more than {MAX_BYTES} bytes; declare it in parts, each with an owner of its own"
        );
        return Err(Refused::new(Code::Invalid, message));
    }
    let mut document = Document::default();
    for (number, part) in serde_norway::Deserializer::from_str(text).enumerate() {
        let wrong = |error: &dyn std::fmt::Display| {
            let message = format!("document {}: {error}; see the examples", number + 1);
            Refused::new(Code::Invalid, message)
        };
        // Unlike those of JSON, its maps refuse a key that is there twice.
        let value: serde_norway::Value =
            serde::Deserialize::deserialize(part).map_err(|error| wrong(&error))?;
        let value = serde_json::to_value(value).map_err(|error| wrong(&error))?;
        let added = add(&mut document, value);
        added.map_err(|refused| refused.within(&format!("document[{number}]")))?;
    }
    Ok(document)
}

/// Reads JSON in which no key is there twice.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_json(bytes: &[u8]) -> Result<Value, String> {
    let read: Result<Unique, _> = serde_json::from_slice(bytes);
    read.map(|Unique(value)| value)
        .map_err(|error| error.to_string())
}

/// JSON, read with an eye on keys that are there twice: of two values, one would be lost.
struct Unique(Value);

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> serde::de::Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Unique, E> {
        Ok(Unique(flag.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Unique, E> {
        Ok(Unique(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Unique, E> {
        Ok(Unique(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Unique, E> {
        Ok(Unique(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
        Ok(Unique(text.into()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Unique(values.into()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some((key, Unique(value))) = map.next_entry::<String, Unique>()? {
            if fields.contains_key(&key) {
                let text = format!("the key {key:?} is there twice");
                return Err(serde::de::Error::custom(text));
            }
            fields.insert(key, value);
        }
        Ok(Unique(fields.into()))
    }
}

/// Adds what a document declares.
fn add(document: &mut Document, value: Value) -> Result<(), Refused> {
    match value {
        Value::Null => Ok(()),
        Value::Array(objects) => {
            document.declares = true;
            add_all(document, objects, "")
        }
        Value::Object(mut fields) if fields.contains_key("objects") => {
            if let Some(owner) = fields.remove("owner") {
                let Value::String(owner) = owner else {
                    return wrong("owner", "it is no text", "give a name".to_owned());
                };
                if document.owner.as_ref().is_some_and(|other| *other != owner) {
                    let remedy = "apply each owner's objects by themselves".to_owned();
                    return wrong("owner", "another document names another owner", remedy);
                }
                document.owner = Some(owner);
            }
            let objects = fields.remove("objects");
            if let Some((unknown, _)) = fields.into_iter().next() {
                let remedy = "give `owner` and `objects`".to_owned();
                return wrong(&unknown, "there is no such field", remedy);
            }
            document.declares = true;
            match objects {
                Some(Value::Array(objects)) => add_all(document, objects, "objects"),
                _ => wrong(
                    "objects",
                    "it is no list",
                    "give a list of objects".to_owned(),
                ),
            }
        }
        value => {
            document.declares = true;
            document.objects.push(object(&value)?);
            Ok(())
        }
    }
}

fn wrong<T>(field: &str, why: &str, remedy: String) -> Result<T, Refused> {
    Err(Refused::field(
        Code::Invalid,
        Violation::new(field, why, remedy),
    ))
}

fn add_all(document: &mut Document, objects: Vec<Value>, place: &str) -> Result<(), Refused> {
    for (number, value) in objects.into_iter().enumerate() {
        let place = format!("{place}[{number}]");
        document
            .objects
            .push(object(&value).map_err(|refused| refused.within(&place))?);
    }
    Ok(())
}

/// Reads a message `Object`.
pub fn object(value: &Value) -> Result<DynamicMessage, Refused> {
    message(&catalog().object, value)
}

/// Reads a message.
pub fn message(descriptor: &MessageDescriptor, value: &Value) -> Result<DynamicMessage, Refused> {
    let mut violations = Vec::new();
    check_message(descriptor, value, "", 0, &mut violations);
    if !violations.is_empty() {
        return Err(Refused::fields(Code::Invalid, violations));
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor.clone(), value, &options).map_err(|error| {
        let violation = Violation::new("", error, "give what the description of the fields allows");
        Refused::field(Code::Invalid, violation)
    })
}

/// Looks for what is no such message: unknown fields, and values of other types.
fn check_message(
    descriptor: &MessageDescriptor,
    value: &Value,
    place: &str,
    depth: usize,
    violations: &mut Vec<Violation>,
) {
    if depth > MAX_DEPTH {
        violations.push(Violation::new(
            place,
            "it is nested too deeply",
            "flatten it",
        ));
        return;
    }
    let Value::Object(fields) = value else {
        violations.push(type_violation(place, value, "an object with fields"));
        return;
    };
    let mut kinds = 0;
    for (name, value) in fields {
        let place = join(place, name);
        let field = descriptor
            .get_field_by_name(name)
            .or_else(|| descriptor.get_field_by_json_name(name));
        match field {
            None => {
                let names: Vec<String> = descriptor
                    .fields()
                    .map(|field| field.name().to_owned())
                    .collect();
                let remedy = format!("fields here are {}", names.join(", "));
                violations.push(Violation::new(place, "there is no such field", remedy));
            }
            Some(field) => {
                let oneof = field.containing_oneof();
                kinds += usize::from(oneof.is_some_and(|oneof| !oneof.is_synthetic()));
                check_field(&field, value, &place, depth, violations);
            }
        }
    }
    if kinds > 1 {
        let remedy = "give one of the fields that say what kind it is";
        violations.push(Violation::new(place, "it is of several kinds", remedy));
    }
}

fn join(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    }
}

fn type_violation(place: &str, value: &Value, wanted: &str) -> Violation {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let mut remedy = format!("give {wanted}");
    if wanted == "a text" && !matches!(value, Value::Array(_) | Value::Object(_)) {
        remedy.push_str(", in quotation marks");
    }
    Violation::new(place, format!("it is {found}, not {wanted}"), remedy)
}

fn check_field(
    field: &FieldDescriptor,
    value: &Value,
    place: &str,
    depth: usize,
    violations: &mut Vec<Violation>,
) {
    // A field that is nothing is not given.
    if value.is_null() {
        return;
    }
    let kind = field.kind();
    if field.is_map() {
        let values = kind
            .as_message()
            .map(MessageDescriptor::map_entry_value_field);
        let (Value::Object(pairs), Some(values)) = (value, values) else {
            violations.push(type_violation(place, value, "a map"));
            return;
        };
        for (key, value) in pairs {
            check_value(&values.kind(), value, &join(place, key), depth, violations);
        }
    } else if field.is_list() {
        let Value::Array(values) = value else {
            violations.push(type_violation(place, value, "a list"));
            return;
        };
        for (number, value) in values.iter().enumerate() {
            let place = format!("{place}[{number}]");
            check_value(&kind, value, &place, depth, violations);
        }
    } else {
        check_value(&kind, value, place, depth, violations);
    }
}

fn check_value(
    kind: &Kind,
    value: &Value,
    place: &str,
    depth: usize,
    violations: &mut Vec<Violation>,
) {
    let is_number = || {
        value.as_i64().is_some()
            || value
                .as_str()
                .is_some_and(|text| text.parse::<i64>().is_ok())
    };
    let (fits, wanted) = match kind {
        Kind::Message(message) if !message.full_name().starts_with("google.") => {
            return check_message(message, value, place, depth + 1, violations);
        }
        Kind::String => (value.is_string(), "a text"),
        Kind::Bool => (value.is_boolean(), "true or false"),
        Kind::Int32 => {
            let fits = value
                .as_i64()
                .is_none_or(|number| i32::try_from(number).is_ok());
            (is_number() && fits, "a number of 32 bits")
        }
        Kind::Uint32 => {
            let fits = value
                .as_i64()
                .is_none_or(|number| u32::try_from(number).is_ok());
            (is_number() && fits, "a number of 32 bits without a sign")
        }
        Kind::Int64 => (is_number(), "a number"),
        _ => return,
    };
    if !fits {
        violations.push(type_violation(place, value, wanted));
    }
}

/// A message as JSON: fields by the names that the protocol has for them, without those that are not given.
pub fn to_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("messages have texts for keys")
}

/// An object as one would declare it: without what the server says of it.
pub fn to_declaration(object: &DynamicMessage) -> Value {
    let mut json = to_json(object);
    if let Value::Object(fields) = &mut json {
        for field in ["uuid", "version", "owner", "state"] {
            fields.remove(field);
        }
    }
    json
}

/// JSON as YAML.
pub fn to_yaml(json: &Value) -> String {
    serde_norway::to_string(json).expect("JSON is YAML")
}
