//! Objects of a kind, a page at a time, in the order of their rows.

use std::ops::Bound;

use northbound::find::parse_uuid;
use northbound::{Rows, Snapshot};
use ovsdb::{Atom, Uuid};

use crate::catalog::{Kind, Place, catalog};
use crate::error::{Code, Refused, Violation};
use crate::find::{find_if_any, owned, owner_of};

/// So many objects a page has if nothing else is said.
pub const PAGE: usize = 100;
/// So many it may have.
pub const MAX_PAGE: usize = 1000;

/// Which objects of a kind.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those that belong to this; empty: all.
    pub parent: String,
    /// Those of this owner; empty: all.
    pub owner: String,
}

/// A page: rows, and where the next one begins; nothing if there is none.
pub type Page = (Vec<Uuid>, Option<String>);

/// The objects that come after a token; from the first, if it is empty.
pub fn list(
    snapshot: &Snapshot,
    kind: &Kind,
    filter: &Filter,
    size: i32,
    token: &str,
) -> Result<Page, Refused> {
    let wrong = |field: &str, why: String, remedy: &str| {
        Refused::field(Code::Invalid, Violation::new(field, why, remedy))
    };
    let size = match usize::try_from(size) {
        Ok(0) => PAGE,
        Ok(size) if size <= MAX_PAGE => size,
        _ => {
            let remedy = format!("ask for 1 to {MAX_PAGE}, or 0 for {PAGE}");
            return Err(wrong(
                "page_size",
                format!("{size} is too many or too few"),
                &remedy,
            ));
        }
    };
    let after = match token {
        "" => Bound::Unbounded,
        token => Bound::Excluded(parse_uuid(token).ok_or_else(|| {
            let remedy = "give back what the page before said";
            wrong("page_token", "it is none".to_owned(), remedy)
        })?),
    };
    let is_after = |uuid: &Uuid| match after {
        Bound::Excluded(last) => *uuid > last,
        _ => true,
    };
    let more = size + 1;
    let mut found: Vec<Uuid> = if !filter.parent.is_empty() {
        let of_owner = |uuid: &Uuid| {
            let row = snapshot.row(kind.table, *uuid);
            filter.owner.is_empty() || row.is_some_and(|row| owner_of(kind, row) == filter.owner)
        };
        let mut members = members(snapshot, kind, &filter.parent)?;
        members.sort_unstable();
        members.dedup();
        let members = members.into_iter().filter(is_after).filter(of_owner);
        members.take(more).collect()
    } else if !filter.owner.is_empty() {
        let owned = owned(snapshot, kind, &filter.owner).into_iter();
        owned.filter(is_after).take(more).collect()
    } else {
        let rows = snapshot.table(kind.table).range((after, Bound::Unbounded));
        rows.map(|(uuid, _)| *uuid).take(more).collect()
    };
    let next = (found.len() > size).then(|| found[size - 1].to_string());
    found.truncate(size);
    Ok((found, next))
}

/// What belongs to the switch, router or port group of this name.
fn members(rows: &dyn Rows, kind: &Kind, parent: &str) -> Result<Vec<Uuid>, Refused> {
    let mut members = Vec::new();
    let mut is_found = false;
    for field in &kind.fields {
        let Place::Parents(table, column) = &field.place else {
            continue;
        };
        let owner = catalog().of_table(*table).expect("parents are objects");
        if let Some(uuid) = find_if_any(rows, owner, parent)?
            && let Some(row) = rows.row(*table, uuid)
        {
            is_found = true;
            members.extend(row.get(*column).atoms().iter().filter_map(Atom::as_uuid));
        }
    }
    if is_found {
        return Ok(members);
    }
    let why = format!(
        "nothing is called {parent:?} that a {} belongs to",
        kind.label()
    );
    let remedy = "name a switch, router or port group that is there";
    Err(Refused::field(
        Code::NotFound,
        Violation::new("parent", why, remedy),
    ))
}
