//! Fields that only make sense together. The database takes each of them alone, and nobody could say what is meant.

use nb_db::tables::Nat;
use northbound::Draft;
use ovsdb::Table;

use crate::circles::Written;
use crate::declared::{Wrongs, refuse};
use crate::error::{Code, Refused};

/// Refuses objects of which a request has set one field without the other.
pub fn check(draft: &Draft<'_>, written: &[Written]) -> Result<(), Refused> {
    let column = Nat::COLUMN;
    let names = [column.priority.name, column.r#match.name];
    let mut wrongs = Wrongs::new();
    for object in written
        .iter()
        .filter(|object| object.changes(Nat::INDEX, &names))
    {
        let priority = draft.get::<Nat, _>(object.uuid, column.priority);
        let when = draft.get::<Nat, _>(object.uuid, column.r#match);
        if priority > 0 && when.is_empty() {
            let why = "without a match there is no priority".to_owned();
            let remedy = "give `match`, or leave the priority out";
            let (_, wrong) = object.wrong(column.priority.name, why, remedy);
            wrongs.push((Code::Invalid, wrong));
        }
    }
    match wrongs.is_empty() {
        true => Ok(()),
        false => Err(refuse(wrongs)),
    }
}
