//! `weft get` and `weft describe`.

use clap::{Args, ValueEnum};
use objects::list::{Filter, MAX_PAGE, list};
use objects::{Kind, document, find, read};
use serde_json::Value;

use super::connect::{Connect, Northbound};
use super::{kind_called, tell};
use crate::error::{CommandError, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table of what matters most
    Table,
    /// A table of all fields with a single value or a list
    Wide,
    /// As `weft apply` takes it
    Yaml,
    /// As `weft apply` takes it
    Json,
    /// Names only
    Name,
}

#[derive(Args, Debug)]
pub struct Get {
    /// The kind, such as switches or acls
    #[arg(value_name = "KIND")]
    pub kind: String,

    /// Names or UUIDs; without any, all objects of the kind
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// How to print them
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "table"
    )]
    pub output: Format,

    /// Only what belongs to this switch, router or port group
    #[arg(long = "in", value_name = "NAME", default_value = "")]
    pub parent: String,

    /// Only what this owner declares
    #[arg(long, value_name = "NAME", default_value = "")]
    pub owner: String,
}

#[derive(Args, Debug)]
pub struct Describe {
    /// The kind, such as switch or acl
    #[arg(value_name = "KIND")]
    pub kind: String,

    /// Names or UUIDs
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

impl Get {
    pub(super) fn run(&self, connect: &Connect) -> Outcome<String> {
        let kind = kind_called(&self.kind)?;
        let northbound = connect.open(Some(kind))?;
        let objects = match self.names.is_empty() {
            true => self.all(kind, &northbound)?,
            false => named(kind, &northbound, &self.names)?,
        };
        let mut objects = objects;
        objects.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        let declarations = || {
            let objects = objects.iter().cloned().map(declaration);
            let mut objects: Vec<Value> = objects.collect();
            match (objects.len(), self.names.len()) {
                (1, 1) => objects.swap_remove(0),
                _ => Value::Array(objects),
            }
        };
        Ok(match self.output {
            Format::Yaml => document::to_yaml(&declarations()),
            Format::Json => format!("{:#}\n", declarations()),
            Format::Name => objects
                .iter()
                .map(|object| format!("{}/{}\n", kind.label(), text(&object["name"])))
                .collect(),
            Format::Table | Format::Wide => table(kind, &objects, self.output == Format::Wide),
        })
    }

    fn all(&self, kind: &Kind, northbound: &Northbound) -> Outcome<Vec<Value>> {
        let filter = Filter {
            parent: self.parent.clone(),
            owner: self.owner.clone(),
        };
        let size = i32::try_from(MAX_PAGE).unwrap_or(i32::MAX);
        let (mut objects, mut token) = (Vec::new(), String::new());
        loop {
            let page = list(northbound.snapshot(), kind, &filter, size, &token);
            let (uuids, next) = page.map_err(|refused| tell(&refused))?;
            let found = uuids.into_iter();
            let found = found.filter_map(|uuid| read::object(northbound.snapshot(), kind, uuid));
            objects.extend(found.map(|object| document::to_json(&object)));
            match next {
                Some(next) => token = next,
                None => return Ok(objects),
            }
        }
    }
}

fn named(kind: &Kind, northbound: &Northbound, names: &[String]) -> Outcome<Vec<Value>> {
    let object = |name: &String| {
        let uuid = find::find(northbound.snapshot(), kind, name);
        let uuid = uuid.map_err(|refused| tell(&refused))?;
        let object = read::object(northbound.snapshot(), kind, uuid);
        object
            .map(|object| document::to_json(&object))
            .ok_or_else(|| CommandError::Failed(format!("{name}: it is gone")))
    };
    names.iter().map(object).collect()
}

/// An object without what the server says of it.
fn declaration(mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.retain(|field, _| !["uuid", "version", "owner", "state"].contains(&field.as_str()));
    }
    object
}

/// A value in a cell.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(text).collect();
            texts.join(",")
        }
        other => other.to_string(),
    }
}

fn table(kind: &Kind, objects: &[Value], wide: bool) -> String {
    let is_parent = |name: &str| {
        kind.definition
            .parents
            .iter()
            .any(|parent| parent.field == name)
    };
    let mut heads = vec!["NAME".to_owned()];
    let fields = kind.fields.iter();
    let fields: Vec<&str> = fields
        .filter(|field| is_parent(field.name) || (wide && !field.descriptor.is_map()))
        .map(|field| field.name)
        .collect();
    heads.extend(fields.iter().map(|field| field.to_ascii_uppercase()));
    let has_state = kind.label() == "logical_switch_port";
    if has_state {
        heads.push("UP".to_owned());
    }
    heads.extend(["PROBLEMS".to_owned(), "OWNER".to_owned()]);
    let rows = objects.iter().map(|object| {
        let mut cells = vec![text(&object["name"])];
        let spec = &object[kind.label()];
        cells.extend(fields.iter().map(|field| text(&spec[*field])));
        if has_state {
            cells.push(text(&object["state"]["up"]));
        }
        let problems = object["state"]["problems"].as_array();
        cells.push(problems.map_or(0, Vec::len).to_string());
        cells.push(text(&object["owner"]));
        cells
    });
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut page = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        page.push_str(line.join("  ").trim_end());
        page.push('\n');
    }
    page
}

impl Describe {
    pub(super) fn run(&self, connect: &Connect) -> Outcome<String> {
        let kind = kind_called(&self.kind)?;
        let northbound = connect.open(Some(kind))?;
        let objects = named(kind, &northbound, &self.names)?;
        let pages: Vec<String> = objects.iter().map(|object| page(kind, object)).collect();
        Ok(pages.join("---\n"))
    }
}

/// All that is known of an object.
fn page(kind: &Kind, object: &Value) -> String {
    let mut page = format!("{}: {}\n", kind.label(), text(&object["name"]));
    for field in ["uuid", "version", "owner"] {
        if let Some(value) = object[field].as_str() {
            page.push_str(&format!("{field}: {value}\n"));
        }
    }
    let indented = |value: &Value| {
        let yaml = document::to_yaml(value);
        let lines: Vec<String> = yaml.lines().map(|line| format!("  {line}\n")).collect();
        lines.concat()
    };
    page.push_str("desired:\n");
    page.push_str(&indented(&object[kind.label()]));
    let mut state = object["state"].clone();
    let problems = state
        .as_object_mut()
        .and_then(|state| state.remove("problems"));
    page.push_str("state:\n");
    page.push_str(&indented(&state));
    for problem in problems.iter().filter_map(Value::as_array).flatten() {
        page.push_str(&format!(
            "{}: {}: {}; {}\n",
            text(&problem["rank"]),
            text(&problem["field"]),
            text(&problem["why"]),
            text(&problem["remedy"])
        ));
    }
    page
}
