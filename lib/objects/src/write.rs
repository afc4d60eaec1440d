//! Creating, changing and deleting an object: what a draft has to do for it.

use std::collections::{BTreeMap, HashSet};

use northbound::{Draft, Rows};
use ovsdb::{Atom, Datum, Mutation, Mutator, Row, Uuid};

use crate::catalog::{Field, Kind, PartPlace, Place, catalog};
use crate::circles::{self, Written};
use crate::declared::{Content, Declared, Owners, Resolver, refuse};
use crate::error::{Code, Refused, Violation};
use crate::fences::contents;
use crate::find::{containing, find, find_if_any, is_external_ids, name_of, owner_of};
use crate::kinds::{NAME_KEY, NamePlace, OWNER_KEY};
use crate::read::{parts_of, version, without_reserved};
use crate::together;

/// Makes UUIDs of names, so that two clients that make an object of the same name at once do not make two.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f1c_52d6_0be1_4b7e_9f0a_77e6_5f74_0001);

/// Makes an object, and says its row.
pub fn create(
    draft: &mut Draft<'_>,
    declared: &Declared,
    owner: &str,
    owners: Owners<'_>,
) -> Result<Uuid, Refused> {
    let kind = declared.kind;
    let rows = draft.before();
    if find_if_any(rows, kind, &declared.name)?.is_some() {
        let label = kind.label();
        let message = format!(
            "there is a {label} {:?}; update that, or choose another name",
            declared.name
        );
        return Err(Refused::new(Code::AlreadyExists, message));
    }
    declared.check_identity(None, owner)?;
    let resolver = Resolver::new(rows, owners);
    let wanted = contents(&resolver, declared, &|_| true, true).map_err(refuse)?;
    check_parents(kind, &wanted, None)?;
    let mut links = Links::default();
    let uuid = new_uuid(rows, kind, &declared.name);
    insert(draft, &mut links, declared, uuid, owner, wanted)?;
    links.write(draft);
    check_written(draft, kind, uuid, None)?;
    Ok(uuid)
}

/// Changes the fields of an object that the mask names, and says its row.
pub fn update(
    draft: &mut Draft<'_>,
    declared: &Declared,
    mask: &[String],
    owners: Owners<'_>,
) -> Result<Uuid, Refused> {
    let kind = declared.kind;
    let rows = draft.before();
    let names = mask_fields(kind, mask)?;
    let uuid = find(rows, kind, &declared.name)?;
    expect_version(draft, kind, uuid, &declared.version)?;
    let (_, whose) = describe(rows, kind, uuid);
    declared.check_identity(Some(uuid), &whose)?;
    let resolver = Resolver::new(rows, owners);
    let is_wanted = |field: &Field| names.contains(field.name);
    // Who names a field means its default if it does not say anything else.
    let keeps = mask.iter().any(|path| path == "*" || path.ends_with(".*"));
    let wanted = contents(&resolver, declared, &is_wanted, keeps).map_err(refuse)?;
    check_parents(kind, &wanted, Some((rows, uuid)))?;
    let mut links = Links::default();
    let wanted = wanted
        .into_iter()
        .filter(|(field, content)| is_change(rows, kind, uuid, field, content));
    let wanted: Vec<_> = wanted.collect();
    let changed = wanted.iter().map(|(field, _)| field.name).collect();
    change(draft, &mut links, kind, uuid, wanted)?;
    links.write(draft);
    check_written(draft, kind, uuid, Some(changed))?;
    Ok(uuid)
}

/// Whether the one object that is written closes no circle, and makes sense.
fn check_written(
    draft: &Draft<'_>,
    kind: &'static Kind,
    uuid: Uuid,
    changed: Option<Vec<&'static str>>,
) -> Result<(), Refused> {
    let written = Written {
        kind,
        uuid,
        place: String::new(),
        changed,
    };
    let written = [written];
    circles::check(draft, &written)?;
    together::check(draft, &written)
}

/// An object that is to be deleted.
#[derive(Clone, Debug)]
pub struct Deletion<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its name or UUID.
    pub name: &'a str,
    /// What must be there; empty: anything.
    pub version: &'a str,
}

/// What else may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along<'a> {
    /// Nothing: what has others in it is left alone.
    Nothing,
    /// What belongs to what is deleted, whoever owns it.
    Everything,
    /// What this owner has; and of those that are named only its own, too.
    Owned(&'a str),
}

