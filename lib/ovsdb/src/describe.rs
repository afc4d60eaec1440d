//! A schema as text, one line a table and one a column, to compare schemas and to keep one as a golden file.

use std::collections::BTreeSet;

use crate::schema::{DatabaseSchema, TableSchema};

/// The schema's lines: `Table: root, at most N rows, index (a, b)` and `Table.column: TYPE, ephemeral`.
///
/// Two schemas are the same exactly if their names, versions and lines are.
pub fn lines(schema: &DatabaseSchema) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for table in &schema.tables {
        lines.insert(table_line(table));
        for column in &table.columns {
            let mut line = format!("{}.{}: {}", table.name, column.name, column.ty.to_json());
            if column.ephemeral {
                line.push_str(", ephemeral");
            }
            if !column.mutable {
                line.push_str(", immutable");
            }
            lines.insert(line);
        }
    }
    lines
}

fn table_line(table: &TableSchema) -> String {
    let mut line = format!("{}:", table.name);
    line.push_str(if table.is_root { " root" } else { " not root" });
    if let Some(rows) = table.max_rows {
        line.push_str(&format!(", at most {rows} rows"));
    }
    for index in &table.indexes {
        let columns: Vec<&str> = index
            .iter()
            .map(|&column| &*table.columns[column].name)
            .collect();
        line.push_str(&format!(", index ({})", columns.join(", ")));
    }
    line
}
