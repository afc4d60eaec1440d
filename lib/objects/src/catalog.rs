//! The kinds, put together with the descriptors of their messages and the schema of their tables.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use ovsdb::schema::{DatabaseSchema, TableSchema};
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use crate::DESCRIPTORS;
use crate::kinds::{Check, Definition, EXTERNAL_IDS, KINDS, NamePlace};

/// The kinds, by what they are called.
#[derive(Debug)]
pub struct Catalog {
    /// The message `Object`.
    pub object: MessageDescriptor,
    /// The messages and services.
    pub pool: DescriptorPool,
    kinds: Vec<Kind>,
    by_table: HashMap<usize, usize>,
}

/// A kind of objects.
#[derive(Debug)]
pub struct Kind {
    /// What is said of it.
    pub definition: &'static Definition,
    /// Its place among all kinds: objects are made in this order.
    pub order: usize,
    /// The index of its table.
    pub table: usize,
    /// The schema of its table.
    pub schema: &'static TableSchema,
    /// The column `name`, of kinds that have their name there.
    pub name: Option<usize>,
    /// The column `external_ids`.
    pub external_ids: usize,
    /// The field of `Object`.
    pub field: FieldDescriptor,
    /// The fields of its message.
    pub fields: Vec<Field>,
}

/// A field of a kind.
#[derive(Debug)]
pub struct Field {
    /// Its descriptor.
    pub descriptor: FieldDescriptor,
    /// What it is called.
    pub name: &'static str,
    /// What it stands for.
    pub place: Place,
    /// Whether it is left as it is if it is not given.
    pub is_kept: bool,
    /// What it is checked for.
    pub check: Option<Check>,
}

/// What a field stands for.
#[derive(Debug)]
pub enum Place {
    /// A column of the object's row.
    Column(usize),
    /// A column of references, each of which is told as a name: the column, and the table referred to.
    References(usize, usize),
    /// Rows that have the object in a column: their table and column.
    Parents(usize, usize),
    /// Rows of another table that are part of the object.
    Parts(PartPlace),
}

/// Rows that are part of an object.
#[derive(Debug)]
pub struct PartPlace {
    /// The column of the object's row that refers to them.
    pub column: usize,
    /// Their table.
    pub table: usize,
    /// Their message.
    pub message: MessageDescriptor,
    /// Their fields and columns.
    pub fields: Vec<(FieldDescriptor, usize)>,
    /// The column that is made of the object's name and another column: both.
    pub named_by: Option<(usize, usize)>,
}

/// The catalog. It is made once, of what is compiled in.
pub fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::new);
    &CATALOG
}

/// The schema of the northbound, for as long as the program lives.
pub fn schema() -> &'static DatabaseSchema {
    let schema: &'static Arc<DatabaseSchema> = nb_db::schema();
    schema
}

impl Catalog {
    fn new() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("they are compiled in");
        let object = message(&pool, "weft.northbound.v1.Object");
        let kinds: Vec<Kind> = KINDS
            .iter()
            .enumerate()
            .map(|(order, definition)| Kind::new(&object, order, definition))
            .collect();
        let by_table = kinds.iter().enumerate();
        let by_table = by_table.map(|(place, kind)| (kind.table, place)).collect();
        Self {
            object,
            pool,
            kinds,
            by_table,
        }
    }

    /// All kinds, in the order in which objects are made.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The kind with this number in the protocol.
    pub fn numbered(&self, number: i32) -> Option<&Kind> {
        let mut kinds = self.kinds.iter();
        kinds.find(|kind| kind.definition.number as i32 == number)
    }

    /// The kind that somebody calls so: by its field in `Object`, by its plural, with hyphens or underlines, or by its
    /// table.
    pub fn called(&self, text: &str) -> Option<&Kind> {
        let text = text.to_ascii_lowercase().replace('_', "-");
        let mut kinds = self.kinds.iter();
        kinds.find(|kind| {
            let definition = kind.definition;
            let plural = definition.plural;
            let singular = plural.strip_suffix("es").filter(|_| plural == "switches");
            let singular = singular.or(plural.strip_suffix('s').filter(|_| plural != "dns"));
            text == plural
                || singular == Some(&text)
                || text == definition.field.replace('_', "-")
                || text == definition.table.to_ascii_lowercase().replace('_', "-")
        })
    }

    /// The kind whose objects are rows of the table.
    pub fn of_table(&self, table: usize) -> Option<&Kind> {
        self.by_table.get(&table).map(|place| &self.kinds[*place])
    }

    /// The message with this name in our package.
    ///
    /// # Panics
    /// If there is none.
    pub fn message(&self, name: &str) -> MessageDescriptor {
        message(&self.pool, &format!("weft.northbound.v1.{name}"))
    }
}

fn message(pool: &DescriptorPool, name: &str) -> MessageDescriptor {
    pool.get_message_by_name(name).expect("it is compiled in")
}

