//! What must hold after a run.

use std::collections::BTreeMap;

use ovsdb::{Atom, Datum};

use crate::client::{Kind, REGISTERS, Record};
use crate::linearizable::{self, Operation, Span};
use crate::watcher::Rows;

/// The table of registers, and the trace.
const TABLES: [&str; 2] = ["Register", "Trace"];

/// How often each transaction was applied, according to these rows.
pub fn trace(rows: &Rows) -> BTreeMap<u64, usize> {
    let table = crate::schema().table_index(TABLES[1]);
    let mut counts = BTreeMap::new();
    let traces = rows.iter().filter(|((of, _), _)| Some(*of) == table);
    for (_, row) in traces {
        if let Datum::One(Atom::Integer(number)) = row.get(0) {
            *counts.entry(number.unsigned_abs()).or_default() += 1;
        }
    }
    counts
}

/// The value of a register, according to these rows.
pub fn value(rows: &Rows, register: u64) -> Option<i64> {
    let table = crate::schema().table_index(TABLES[0]);
    let name = i64::try_from(register).ok()?;
    let mut registers = rows.iter().filter(|((of, _), _)| Some(*of) == table);
    registers.find_map(|(_, row)| match row.columns() {
        [
            Datum::One(Atom::Integer(of)),
            Datum::One(Atom::Integer(value)),
        ] if *of == name => Some(*value),
        _ => None,
    })
}

/// Holds what clients were told against what the members have at the end.
pub fn history(records: &[Record], rows: &Rows) -> Result<(), String> {
    let applied = trace(rows);
    if let Some((number, times)) = applied.iter().find(|(_, times)| **times > 1) {
        return Err(format!("transaction {number} was applied {times} times"));
    }
    let mut spans: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    for record in records {
        let wish = &record.wish;
        let was_applied = applied.contains_key(&wish.number);
        let (answered, operation) = match (record.answer, wish.effect()) {
            (Some((at, operation)), Some(_)) => {
                let should = !matches!(operation, Operation::NoSwap(_) | Operation::Nothing);
                if should != was_applied {
                    return Err(match should {
                        true => format!("transaction {} was acknowledged and is lost", wish.number),
                        false => format!("transaction {} failed and was applied", wish.number),
                    });
                }
                (at, operation)
            }
            (Some((at, operation)), None) => (at, operation),
            (None, Some(effect)) if was_applied => (u64::MAX - 2, effect),
            (None, _) => continue,
        };
        if !matches!(wish.kind, Kind::Create) {
            spans.entry(wish.register).or_default().push(Span {
                asked: wish.asked,
                answered,
                operation,
            });
        }
    }
    for register in 0..REGISTERS {
        let mut history = spans.remove(&register).unwrap_or_default();
        let last = value(rows, register).ok_or_else(|| format!("register {register} is gone"))?;
        // What the members have at the end is a read that comes after everything.
        history.push(Span {
            asked: u64::MAX - 1,
            answered: u64::MAX,
            operation: Operation::Read(last),
        });
        linearizable::check(0, &history)
            .map_err(|error| format!("register {register} is not linearizable: {error}"))?;
    }
    Ok(())
}
