//! The JSON schema of the messages, made of their descriptors and comments: for editors, and for OpenAPI.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use crate::catalog::{Field, Place, catalog, schema as database};

/// Where schemas are referred to: the beginning of the path, such as `#/$defs/`.
pub type Prefix<'a> = &'a str;

/// The schema of files that are applied.
pub fn document() -> Value {
    let prefix = "#/$defs/";
    let object = json!({"$ref": format!("{prefix}Object")});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Objects of a logical network, as `weft apply` takes them",
        "anyOf": [
            object,
            {"type": "array", "items": object},
            {
                "type": "object",
                "properties": {
                    "owner": {"type": "string", "description": "Who declares them."},
                    "objects": {"type": "array", "items": object},
                },
                "required": ["objects"],
                "additionalProperties": false,
            },
        ],
        "$defs": definitions(&["Object"], prefix),
    })
}

/// The schemas of these messages and of those that they are made of, by name.
pub fn definitions(names: &[&str], prefix: Prefix<'_>) -> Value {
    let mut done: BTreeMap<String, Value> = BTreeMap::new();
    let mut waiting: Vec<MessageDescriptor> =
        names.iter().map(|name| catalog().message(name)).collect();
    while let Some(message) = waiting.pop() {
        if done.contains_key(message.name()) {
            continue;
        }
        done.insert(message.name().to_owned(), message_schema(&message, prefix));
        for field in message.fields() {
            let kind = match (field.is_map(), field.kind()) {
                (true, Kind::Message(entry)) => entry.map_entry_value_field().kind(),
                (_, kind) => kind,
            };
            if let Kind::Message(inner) = kind
                && inner.package_name() == message.package_name()
            {
                waiting.push(inner);
            }
        }
    }
    json!(done)
}

fn message_schema(message: &MessageDescriptor, prefix: Prefix<'_>) -> Value {
    let mut properties = serde_json::Map::new();
    for field in message.fields() {
        properties.insert(
            field.name().to_owned(),
            field_schema(message, &field, prefix),
        );
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some(text) = comment(message.parent_file_descriptor_proto(), message.path()) {
        schema["description"] = json!(text);
    }
    if message.name() == "Object" {
        let kinds = catalog().kinds().iter();
        let kinds: Vec<Value> = kinds
            .map(|kind| json!({"required": [kind.label()]}))
            .collect();
        schema["required"] = json!(["name"]);
        schema["oneOf"] = json!(kinds);
    }
    schema
}

fn field_schema(message: &MessageDescriptor, field: &FieldDescriptor, prefix: Prefix<'_>) -> Value {
    let kind = field.kind();
    let mut schema = if let (true, Some(entry)) = (field.is_map(), kind.as_message()) {
        let values = value_schema(&entry.map_entry_value_field().kind(), prefix);
        json!({"type": "object", "additionalProperties": values})
    } else if field.is_list() {
        json!({"type": "array", "items": value_schema(&kind, prefix)})
    } else {
        value_schema(&kind, prefix)
    };
    let words = words(message, field);
    if !words.is_empty() {
        match field.is_list() {
            true => schema["items"]["enum"] = json!(words),
            false => schema["enum"] = json!(words),
        }
    }
    if let Some(text) = comment(message.parent_file_descriptor_proto(), field.path()) {
        schema["description"] = json!(text);
    }
    schema
}

fn value_schema(kind: &Kind, prefix: Prefix<'_>) -> Value {
    match kind {
        Kind::String => json!({"type": "string"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int32 => json!({"type": "integer", "format": "int32"}),
        Kind::Uint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Kind::Int64 => json!({"type": "integer", "format": "int64"}),
        Kind::Enum(words) => {
            let words: Vec<String> = words.values().map(|word| word.name().to_owned()).collect();
            json!({"type": "string", "enum": words})
        }
        Kind::Message(message) => json!({"$ref": format!("{prefix}{}", message.name())}),
        _ => json!({}),
    }
}

/// The only words that a field may be, as the database's schema has them.
fn words(message: &MessageDescriptor, field: &FieldDescriptor) -> Vec<String> {
    let mut kinds = catalog().kinds().iter();
    let kind = kinds.find(|kind| {
        let own = kind.field.kind();
        own.as_message() == Some(message)
    });
    let Some(kind) = kind else {
        return Vec::new();
    };
    match kind.field_called(field.name()) {
        Some(Field {
            place: Place::Column(column),
            ..
        }) if !field.is_map() => {
            let ty = &database().tables[kind.table].columns[*column].ty;
            let words = ty.key.enumeration.iter().flatten();
            words
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The comment before something in a `.proto` file.
pub fn comment(file: &prost_types::FileDescriptorProto, path: &[i32]) -> Option<String> {
    let info = file.source_code_info.as_ref()?;
    let location = info
        .location
        .iter()
        .find(|location| location.path == path)?;
    let text = location.leading_comments.as_deref()?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    Some(lines.join(" ").trim().to_owned()).filter(|text| !text.is_empty())
}
