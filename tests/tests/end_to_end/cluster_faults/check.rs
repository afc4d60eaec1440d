//! What must hold after a round.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sim::linearizable::{self, Operation, Span};

use super::workload::{REGISTERS, Record, Wish, register};

/// What the members have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The registers with their values.
    pub registers: BTreeMap<String, i64>,
    /// How often each operation was applied.
    pub trace: BTreeMap<u64, usize>,
}

impl Rows {
    /// Reads the answer to a `monitor`.
    pub fn read(contents: &Value) -> Result<Self> {
        let rows = |table: &str| {
            let rows = contents[table].as_object().cloned().unwrap_or_default();
            rows.into_iter().map(|(_, row)| row["new"].clone())
        };
        let mut read = Self::default();
        rows("BFD").try_for_each(|row| read.add_register(&row))?;
        rows("DNS").try_for_each(|row| read.add_trace(&row))?;
        Ok(read)
    }

    /// Takes a row of `BFD`.
    pub fn add_register(&mut self, row: &Value) -> Result<()> {
        let name = row["logical_port"]
            .as_str()
            .context("a register has a name")?;
        let value = row["min_tx"].as_i64().context("a register has a value")?;
        self.registers.insert(name.to_owned(), value);
        Ok(())
    }

    /// Takes a row of `DNS`.
    pub fn add_trace(&mut self, row: &Value) -> Result<()> {
        let number = row["external_ids"][1][0][1]
            .as_str()
            .context("a trace has a number")?;
        *self.trace.entry(number.parse()?).or_default() += 1;
        Ok(())
    }
}

/// The value of a register among the rows that a `select` gives.
pub fn value(rows: &Value, name: &str) -> Option<i64> {
    let mut rows = rows.as_array()?.iter();
    rows.find(|row| row["logical_port"] == name)?["min_tx"].as_i64()
}

/// Holds what clients were told against what the members have at the end; `first` are the values in the beginning.
pub fn history(records: &[Record], rows: &Rows, first: &[i64]) -> Result<()> {
    if let Some((number, times)) = rows.trace.iter().find(|(_, times)| **times > 1) {
        anyhow::bail!("operation {number} was applied {times} times");
    }
    let known: BTreeMap<u64, &Record> = records
        .iter()
        .map(|record| (record.number, record))
        .collect();
    for number in rows.trace.keys() {
        ensure!(
            known.contains_key(number),
            "operation {number} was applied, and nobody in this round asked for it"
        );
    }
    let mut spans: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
    for record in records {
        let applied = rows.trace.contains_key(&record.number);
        if let Some(span) = span(record, applied)? {
            spans.entry(record.register).or_default().push(span);
        }
    }
    for (at, first) in first.iter().enumerate().take(REGISTERS) {
        let mut history = spans.remove(&at).unwrap_or_default();
        let last = *rows
            .registers
            .get(&register(at))
            .context("a register is gone")?;
        // What the members have at the end is a read that comes after everything.
        history.push(Span {
            asked: u64::MAX - 1,
            answered: u64::MAX,
            operation: Operation::Read(last),
        });
        if let Err(error) = linearizable::check(*first, &history) {
            history.sort_by_key(|span| span.asked);
            history.iter().for_each(|span| eprintln!("{span:?}"));
            anyhow::bail!("{} is not linearizable: {error}", register(at));
        }
    }
    Ok(())
}

/// The record as the checker wants it; nothing if it may as well not have happened.
fn span(record: &Record, applied: bool) -> Result<Option<Span>> {
    let effect = match record.wish {
        Wish::Read => None,
        Wish::Write(new) => Some(Operation::Write(new)),
        Wish::Add => Some(Operation::Add(None)),
        Wish::Swap(old, new) => Some(Operation::Swap(old, new)),
    };
    let (answered, operation) = match (record.answer, effect) {
        (Some(answer), None) => answer,
        (Some((at, operation)), Some(_)) => {
            let failed = matches!(operation, Operation::NoSwap(_));
            ensure!(failed || applied, "{record:?} was answered and is lost");
            ensure!(!failed || !applied, "{record:?} failed and was applied");
            (at, operation)
        }
        (None, Some(effect)) if applied => (u64::MAX - 2, effect),
        (None, _) => return Ok(None),
    };
    Ok(Some(Span {
        asked: record.asked,
        answered,
        operation,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[i64], applied: &[u64]) -> Rows {
        Rows {
            registers: values
                .iter()
                .enumerate()
                .map(|(at, value)| (register(at), *value))
                .collect(),
            trace: applied.iter().map(|number| (*number, 1)).collect(),
        }
    }

    fn add(number: u64, answer: Option<i64>) -> Record {
        Record {
            number,
            register: 0,
            wish: Wish::Add,
            asked: number * 10,
            answer: answer.map(|value| (number * 10 + 5, Operation::Add(Some(value)))),
        }
    }

    /// The checks see what they are for.
    #[test]
    fn wrong_histories_are_noticed() {
        let first = [1; REGISTERS];
        let after = |value: i64| {
            let mut values = first;
            values[0] = value;
            values
        };
        let records = [add(1, Some(2)), add(2, Some(3)), add(3, None)];
        assert!(history(&records, &rows(&after(3), &[1, 2]), &first).is_ok());
        assert!(history(&records, &rows(&after(4), &[1, 2, 3]), &first).is_ok());
        let mut twice = rows(&after(4), &[1, 2]);
        twice.trace.insert(2, 2);
        for (case, rows, expected) in [
            (
                "an answered write is lost",
                rows(&after(2), &[1]),
                "is lost",
            ),
            ("a write is applied twice", twice, "applied 2 times"),
            (
                "a value comes from nowhere",
                rows(&after(9), &[1, 2]),
                "not linearizable",
            ),
            ("a write is nobody's", rows(&after(3), &[1, 2, 7]), "nobody"),
        ] {
            let error = history(&records, &rows, &first)
                .expect_err(case)
                .to_string();
            assert!(error.contains(expected), "{case}: {error}");
        }
    }
}
