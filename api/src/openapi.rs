//! The description of the REST interface, OpenAPI 3.1: made of the kinds, and of the messages and their comments.

use objects::declared::MAX_NAME_BYTES;
use objects::{Kind, catalog, schema};
use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for kind in catalog().kinds() {
        let (plural, label) = (kind.definition.plural, kind.label());
        paths.insert(format!("/v1/{plural}"), collection(plural, label));
        paths.insert(format!("/v1/{plural}/{{name}}"), member(plural, label));
    }
    paths.insert("/v1/apply".to_owned(), apply());
    paths.insert("/v1/watch".to_owned(), watch());
    let mut schemas = schema::definitions(
        &["Object", "ApplyRequest", "ApplyResponse", "Gone"],
        SCHEMAS,
    );
    for kind in catalog().kinds() {
        let of_kind = of_kind(&schemas["Object"], kind.label());
        schemas[name_of_object(kind.label())] = of_kind;
    }
    schemas["Status"] = status();
    schemas["Page"] = json!({
        "type": "object",
        "properties": {
            "objects": {"type": "array", "items": reference("Object")},
            "next_page_token": {"type": "string", "description": "For the next page; absent: there is none."},
            "version": {"type": "string", "description": "The state that the page shows, for a watch."},
        },
        "required": ["objects", "version"],
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weft, the northbound",
            "version": "v1",
            "description": "The objects of a logical network. The same calls as the gRPC service weft.northbound.v1.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// What the schema of the objects of a kind is called.
fn name_of_object(label: &str) -> String {
    format!("{label}_object")
}

/// Of the schema of objects, what is one of this kind.
fn of_kind(object: &Value, label: &str) -> Value {
    let mut schema = object.clone();
    let others: Vec<&str> = catalog().kinds().iter().map(Kind::label).collect();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| name == label || !others.contains(&&**name));
    }
    schema["properties"]["name"]["minLength"] = json!(1);
    schema["properties"]["name"]["maxLength"] = json!(MAX_NAME_BYTES);
    schema["required"] = json!(["name", label]);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("oneOf");
    }
    schema
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

fn content(name: &str) -> Value {
    json!({"application/json": {"schema": reference(name)}})
}

fn responses(status: &str, text: &str, name: Option<&str>) -> Value {
    let mut done = json!({"description": text});
    if let Some(name) = name {
        done["content"] = content(name);
    }
    json!({
        status: done,
        "default": {"description": "What went wrong, and what to do.", "content": content("Status")},
    })
}

fn parameter(name: &str, text: &str) -> Value {
    json!({"name": name, "in": "query", "description": text, "schema": {"type": "string"}})
}

fn wait() -> Value {
    json!({
        "name": "wait",
        "in": "query",
        "description": "How far the change has to come before it is answered.",
        "schema": {"type": "string", "enum": ["WAIT_UNSPECIFIED", "WAIT_SOUTHBOUND", "WAIT_CHASSIS"]},
    })
}

fn collection(plural: &str, label: &str) -> Value {
    json!({
        "get": {
            "operationId": format!("list-{plural}"),
            "summary": format!("The objects of the kind {label}, a page at a time."),
            "parameters": [
                {"name": "page_size", "in": "query", "description": "At most so many; 0: 100.",
                 "schema": {"type": "integer", "minimum": 0, "maximum": 1000}},
                parameter("page_token", "From the page before."),
                parameter("parent", "Only what belongs to the switch, router or port group of this name."),
                parameter("owner", "Only what this owner declares."),
            ],
            "responses": responses("200", "A page.", Some("Page")),
        },
        "post": {
            "operationId": format!("create-{plural}"),
            "summary": format!("Makes an object of the kind {label}."),
            "parameters": [wait()],
            "requestBody": {"required": true, "content": content(&name_of_object(label))},
            "responses": responses("201", "The object.", Some(&name_of_object(label))),
        },
    })
}

fn member(plural: &str, label: &str) -> Value {
    json!({
        "parameters": [{
            "name": "name", "in": "path", "required": true,
            "description": "The object's name or UUID.", "schema": {"type": "string"},
        }],
        "get": {
            "operationId": format!("get-{plural}"),
            "summary": format!("An object of the kind {label}."),
            "responses": responses("200", "The object.", Some(&name_of_object(label))),
        },
        "patch": {
            "operationId": format!("update-{plural}"),
            "summary": "Changes fields of the object: those that the mask names, or those that are given. \
                        With `version`, only if it is still that.",
            "parameters": [
                parameter("update_mask", "Names of fields, comma-separated; *: all."),
                wait(),
            ],
            "requestBody": {"required": true, "content": content(&name_of_object(label))},
            "responses": responses("200", "The object.", Some(&name_of_object(label))),
        },
        "delete": {
            "operationId": format!("delete-{plural}"),
            "summary": "Deletes the object. One that has others in it is refused without `cascade`.",
            "parameters": [parameter("version", "What must be there; absent: anything."),
                parameter("cascade", "true: delete what belongs to it, too."), wait()],
            "responses": responses("200", "It is deleted.", None),
        },
    })
}

fn apply() -> Value {
    json!({
        "post": {
            "operationId": "apply",
            "summary": "Makes what an owner has be what it declares: creates, changes, and deletes what it no longer \
                        declares.",
            "requestBody": {"required": true, "content": content("ApplyRequest")},
            "responses": responses("200", "What was done, or would be.", Some("ApplyResponse")),
        },
    })
}

fn watch() -> Value {
    json!({
        "get": {
            "operationId": "watch",
            "summary": "The objects of some kinds, and every change of them, as server-sent events. The data of each is \
                        like a WatchResponse of the gRPC service; its id is the version, with which one goes on.",
            "parameters": [
                parameter("kinds", "Kinds as in paths, comma-separated; absent: all."),
                parameter("owner", "Only what this owner declares."),
                parameter("version", "The state that the client has."),
            ],
            "responses": {
                "200": {
                    "description": "Events without end.",
                    "content": {"text/event-stream": {"schema": event()}},
                },
                "default": {"description": "What went wrong.", "content": content("Status")},
            },
        },
    })
}

/// A server-sent event. What is in its data is a `WatchResponse`, or what went wrong.
fn event() -> Value {
    json!({
        "type": "object",
        "description": "A server-sent event: `data` is a WatchResponse in JSON, or with `event: error` a Status; `id` is its version.",
        "properties": {
            "id": {"type": "string"},
            "event": {"type": "string"},
            "data": {"type": "string"},
        },
    })
}

fn status() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong (google.rpc.Status).",
        "properties": {
            "code": {"type": "integer"},
            "status": {"type": "string"},
            "message": {"type": "string"},
            "details": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "@type": {"type": "string"},
                    "fieldViolations": {"type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "field": {"type": "string"},
                            "description": {"type": "string"},
                        },
                    }},
                },
            }},
        },
        "required": ["code", "message"],
    })
}
