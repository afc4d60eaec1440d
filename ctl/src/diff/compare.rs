//! What has to change for one side to be the other: rows are paired without their UUIDs, and pairs compared.

use std::collections::HashMap;
use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};

use super::side::Side;
use crate::plan::rows::called;

/// The changes that make the left side the right one. Rows that are on both sides have their UUID on the left.
pub fn changes(schema: &DatabaseSchema, left: &Side<'_>, right: &Side<'_>) -> Vec<RowChange> {
    // From the right to the left.
    let mut pairs: HashMap<Uuid, Uuid> = HashMap::new();
    for table in 0..schema.tables.len() {
        pair(schema, left, right, table, &mut pairs);
    }
    let mut changes = Vec::new();
    for table in 0..schema.tables.len() {
        let mut gone = left.rows(table).clone();
        for (uuid, row) in right.rows(table) {
            let there = row;
            let row = translated(row, &pairs);
            let Some(at) = pairs.get(uuid) else {
                changes.push(RowChange {
                    table,
                    uuid: *uuid,
                    old: None,
                    new: Some(Arc::new(row)),
                });
                continue;
            };
            let Some(old) = gone.remove(at) else {
                continue;
            };
            let columns = 0..schema.tables[table].columns.len();
            let mut new = Row::clone(old);
            for column in columns.filter(|column| left.compares(table, *column)) {
                // Of rows that say the same, any may have been paired with any: what counts is what they say.
                let is_same =
                    left.meaning(table, old, column) == right.meaning(table, there, column);
                if !is_same {
                    new.set(column, row.get(column).clone());
                }
            }
            if new != **old {
                changes.push(RowChange {
                    table,
                    uuid: *at,
                    old: Some(Arc::clone(old)),
                    new: Some(Arc::new(new)),
                });
            }
        }
        changes.extend(gone.into_iter().map(|(uuid, row)| RowChange {
            table,
            uuid,
            old: Some(Arc::clone(row)),
            new: None,
        }));
    }
    changes
}

