//! From the declarations of the features to a plan: which units run in which layer, which tables are kept and written in
//! which order, and who reads what.
//!
//! A unit reads what earlier layers say, so the layers follow from the declarations by topological order. A pool gives its
//! numbers when the last layer that wants any has run. A circle is an error in the declarations, found when the plan is
//! made.

use std::collections::{BTreeMap, BTreeSet};

use ovsdb::schema::{DatabaseSchema, RefKind};

use super::fact::TableId;
use super::feature::{Feature, Index, Kind, Over, Owned, Pool, Side};
use super::flow::{FLOWS, GROUP_TABLE, GROUPS, SHARED_FLOWS};
use super::output::Table;
use super::unit::Access;

/// More layers than these are not expected of any chain of features.
pub const MAX_LAYERS: usize = 32;
/// Northbound tables stand behind all southbound ones in the numbering.
const FIRST_NORTH: TableId = 220;
/// The table of problems.
pub const PROBLEMS: TableId = 219;
/// What tells that the rest is done.
pub const FIRST_LAST: TableId = 240;

/// Kinds of units that run as one: those of one name over the same.
pub struct Part {
    /// Its place in the plan.
    pub id: u16,
    /// Its name in statistics.
    pub name: &'static str,
    /// What there is a unit for.
    pub over: Over,
    /// Whether a unit's key begins with the northbound row that it is about.
    pub about_row: bool,
    /// The kinds, each with what it may touch.
    pub kinds: Vec<(&'static Kind, Access)>,
    /// The layer.
    pub layer: usize,
}

/// Everything that follows from the declarations.
pub struct Plan {
    /// The features.
    pub features: Vec<&'static Feature>,
    /// The parts.
    pub parts: Vec<Part>,
    /// The pools, and the layer after which each gives.
    pub pools: Vec<(&'static Pool, usize)>,
    /// The owned tables in the order of writing, with all their columns.
    pub tables: Vec<(&'static str, Table)>,
    /// The indexes that features use.
    pub indexes: Vec<Index>,
    over_rows: BTreeMap<(Side, usize), Vec<u16>>,
    over_keys: Vec<Vec<u16>>,
    once: Vec<u16>,
}

/// Why declarations make no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Units that read, directly or not, what they say themselves.
    #[error("a circle: {0}")]
    Circle(String),
    /// Two features write the same column.
    #[error("two features own column {0}")]
    TwoOwners(String),
    /// A feature reads a column of which its owner says that nobody does: units would not hear of its changes.
    #[error("{0} reads column {1}, which is said to be unread")]
    Unread(&'static str, String),
    /// A chain of units is longer than foreseen.
    #[error("{0} stands behind more than {MAX_LAYERS} layers")]
    TooDeep(&'static str),
}

impl Plan {
    /// The plan of these features.
    ///
    /// # Errors
    /// When the declarations contradict each other.
    pub fn new(features: &[&'static Feature]) -> Result<Self, PlanError> {
        let mut parts = parts(features);
        let pools = layers(features, &mut parts)?;
        let tables = tables(features)?;
        check_unread(features)?;
        let mut over_rows: BTreeMap<(Side, usize), Vec<u16>> = BTreeMap::new();
        let mut over_keys: Vec<Vec<u16>> = Vec::new();
        let mut once = Vec::new();
        for part in &parts {
            match part.over {
                Over::North(table) => over_rows.entry((Side::North, table)).or_default(),
                Over::South(table) => over_rows.entry((Side::South, table)).or_default(),
                Over::Keys(relation) | Over::Shared(relation) => {
                    let id = usize::from(relation.id());
                    over_keys.resize_with(over_keys.len().max(id + 1), Vec::new);
                    &mut over_keys[id]
                }
                Over::Once => &mut once,
            }
            .push(part.id);
        }
        let indexes: Vec<Index> = features
            .iter()
            .flat_map(|feature| feature.indexes.iter().copied())
            .collect();
        Ok(Self {
            features: features.to_vec(),
            parts,
            pools,
            tables,
            indexes,
            over_rows,
            over_keys,
            once,
        })
    }

    /// The parts that have a unit for each row of a table.
    pub fn over_rows(&self, side: Side, table: usize) -> &[u16] {
        self.over_rows
            .get(&(side, table))
            .map_or(&[], Vec::as_slice)
    }

    /// The parts that have a unit for each key of a relation.
    pub fn over_keys(&self, relation: u16) -> &[u16] {
        let known = self.over_keys.get(usize::from(relation));
        known.map_or(&[], Vec::as_slice)
    }

    /// The parts that have one unit.
    pub fn once(&self) -> &[u16] {
        &self.once
    }

    /// The tables of a database that are read or written, each with its columns; all of them where nothing else is said.
    pub fn kept(&self, side: Side) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut kept: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for feature in &self.features {
            for source in feature.reads.iter().filter(|source| source.side == side) {
                let columns = kept.entry(source.table).or_default();
                columns.extend(source.columns);
                columns.extend(source.keys.iter().map(|(column, _)| *column));
            }
            for follower in feature.followers.iter().filter(|_| side == Side::South) {
                kept.entry(follower.table)
                    .or_default()
                    .extend(follower.columns);
            }
        }
        for (_, table) in self.tables.iter().filter(|(_, table)| table.side == side) {
            kept.entry(table.table).or_default().extend(&table.columns);
        }
        for index in self.indexes.iter().filter(|index| index.side == side) {
            kept.entry(index.table).or_default().insert(index.column);
        }
        if side == Side::South {
            for (table, column, _) in self.strong() {
                kept.entry(table).or_default().insert(column);
            }
        }
        kept
    }

    /// The strong references from southbound tables that nobody here writes to those that are written: rows of the former
    /// go with rows of the latter.
    pub fn strong(&self) -> Vec<(usize, usize, usize)> {
        let schema = sb_db::schema();
        let is_written = |index: usize| {
            let mut tables = self.tables.iter();
            tables.any(|(_, table)| {
                table.side == Side::South && table.table == index && table.whole && !table.keeps
            })
        };
        let mut strong = Vec::new();
        for (index, table) in schema
            .tables
            .iter()
            .enumerate()
            .filter(|(index, _)| !is_written(*index))
        {
            for (column, of) in table.columns.iter().enumerate() {
                let base = of.ty.value.as_ref().unwrap_or(&of.ty.key);
                if let Some((target, RefKind::Strong)) = base.reference()
                    && let Some(target) = schema.table_index(target)
                    && is_written(target)
                    && table.is_root
                {
                    strong.push((index, column, target));
                }
            }
        }
        strong
    }
}

fn parts(features: &[&'static Feature]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for feature in features {
        for kind in feature.kinds {
            let known = parts
                .iter_mut()
                .find(|part| part.name == kind.name && same(part.over, kind.over));
            let access = access(feature, kind);
            match known {
                Some(part) => part.kinds.push((kind, access)),
                None => parts.push(Part {
                    id: u16::try_from(parts.len()).expect("there are few kinds"),
                    name: kind.name,
                    over: kind.over,
                    about_row: matches!(kind.over, Over::North(_) | Over::Keys(_)),
                    kinds: vec![(kind, access)],
                    layer: 0,
                }),
            }
        }
    }
    parts
}

fn same(a: Over, b: Over) -> bool {
    match (a, b) {
        (Over::North(a), Over::North(b)) | (Over::South(a), Over::South(b)) => a == b,
        (Over::Keys(a), Over::Keys(b)) | (Over::Shared(a), Over::Shared(b)) => a.id() == b.id(),
        (Over::Once, Over::Once) => true,
        _ => false,
    }
}

fn over_relation(over: Over) -> Option<u16> {
    match over {
        Over::Keys(relation) | Over::Shared(relation) => Some(relation.id()),
        Over::North(_) | Over::South(_) | Over::Once => None,
    }
}

fn access(feature: &Feature, kind: &'static Kind) -> Access {
    let mut access = Access {
        kind: kind.name,
        reads: kind.reads.iter().map(|relation| relation.id()).collect(),
        says: kind.says.iter().map(|relation| relation.id()).collect(),
        ..Access::default()
    };
    access.reads.extend(over_relation(kind.over));
    access
        .says
        .extend(kind.wants.iter().map(|pool| pool.given.id()));
    for source in feature.reads {
        match source.side {
            Side::North => access.north.push(source.table),
            Side::South => access.south.push(source.table),
        }
    }
    let owned = feature
        .owns
        .iter()
        .filter(|owned| owned.side == Side::South);
    access.south.extend(owned.map(|owned| owned.table));
    access
}

/// A part or a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Part(usize),
    Pool(usize),
}

fn layers(
    features: &[&'static Feature],
    parts: &mut [Part],
) -> Result<Vec<(&'static Pool, usize)>, PlanError> {
    let pools: Vec<&'static Pool> = features
        .iter()
        .flat_map(|feature| feature.pools.iter().copied())
        .collect();
    let given = |pool: &Pool| pool.given.id();
    let writers = |relation: u16| -> Vec<Node> {
        let says = |part: &Part| {
            let mut kinds = part.kinds.iter();
            kinds.any(|(kind, _)| kind.says.iter().any(|said| said.id() == relation))
        };
        let of_parts = (0..parts.len())
            .filter(|place| says(&parts[*place]))
            .map(Node::Part);
        let of_pools = (0..pools.len())
            .filter(|place| given(pools[*place]) == relation)
            .map(Node::Pool);
        of_parts.chain(of_pools).collect()
    };
    let before = |node: Node| -> Vec<Node> {
        match node {
            Node::Part(place) => {
                let part = &parts[place];
                let reads = part.kinds.iter().flat_map(|(kind, _)| kind.reads.iter());
                let reads = reads.map(|relation| relation.id());
                let all: BTreeSet<u16> = reads.chain(over_relation(part.over)).collect();
                all.into_iter().flat_map(writers).collect()
            }
            Node::Pool(place) => (0..parts.len())
                .filter(|part| {
                    let mut kinds = parts[*part].kinds.iter();
                    // Who is given one of a space's numbers may take it from another pool's owner.
                    let space = pools[place].space();
                    kinds.any(|(kind, _)| kind.wants.iter().any(|pool| pool.space() == space))
                })
                .map(Node::Part)
                .collect(),
        }
    };
    let name = |node: Node| match node {
        Node::Part(place) => parts[place].name,
        Node::Pool(place) => pools[place].place.2,
    };
    let mut order = Order {
        before: &before,
        name: &name,
        layers: Vec::new(),
        path: Vec::new(),
    };
    let mut of_parts = Vec::new();
    for place in 0..parts.len() {
        of_parts.push(order.layer(Node::Part(place))?);
    }
    let mut of_pools = Vec::new();
    for (place, pool) in pools.iter().enumerate() {
        of_pools.push((*pool, order.layer(Node::Pool(place))?));
    }
    for (part, layer) in parts.iter_mut().zip(of_parts) {
        if layer >= MAX_LAYERS {
            return Err(PlanError::TooDeep(part.name));
        }
        part.layer = layer;
    }
    Ok(of_pools)
}

struct Order<'a> {
    before: &'a dyn Fn(Node) -> Vec<Node>,
    name: &'a dyn Fn(Node) -> &'static str,
    layers: Vec<(Node, usize)>,
    path: Vec<Node>,
}

impl Order<'_> {
    /// A pool gives when the layer of the last who wants has run; who reads comes one layer later.
    fn layer(&mut self, node: Node) -> Result<usize, PlanError> {
        if let Some((_, layer)) = self.layers.iter().find(|(known, _)| *known == node) {
            return Ok(*layer);
        }
        if let Some(start) = self.path.iter().position(|known| *known == node) {
            let names: Vec<&str> = self.path[start..]
                .iter()
                .map(|node| (self.name)(*node))
                .collect();
            return Err(PlanError::Circle(names.join(" ← ")));
        }
        self.path.push(node);
        let mut layer = 0;
        for earlier in (self.before)(node) {
            let of_earlier = self.layer(earlier)?;
            layer = layer.max(of_earlier + usize::from(matches!(node, Node::Part(_))));
        }
        self.path.pop();
        self.layers.push((node, layer));
        Ok(layer)
    }
}

fn check_unread(features: &[&'static Feature]) -> Result<(), PlanError> {
    let owned = features.iter().flat_map(|feature| feature.owns);
    for owned in owned.filter(|owned| owned.is_unread) {
        for feature in features {
            let sources = feature.reads.iter();
            let mut read = sources
                .filter(|source| (source.side, source.table) == (owned.side, owned.table))
                .flat_map(|source| {
                    let keys = source.keys.iter().map(|(column, _)| column);
                    source.columns.iter().chain(keys)
                });
            if let Some(column) = read.find(|column| owned.columns.contains(column)) {
                let table = &schema(owned.side).tables[owned.table];
                let column = format!("{}.{}", table.name, table.columns[*column].name);
                return Err(PlanError::Unread(feature.name, column));
            }
        }
    }
    Ok(())
}

fn tables(features: &[&'static Feature]) -> Result<Vec<(&'static str, Table)>, PlanError> {
    let owned: Vec<(&'static str, &'static Owned)> = features
        .iter()
        .flat_map(|feature| feature.owns.iter().map(|owned| (feature.name, *owned)))
        .collect();
    // Whole columns, and keys of columns that are others'.
    let (mut columns, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (_, owned) in &owned {
        for column in owned.columns {
            let place = (owned.side, owned.table, *column);
            let by_key = owned.keys.iter().find(|(by_key, _)| by_key == column);
            let is_alone = match by_key {
                Some((_, names)) => {
                    !columns.contains(&place)
                        && names.iter().all(|name| keys.insert((place, *name)))
                }
                None => {
                    let has_keys = keys.iter().any(|(of, _)| *of == place);
                    columns.insert(place) && !has_keys
                }
            };
            if !is_alone {
                let table = &schema(owned.side).tables[owned.table];
                let name = format!("{}.{}", table.name, table.columns[*column].name);
                return Err(PlanError::TwoOwners(name));
            }
        }
    }
    let mut found = Vec::new();
    let mut south: Vec<_> = owned
        .iter()
        .filter(|(_, owned)| owned.side == Side::South)
        .collect();
    // Rows that live by references to them are written with who refers to them.
    south.sort_by_key(|(_, owned)| {
        let schema = sb_db::schema();
        let lives_by_others = !schema.tables[owned.table].is_root;
        (lives_by_others, depth(schema, owned.table, 0))
    });
    let (mut next, mut last, mut north) = (0, FIRST_LAST, FIRST_NORTH);
    let others = owned.iter().filter(|(_, owned)| owned.side == Side::North);
    for (feature, owned) in south.into_iter().chain(others) {
        let counter = match (owned.last, owned.side) {
            (true, _) => &mut last,
            (false, Side::South) => &mut next,
            (false, Side::North) => &mut north,
        };
        found.push((*feature, table(*counter, owned)));
        *counter += 1;
    }
    let flows = Owned::south::<sb_db::tables::LogicalFlow>(&[]);
    let groups = Owned {
        table: GROUP_TABLE,
        ..Owned::south::<sb_db::tables::LogicalFlow>(&[])
    };
    for (id, owned) in [(FLOWS, &flows), (GROUPS, &groups), (SHARED_FLOWS, &flows)] {
        found.push(("flows", table(id, owned)));
    }
    let problems = Owned {
        side: Side::North,
        table: <nb_db::tables::WeftProblem as ovsdb::typed::Table>::INDEX,
        ..Owned::south::<sb_db::tables::LogicalFlow>(&[])
    };
    found.push(("problems", table(PROBLEMS, &problems)));
    Ok(found)
}

fn table(id: TableId, owned: &Owned) -> Table {
    let schema = &schema(owned.side).tables[owned.table];
    let columns = if owned.columns.is_empty() {
        (0..schema.columns.len()).collect()
    } else {
        owned.columns.to_vec()
    };
    Table {
        id,
        side: owned.side,
        table: owned.table,
        name: &schema.name,
        columns,
        whole: owned.whole,
        keeps: owned.keeps,
        last: owned.last,
        is_root: schema.is_root,
        foreign: owned.foreign,
        keys: owned.keys,
        sure: owned.sure,
        initial: owned.initial.to_vec(),
    }
}

/// How many tables stand between this one and one that refers to nothing.
fn depth(schema: &DatabaseSchema, table: usize, so_far: usize) -> usize {
    if so_far > schema.tables.len() {
        return so_far;
    }
    let columns = schema.tables[table].columns.iter();
    let targets = columns.filter_map(|column| {
        let base = column.ty.value.as_ref().unwrap_or(&column.ty.key);
        schema.table_index(base.reference()?.0)
    });
    targets
        .filter(|target| *target != table)
        .map(|target| depth(schema, target, so_far + 1))
        .max()
        .unwrap_or(so_far)
        .max(so_far)
}

fn schema(side: Side) -> &'static std::sync::Arc<DatabaseSchema> {
    match side {
        Side::North => nb_db::schema(),
        Side::South => sb_db::schema(),
    }
}
