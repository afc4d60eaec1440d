//! Rows of one schema in another: columns go where they have the same name and the values fit.

use std::collections::BTreeMap;

use ovsdb::Datum;
use ovsdb::file::Contents;
use ovsdb::schema::{DatabaseSchema, TableSchema};

use crate::error::{CommandError, Outcome};

/// So many things that do not fit are named; the rest is counted.
const MAX_NAMED: usize = 20;

/// Puts the rows into `schema`. A table or column that it lacks is no matter if nothing is in it; with `skip`, it is
/// left out with a warning, else it is an error. A value that a column may not hold is an error in any case.
pub fn fit(contents: Contents, schema: &DatabaseSchema, skip: bool) -> Outcome<Contents> {
    let mut fitted = Contents::empty(schema.clone());
    fitted.warnings = contents.warnings;
    let mut lost = Vec::new();
    let mut wrong = Vec::new();
    for (theirs, rows) in contents.schema.tables.iter().zip(contents.tables) {
        let Some(index) = schema.table_index(&theirs.name) else {
            if !rows.is_empty() {
                lost.push(format!("table {} ({} rows)", theirs.name, rows.len()));
            }
            continue;
        };
        let ours = &schema.tables[index];
        let places: Vec<Option<usize>> = theirs
            .columns
            .iter()
            .map(|column| ours.column_index(&column.name))
            .collect();
        let mut lost_values: BTreeMap<usize, usize> = BTreeMap::new();
        for (uuid, row) in rows {
            let mut new = ovsdb::Row::default_for(ours);
            for (column, place) in places.iter().enumerate() {
                let datum = row.get(column);
                match place {
                    Some(place) => match check(ours, *place, datum) {
                        Ok(()) => new.set(*place, datum.clone()),
                        Err(reason) => {
                            let (table, name) = (&ours.name, &theirs.columns[column].name);
                            wrong.push(format!(
                                "table {table}, row {uuid}, column {name}: {reason}"
                            ));
                        }
                    },
                    None if *datum != Datum::default_for(&theirs.columns[column].ty) => {
                        *lost_values.entry(column).or_default() += 1;
                    }
                    None => {}
                }
            }
            fitted.tables[index].insert(uuid, new);
        }
        lost.extend(lost_values.into_iter().map(|(column, count)| {
            let name = &theirs.columns[column].name;
            format!("column {name} of table {} ({count} rows)", theirs.name)
        }));
    }
    if !wrong.is_empty() {
        let text = format!("values that the schema does not allow:\n{}", list(&wrong));
        return Err(CommandError::Failed(text));
    }
    if !lost.is_empty() && !skip {
        return Err(CommandError::Failed(format!(
            "the schema, version {}, has no place for\n{}\n--skip-unknown leaves them out",
            schema.version,
            list(&lost)
        )));
    }
    fitted
        .warnings
        .extend(lost.into_iter().map(|what| format!("left out: {what}")));
    Ok(fitted)
}

fn check(table: &TableSchema, column: usize, datum: &Datum) -> Result<(), String> {
    datum
        .check(&table.columns[column].ty)
        .map_err(|error| error.to_string())
}

fn list(items: &[String]) -> String {
    let mut lines: Vec<String> = items
        .iter()
        .take(MAX_NAMED)
        .map(|item| format!("  {item}"))
        .collect();
    if items.len() > MAX_NAMED {
        lines.push(format!("  and {} more", items.len() - MAX_NAMED));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use ovsdb::{Row, Uuid};
    use serde_json::{Value, json};

    use super::*;

    fn schema(tables: &Value) -> DatabaseSchema {
        DatabaseSchema::from_json(&json!({"name": "T", "version": "2.0.0", "tables": tables}))
            .unwrap()
    }

    fn columns(columns: &[(&str, &str)]) -> Value {
        let columns: serde_json::Map<String, Value> = columns
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), json!({"type": ty})))
            .collect();
        json!({"columns": columns})
    }

    fn contents() -> Contents {
        let schema =
            schema(&json!({"A": columns(&[("a", "integer"), ("b", "string")]), "B": columns(&[])}));
        let mut contents = Contents::empty(schema);
        let row = Row::new([Datum::from(7), Datum::from("x")]);
        contents.tables[0].insert(Uuid::nil(), row);
        contents
    }

    #[test]
    fn columns_find_their_places() {
        let target =
            schema(&json!({"A": columns(&[("Z", "integer"), ("a", "integer"), ("b", "string")])}));
        let fitted = fit(contents(), &target, false).unwrap();
        let row = &fitted.tables[0][&Uuid::nil()];
        assert_eq!(
            row.columns(),
            [Datum::from(0), Datum::from(7), Datum::from("x")]
        );
        assert!(fitted.warnings.is_empty());
    }

    #[test]
    fn what_has_no_place_is_named() {
        let target = schema(&json!({"A": columns(&[("a", "integer")])}));
        let error = fit(contents(), &target, false).unwrap_err().to_string();
        assert!(
            error.contains("column b of table A (1 rows)") && error.contains("--skip-unknown"),
            "{error}"
        );
        let fitted = fit(contents(), &target, true).unwrap();
        assert_eq!(fitted.row_count(), 1);
        assert!(
            fitted.warnings[0].contains("column b"),
            "{:?}",
            fitted.warnings
        );
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let target = schema(&json!({"A": columns(&[("a", "string"), ("b", "string")])}));
        let error = fit(contents(), &target, true).unwrap_err().to_string();
        assert!(error.contains("column a"), "{error}");
    }
}
