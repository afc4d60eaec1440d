//! Rows that a command line calls `@name`.

use std::collections::BTreeMap;

use northbound::Draft;
use ovsdb::Uuid;
use ovsdb::schema::RefKind;

use crate::error::{Outcome, fail};

/// The names that the commands of a line have used so far, and the rows that they mean.
#[derive(Debug, Default)]
pub struct Symbols(BTreeMap<String, Symbol>);

/// A row that the command line calls `@name`.
#[derive(Debug)]
struct Symbol {
    uuid: Uuid,
    /// The table that `create` put it in, or that `get` found it in.
    table: Option<usize>,
    /// Whether it was made by `create`.
    created: bool,
}

impl Symbols {
    /// The UUID of the row called `name`, which may come to be only later in the line.
    pub fn uuid(&mut self, name: &str) -> Uuid {
        let symbol = self.0.entry(name.to_owned()).or_insert_with(|| Symbol {
            uuid: Uuid::new_v4(),
            table: None,
            created: false,
        });
        symbol.uuid
    }

    /// Gives a new row the name, and says which UUID it must therefore have.
    pub fn create(&mut self, name: &str, table: usize) -> Outcome<Uuid> {
        let uuid = self.uuid(name);
        match self.0.get_mut(name) {
            Some(symbol) if symbol.table.is_none() => {
                symbol.table = Some(table);
                symbol.created = true;
                Ok(uuid)
            }
            _ => fail(format!(
                "row id \"{name}\" may only be specified on one --id option"
            )),
        }
    }

    /// Gives an existing row the name.
    pub fn name_row(&mut self, name: &str, table: usize, uuid: Uuid) -> Outcome {
        if self.0.contains_key(name) {
            return fail(format!(
                "row id \"{name}\" may only be specified on one --id option"
            ));
        }
        let symbol = Symbol {
            uuid,
            table: Some(table),
            created: false,
        };
        self.0.insert(name.to_owned(), symbol);
        Ok(())
    }

    /// Names that were used, but never given to a row: the first of them, if any.
    pub fn undefined(&self) -> Option<&str> {
        let mut symbols = self.0.iter();
        symbols
            .find(|(_, symbol)| symbol.table.is_none())
            .map(|(name, _)| name.as_str())
    }

    /// Rows that were given a name and made in a table where rows live only while they are referenced, but to which
    /// the draft refers nowhere, or only weakly: name, and whether weakly.
    pub fn unreferenced(&self, draft: &Draft<'_>) -> Vec<(&str, bool)> {
        let mut unreferenced = Vec::new();
        for (name, symbol) in &self.0 {
            let Some(table) = symbol.table.filter(|_| symbol.created) else {
                continue;
            };
            if draft.table_schema(table).is_root {
                continue;
            }
            match draft.strongest_reference(symbol.uuid) {
                Some(RefKind::Strong) => {}
                Some(RefKind::Weak) => unreferenced.push((name.as_str(), true)),
                None => unreferenced.push((name.as_str(), false)),
            }
        }
        unreferenced
    }
}
