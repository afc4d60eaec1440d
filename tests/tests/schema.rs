//! The schemas that our databases serve are OVN's.
//!
//! Twice: against the reference schemas of the OVN release that Weft is to equal, where they lie beside the checkout,
//! and then column by column; and, wherever the project stands, against the schemas of the installed OVN package, of
//! which every table and column must be found in ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tests::implementation::{Database, Implementation, Side};
use tests::ovsdb::Client;

/// Where the reference schemas are, seen from this crate.
const REFERENCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/reference/ovn-26.03"
);
/// Where the OVN package puts its schemas.
const INSTALLED: &str = "/usr/share/ovn";

#[test]
fn the_served_schemas_equal_the_reference() {
    for side in [Side::Northbound, Side::Southbound] {
        let file = Path::new(REFERENCE).join(file_name(side));
        if !file.exists() {
            println!(
                "not checked: there is no reference schema at {}",
                file.display()
            );
            continue;
        }
        let reference = read(&file).expect("the reference schema is JSON");
        let differences = differences(
            &reference,
            &served(side).expect("our server gives its schema"),
        );
        assert!(
            differences.is_empty(),
            "{}:\n{}",
            side.schema(),
            differences.join("\n")
        );
    }
}

#[test]
fn the_served_schemas_have_all_that_the_installed_ovn_knows() {
    for side in [Side::Northbound, Side::Southbound] {
        let file = Path::new(INSTALLED).join(file_name(side));
        let theirs = read(&file).expect("the OVN package is installed: `cargo xtask setup`");
        let ours = served(side).expect("our server gives its schema");
        for (table, definition) in tables(&theirs) {
            for column in columns(definition).keys() {
                let found = &ours["tables"][table]["columns"][column];
                assert!(
                    found.is_object(),
                    "{} lacks {table}.{column}",
                    side.schema()
                );
            }
        }
    }
}

/// The schema as a client is given it.
fn served(side: Side) -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let database = Database::start(Implementation::Weft, side, dir.path(), None, None)?;
    Client::connect(&database.socket())?.request("get_schema", &json!([side.schema()]))
}

fn file_name(side: Side) -> String {
    format!("ovn-{}.ovsschema", side.short())
}

fn read(file: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// What of the reference is otherwise in ours, one line each. Tables that only we have are ours to have.
fn differences(reference: &Value, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |place: &str, reference: &Value, ours: &Value| {
        if reference != ours {
            found.push(format!(
                "{place}: {reference} in the reference, {ours} in ours"
            ));
        }
    };
    compare("name", &reference["name"], &ours["name"]);
    compare("version", &reference["version"], &ours["version"]);
    for (table, theirs) in tables(reference) {
        let ours = &ours["tables"][table];
        compare(
            &format!("{table} exists"),
            &json!(true),
            &json!(ours.is_object()),
        );
        for (property, absent) in [("isRoot", json!(false)), ("maxRows", json!(u32::MAX))] {
            let value = |table: &Value| table.get(property).cloned().unwrap_or(absent.clone());
            compare(&format!("{table} {property}"), &value(theirs), &value(ours));
        }
        compare(
            &format!("{table} indexes"),
            &indexes(theirs),
            &indexes(ours),
        );
        let names: BTreeSet<&String> = columns(theirs).keys().chain(columns(ours).keys()).collect();
        for column in names {
            let place = format!("{table}.{column}");
            compare(
                &place,
                &normal_column(&theirs["columns"][column]),
                &normal_column(&ours["columns"][column]),
            );
        }
    }
    found
}

fn tables(schema: &Value) -> &Map<String, Value> {
    schema["tables"].as_object().expect("a schema has tables")
}

fn columns(table: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    table["columns"].as_object().unwrap_or(&NONE)
}

/// The indexes of a table, whose order says nothing.
fn indexes(table: &Value) -> Value {
    let sorted = |value: &Value| {
        let mut words: Vec<String> = value
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect();
        words.sort();
        words
    };
    let mut indexes: Vec<Vec<String>> = table["indexes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(sorted)
        .collect();
    indexes.sort();
    json!(indexes)
}

/// A column with everything said that RFC 7047, section 3.2, lets one leave out.
fn normal_column(column: &Value) -> Value {
    if column.is_null() {
        return Value::Null;
    }
    let whole = match &column["type"] {
        Value::Object(whole) => Value::Object(whole.clone()),
        atomic => json!({"key": atomic}),
    };
    json!({
        "key": normal_base(&whole["key"]),
        "value": normal_base(&whole["value"]),
        "min": whole.get("min").cloned().unwrap_or(json!(1)),
        "max": whole.get("max").cloned().unwrap_or(json!(1)),
        "ephemeral": column.get("ephemeral").cloned().unwrap_or(json!(false)),
        "mutable": column.get("mutable").cloned().unwrap_or(json!(true)),
    })
}

fn normal_base(base: &Value) -> Value {
    let Value::Object(base) = base else {
        return if base.is_null() {
            Value::Null
        } else {
            json!({"type": base})
        };
    };
    let mut base = base.clone();
    if base.contains_key("refTable") {
        base.entry("refType").or_insert(json!("strong"));
    }
    // An enumeration is a set: ["set", [...]] in any order, or one bare value.
    if let Some(values) = base.get_mut("enum") {
        let mut members: Vec<String> = match values.get(1) {
            Some(Value::Array(members)) => members.iter().map(Value::to_string).collect(),
            _ => vec![values.to_string()],
        };
        members.sort();
        *values = json!(members);
    }
    Value::Object(base)
}

#[test]
fn a_difference_is_found_and_what_may_be_left_out_is_none() -> Result<()> {
    let schema = |column: Value| json!({"name": "S", "version": "1.0.0", "tables": {"T": {"columns": {"c": column}}}});
    let short = schema(json!({"type": "string"}));
    let long =
        schema(json!({"type": {"key": {"type": "string"}, "min": 1, "max": 1}, "mutable": true}));
    ensure!(
        differences(&short, &long).is_empty(),
        "the same column, written twice"
    );
    let optional = schema(json!({"type": {"key": "string", "min": 0, "max": 1}}));
    ensure!(
        differences(&short, &optional).len() == 1,
        "a column that may be empty is another"
    );
    let missing = json!({"name": "S", "version": "1.0.0", "tables": {}});
    ensure!(
        !differences(&short, &missing).is_empty(),
        "a missing table is a difference"
    );
    Ok(())
}
