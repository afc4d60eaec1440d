//! A whole database in transactions of a bounded size.
//!
//! What fits into one transaction goes in one. More than that is cut so that every transaction holds by itself: a row
//! goes in with or after the rows that it refers to, since a reference to a row that is not there would be refused or
//! would vanish; and a row that lives only by references goes in with the rows that refer to it. So "goes not before" is
//! a graph over the rows, whose strongly connected components cannot be cut. Tarjan's algorithm finds them, each after
//! those on which it depends.

use std::collections::HashMap;

use ovsdb::file::Contents;
use ovsdb::schema::{BaseType, RefKind};
use ovsdb::{Atom, Datum, Uuid};

/// A row: its table, and its UUID.
pub(super) type RowId = (usize, Uuid);

/// How large a transaction may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In rows.
    pub(super) rows: usize,
    /// In bytes, about.
    pub(super) bytes: usize,
}

/// A database up to this size goes in one transaction.
pub(super) const WHOLE: Bounds = Bounds {
    rows: 100_000,
    bytes: 16 << 20,
};
/// A larger one goes in several of this size.
pub(super) const PORTION: Bounds = Bounds {
    rows: 20_000,
    bytes: 8 << 20,
};

/// The rows, cut into transactions. A component that cannot be cut makes a transaction of its own, however large.
pub(super) fn portions(contents: &Contents, whole: Bounds, portion: Bounds) -> Vec<Vec<RowId>> {
    let rows: Vec<RowId> = contents
        .tables
        .iter()
        .enumerate()
        .flat_map(|(table, rows)| rows.keys().map(move |uuid| (table, *uuid)))
        .collect();
    let size = |&(table, uuid): &RowId| row_size(contents.tables[table][&uuid].columns());
    if rows.len() <= whole.rows && rows.iter().map(size).sum::<usize>() <= whole.bytes {
        return vec![rows];
    }
    let mut portions = Vec::new();
    let mut current: Vec<RowId> = Vec::new();
    let mut bytes = 0;
    for component in components(&edges(contents, &rows)) {
        let component: Vec<RowId> = component.into_iter().map(|node| rows[node]).collect();
        let more: usize = component.iter().map(size).sum();
        let is_full =
            current.len() + component.len() > portion.rows || bytes + more > portion.bytes;
        if is_full && !current.is_empty() {
            portions.push(std::mem::take(&mut current));
            bytes = 0;
        }
        bytes += more;
        current.extend(component);
    }
    portions.push(current);
    portions
}

/// About how many bytes a row takes in a message.
fn row_size(columns: &[Datum]) -> usize {
    let atom = |atom: &Atom| match atom {
        Atom::String(text) => text.len() + 4,
        Atom::Uuid(_) => 48,
        _ => 12,
    };
    let datum = |datum: &Datum| {
        let atoms: usize = datum.atoms().iter().map(atom).sum();
        let pairs = datum.pairs().iter();
        let pairs: usize = pairs.map(|(key, value)| 4 + atom(key) + atom(value)).sum();
        match atoms + pairs {
            0 => 0,
            size => size + 24,
        }
    };
    100 + columns.iter().map(datum).sum::<usize>()
}

/// For each row the rows before which it does not go.
fn edges(contents: &Contents, rows: &[RowId]) -> Vec<Vec<usize>> {
    let numbers: HashMap<RowId, usize> = rows.iter().enumerate().map(|(n, id)| (*id, n)).collect();
    let schema = &contents.schema;
    let mut edges = vec![Vec::new(); rows.len()];
    for (from, (table, uuid)) in rows.iter().enumerate() {
        let row = &contents.tables[*table][uuid];
        for (column, datum) in schema.tables[*table].columns.iter().zip(row.columns()) {
            let mut refer = |base: &BaseType, atom: &Atom| {
                let (Some((target, kind)), Atom::Uuid(uuid)) = (base.reference(), atom) else {
                    return;
                };
                let Some(target) = schema.table_index(target) else {
                    return;
                };
                let Some(&to) = numbers.get(&(target, *uuid)) else {
                    return;
                };
                edges[from].push(to);
                if kind == RefKind::Strong && !schema.tables[target].is_root {
                    edges[to].push(from);
                }
            };
            datum
                .atoms()
                .iter()
                .for_each(|atom| refer(&column.ty.key, atom));
            for (key, value) in datum.pairs() {
                refer(&column.ty.key, key);
                column.ty.value.iter().for_each(|ty| refer(ty, value));
            }
        }
    }
    edges
}