fn table_index(name: &str) -> usize {
    let index = schema().table_index(name);
    index.unwrap_or_else(|| panic!("no table {name}"))
}

fn column_index(table: usize, name: &str) -> usize {
    let schema = &schema().tables[table];
    let index = schema.column_index(name);
    index.unwrap_or_else(|| panic!("no column {name} in {}", schema.name))
}

impl Kind {
    fn new(object: &MessageDescriptor, order: usize, definition: &'static Definition) -> Self {
        let table = table_index(definition.table);
        let field = object.get_field_by_name(definition.field);
        let field = field.unwrap_or_else(|| panic!("no field {}", definition.field));
        let kind = field.kind();
        let message = kind.as_message().expect("each kind is a message").clone();
        let fields = message
            .fields()
            .map(|descriptor| Field::new(definition, table, descriptor));
        Self {
            definition,
            order,
            table,
            schema: &schema().tables[table],
            name: match definition.name {
                NamePlace::Column => Some(column_index(table, "name")),
                NamePlace::Key => None,
            },
            external_ids: column_index(table, EXTERNAL_IDS),
            fields: fields.collect(),
            field,
        }
    }

    /// What it is called.
    pub fn label(&self) -> &'static str {
        self.definition.field
    }

    /// The field of this name.
    pub fn field_called(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Field {
    fn new(definition: &'static Definition, table: usize, descriptor: FieldDescriptor) -> Self {
        // As long as the program lives, as the catalog does.
        let name: &'static str = Box::leak(descriptor.name().to_owned().into_boxed_str());
        let by_name = |(field, _): &&(&str, _)| *field == name;
        let check = definition.checks.iter().find(by_name);
        Self {
            place: Place::new(definition, table, &descriptor),
            is_kept: definition.kept.contains(&name),
            check: check.map(|(_, check)| *check),
            name,
            descriptor,
        }
    }
}

impl Place {
    fn new(definition: &Definition, table: usize, descriptor: &FieldDescriptor) -> Self {
        let name = descriptor.name();
        let parent = definition
            .parents
            .iter()
            .find(|parent| parent.field == name);
        if let Some(parent) = parent {
            let kind = KINDS.iter().find(|kind| kind.field == parent.kind);
            let kind = kind.unwrap_or_else(|| panic!("no kind {}", parent.kind));
            let owner = table_index(kind.table);
            return Self::Parents(owner, column_index(owner, parent.column));
        }
        let renamed = definition.renamed.iter().find(|(field, _)| *field == name);
        let column = column_index(table, renamed.map_or(name, |(_, column)| column));
        let ty = &schema().tables[table].columns[column].ty;
        let Some((target, _)) = ty.key.reference() else {
            return Self::Column(column);
        };
        let target = table_index(target);
        match definition.parts.iter().find(|part| part.field == name) {
            None => Self::References(column, target),
            Some(part) => {
                let kind = descriptor.kind();
                let message = kind.as_message().expect("a part is a message").clone();
                let fields = message
                    .fields()
                    .map(|field| (field.clone(), column_index(target, field.name())));
                let named_by = part
                    .named_by
                    .map(|by| (column_index(target, "name"), column_index(target, by)));
                Self::Parts(PartPlace {
                    column,
                    table: target,
                    fields: fields.collect(),
                    message,
                    named_by,
                })
            }
        }
    }

    /// The column of the object's row, if it is in one.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Column(column) | Self::References(column, _) => Some(*column),
            Self::Parts(part) => Some(part.column),
            Self::Parents(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_shown_or_hidden_for_a_reason() {
        for kind in catalog().kinds() {
            let hidden = kind.definition.hidden;
            for (index, column) in kind.schema.columns.iter().enumerate() {
                let shown = kind
                    .fields
                    .iter()
                    .any(|field| field.place.column() == Some(index));
                let named = kind.name == Some(index);
                let is_hidden = hidden.iter().any(|(name, _)| *name == &*column.name);
                assert_eq!(
                    usize::from(shown) + usize::from(named) + usize::from(is_hidden),
                    1,
                    "{}.{}",
                    kind.definition.table,
                    column.name
                );
            }
        }
    }

    #[test]
    fn kinds_are_called_as_people_do() {
        for (text, table) in [
            ("switch", "Logical_Switch"),
            ("switches", "Logical_Switch"),
            ("switch-port", "Logical_Switch_Port"),
            ("logical_switch_port", "Logical_Switch_Port"),
            ("Logical_Router", "Logical_Router"),
            ("policy", "Logical_Router_Policy"),
            ("dns", "DNS"),
            ("qos", "QoS"),
            ("acls", "ACL"),
            ("route", "Logical_Router_Static_Route"),
        ] {
            let kind = catalog().called(text).map(|kind| kind.definition.table);
            assert_eq!(kind, Some(table), "{text}");
        }
        assert!(catalog().called("pod").is_none());
    }
}