/// Pairs the rows of a table: those with the same key, then those that say the same, then those that are called the same.
fn pair(
    schema: &DatabaseSchema,
    left: &Side<'_>,
    right: &Side<'_>,
    table: usize,
    pairs: &mut HashMap<Uuid, Uuid>,
) {
    type Telling<'a> = &'a dyn Fn(&Side<'_>, &Row) -> Option<String>;
    let key = |side: &Side<'_>, row: &Row| side.key(table, row);
    let content = |side: &Side<'_>, row: &Row| Some(side.content(table, row));
    let name = |_: &Side<'_>, row: &Row| called(&schema.tables[table], row);
    // Of rows that say the same, any is as good as any other; of those that are only called so, there must be one.
    let ways: [(Telling<'_>, bool); 3] = [(&key, false), (&content, true), (&name, false)];
    let mut open = left.rows(table).clone();
    let mut wanted = right.rows(table).clone();
    for (telling, any) in ways {
        let mut told: HashMap<String, (Vec<Uuid>, Vec<Uuid>)> = HashMap::new();
        for (uuid, row) in &open {
            if let Some(text) = telling(left, row) {
                told.entry(text).or_default().0.push(*uuid);
            }
        }
        for (uuid, row) in &wanted {
            if let Some(text) = telling(right, row) {
                told.entry(text).or_default().1.push(*uuid);
            }
        }
        for (here, there) in told.into_values() {
            if !any && (here.len() != 1 || there.len() != 1) {
                continue;
            }
            for (here, there) in here.into_iter().zip(there) {
                open.remove(&here);
                wanted.remove(&there);
                pairs.insert(there, here);
            }
        }
    }
}

/// A row of the right side with the UUIDs of the left.
fn translated(row: &Row, pairs: &HashMap<Uuid, Uuid>) -> Row {
    let atom = |atom: &Atom| match atom.as_uuid().and_then(|uuid| pairs.get(&uuid)) {
        Some(uuid) => Atom::Uuid(*uuid),
        None => atom.clone(),
    };
    let columns = row.columns().iter().map(|datum| match datum {
        Datum::One(one) => Datum::One(atom(one)),
        Datum::Set(_) => Datum::set(datum.atoms().iter().map(atom)),
        Datum::Map(pairs) => Datum::map(pairs.iter().map(|(key, value)| (atom(key), atom(value)))),
    });
    Row::new(columns.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use nb_db::tables as nb;
    use ovsdb::TableDefinition;
    use replica::Tables;
    use sb_db::tables as sb;

    use super::*;

    fn put<T: TableDefinition + ovsdb::Table>(tables: &mut Tables, uuid: u128, row: &T) -> Uuid {
        let uuid = Uuid::from_u128(uuid);
        tables.apply(&RowChange {
            table: T::INDEX,
            uuid,
            old: None,
            new: Some(Arc::new(row.to_row())),
        });
        uuid
    }

    /// A switch with a port and rules of these priorities; UUIDs begin behind `base`.
    fn network(base: u128, address: &str, rules: &[i64]) -> Tables {
        let mut tables = Tables::new(nb_db::schema());
        let port = nb::LogicalSwitchPort {
            name: "p".into(),
            addresses: vec![address.into()],
            // State is none of it.
            up: Some(base == 0),
            ..nb::LogicalSwitchPort::default()
        };
        let port = put(&mut tables, base + 1, &port);
        let mut acls = Vec::new();
        for (number, priority) in (2..).zip(rules) {
            let acl = nb::Acl {
                priority: *priority,
                direction: "to-lport".into(),
                r#match: "ip4".into(),
                action: "drop".into(),
                ..nb::Acl::default()
            };
            acls.push(put(&mut tables, base + number, &acl));
        }
        let switch = nb::LogicalSwitch {
            name: "s".into(),
            ports: vec![port],
            acls,
            ..nb::LogicalSwitch::default()
        };
        put(&mut tables, base + 100, &switch);
        tables
    }

    fn compared(left: &Tables, right: &Tables) -> Vec<String> {
        let schema = nb_db::schema();
        let side = |tables| Side::new(schema, false, move |table| rows_of(tables, table));
        let mut told: Vec<String> = changes(schema, &side(left), &side(right))
            .iter()
            .map(|change| {
                let table = &schema.tables[change.table];
                let mark = match (&change.old, &change.new) {
                    (None, _) => '+',
                    (_, None) => '-',
                    _ => '~',
                };
                let row = change.new.as_ref().or(change.old.as_ref());
                let name = row.and_then(|row| called(table, row)).unwrap_or_default();
                let columns = change.changed_columns();
                let columns: Vec<&str> = match mark {
                    '~' => columns.map(|column| &*table.columns[column].name).collect(),
                    _ => Vec::new(),
                };
                format!("{mark} {} {name} {}", table.name, columns.join(","))
            })
            .collect();
        told.sort();
        told
    }

    fn rows_of(tables: &Tables, table: usize) -> impl Iterator<Item = (Uuid, &Arc<Row>)> {
        tables.table(table).iter()
    }

    #[test]
    fn networks_are_the_same_whatever_their_uuids_are() {
        let (left, right) = (network(0, "a", &[1, 2, 2]), network(1000, "a", &[2, 1, 2]));
        assert_eq!(compared(&left, &right), [""; 0]);
    }

    /// Two switches with the same rule each, their rows in this order.
    fn twins(base: u128, order: [u128; 2]) -> Tables {
        let mut tables = Tables::new(nb_db::schema());
        for (name, number) in ["s", "t"].into_iter().zip(order) {
            let acl = nb::Acl {
                priority: 100,
                direction: "to-lport".into(),
                r#match: "ip4".into(),
                action: "drop".into(),
                ..nb::Acl::default()
            };
            let acl = put(&mut tables, base + number, &acl);
            let switch = nb::LogicalSwitch {
                name: name.into(),
                acls: vec![acl],
                ..nb::LogicalSwitch::default()
            };
            put(&mut tables, base + 100 + number, &switch);
        }
        let global = nb::NbGlobal {
            options: [("mac_prefix".into(), format!("{base}").into())]
                .into_iter()
                .collect(),
            nb_cfg: order[0] as i64,
            ..nb::NbGlobal::default()
        };
        put(&mut tables, base + 200, &global);
        tables
    }

    #[test]
    fn rows_that_say_the_same_are_the_same_wherever_they_belong() {
        let (left, right) = (twins(0, [1, 2]), twins(1000, [2, 1]));
        assert_eq!(compared(&left, &right), [""; 0]);
    }

    /// A flow on two switches, as a northd writes it whose northbound has UUIDs behind `base`.
    fn southbound(base: u128, action: &str) -> Tables {
        let mut tables = Tables::new(sb_db::schema());
        let mut datapaths = Vec::new();
        for (number, name) in (1..).zip(["s", "t"]) {
            let ids = [
                ("name", name.to_owned()),
                ("logical-switch", Uuid::from_u128(base + number).to_string()),
            ];
            let datapath = sb::DatapathBinding {
                tunnel_key: i64::try_from(base + number).expect("small"),
                external_ids: ids.map(|(key, value)| (key.into(), value.into())).into(),
                ..sb::DatapathBinding::default()
            };
            datapaths.push(put(&mut tables, base + number, &datapath));
        }
        let group = sb::LogicalDpGroup {
            datapaths,
            ..sb::LogicalDpGroup::default()
        };
        let group = put(&mut tables, base + 10, &group);
        let hint = format!("{base}");
        let flow = sb::LogicalFlow {
            logical_dp_group: Some(group),
            pipeline: "ingress".into(),
            r#match: "1".into(),
            actions: action.into(),
            external_ids: [("stage-hint", hint.as_str()), ("stage-name", "x")]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            ..sb::LogicalFlow::default()
        };
        put(&mut tables, base + 20, &flow);
        tables
    }

    #[test]
    fn two_northds_of_one_network_write_the_same() {
        let schema = sb_db::schema();
        let differences = |left: &Tables, right: &Tables, with_state| {
            let side = |tables| Side::new(schema, with_state, move |table| rows_of(tables, table));
            changes(schema, &side(left), &side(right)).len()
        };
        let (left, right) = (southbound(0, "next;"), southbound(1000, "next;"));
        assert_eq!(differences(&left, &right, false), 0);
        assert!(
            differences(&left, &right, true) > 0,
            "UUIDs are compared, too"
        );
        let other = southbound(1000, "drop;");
        assert!(differences(&left, &other, false) > 0);
    }

    #[test]
    fn what_differs_is_told_of_the_row_that_differs() {
        let (left, right) = (network(0, "a", &[1, 2]), network(1000, "b", &[1, 3]));
        let expected = [
            "+ ACL to-lport 3 ip4 drop ",
            "- ACL to-lport 2 ip4 drop ",
            "~ Logical_Switch s acls",
            "~ Logical_Switch_Port p addresses",
        ];
        assert_eq!(compared(&left, &right), expected);
    }
}
