//! Whether an answer is so large that other clients would notice if a thread of the runtime wrote it down.

use ovsdb::operation::OpResult;
use ovsdb::{Atom, ColumnRef, Datum};

use super::workers::LARGE_BYTES;
use crate::event::Output;

/// About what a result, a row and a value take besides their texts.
const RESULT_BYTES: usize = 16;
const ROW_BYTES: usize = 64;
const VALUE_BYTES: usize = 8;

/// Whether an answer has more than [`LARGE_BYTES`] when it is written down, about. This takes no longer for a larger
/// one. Updates are not looked at: what many are told is written down once.
pub fn is_large(output: &Output) -> bool {
    let mut room = Room(LARGE_BYTES);
    let fits = match output {
        Output::Transacted { outcome, .. } => {
            let done = match outcome {
                Ok(done) => done,
                Err(failure) => &failure.done,
            };
            done.iter().all(|result| room.has_result(result))
        }
        Output::MonitorStarted { update, .. } => {
            let mut rows = update.tables.iter().flat_map(|(_, rows)| rows);
            rows.all(|fragment| {
                let columns = fragment.change.new.iter().flat_map(|row| row.columns());
                room.has_row(columns)
            })
        }
        _ => true,
    };
    !fits
}

/// How much more makes an answer large.
struct Room(usize);

impl Room {
    /// Whether there is room for so many bytes, which are in it then.
    fn has(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }

    fn has_result(&mut self, result: &OpResult) -> bool {
        self.has(RESULT_BYTES)
            && match result {
                OpResult::Rows(rows) => rows
                    .iter()
                    .all(|row| self.has_row(row.iter().map(|(_, datum)| datum))),
                OpResult::Selected(selected) => selected.rows.iter().all(|(_, row)| {
                    let columns = selected.columns.iter();
                    self.has_row(columns.filter_map(|column| match column {
                        ColumnRef::Column(column) => Some(row.get(*column)),
                        _ => None,
                    }))
                }),
                OpResult::Empty | OpResult::Inserted(_) | OpResult::Count(_) => true,
            }
    }

    fn has_row<'a>(&mut self, mut columns: impl Iterator<Item = &'a Datum>) -> bool {
        self.has(ROW_BYTES) && columns.all(|datum| self.has_datum(datum))
    }

    fn has_datum(&mut self, datum: &Datum) -> bool {
        let value = |atom: &Atom| VALUE_BYTES + atom.as_str().map_or(0, str::len);
        self.has(VALUE_BYTES)
            && datum.atoms().iter().all(|atom| self.has(value(atom)))
            && datum
                .pairs()
                .iter()
                .all(|(key, to)| self.has(value(key) + value(to)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::operation::Selected;
    use ovsdb::schema::DatabaseSchema;
    use ovsdb::{Row, Uuid};
    use serde_json::json;

    use super::*;
    use crate::session::RequestId;

    fn answer(done: Vec<OpResult>) -> Output {
        Output::Transacted {
            request: RequestId(1),
            asked: done.len(),
            outcome: Ok(done),
            state: None,
        }
    }

    fn selected(rows: usize, column: ColumnRef, text: &str) -> OpResult {
        let schema = json!({"name": "T", "version": "1.0.0", "tables": {
            "A": {"columns": {"s": {"type": "string"}}, "isRoot": true}}});
        let row = Arc::new(Row::new([Datum::from(text)]));
        OpResult::Selected(Box::new(Selected {
            schema: Arc::new(DatabaseSchema::from_json(&schema).unwrap()),
            table: 0,
            columns: [column].into(),
            rows: vec![(Uuid::nil(), row); rows],
        }))
    }

    #[test]
    fn many_results_many_rows_and_long_texts_are_large() {
        let long = "x".repeat(LARGE_BYTES);
        let text = ColumnRef::Column(0);
        let set = Datum::set((0..LARGE_BYTES as i64).map(Atom::from));
        let pair = (Atom::from("key"), Atom::from(long.as_str()));
        let row = |datum: Datum| OpResult::Rows(vec![vec![("a".into(), datum)]]);
        for (what, done, large) in [
            ("nothing", vec![], false),
            ("some results", vec![OpResult::Empty; 1000], false),
            ("many results", vec![OpResult::Empty; 10_000], true),
            ("some rows", vec![selected(100, text, "x")], false),
            ("many rows", vec![selected(2000, text, "x")], true),
            ("a row each", vec![selected(1, text, "x"); 2000], true),
            ("a long text", vec![selected(1, text, &long)], true),
            (
                "a long text that is not shown",
                vec![selected(1, ColumnRef::Uuid, &long)],
                false,
            ),
            ("a row as clients read it", vec![row(Datum::from(1))], false),
            ("a set", vec![row(set)], true),
            ("a map", vec![row(Datum::map([pair]))], true),
        ] {
            assert_eq!(is_large(&answer(done)), large, "{what}");
        }
        assert!(!is_large(&Output::Done {
            request: RequestId(1)
        }));
    }
}