/// Deletes objects, and says which rows they were.
pub fn delete(
    draft: &mut Draft<'_>,
    deletions: &[Deletion<'_>],
    along: Along<'_>,
) -> Result<Vec<Uuid>, Refused> {
    let rows = draft.before();
    let mut going: Vec<(&'static Kind, Uuid)> = Vec::new();
    for Deletion {
        kind,
        name,
        version,
    } in deletions
    {
        let uuid = find(rows, kind, name)?;
        expect_version(draft, kind, uuid, version)?;
        let (_, whose) = describe(rows, kind, uuid);
        if let Along::Owned(owner) = along
            && whose != owner
        {
            let message = format!(
                "{} {name:?} belongs to {whose:?}, not to {owner:?}; delete it by its name, or let that owner do it",
                kind.label()
            );
            return Err(Refused::new(Code::Conflict, message));
        }
        if !going.iter().any(|(_, other)| *other == uuid) {
            going.push((kind, uuid));
        }
    }
    let named: HashSet<Uuid> = going.iter().map(|(_, uuid)| *uuid).collect();
    let mut links = Links::default();
    for (kind, uuid) in &going {
        for (child, child_uuid) in dependents(rows, kind, *uuid) {
            let (name, whose) = describe(rows, child, child_uuid);
            let may_go = match along {
                Along::Nothing => false,
                Along::Everything => true,
                Along::Owned(owner) => whose == owner,
            };
            if !may_go && !named.contains(&child_uuid) {
                let (parent, _) = describe(rows, kind, *uuid);
                let message = format!(
                    "with {} {parent:?} would go {} {name:?}; delete that first, or ask to cascade",
                    kind.label(),
                    child.label()
                );
                return Err(Refused::new(Code::Conflict, message));
            }
        }
        for (other, other_uuid) in referrers(rows, kind, *uuid) {
            let (name, whose) = describe(rows, other, other_uuid);
            let may_lose_it = match along {
                Along::Nothing => false,
                Along::Everything => true,
                Along::Owned(owner) => whose == owner,
            };
            if !may_lose_it && !named.contains(&other_uuid) {
                let (target, _) = describe(rows, kind, *uuid);
                let message = format!(
                    "{} {name:?} refers to {} {target:?}; change that first, or ask to cascade",
                    other.label(),
                    kind.label()
                );
                return Err(Refused::new(Code::Conflict, message));
            }
        }
        // Nothing has come into it meanwhile.
        for column in child_columns(kind) {
            draft.verify(kind.table, *uuid, column);
        }
        remove(draft, &mut links, kind, *uuid);
    }
    links.write(draft);
    Ok(going.into_iter().map(|(_, uuid)| uuid).collect())
}

/// The fields that a mask names.
fn mask_fields(kind: &Kind, mask: &[String]) -> Result<HashSet<&'static str>, Refused> {
    let all = || {
        let names: Vec<&str> = kind.fields.iter().map(|field| field.name).collect();
        format!("name some of {}, or * for all", names.join(", "))
    };
    let refuse = |why: String| {
        let violation = Violation::new("update_mask", why, all());
        Err(Refused::field(Code::Invalid, violation))
    };
    if mask.is_empty() {
        return refuse("it names no field".to_owned());
    }
    let mut names = HashSet::new();
    for path in mask {
        let name = path
            .strip_prefix(kind.label())
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(path);
        if name == "*" {
            names.extend(kind.fields.iter().map(|field| field.name));
        } else if let Some(field) = kind.fields.iter().find(|field| {
            // JSON may call it differently.
            field.name == name || field.descriptor.json_name() == name
        }) {
            names.insert(field.name);
        } else {
            return refuse(format!("{path:?} is no field of a {}", kind.label()));
        }
    }
    Ok(names)
}

/// Refuses if the object is not the one that the client has seen, and lets the transaction depend on it.
pub fn expect_version(
    draft: &mut Draft<'_>,
    kind: &Kind,
    uuid: Uuid,
    expected: &str,
) -> Result<(), Refused> {
    if expected.is_empty() {
        return Ok(());
    }
    let actual = version(draft.before(), kind, uuid).map(|version| version.to_string());
    if actual.as_deref() != Some(expected) {
        let why = format!(
            "it is {} by now, not {expected}",
            actual.unwrap_or_default()
        );
        let remedy = "get the object again, and decide anew";
        let violation = Violation::new("version", why, remedy);
        return Err(Refused::field(Code::Stale, violation));
    }
    let rows = draft.before();
    let mut verify = |table: usize, uuid: Uuid, column: usize| {
        // A column that an older server lacks says nothing there.
        if rows.has_column(table, column) {
            draft.verify(table, uuid, column);
        }
    };
    for field in &kind.fields {
        match &field.place {
            Place::Column(column) | Place::References(column, _) => {
                verify(kind.table, uuid, *column);
            }
            Place::Parents(table, column) => {
                for parent in containing(rows, *table, *column, uuid) {
                    verify(*table, parent, *column);
                }
            }
            Place::Parts(part) => {
                verify(kind.table, uuid, part.column);
                let row = rows.row(kind.table, uuid);
                for uuid in row.map(|row| parts_of(part, row)).unwrap_or_default() {
                    for (_, column) in &part.fields {
                        verify(part.table, uuid, *column);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Checks that an object of a kind that belongs to others does. Of an object that is there, what is not asked for stays.
pub fn check_parents(
    kind: &Kind,
    wanted: &[(&'static Field, Content)],
    existing: Option<(&dyn Rows, Uuid)>,
) -> Result<(), Refused> {
    let mut parents = kind.fields.iter().filter_map(|field| match &field.place {
        Place::Parents(table, column) => Some((field, *table, *column)),
        _ => None,
    });
    let Some((first, ..)) = parents.clone().next() else {
        return Ok(());
    };
    let has_some = parents.any(|(field, table, column)| {
        let asked = wanted.iter().find(|(other, _)| other.name == field.name);
        match (asked, existing) {
            (Some((_, Content::Parents(_, _, uuids))), _) => !uuids.is_empty(),
            (_, Some((rows, uuid))) => !containing(rows, table, column, uuid).is_empty(),
            _ => false,
        }
    });
    if has_some {
        return Ok(());
    }
    let names: Vec<&str> = kind
        .definition
        .parents
        .iter()
        .map(|parent| parent.field)
        .collect();
    let violation = Violation::new(
        format!("{}.{}", kind.label(), first.name),
        "it does not say what the object belongs to",
        format!("give {}", names.join(" or ")),
    );
    Err(Refused::field(Code::Invalid, violation))
}

/// The UUID that a new object gets.
pub fn new_uuid(rows: &dyn Rows, kind: &Kind, name: &str) -> Uuid {
    let made = match kind.definition.name {
        // The server sees to it that names are unique, or the draft expects that they are.
        NamePlace::Column => Uuid::new_v4(),
        NamePlace::Key => Uuid::new_v5(&NAMESPACE, format!("{}/{name}", kind.label()).as_bytes()),
    };
    match rows.row(kind.table, made) {
        None => made,
        Some(_) => Uuid::new_v4(),
    }
}

/// What belongs to what, to be written together: a parent of thousands is then written once.
#[derive(Debug, Default)]
pub struct Links {
    /// By table, row and column.
    changes: BTreeMap<(usize, Uuid, usize), Members>,
}

/// Members that come, and members that go.
type Members = (Vec<Atom>, Vec<Atom>);

impl Links {
    /// Sets what an object belongs to.
    fn set(&mut self, rows: &dyn Rows, place: (usize, usize), uuid: Uuid, parents: &[Uuid]) {
        let (table, column) = place;
        let before = containing(rows, table, column, uuid);
        for parent in parents.iter().filter(|parent| !before.contains(parent)) {
            let change = self.changes.entry((table, *parent, column)).or_default();
            change.0.push(Atom::Uuid(uuid));
        }
        for parent in before.iter().filter(|parent| !parents.contains(parent)) {
            let change = self.changes.entry((table, *parent, column)).or_default();
            change.1.push(Atom::Uuid(uuid));
        }
    }

    /// Writes all of it.
    pub fn write(self, draft: &mut Draft<'_>) {
        for ((table, uuid, column), (added, removed)) in self.changes {
            for (mutator, atoms) in [(Mutator::Delete, removed), (Mutator::Insert, added)] {
                if !atoms.is_empty() {
                    let mutation = Mutation::new(column, mutator, Datum::set(atoms));
                    draft.mutate(table, uuid, mutation);
                }
            }
        }
    }
}

/// Makes the row of an object with this owner, who may be nobody.
pub fn insert(
    draft: &mut Draft<'_>,
    links: &mut Links,
    declared: &Declared,
    uuid: Uuid,
    owner: &str,
    wanted: Vec<(&'static Field, Content)>,
) -> Result<(), Refused> {
    let kind = declared.kind;
    draft.insert_row(kind.table, uuid);
    if let Some(column) = kind.name {
        let name = Datum::from(declared.name.as_str());
        let is_unique = kind.schema.indexes.iter().any(|index| *index == [column]);
        if !is_unique {
            draft.expect_no_other(kind.table, column, name.clone());
        }
        draft.write(kind.table, uuid, column, name);
    }
    let mut ours = Vec::new();
    if kind.definition.name == NamePlace::Key {
        ours.push((NAME_KEY, declared.name.as_str()));
    }
    if !owner.is_empty() {
        ours.push((OWNER_KEY, owner));
    }
    let given = wanted.iter().find_map(|(field, content)| match content {
        Content::Column(_, datum) if is_external_ids(field.name) => Some(datum.clone()),
        _ => None,
    });
    let external_ids = with_pairs(&given.unwrap_or_else(Datum::empty_map), &ours);
    draft.write(kind.table, uuid, kind.external_ids, external_ids);
    for (field, content) in wanted {
        if !is_external_ids(field.name) {
            write_content(draft, links, kind, uuid, content)?;
        }
    }
    Ok(())
}

fn with_pairs(datum: &Datum, pairs: &[(&str, &str)]) -> Datum {
    let ours = pairs
        .iter()
        .map(|(key, value)| (Atom::from(*key), Atom::from(*value)));
    Datum::map(datum.pairs().iter().cloned().chain(ours))
}

/// Changes fields of an object that is there.
pub fn change(
    draft: &mut Draft<'_>,
    links: &mut Links,
    kind: &Kind,
    uuid: Uuid,
    wanted: Vec<(&'static Field, Content)>,
) -> Result<(), Refused> {
    for (field, content) in wanted {
        let content = match content {
            Content::Column(column, datum) if is_external_ids(field.name) => {
                let before = draft
                    .row(kind.table, uuid)
                    .map(|row| row.get(column).clone());
                Content::Column(column, keep_reserved(&datum, before.as_ref()))
            }
            content => content,
        };
        write_content(draft, links, kind, uuid, content)?;
    }
    Ok(())
}

fn keep_reserved(datum: &Datum, before: Option<&Datum>) -> Datum {
    let pairs = before.map(Datum::pairs).unwrap_or_default();
    let text = |key: &str| pairs.iter().find(|(pair, _)| pair.as_str() == Some(key));
    let ours = [NAME_KEY, OWNER_KEY].into_iter().filter_map(text).cloned();
    Datum::map(datum.pairs().iter().cloned().chain(ours))
}

/// Gives an object an owner.
pub fn own(draft: &mut Draft<'_>, kind: &Kind, uuid: Uuid, owner: &str) {
    let pair = Datum::map([(Atom::from(OWNER_KEY), Atom::from(owner))]);
    let mutation = Mutation::new(kind.external_ids, Mutator::Insert, pair);
    draft.mutate(kind.table, uuid, mutation);
}

fn write_content(
    draft: &mut Draft<'_>,
    links: &mut Links,
    kind: &Kind,
    uuid: Uuid,
    content: Content,
) -> Result<(), Refused> {
    match content {
        Content::Column(column, datum) => {
            if !draft.before().has_column(kind.table, column) {
                return lacks(kind, column, &datum);
            }
            draft.write(kind.table, uuid, column, datum);
        }
        Content::Parents(table, column, parents) => {
            links.set(draft.before(), (table, column), uuid, &parents);
        }
        Content::Parts(part, parts) => write_parts(draft, kind, uuid, part, parts),
    }
    Ok(())
}

/// A column that the server does not have can only be left alone.
fn lacks(kind: &Kind, column: usize, datum: &Datum) -> Result<(), Refused> {
    let column = &kind.schema.columns[column];
    if *datum == Datum::default_for(&column.ty) {
        return Ok(());
    }
    let message = format!(
        "the database has no column {} in {}; upgrade its server, or leave the field out",
        column.name, kind.definition.table
    );
    Err(Refused::new(Code::Unsupported, message))
}

fn holds(row: &Row, contents: &[(usize, Datum)]) -> bool {
    contents
        .iter()
        .all(|(column, datum)| row.get(*column) == datum)
}

/// Replaces the parts of an object, except those that are as they should be. One that has the name of another takes its
/// row.
fn write_parts(
    draft: &mut Draft<'_>,
    kind: &Kind,
    uuid: Uuid,
    part: &PartPlace,
    parts: Vec<Vec<(usize, Datum)>>,
) {
    let before = draft.row(kind.table, uuid).map(|row| parts_of(part, row));
    let mut before = before.unwrap_or_default();
    let mut after = Vec::new();
    for contents in parts {
        let name = part
            .named_by
            .and_then(|(column, _)| contents.iter().find(|(other, _)| *other == column).cloned());
        let same = before.iter().position(|uuid| {
            draft.row(part.table, *uuid).is_some_and(|row| match &name {
                Some((column, name)) => row.get(*column) == name,
                None => holds(row, &contents),
            })
        });
        let row = match same {
            Some(place) => before.remove(place),
            None => {
                let row = Uuid::new_v4();
                draft.insert_row(part.table, row);
                row
            }
        };
        for (column, datum) in contents {
            draft.write(part.table, row, column, datum);
        }
        after.push(Atom::Uuid(row));
    }
    draft.write(kind.table, uuid, part.column, Datum::set(after));
}

/// Deletes the row of an object. What belongs to it alone goes with it.
pub fn remove(draft: &mut Draft<'_>, links: &mut Links, kind: &Kind, uuid: Uuid) {
    for field in &kind.fields {
        if let Place::Parents(table, column) = &field.place {
            links.set(draft.before(), (*table, *column), uuid, &[]);
        }
    }
    draft.delete_row(kind.table, uuid);
}

/// Whether a field would change an object that is there.
pub fn is_change(
    rows: &dyn Rows,
    kind: &Kind,
    uuid: Uuid,
    field: &Field,
    content: &Content,
) -> bool {
    let Some(row) = rows.row(kind.table, uuid) else {
        return true;
    };
    match content {
        Content::Column(column, datum) if is_external_ids(field.name) => {
            without_reserved(row.get(*column)) != *datum
        }
        Content::Column(column, datum) => row.get(*column) != datum,
        Content::Parents(table, column, parents) => {
            let mut before = containing(rows, *table, *column, uuid);
            before.sort_unstable();
            before != *parents
        }
        Content::Parts(part, parts) => {
            let mut before = parts_of(part, row);
            before.len() != parts.len()
                || !parts.iter().all(|contents| {
                    let same = before.iter().position(|uuid| {
                        let row = rows.row(part.table, *uuid);
                        row.is_some_and(|row| holds(row, contents))
                    });
                    same.map(|place| before.swap_remove(place)).is_some()
                })
        }
    }
}

/// The objects that belong to this one and to nothing else, as kinds and rows: they go with it.
pub fn dependents(rows: &dyn Rows, kind: &Kind, uuid: Uuid) -> Vec<(&'static Kind, Uuid)> {
    let Some(row) = rows.row(kind.table, uuid) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for child in catalog().kinds() {
        for field in &child.fields {
            if let Place::Parents(table, column) = &field.place
                && *table == kind.table
            {
                let children = row.get(*column).atoms().iter().filter_map(Atom::as_uuid);
                found.extend(children.map(|uuid| (child, uuid)));
            }
        }
    }
    found
}

/// The objects that refer to this one and live on without it.
pub fn referrers(rows: &dyn Rows, kind: &Kind, uuid: Uuid) -> Vec<(&'static Kind, Uuid)> {
    let mut found = Vec::new();
    for other in catalog().kinds() {
        for field in &other.fields {
            if let Place::References(column, target) = &field.place
                && *target == kind.table
            {
                let referring = containing(rows, other.table, *column, uuid);
                found.extend(referring.into_iter().map(|uuid| (other, uuid)));
            }
        }
    }
    found
}

/// What an object is called and who owns it, in messages.
pub fn describe(rows: &dyn Rows, kind: &Kind, uuid: Uuid) -> (String, String) {
    let Some(row) = rows.row(kind.table, uuid) else {
        return (uuid.to_string(), String::new());
    };
    let name = name_of(kind, row).map_or_else(|| uuid.to_string(), str::to_owned);
    (name, owner_of(kind, row).to_owned())
}

/// The columns in which rows of the kind say what belongs to them.
pub fn child_columns(kind: &Kind) -> Vec<usize> {
    let places = catalog().kinds().iter().flat_map(|child| &child.fields);
    let mut columns: Vec<usize> = places
        .filter_map(|field| match &field.place {
            Place::Parents(table, column) if *table == kind.table => Some(*column),
            _ => None,
        })
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}
