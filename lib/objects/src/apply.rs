//! Making what an owner has be what it declares.
//!
//! Who declares an object is kept with it, in `external_ids`. What is declared and not there is made; what is there and
//! different is changed; what the owner has and no longer declares is deleted. Fields that are not given have their
//! defaults, so the declaration is all there is to know, and to declare it again changes nothing. Objects of other owners
//! are never touched, and those of nobody only if that is asked for; nor is anything deleted that would take along what
//! the owner does not have.

use std::collections::HashSet;

use northbound::Draft;
use ovsdb::Uuid;

use crate::catalog::{Kind, catalog};
use crate::circles::{self, Written};
use crate::declared::{Declared, Owners, Resolver, Wrongs, check_name, refuse};
use crate::error::{Code, Refused, Violation};
use crate::fences::contents;
use crate::find::{find_if_any, owned, owner_of};
use crate::together;
use crate::v1;
use crate::write::{
    Links, change, check_parents, child_columns, dependents, describe, expect_version, insert,
    is_change, new_uuid, own, referrers, remove,
};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

/// A change that was made, or would be.
#[derive(Debug)]
pub struct Change {
    /// The kind of the object.
    pub kind: &'static Kind,
    /// What it is called.
    pub name: String,
    /// Its row.
    pub uuid: Uuid,
    /// What is done to it.
    pub action: Action,
    /// Of an update: the fields that change; `owner` if it is taken over.
    pub fields: Vec<&'static str>,
}

/// What is done.
#[derive(Debug, Default)]
pub struct Plan {
    /// The changes: what is made and changed, in the order declared, then what is deleted.
    pub changes: Vec<Change>,
    /// How many objects are as they were.
    pub unchanged: usize,
}

/// What is declared, seen against what there is.
struct Item<'a> {
    /// Its place in the request.
    number: usize,
    declared: &'a Declared,
    uuid: Uuid,
    /// The owner that it has, if it is there.
    existing: Option<String>,
}

/// How much is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed<'a> {
    /// Whether objects that nobody owns are taken over.
    pub adopt: bool,
    /// Whether nothing may be declared, and so all that the owner has be deleted. It is too easily done by mistake.
    pub nothing: bool,
    /// Whose objects may be referred to and be added to; nothing: everybody's.
    pub owners: Owners<'a>,
}

/// Makes what the owner has be what it declares.
pub fn apply(
    draft: &mut Draft<'_>,
    owner: &str,
    objects: &[Declared],
    allowed: Allowed<'_>,
) -> Result<Plan, Refused> {
    check_name("owner", owner)?;
    if objects.is_empty() && !allowed.nothing {
        let why = format!("nothing is declared, and all that {owner:?} has would be deleted");
        let remedy = "declare something, or say that nothing is meant: `objects: []` in a file, `allow_empty` in a request";
        let violation = Violation::new("objects", why, remedy);
        return Err(Refused::field(Code::Invalid, violation));
    }
    let rows = draft.before();
    let mut resolver = Resolver::new(rows, allowed.owners);
    let items = match_up(&mut resolver, owner, objects, allowed.adopt)?;
    let gone = no_longer_declared(draft, owner, &items)?;
    resolver.gone = gone.iter().map(|(_, uuid)| *uuid).collect();
    let mut plan = Plan::default();
    let mut links = Links::default();
    let mut wrongs = Wrongs::new();
    let mut written = Vec::new();
    for item in &items {
        let place = format!("objects[{}]", item.number);
        match make(draft, &mut links, &resolver, owner, item) {
            Ok(None) => plan.unchanged += 1,
            Ok(Some(change)) => {
                written.push(Written {
                    kind: change.kind,
                    uuid: change.uuid,
                    place,
                    changed: (change.action == Action::Update).then(|| change.fields.clone()),
                });
                plan.changes.push(change);
            }
            Err(refused) if refused.violations.is_empty() => return Err(refused),
            Err(refused) => {
                let refused = refused.within(&place);
                let violations = refused.violations.into_iter();
                wrongs.extend(violations.map(|violation| (refused.code, violation)));
            }
        }
    }
    if !wrongs.is_empty() {
        return Err(refuse(wrongs));
    }
    for (kind, uuid) in gone {
        let (name, _) = describe(rows, kind, uuid);
        for column in child_columns(kind).into_iter().chain([kind.external_ids]) {
            draft.verify(kind.table, uuid, column);
        }
        remove(draft, &mut links, kind, uuid);
        plan.changes.push(Change {
            kind,
            name,
            uuid,
            action: Action::Delete,
            fields: Vec::new(),
        });
    }
    links.write(draft);
    circles::check(draft, &written)?;
    together::check(draft, &written)?;
    Ok(plan)
}

