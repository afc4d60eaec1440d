//! Objects as JSON and YAML, with the names that the protocol has for fields.
//!
//! A document is an object, a list of objects, or `{owner: …, objects: […]}`. A file of YAML may have several.

use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};

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
        let value: Value = serde::Deserialize::deserialize(part).map_err(|error| {
            let message = format!("document {}: {error}; see the examples", number + 1);
            Refused::new(Code::Invalid, message)
        })?;
        let added = add(&mut document, value);
        added.map_err(|refused| refused.within(&format!("document[{number}]")))?;
    }
    Ok(document)
}

/// Adds what a document declares.
fn add(document: &mut Document, value: Value) -> Result<(), Refused> {
    match value {
        Value::Null => Ok(()),
        Value::Array(objects) => add_all(document, objects, ""),
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

/// A map of JSON, for those who build one.
pub type Fields = Map<String, Value>;
