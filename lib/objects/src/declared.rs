//! Objects as somebody wants them: of a kind, with a name, and with fields.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeSet, HashMap, HashSet};

use northbound::Rows;
use ovsdb::{Atom, Datum, Uuid};
use prost_reflect::{DynamicMessage, Value};

use crate::catalog::{Field, Kind, PartPlace, Place, catalog};
use crate::checks;
use crate::error::{Code, Refused, Violation};
use crate::find::{find_row, is_external_ids, owner_of};
use crate::kinds::RESERVED;
use crate::values::to_datum;

/// So many bytes a name may have.
pub const MAX_NAME_BYTES: usize = 255;

/// An object as somebody wants it.
#[derive(Debug)]
pub struct Declared {
    /// Its kind.
    pub kind: &'static Kind,
    /// What it is called.
    pub name: String,
    /// What is expected to be there; empty: anything.
    pub version: String,
    /// The row that it is said to be; empty: any. Clients give back what they got.
    pub uuid: String,
    /// The owner that it is said to have; empty: any.
    pub owner: String,
    /// Its fields.
    pub spec: DynamicMessage,
}

impl Declared {
    /// Reads a message `Object`.
    pub fn new(object: &DynamicMessage) -> Result<Self, Refused> {
        let text = |field: &str| -> String {
            let value = object.get_field_by_name(field);
            let value = value.as_deref().and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let mut kinds = catalog().kinds().iter();
        let Some(kind) = kinds.find(|kind| object.has_field(&kind.field)) else {
            let remedy =
                "give one of the fields that say what kind it is, such as `logical_switch: {}`";
            let violation = Violation::new("spec", "the object is of no kind", remedy);
            return Err(Refused::field(Code::Invalid, violation));
        };
        let name = text("name");
        check_name("name", &name)?;
        let value = object.get_field(&kind.field);
        let spec = value.as_message().cloned();
        Ok(Self {
            kind,
            name,
            version: text("version"),
            uuid: text("uuid"),
            owner: text("owner"),
            spec: spec.expect("each kind is a message"),
        })
    }
}

impl Declared {
    /// Refuses what the object is said to be and is not: `uuid` and `owner` are for the database and for Apply to give.
    pub fn check_identity(&self, uuid: Option<Uuid>, owner: &str) -> Result<(), Refused> {
        let real = uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        for (field, said, is) in [
            ("uuid", &*self.uuid, &*real),
            ("owner", &*self.owner, owner),
        ] {
            if said.is_empty() || said == is {
                continue;
            }
            let (why, code) = match (is.is_empty(), field) {
                (true, "uuid") => ("the object is not there yet".to_owned(), Code::Invalid),
                (true, _) => ("nobody owns the object".to_owned(), Code::Invalid),
                (false, _) => (format!("it is {is}"), Code::Conflict),
            };
            let remedy = "leave it out, for it is not for clients to say";
            let violation = Violation::new(field, why, remedy);
            return Err(Refused::field(code, violation));
        }
        Ok(())
    }
}

/// Checks a name of an object or an owner.
pub fn check_name(field: &str, name: &str) -> Result<(), Refused> {
    let wrong = match name.len() {
        0 => Some("it is empty".to_owned()),
        1..=MAX_NAME_BYTES if name.contains(|letter: char| letter.is_control()) => {
            Some("it has control characters".to_owned())
        }
        1..=MAX_NAME_BYTES => None,
        length => Some(format!("it has {length} bytes")),
    };
    match wrong {
        None => Ok(()),
        Some(why) => {
            let remedy = format!("give a name of 1 to {MAX_NAME_BYTES} bytes");
            let violation = Violation::new(field, why, remedy);
            Err(Refused::field(Code::Invalid, violation))
        }
    }
}

/// What a field asks for, with references found.
#[derive(Debug)]
pub enum Content {
    /// A column holds this.
    Column(usize, Datum),
    /// The rows of a table that have the object in a column: table, column, rows.
    Parents(usize, usize, Vec<Uuid>),
    /// Parts, each with what its columns hold.
    Parts(&'static PartPlace, Vec<Vec<(usize, Datum)>>),
}

/// Where references are looked for: among rows, and among objects that the same request makes.
#[derive(Debug)]
pub struct Resolver<'a> {
    /// The rows before the request.
    pub rows: &'a dyn Rows,
    /// What the request makes: table and name.
    pub new: HashMap<(usize, String), Uuid>,
    /// What the request deletes.
    pub gone: HashSet<Uuid>,
    /// Whose objects may be referred to and be added to; nothing: everybody's.
    pub owners: Owners<'a>,
    /// What rows of other owners name in lists of names: table and name. It is found out when it is first asked for.
    pub(crate) listed: OnceCell<HashSet<(usize, String)>>,
    /// What matches of rows of other owners name, in the same form and manner.
    pub(crate) matched: OnceCell<HashSet<(usize, String)>>,
    /// Whether that has been asked of one name.
    pub(crate) asked: Cell<bool>,
}

/// Owners beyond whose objects a client may not go; nothing: it may go everywhere.
pub type Owners<'a> = Option<&'a BTreeSet<String>>;

impl<'a> Resolver<'a> {
    /// Why the client may not go to a row, if it may not.
    fn beyond(&self, table: usize, uuid: Uuid) -> Option<String> {
        let (owners, kind) = (self.owners?, catalog().of_table(table)?);
        let owner = owner_of(kind, self.rows.row(table, uuid)?);
        match (owners.contains(owner), owner) {
            (true, _) => None,
            (false, "") => Some("it is nobody's".to_owned()),
            (false, owner) => Some(format!("it belongs to {owner:?}")),
        }
    }