/// Finds what is there already, and refuses what is another's. The answer is in the order in which objects are made.
fn match_up<'a>(
    resolver: &mut Resolver<'_>,
    owner: &str,
    objects: &'a [Declared],
    adopt: bool,
) -> Result<Vec<Item<'a>>, Refused> {
    let rows = resolver.rows;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    let mut wrongs = Wrongs::new();
    for (number, declared) in objects.iter().enumerate() {
        let kind = declared.kind;
        let mut wrong = |code, why: String, remedy: &str| {
            let field = format!("objects[{number}].name");
            wrongs.push((code, Violation::new(field, why, remedy)));
        };
        let label = format!("{} {:?}", kind.label(), declared.name);
        let found = match find_if_any(rows, kind, &declared.name) {
            Ok(found) => found,
            Err(refused) => {
                wrong(refused.code, refused.message, "declare it by its UUID");
                continue;
            }
        };
        let row = found.and_then(|uuid| rows.row(kind.table, uuid));
        let existing = row.map(|row| owner_of(kind, row).to_owned());
        let uuid = found.unwrap_or_else(|| new_uuid(rows, kind, &declared.name));
        let is_first = seen.insert((kind.table, declared.name.as_str(), None))
            && seen.insert((kind.table, "", Some(uuid)));
        if !is_first {
            wrong(
                Code::Invalid,
                format!("{label} is declared twice"),
                "declare it once",
            );
            continue;
        }
        match existing.as_deref() {
            Some("") if !adopt => wrong(
                Code::Conflict,
                format!("{label} is there, and nobody owns it"),
                "ask to adopt it, or choose another name",
            ),
            Some(other) if !other.is_empty() && other != owner => wrong(
                Code::Conflict,
                format!("{label} belongs to {other:?}"),
                "choose another name, or let that owner give it up",
            ),
            _ => {}
        }
        if let Err(refused) = declared.check_identity(found, owner) {
            let code = refused.code;
            let violations = refused.within(&format!("objects[{number}]")).violations;
            wrongs.extend(violations.into_iter().map(|violation| (code, violation)));
        }
        if existing.is_none() {
            resolver
                .new
                .insert((kind.table, declared.name.clone()), uuid);
        }
        items.push(Item {
            number,
            declared,
            uuid,
            existing,
        });
    }
    if !wrongs.is_empty() {
        return Err(refuse(wrongs));
    }
    items.sort_by_key(|item| (item.declared.kind.order, item.number));
    Ok(items)
}