/// The strongly connected components, each after those that it has edges to.
fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let mut seen_at = vec![UNSEEN; edges.len()];
    let mut low = vec![UNSEEN; edges.len()];
    let mut is_open = vec![false; edges.len()];
    let mut open = Vec::new();
    let mut components = Vec::new();
    let mut count = 0;
    // The nodes on the way, each with the number of its edges that were followed: recursion would be too deep.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for root in 0..edges.len() {
        if seen_at[root] != UNSEEN {
            continue;
        }
        path.push((root, 0));
        while let Some((node, followed)) = path.pop() {
            if followed == 0 {
                seen_at[node] = count;
                low[node] = count;
                count += 1;
                open.push(node);
                is_open[node] = true;
            } else {
                low[node] = low[node].min(low[edges[node][followed - 1]]);
            }
            let mut next = followed;
            let unseen = loop {
                match edges[node].get(next) {
                    None => break None,
                    Some(&to) if seen_at[to] == UNSEEN => break Some(to),
                    Some(&to) if is_open[to] => low[node] = low[node].min(seen_at[to]),
                    Some(_) => {}
                }
                next += 1;
            };
            if let Some(to) = unseen {
                path.push((node, next + 1));
                path.push((to, 0));
                continue;
            }
            if low[node] == seen_at[node] {
                let start = open.iter().rposition(|other| *other == node);
                let component =
                    open.split_off(start.expect("a node is open until its component ends"));
                component.iter().for_each(|member| is_open[*member] = false);
                components.push(component);
            }
        }
    }
    components
}

#[cfg(test)]
mod tests {
    use ovsdb::Row;
    use ovsdb::schema::DatabaseSchema;
    use serde_json::json;

    use super::*;

    /// Roots with strong references to children, and weak ones to other roots.
    fn contents(rows: &[(usize, u128, &[u128], &[u128])]) -> Contents {
        let refer = |table: &str, kind: &str| json!({"type": {"key": {"type": "uuid", "refTable": table, "refType": kind}, "min": 0, "max": "unlimited"}});
        let schema = json!({"name": "T", "tables": {
            "Child": {"columns": {"strong": refer("Child", "strong"), "weak": refer("Root", "weak")}},
            "Root": {"isRoot": true, "columns": {"strong": refer("Child", "strong"), "weak": refer("Root", "weak")}}}});
        let mut contents = Contents::empty(DatabaseSchema::from_json(&schema).unwrap());
        let set = |ids: &[u128]| Datum::set(ids.iter().map(|id| Atom::Uuid(Uuid::from_u128(*id))));
        for (table, uuid, strong, weak) in rows {
            let row = Row::new([set(strong), set(weak)]);
            contents.tables[*table].insert(Uuid::from_u128(*uuid), row);
        }
        contents
    }

    const SMALL: Bounds = Bounds {
        rows: 1,
        bytes: 1 << 20,
    };

    fn cut(contents: &Contents) -> Vec<Vec<u128>> {
        let portions = portions(contents, Bounds { rows: 0, bytes: 0 }, SMALL);
        let sorted = |portion: Vec<RowId>| {
            let mut ids: Vec<u128> = portion.iter().map(|(_, uuid)| uuid.as_u128()).collect();
            ids.sort_unstable();
            ids
        };
        portions.into_iter().map(sorted).collect()
    }

    #[test]
    fn a_row_comes_with_or_after_what_it_refers_to() {
        // 1 refers to 2, 2 to 3; children of 1.
        let contents = contents(&[
            (1, 1, &[11, 12], &[2]),
            (1, 2, &[], &[3]),
            (1, 3, &[], &[]),
            (0, 11, &[], &[]),
            (0, 12, &[], &[3]),
        ]);
        assert_eq!(cut(&contents), [vec![3], vec![2], vec![1, 11, 12]]);
        assert_eq!(portions(&contents, WHOLE, PORTION).len(), 1);
    }

    #[test]
    fn circles_and_shared_children_stay_together() {
        let circle = contents(&[
            (1, 1, &[], &[2]),
            (1, 2, &[], &[3]),
            (1, 3, &[], &[1]),
            (1, 4, &[], &[1]),
        ]);
        assert_eq!(cut(&circle), [vec![1, 2, 3], vec![4]]);
        let shared = contents(&[
            (1, 1, &[9], &[]),
            (1, 2, &[9], &[]),
            (0, 9, &[8], &[]),
            (0, 8, &[], &[]),
        ]);
        assert_eq!(cut(&shared), [vec![1, 2, 8, 9]]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let ids: Vec<[u128; 1]> = (1..50_001).map(|id| [id + 1]).collect();
        let rows: Vec<_> = ids
            .iter()
            .map(|next| (1, next[0] - 1, &[][..], &next[..]))
            .collect();
        let order = cut(&contents(&rows));
        assert_eq!((order.len(), &order[0]), (50_000, &vec![50_000]));
    }
}