    /// Looks among these rows, and finds those of some owners only.
    pub fn new(rows: &'a dyn Rows, owners: Owners<'a>) -> Self {
        Self {
            rows,
            new: HashMap::new(),
            gone: HashSet::new(),
            owners,
            listed: OnceCell::new(),
            matched: OnceCell::new(),
            asked: Cell::new(false),
        }
    }

    /// The row that a text names, which the client may refer to.
    pub(crate) fn resolve(&self, table: usize, text: &str) -> Result<Uuid, (Code, Violation)> {
        if let Some(uuid) = self.new.get(&(table, text.to_owned())) {
            return Ok(*uuid);
        }
        let remedy = "make it first, or declare it in the same request, or correct the name";
        let violation = |why: String| Violation::new("", why, remedy);
        match find_row(self.rows, table, text) {
            Ok(uuid) if self.gone.contains(&uuid) => {
                let why = format!("{text:?} is deleted by the same request");
                Err((Code::Conflict, violation(why)))
            }
            Ok(uuid) => match self.beyond(table, uuid) {
                Some(why) => {
                    let remedy = "refer to objects of the owners that the token is for";
                    Err((Code::Denied, Violation::new("", why, remedy)))
                }
                None => Ok(uuid),
            },
            Err(refused) if refused.code == Code::NotFound => {
                Err((Code::Conflict, violation(format!("there is no {text:?}"))))
            }
            Err(refused) => Err((refused.code, violation(refused.message))),
        }
    }
}

/// What is wrong with an object: codes and fields.
pub type Wrongs = Vec<(Code, Violation)>;

/// Makes one refusal of what is wrong.
pub fn refuse(wrongs: Wrongs) -> Refused {
    let code = match wrongs.iter().any(|(code, _)| *code == Code::Invalid) {
        true => Code::Invalid,
        false => wrongs.first().map_or(Code::Invalid, |(code, _)| *code),
    };
    let violations = wrongs.into_iter().map(|(_, violation)| violation);
    Refused::fields(code, violations.collect())
}

/// What the fields of an object ask for, those for which `is_wanted` holds. Fields that are not given have their default,
/// or, if they are kept and `keeps` holds, are left out.
pub fn contents(
    resolver: &Resolver<'_>,
    declared: &Declared,
    is_wanted: &dyn Fn(&Field) -> bool,
    keeps: bool,
) -> Result<Vec<(&'static Field, Content)>, Wrongs> {
    let mut contents = Vec::new();
    let mut wrongs = Wrongs::new();
    for field in declared.kind.fields.iter().filter(|field| is_wanted(field)) {
        let value = declared.spec.get_field(&field.descriptor);
        let given = declared.spec.has_field(&field.descriptor);
        if !given && keeps && field.is_kept {
            continue;
        }
        // A field that always is there says its default when it is not sent.
        let value = (given || !field.descriptor.supports_presence()).then_some(&*value);
        match content(resolver, declared, field, value) {
            Ok(content) => contents.push((field, content)),
            Err((code, wrong)) => {
                let place = format!("{}.{}", declared.kind.label(), field.name);
                wrongs.push((code, wrong.within(&place)));
            }
        }
    }
    match wrongs.is_empty() {
        true => Ok(contents),
        false => Err(wrongs),
    }
}

fn content(
    resolver: &Resolver<'_>,
    declared: &Declared,
    field: &'static Field,
    value: Option<&Value>,
) -> Result<Content, (Code, Violation)> {
    let invalid = |why: String, remedy: &str| (Code::Invalid, Violation::new("", why, remedy));
    let schema = declared.kind.schema;
    match &field.place {
        Place::Column(column) => {
            let ty = &schema.columns[*column].ty;
            let datum = to_datum(value, ty)
                .map_err(|why| invalid(why, "give what the field's description allows"))?;
            if is_external_ids(field.name) {
                check_external_ids(&datum)?;
            }
            if let Some(check) = field.check {
                checks::check(check, &datum).map_err(|(why, remedy)| invalid(why, remedy))?;
            }
            Ok(Content::Column(*column, datum))
        }
        Place::References(column, table) => {
            let uuids = resolve_all(resolver, *table, value)?;
            let datum = Datum::set(uuids.into_iter().map(Atom::Uuid));
            Ok(Content::Column(*column, datum))
        }
        Place::Parents(table, column) => {
            let mut uuids = resolve_all(resolver, *table, value)?;
            uuids.sort_unstable();
            uuids.dedup();
            Ok(Content::Parents(*table, *column, uuids))
        }
        Place::Parts(part) => {
            let mut parts = Vec::new();
            let values = value.and_then(Value::as_list).unwrap_or_default();
            for (number, value) in values.iter().enumerate() {
                let message = value.as_message().expect("a part is a message");
                let contents = part_contents(part, &declared.name, message);
                let contents = contents.map_err(|(name, why)| {
                    let field = format!("[{number}].{name}");
                    let remedy = "give what the field's description allows";
                    (Code::Invalid, Violation::new(field, why, remedy))
                })?;
                if let Some((column, _)) = part.named_by
                    && parts.iter().any(|other: &Vec<(usize, Datum)>| {
                        let name = |part: &[(usize, Datum)]| {
                            let mut columns = part.iter();
                            columns.find(|(other, _)| *other == column).cloned()
                        };
                        name(other) == name(&contents)
                    })
                {
                    let place = format!("[{number}]");
                    let violation = Violation::new(place, "it is there twice", "give each once");
                    return Err((Code::Invalid, violation));
                }
                parts.push(contents);
            }
            Ok(Content::Parts(part, parts))
        }
    }
}

fn resolve_all(
    resolver: &Resolver<'_>,
    table: usize,
    value: Option<&Value>,
) -> Result<Vec<Uuid>, (Code, Violation)> {
    let texts: Vec<&str> = match value {
        None => Vec::new(),
        Some(Value::List(values)) => values.iter().filter_map(Value::as_str).collect(),
        Some(value) => value
            .as_str()
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect(),
    };
    let uuids = texts.into_iter().map(|text| resolver.resolve(table, text));
    uuids.collect()
}

fn check_external_ids(datum: &Datum) -> Result<(), (Code, Violation)> {
    let mut keys = datum.pairs().iter().filter_map(|(key, _)| key.as_str());
    match keys.find(|key| key.starts_with(RESERVED)) {
        None => Ok(()),
        Some(key) => {
            let why = format!("the key {key:?} is reserved");
            let remedy = format!("use keys that do not begin with {RESERVED:?}");
            Err((Code::Invalid, Violation::new("", why, remedy)))
        }
    }
}

/// What the columns of a part hold; or the field that is wrong, and why.
fn part_contents(
    part: &PartPlace,
    owner: &str,
    message: &DynamicMessage,
) -> Result<Vec<(usize, Datum)>, (String, String)> {
    let schema = &crate::catalog::schema().tables[part.table];
    let mut contents = Vec::new();
    for (field, column) in &part.fields {
        let value = message.get_field(field);
        let datum = to_datum(Some(&value), &schema.columns[*column].ty);
        contents.push((
            *column,
            datum.map_err(|why| (field.name().to_owned(), why))?,
        ));
    }
    if let Some((name, by)) = part.named_by {
        let by = contents.iter().find(|(column, _)| *column == by);
        let by = by.and_then(|(_, datum)| datum.scalar()?.as_str());
        // As OVN's tools call them.
        let text = format!("{owner}-{}", by.unwrap_or_default());
        contents.push((name, Datum::from(text.as_str())));
    }
    Ok(contents)
}