/// What the owner has and does not declare, children first. Refuses if something would go with it that is not the owner's.
fn no_longer_declared(
    draft: &Draft<'_>,
    owner: &str,
    items: &[Item<'_>],
) -> Result<Vec<(&'static Kind, Uuid)>, Refused> {
    let rows = draft.before();
    let declared: HashSet<Uuid> = items.iter().map(|item| item.uuid).collect();
    let mut gone = Vec::new();
    for kind in catalog().kinds().iter().rev() {
        let owned = owned(rows, kind, owner).into_iter();
        gone.extend(
            owned
                .filter(|uuid| !declared.contains(uuid))
                .map(|uuid| (kind, uuid)),
        );
    }
    let going: HashSet<Uuid> = gone.iter().map(|(_, uuid)| *uuid).collect();
    let mut wrongs = Wrongs::new();
    for (kind, uuid) in &gone {
        for (child, child_uuid) in dependents(rows, kind, *uuid) {
            let (name, other) = describe(rows, child, child_uuid);
            if going.contains(&child_uuid) || declared.contains(&child_uuid) {
                continue;
            }
            let (parent, _) = describe(rows, kind, *uuid);
            let whose = match other.as_str() {
                "" => "nobody has declared".to_owned(),
                other => format!("belongs to {other:?}"),
            };
            let why = format!(
                "{} {parent:?} is no longer declared, and with it would go {} {name:?}, which {whose}",
                kind.label(),
                child.label()
            );
            let remedy = "declare it still, or delete what is in it first";
            wrongs.push((Code::Conflict, Violation::new("objects", why, remedy)));
        }
    }
    for (kind, uuid) in &gone {
        for (other, other_uuid) in referrers(rows, kind, *uuid) {
            let (name, whose) = describe(rows, other, other_uuid);
            // What the owner declares itself says anew what it refers to.
            if whose == owner {
                continue;
            }
            let (target, _) = describe(rows, kind, *uuid);
            let why = format!(
                "{} {target:?} is no longer declared, and {} {name:?}, which is not of {owner:?}, refers to it",
                kind.label(),
                other.label()
            );
            let remedy = "declare it still, or take it out of there first";
            wrongs.push((Code::Conflict, Violation::new("objects", why, remedy)));
        }
    }
    match wrongs.is_empty() {
        true => Ok(gone),
        false => Err(refuse(wrongs)),
    }
}

/// Makes or changes an object, if there is anything to do.
fn make(
    draft: &mut Draft<'_>,
    links: &mut Links,
    resolver: &Resolver<'_>,
    owner: &str,
    item: &Item<'_>,
) -> Result<Option<Change>, Refused> {
    let Item { declared, uuid, .. } = item;
    let (kind, uuid) = (declared.kind, *uuid);
    let wanted = contents(resolver, declared, &|_| true, true).map_err(refuse)?;
    check_parents(kind, &wanted, None)?;
    let mut done = Change {
        kind,
        name: declared.name.clone(),
        uuid,
        action: Action::Create,
        fields: Vec::new(),
    };
    let Some(existing) = &item.existing else {
        if !declared.version.is_empty() {
            let remedy = "leave the version out to make it anew";
            let violation = Violation::new("version", "the object is gone", remedy);
            return Err(Refused::field(Code::Stale, violation));
        }
        insert(draft, links, declared, uuid, owner, wanted)?;
        return Ok(Some(done));
    };
    expect_version(draft, kind, uuid, &declared.version)?;
    let changed = wanted
        .into_iter()
        .filter(|(field, content)| is_change(resolver.rows, kind, uuid, field, content));
    let changed: Vec<_> = changed.collect();
    let is_taken = existing != owner;
    if changed.is_empty() && !is_taken {
        return Ok(None);
    }
    // Nobody else has taken it meanwhile.
    draft.verify(kind.table, uuid, kind.external_ids);
    done.action = Action::Update;
    done.fields = changed.iter().map(|(field, _)| field.name).collect();
    if is_taken {
        done.fields.push("owner");
    }
    change(draft, links, kind, uuid, changed)?;
    if is_taken {
        own(draft, kind, uuid, owner);
    }
    Ok(Some(done))
}

/// A plan as the protocol has it.
pub fn response(plan: &Plan, generation: i64) -> v1::ApplyResponse {
    let changes = plan.changes.iter().map(|change| v1::Change {
        kind: change.kind.definition.number.into(),
        name: change.name.clone(),
        uuid: change.uuid.to_string(),
        action: match change.action {
            Action::Create => v1::Action::Create,
            Action::Update => v1::Action::Update,
            Action::Delete => v1::Action::Delete,
        }
        .into(),
        fields: change
            .fields
            .iter()
            .map(|field| (*field).to_owned())
            .collect(),
    });
    v1::ApplyResponse {
        changes: changes.collect(),
        unchanged: i64::try_from(plan.unchanged).unwrap_or(i64::MAX),
        generation,
    }
}
