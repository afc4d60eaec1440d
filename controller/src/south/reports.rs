//! What this chassis cannot do of what is asked of it, for whoever wrote it in the northbound: `weft-problem-HINT` in
//! `Chassis_Private.external_ids`.
//!
//! `HINT` is what a logical flow says of its northbound row (`external_ids:stage-hint`, the first half of its UUID). Northd makes problems
//! of the northbound rows of it. Keys of others are left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum};
use sb_db::tables::ChassisPrivate;

use super::South;

/// What the keys begin with.
const KEY: &str = "weft-problem-";
/// Of no more northbound rows is anything told; the log has all.
pub const MAX_REPORTS: usize = 32;
/// So many characters of each text are told.
const MAX_TEXT: usize = 300;

impl South {
    /// Has the row of the chassis of this name say just these texts, by hint; nothing if it does. The first [`MAX_REPORTS`] are taken.
    pub fn report(&self, name: &str, problems: &BTreeMap<Arc<str>, Arc<str>>) -> Option<Operation> {
        let private = self.private(name)?;
        let wanted = problems.iter().take(MAX_REPORTS);
        let wanted: BTreeMap<String, String> = wanted
            .map(|(hint, text)| {
                (
                    format!("{KEY}{hint}"),
                    text.chars().take(MAX_TEXT).collect(),
                )
            })
            .collect();
        let known = private.external_ids.iter();
        let known = known.filter(|(key, _)| key.starts_with(KEY));
        let is_same = |key: &str, text: &str| wanted.get(key).is_some_and(|of| of == text);
        let gone: Vec<Atom> = known
            .filter(|(key, text)| !is_same(key, text))
            .map(|(key, _)| Atom::String(key.clone()))
            .collect();
        let is_known = |key: &str, text: &str| {
            let known = private.external_ids.get(key);
            known.is_some_and(|known| &**known == text)
        };
        let come: Vec<(Atom, Atom)> = wanted
            .iter()
            .filter(|(key, text)| !is_known(key, text))
            .map(|(key, text)| (Atom::from(key.as_str()), Atom::from(text.as_str())))
            .collect();
        let column = ChassisPrivate::COLUMN.external_ids.index;
        let mut mutations = Vec::new();
        if !gone.is_empty() {
            mutations.push(Mutation::new(column, Mutator::Delete, Datum::set(gone)));
        }
        if !come.is_empty() {
            mutations.push(Mutation::new(column, Mutator::Insert, Datum::map(come)));
        }
        let table = ChassisPrivate::INDEX;
        (!mutations.is_empty()).then(|| Operation::mutate_row(table, private.uuid, mutations))
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::{RowChange, TableDefinition as _, Uuid};

    use super::*;

    /// The row as it is after an operation.
    fn done(mut row: ChassisPrivate, operation: Option<Operation>) -> ChassisPrivate {
        let Some(Operation::Mutate { mutations, .. }) = operation else {
            panic!("{operation:?}")
        };
        for mutation in mutations {
            match mutation.mutator {
                Mutator::Delete => {
                    let keys = mutation.arg.atoms().iter().filter_map(Atom::as_str);
                    keys.for_each(|key| drop(row.external_ids.remove(key)));
                }
                _ => row
                    .external_ids
                    .extend(mutation.arg.pairs().iter().map(|(key, value)| {
                        let text = |atom: &Atom| Arc::from(atom.as_str().unwrap_or_default());
                        (text(key), text(value))
                    })),
            }
        }
        row
    }

    #[test]
    fn what_cannot_be_done_is_in_the_row_while_that_is_so() {
        let row = ChassisPrivate {
            uuid: Uuid::from_u128(1),
            name: "c".into(),
            external_ids: [("mine".into(), "stays".into())].into(),
            ..ChassisPrivate::default()
        };
        let south = |row: &ChassisPrivate| {
            let mut south = South::default();
            south.apply(&RowChange {
                table: ChassisPrivate::INDEX,
                uuid: row.uuid,
                old: None,
                new: Some(Arc::new(row.to_row())),
            });
            south
        };
        let many = (0..100).map(|n| (format!("{n:08x}").into(), "x".repeat(1000).into()));
        let many: BTreeMap<Arc<str>, Arc<str>> = many.collect();
        let told = done(row.clone(), south(&row).report("c", &many));
        assert_eq!(told.external_ids.len(), 1 + MAX_REPORTS);
        assert_eq!(
            told.external_ids["weft-problem-00000000"].len(),
            MAX_TEXT,
            "no text is without end"
        );
        assert_eq!(south(&told).report("c", &many), None);
        let one = BTreeMap::from([(Arc::from("00000007"), Arc::from("something else"))]);
        let told = done(told.clone(), south(&told).report("c", &one));
        assert_eq!(told.external_ids.len(), 2);
        assert_eq!(
            &*told.external_ids["weft-problem-00000007"],
            "something else"
        );
        let told = done(told.clone(), south(&told).report("c", &BTreeMap::new()));
        assert_eq!(told.external_ids, row.external_ids);
    }
}
