//! Random schemas, and random transactions on them: mostly sensible, sometimes wrong.

use ovsdb::schema::{BaseType, ColumnType, Constraint, DatabaseSchema, TableSchema};
use ovsdb::{AtomicType, Uuid};
use serde_json::{Map, Value, json};

/// A small generator: the same seed, the same test, everywhere.
pub struct Random {
    state: u64,
    /// Whether values are always of their type.
    tame: bool,
}

impl Random {
    /// The generator for this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5555_aaaa,
            tame: false,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// True once in a while: time for a mistake.
    fn errs(&mut self) -> bool {
        self.one_in(60) && !self.tame
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A schema of a few tables that refer to each other.
pub fn schema(random: &mut Random) -> Value {
    let names = ["A", "B", "C", "D"];
    let names = &names[..2 + random.below(3)];
    let mut tables = Map::new();
    for (index, name) in names.iter().enumerate() {
        let mut columns = Map::new();
        for column in 0..2 + random.below(4) {
            let mut json = json!({"type": column_type(random, names)});
            if random.one_in(12) {
                json["mutable"] = json!(false);
            }
            columns.insert(format!("c{column}"), json);
        }
        let mut table = json!({});
        if random.one_in(2) {
            let first = random.below(columns.len());
            table["indexes"] = match random.below(columns.len()) {
                second if second != first => json!([[format!("c{first}"), format!("c{second}")]]),
                _ => json!([[format!("c{first}")]]),
            };
        }
        if index == 0 || random.one_in(3) {
            table["isRoot"] = json!(true);
        }
        if random.one_in(5) {
            table["maxRows"] = json!(3 + random.below(3));
        }
        table["columns"] = Value::Object(columns);
        tables.insert((*name).to_owned(), table);
    }
    json!({"name": "Test", "version": "1.0.0", "tables": tables})
}

fn column_type(random: &mut Random, tables: &[&str]) -> Value {
    let mut ty = json!({"key": base_type(random, tables)});
    if random.one_in(4) {
        ty["value"] = base_type(random, tables);
        // Open vSwitch leaves garbage when a weak reference takes a strong one in its pair with it.
        if !ty["key"]["refTable"].is_null() && !ty["value"]["refTable"].is_null() {
            ty["value"] = json!("integer");
        }
    }
    match random.below(6) {
        0 | 1 => {}
        2 | 3 => ty["min"] = json!(0),
        4 => (ty["min"], ty["max"]) = (json!(0), json!("unlimited")),
        _ => (ty["min"], ty["max"]) = (json!(random.below(2)), json!(2 + random.below(3))),
    }
    ty
}

fn base_type(random: &mut Random, tables: &[&str]) -> Value {
    let table = *random.pick(tables);
    match random.below(12) {
        0 => json!("integer"),
        1 => json!({"type": "integer", "minInteger": 0, "maxInteger": 9}),
        2 => json!("real"),
        3 => json!("boolean"),
        4 => json!("string"),
        5 => json!({"type": "string", "enum": ["set", ["", "a", "b"]]}),
        6 => json!({"type": "string", "maxLength": 2}),
        7 => json!("uuid"),
        8 | 9 => json!({"type": "uuid", "refTable": table, "refType": "weak"}),
        _ => json!({"type": "uuid", "refTable": table}),
    }
}

/// The operations of one transaction.
pub fn operations(random: &mut Random, schema: &DatabaseSchema) -> Value {
    let count = 1 + random.below(6);
    (0..count).map(|_| operation(random, schema)).collect()
}

/// The operations of a transaction that only reads.
pub fn selects(random: &mut Random, schema: &DatabaseSchema) -> Value {
    let count = 1 + random.below(4);
    let select = |_| {
        if random.one_in(8) {
            return json!({"op": "commit", "durable": random.one_in(2)});
        }
        let table = random.pick(&schema.tables);
        let condition = condition(random, table);
        let mut select = json!({"op": "select", "table": &*table.name, "where": condition});
        let column = &*random.pick(&table.columns).name;
        match random.below(4) {
            0 => {}
            1 => select["columns"] = json!([column]),
            2 => select["columns"] = json!([column, "_uuid"]),
            _ => select["columns"] = json!(["_uuid", "_version"]),
        }
        select
    };
    (0..count).map(select).collect()
}

/// A row out of a dozen of the table: so references often hit, and inserts sometimes meet a row that exists.
fn some_row(random: &mut Random, table: &str) -> Uuid {
    let table = u128::from(table.as_bytes()[0]) << 64;
    Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0000 + table + random.below(12) as u128)
}

fn operation(random: &mut Random, schema: &DatabaseSchema) -> Value {
    let table = random.pick(&schema.tables);
    let name = &*table.name;
    match random.below(20) {
        0..=7 => {
            json!({"op": "insert", "table": name, "uuid": some_row(random, name), "row": row(random, table, true)})
        }
        8..=10 => {
            json!({"op": "update", "table": name, "where": condition(random, table), "row": row(random, table, false)})
        }
        11..=14 => {
            let mutations: Vec<Value> = (0..1 + random.below(2))
                .filter_map(|_| mutation(random, table))
                .collect();
            json!({"op": "mutate", "table": name, "where": condition(random, table), "mutations": mutations})
        }
        15 | 16 => json!({"op": "delete", "table": name, "where": condition(random, table)}),
        17 => {
            let column = &*random.pick(&table.columns).name;
            json!({"op": "select", "table": name, "where": condition(random, table), "columns": [column]})
        }
        18 => {
            let column = random.pick(&table.columns);
            let value = value(random, &column.ty);
            let rows = if random.one_in(2) {
                json!([])
            } else {
                json!([{&*column.name: value}])
            };
            json!({"op": "wait", "table": name, "where": condition(random, table), "columns": [&*column.name],
                "until": "!=", "rows": rows, "timeout": 0})
        }
        _ => match random.below(8) {
            0 => json!({"op": "abort"}),
            1 => json!({"op": "assert", "lock": "none"}),
            2 => json!({"op": "commit", "durable": false}),
            3 => json!({"op": "select", "table": name, "where": [], "columns": ["nothing"]}),
            _ => json!({"op": "comment", "comment": "hello"}),
        },
    }
}

fn row(random: &mut Random, table: &TableSchema, new: bool) -> Value {
    let mut row = Map::new();
    for column in &table.columns {
        if (new || column.mutable || random.one_in(8)) && !random.one_in(3) {
            row.insert(column.name.to_string(), value(random, &column.ty));
        }
    }
    Value::Object(row)
}

fn condition(random: &mut Random, table: &TableSchema) -> Value {
    if random.one_in(5) {
        return json!([]);
    }
    if random.one_in(2) {
        return json!([["_uuid", "==", ["uuid", some_row(random, &table.name)]]]);
    }
    let clauses = 1 + random.below(2);
    // Open vSwitch refuses to compare with what cannot be there; to us it is merely different.
    random.tame = true;
    let clauses = (0..clauses)
        .map(|_| {
            let column = random.pick(&table.columns);
            let number = matches!(column.ty.key.atomic, AtomicType::Integer | AtomicType::Real)
                && column.ty.max == 1
                && column.ty.value.is_none();
            let functions = if number { 8 } else { 4 };
            let functions =
                &["==", "!=", "includes", "excludes", "<", "<=", ">", ">="][..functions];
            let function = *random.pick(functions);
            let mut ty = column.ty.clone();
            if function.contains(['<', '>']) {
                ty.min = 1;
            }
            json!([&*column.name, function, value(random, &ty)])
        })
        .collect();
    random.tame = false;
    clauses
}

fn mutation(random: &mut Random, table: &TableSchema) -> Option<Value> {
    let column = random.pick(&table.columns);
    if !column.mutable && !random.one_in(8) {
        return None;
    }
    let ty = &column.ty;
    let number = matches!(ty.key.atomic, AtomicType::Integer | AtomicType::Real);
    if number && ty.value.is_none() && random.one_in(2) {
        let mutator = *random.pick(&["+=", "-=", "*=", "/=", "%="]);
        if mutator == "%=" && ty.key.atomic == AtomicType::Real {
            return None;
        }
        // Powers of two, because Open vSwitch prints no more than 15 digits.
        return Some(json!([&*column.name, mutator, random.pick(&[0, 1, 2, 4])]));
    }
    if ty.is_scalar() {
        return None;
    }
    let mutator = *random.pick(&["insert", "delete"]);
    let mut operand = ty.clone();
    operand.min = 0;
    operand.max = 3;
    if mutator == "delete" && random.one_in(3) {
        operand.value = None;
    }
    // Open vSwitch refuses to delete an element that cannot be there; we see no harm.
    // One mistake at a time, else there are two right answers: too many elements is one.
    random.tame = mutator == "delete" || ty.max < 3;
    let value = value(random, &operand);
    random.tame = false;
    Some(json!([&*column.name, mutator, value]))
}

/// A value of the type; once in a while, one of too many elements or with a wrong one.
fn value(random: &mut Random, ty: &ColumnType) -> Value {
    let too_many = random.errs();
    let tame = random.tame;
    random.tame |= too_many;
    let most = ty.max.min(3) + usize::from(too_many);
    let count = ty.min + random.below(most - ty.min.min(most) + 1);
    let mut keys: Vec<Value> = Vec::new();
    for _ in 0..count {
        let key = atom(random, &ty.key);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let value = match &ty.value {
        Some(value_type) => {
            let pairs: Vec<Value> = keys
                .into_iter()
                .map(|key| json!([key, atom(random, value_type)]))
                .collect();
            json!(["map", pairs])
        }
        None if keys.len() == 1 => keys.remove(0),
        None => json!(["set", keys]),
    };
    random.tame = tame;
    value
}

fn atom(random: &mut Random, base: &BaseType) -> Value {
    if let Some(values) = &base.enumeration
        && !random.errs()
    {
        return json!(random.pick(values));
    }
    match base.atomic {
        AtomicType::Integer if random.errs() => json!(11),
        AtomicType::Integer => json!(random.below(4)),
        AtomicType::Real => json!(random.below(6) as f64 / 2.0),
        AtomicType::Boolean => json!(random.one_in(2)),
        AtomicType::String if random.errs() => json!("xyz"),
        AtomicType::String => json!(random.pick(&["", "a", "b", "ü"])),
        AtomicType::Uuid => match &base.constraint {
            Constraint::Reference { table, .. } => json!(["uuid", some_row(random, table)]),
            _ => json!(["uuid", Uuid::from_u128(random.below(3) as u128)]),
        },
    }
}
