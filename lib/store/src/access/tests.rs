//! The rules about rows, on a small southbound: two chassis, a switch of each connected by a router, and a switch apart.

use std::collections::BTreeMap;

use ovsdb::ErrorKind;
use ovsdb::operation::Outcome;
use serde_json::{Value, json};
use table::{Context, Done, Execution};

use super::*;

/// What of the southbound's schema the rules look at. The matrix over the whole schema is tested where the schema is.
fn schema() -> Arc<DatabaseSchema> {
    let text = json!({"type": "string"});
    let texts = json!({"type": {"key": "string", "min": 0, "max": "unlimited"}});
    let map = json!({"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}});
    let number = json!({"type": "integer"});
    let weak = |table: &str, max: &Value| json!({"type": {"key": {"type": "uuid", "refTable": table, "refType": "weak"}, "min": 0, "max": max}});
    let one = |table: &str| weak(table, &json!(1));
    let many = |table: &str| weak(table, &json!("unlimited"));
    let strong = |table: &str| json!({"type": {"key": {"type": "uuid", "refTable": table}}});
    let table = |columns: Value, indexes: Value| json!({"isRoot": true, "columns": columns, "indexes": indexes});
    let schema = json!({"name": "OVN_Southbound", "tables": {
        "Chassis": table(json!({"name": text, "hostname": text, "encaps": many("Encap")}), json!([["name"]])),
        "Chassis_Private": table(json!({"name": text, "chassis": one("Chassis")}), json!([["name"]])),
        "Encap": table(json!({"chassis_name": text, "ip": text}), json!([])),
        "Port_Binding": table(json!({
            "logical_port": text, "type": text, "datapath": strong("Datapath_Binding"), "tunnel_key": number,
            "parent_port": texts, "virtual_parent": texts, "options": map, "chassis": one("Chassis"),
            "additional_chassis": many("Chassis"), "encap": one("Encap"), "additional_encap": many("Encap"),
            "up": {"type": {"key": "boolean", "min": 0, "max": 1}}, "requested_chassis": one("Chassis"),
            "requested_additional_chassis": many("Chassis"), "gateway_chassis": many("Gateway_Chassis"),
            "ha_chassis_group": one("HA_Chassis_Group"), "tag": number,
        }), json!([["logical_port"]])),
        "Datapath_Binding": table(json!({"tunnel_key": number}), json!([["tunnel_key"]])),
        "MAC_Binding": table(json!({"logical_port": text, "ip": text, "mac": text, "datapath": strong("Datapath_Binding")}), json!([])),
        "FDB": table(json!({"dp_key": number, "port_key": number, "mac": text}), json!([])),
        "Learned_Route": table(json!({"logical_port": strong("Port_Binding"), "datapath": strong("Datapath_Binding")}), json!([])),
        "IGMP_Group": table(json!({"chassis": one("Chassis"), "chassis_name": text, "datapath": one("Datapath_Binding"), "ports": many("Port_Binding")}), json!([])),
        "Controller_Event": table(json!({"chassis": one("Chassis"), "seq_num": number}), json!([])),
        "Service_Monitor": table(json!({"chassis_name": text, "logical_port": text, "status": text}), json!([])),
        "BFD": table(json!({"chassis_name": text, "logical_port": text, "status": text}), json!([])),
        "Gateway_Chassis": table(json!({"chassis": one("Chassis")}), json!([])),
        "HA_Chassis": table(json!({"chassis": one("Chassis")}), json!([])),
        "HA_Chassis_Group": table(json!({"ha_chassis": many("HA_Chassis")}), json!([])),
        "Connection": table(json!({"target": text}), json!([])),
        "SSL": table(json!({"private_key": text}), json!([])),
    }});
    Arc::new(DatabaseSchema::from_json(&schema).expect("the schema is right"))
}

struct World {
    database: Database,
    access: Access,
    rows: BTreeMap<&'static str, Uuid>,
}

/// Rows by names that stand for their UUIDs, `@name` in what is written here.
const ROWS: &[(&str, &str, &str)] = &[
    ("hv1", "Chassis", r#"{"name": "hv1", "encaps": "@e1"}"#),
    ("hv2", "Chassis", r#"{"name": "hv2", "encaps": "@e2"}"#),
    ("e1", "Encap", r#"{"chassis_name": "hv1", "ip": "1"}"#),
    ("e2", "Encap", r#"{"chassis_name": "hv2", "ip": "2"}"#),
    (
        "p2",
        "Chassis_Private",
        r#"{"name": "hv2", "chassis": "@hv2"}"#,
    ),
    ("sw1", "Datapath_Binding", r#"{"tunnel_key": 1}"#),
    ("sw2", "Datapath_Binding", r#"{"tunnel_key": 2}"#),
    ("lr", "Datapath_Binding", r#"{"tunnel_key": 3}"#),
    ("apart", "Datapath_Binding", r#"{"tunnel_key": 4}"#),
    // hv1 has a guest on sw1, hv2 one on sw2 and one on the switch apart; free is nobody's.
    (
        "vif1",
        "Port_Binding",
        r#"{"logical_port": "vif1", "datapath": "@sw1", "tunnel_key": 1, "chassis": "@hv1"}"#,
    ),
    (
        "vif2",
        "Port_Binding",
        r#"{"logical_port": "vif2", "datapath": "@sw2", "tunnel_key": 1, "chassis": "@hv2"}"#,
    ),
    (
        "far",
        "Port_Binding",
        r#"{"logical_port": "far", "datapath": "@apart", "tunnel_key": 1, "chassis": "@hv2"}"#,
    ),
    (
        "free",
        "Port_Binding",
        r#"{"logical_port": "free", "datapath": "@sw2", "tunnel_key": 2}"#,
    ),
    (
        "pinned",
        "Port_Binding",
        r#"{"logical_port": "pinned", "datapath": "@sw2", "tunnel_key": 3, "chassis": "@hv2",
        "requested_chassis": "@hv2", "options": {"requested-chassis": "hv2"}}"#,
    ),
    (
        "inside",
        "Port_Binding",
        r#"{"logical_port": "inside", "datapath": "@sw2", "tunnel_key": 4, "parent_port": "pinned"}"#,
    ),
    (
        "unknown",
        "Port_Binding",
        r#"{"logical_port": "unknown", "datapath": "@sw2", "tunnel_key": 5,
        "options": {"requested-chassis": "hv9"}}"#,
    ),
    (
        "moving",
        "Port_Binding",
        r#"{"logical_port": "moving", "datapath": "@sw2", "tunnel_key": 6, "chassis": "@hv2",
        "requested_chassis": "@hv2", "requested_additional_chassis": "@hv1", "options": {"requested-chassis": "hv2,hv1"}}"#,
    ),
    (
        "vip",
        "Port_Binding",
        r#"{"logical_port": "vip", "type": "virtual", "datapath": "@sw1", "tunnel_key": 7,
        "options": {"virtual-parents": "vif1,vif2"}}"#,
    ),
    (
        "gw",
        "Port_Binding",
        r#"{"logical_port": "gw", "type": "l3gateway", "datapath": "@apart", "tunnel_key": 8,
        "options": {"l3gateway-chassis": "hv2"}}"#,
    ),
    (
        "cr",
        "Port_Binding",
        r#"{"logical_port": "cr", "type": "chassisredirect", "datapath": "@lr", "tunnel_key": 9,
        "ha_chassis_group": "@group"}"#,
    ),
    (
        "cr9",
        "Port_Binding",
        r#"{"logical_port": "cr9", "type": "chassisredirect", "datapath": "@lr", "tunnel_key": 10}"#,
    ),
    (
        "local",
        "Port_Binding",
        r#"{"logical_port": "local", "type": "localport", "datapath": "@sw1", "tunnel_key": 11}"#,
    ),
    (
        "net",
        "Port_Binding",
        r#"{"logical_port": "net", "type": "localnet", "datapath": "@sw1", "tunnel_key": 12}"#,
    ),
    ("group", "HA_Chassis_Group", r#"{"ha_chassis": "@member"}"#),
    ("member", "HA_Chassis", r#"{"chassis": "@hv1"}"#),
    (
        "sw1-lr",
        "Port_Binding",
        r#"{"logical_port": "sw1-lr", "type": "patch", "datapath": "@sw1", "tunnel_key": 20, "options": {"peer": "lr-sw1"}}"#,
    ),
    (
        "lr-sw1",
        "Port_Binding",
        r#"{"logical_port": "lr-sw1", "type": "patch", "datapath": "@lr", "tunnel_key": 21, "options": {"peer": "sw1-lr"}}"#,
    ),
    (
        "lr-sw2",
        "Port_Binding",
        r#"{"logical_port": "lr-sw2", "type": "patch", "datapath": "@lr", "tunnel_key": 22, "options": {"peer": "sw2-lr"}}"#,
    ),
    (
        "sw2-lr",
        "Port_Binding",
        r#"{"logical_port": "sw2-lr", "type": "patch", "datapath": "@sw2", "tunnel_key": 23, "options": {"peer": "lr-sw2"}}"#,
    ),
    (
        "mb",
        "MAC_Binding",
        r#"{"logical_port": "lr-sw1", "ip": "9", "datapath": "@lr"}"#,
    ),
    ("fdb1", "FDB", r#"{"dp_key": 1, "port_key": 1, "mac": "a"}"#),
    ("fdb2", "FDB", r#"{"dp_key": 2, "port_key": 1, "mac": "a"}"#),
    ("fdb4", "FDB", r#"{"dp_key": 4, "port_key": 1, "mac": "a"}"#),
    (
        "igmp2",
        "IGMP_Group",
        r#"{"chassis": "@hv2", "datapath": "@sw2"}"#,
    ),
    ("event2", "Controller_Event", r#"{"chassis": "@hv2"}"#),
    ("sm1", "Service_Monitor", r#"{"logical_port": "vif1"}"#),
    ("sm2", "Service_Monitor", r#"{"logical_port": "vif2"}"#),
    (
        "sm21",
        "Service_Monitor",
        r#"{"logical_port": "vif2", "chassis_name": "hv1"}"#,
    ),
    (
        "sm12",
        "Service_Monitor",
        r#"{"logical_port": "vif1", "chassis_name": "hv2"}"#,
    ),
    ("bfd1", "BFD", r#"{"logical_port": "lr-sw1"}"#),
    ("bfd2", "BFD", r#"{"logical_port": "gw"}"#),
];

impl World {
    fn new() -> Self {
        let schema = schema();
        let rows = ROWS.iter().enumerate();
        let mut world = Self {
            access: Access::new(&schema),
            database: Database::new(schema),
            rows: rows
                .map(|(n, (name, ..))| (*name, Uuid::from_u128(n as u128 + 1)))
                .collect(),
        };
        let inserts = ROWS.iter().map(|(name, table, row)| {
            let row: Value = serde_json::from_str(row).expect("JSON");
            json!({"op": "insert", "table": table, "uuid": world.rows[name].to_string(), "row": row})
        });
        let inserts = Value::Array(inserts.collect());
        let outcome = world.execute(&Caller::unrestricted(), inserts);
        assert!(outcome.is_ok(), "{outcome:?}");
        world
    }

    /// `@name` as a reference, objects as maps.
    fn resolve(&self, schema_row: bool, json: &Value) -> Value {
        match json {
            Value::String(text) if text.starts_with('@') => {
                json!(["uuid", self.rows[&text[1..]].to_string()])
            }
            Value::Array(items) => items.iter().map(|item| self.resolve(false, item)).collect(),
            Value::Object(pairs) if schema_row => {
                let pair =
                    |(key, value): (&String, &Value)| (key.clone(), self.resolve(false, value));
                Value::Object(pairs.iter().map(pair).collect())
            }
            Value::Object(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| json!([key, value]));
                json!(["map", pairs.collect::<Vec<Value>>()])
            }
            other => other.clone(),
        }
    }

    fn execute(&mut self, caller: &Caller, mut operations: Value) -> Outcome {
        for operation in operations.as_array_mut().expect("a list") {
            for part in ["row", "where", "mutations"] {
                if operation.get(part).is_some() {
                    operation[part] = self.resolve(true, &operation[part]);
                }
            }
        }
        let operations = operations.as_array().expect("a list");
        let schema = self.database.schema().clone();
        let transaction = ovsdb::Transaction::from_json(&schema, operations, &mut Uuid::new_v4);
        self.access.prepare(caller, &mut self.database);
        let permission = self.access.permission(caller);
        let context = Context {
            permission: permission.as_ref().map(|gate| gate as &dyn Permission),
            ..Context::default()
        };
        match self.database.execute(&transaction, &context) {
            Execution::Done(Done { outcome, .. }) => outcome,
            Execution::Blocked { .. } => panic!("nothing waits here"),
        }
    }
}

fn insert(table: &str, row: &str) -> Value {
    let row: Value = serde_json::from_str(row).expect("JSON");
    json!({"op": "insert", "table": table, "row": row})
}

fn by_name(name: &str) -> Value {
    json!([["_uuid", "==", format!("@{name}")]])
}

fn update(name: &str, row: &str) -> Value {
    let table = ROWS.iter().find(|row| row.0 == name).expect("a row").1;
    let row: Value = serde_json::from_str(row).expect("JSON");
    json!({"op": "update", "table": table, "where": by_name(name), "row": row})
}

fn delete(name: &str) -> Value {
    let table = ROWS.iter().find(|row| row.0 == name).expect("a row").1;
    json!({"op": "delete", "table": table, "where": by_name(name)})
}

/// What hv1 tries, and a piece of the refusal, or nothing if it may.
fn check(operations: &Value, expected: Option<&str>) {
    let mut world = World::new();
    let caller = Caller::new(Role::Chassis, "hv1");
    let outcome = world.execute(&caller, operations.clone());
    match (outcome, expected) {
        (Ok(_), None) => {}
        (Err(failure), Some(expected)) => {
            let error = &failure.error;
            assert_eq!(
                error.kind,
                ErrorKind::PermissionError,
                "{operations}: {error}"
            );
            assert!(error.details.contains(expected), "{operations}: {error}");
            assert!(
                error
                    .details
                    .contains("client \"hv1\", role ovn-controller"),
                "{error}"
            );
        }
        (outcome, expected) => panic!("{operations}: {outcome:?}, not {expected:?}"),
    }
}

#[test]
fn a_chassis_writes_its_own_registration() {
    let other = "the row is that of chassis";
    for (operation, expected) in [
        (update("hv1", r#"{"hostname": "a"}"#), None),
        (update("hv2", r#"{"hostname": "a"}"#), Some(other)),
        // Also if it changes nothing.
        (update("hv2", r#"{"hostname": ""}"#), Some(other)),
        (
            update("hv1", r#"{"name": "hv2"}"#),
            Some("column name of table Chassis"),
        ),
        (
            update("hv1", r#"{"encaps": "@e2"}"#),
            Some("column encaps of row"),
        ),
        (delete("hv1"), None),
        (delete("hv2"), Some(other)),
        (insert("Chassis", r#"{"name": "hv3"}"#), Some(other)),
        (insert("Encap", r#"{"chassis_name": "hv1"}"#), None),
        (insert("Encap", r#"{"chassis_name": "hv2"}"#), Some(other)),
        (update("e2", r#"{"ip": "1"}"#), Some(other)),
        (update("e1", r#"{"ip": "7"}"#), None),
        (
            insert("Chassis_Private", r#"{"name": "hv1", "chassis": "@hv1"}"#),
            None,
        ),
        (
            insert("Chassis_Private", r#"{"name": "hv1", "chassis": "@hv2"}"#),
            Some("column chassis"),
        ),
        (update("p2", r#"{"chassis": "@hv1"}"#), Some(other)),
        (delete("p2"), Some(other)),
    ] {
        check(&json!([operation]), expected);
    }
}

#[test]
fn a_chassis_claims_what_it_may_and_releases_its_own() {
    let itself = "claims a port for itself";
    for (operation, expected) in [
        (
            update("free", r#"{"chassis": "@hv1", "up": true, "encap": "@e1"}"#),
            None,
        ),
        (update("free", r#"{"chassis": "@hv2"}"#), Some(itself)),
        // OVN's semantics: without a requested chassis the last claim counts.
        (update("vif2", r#"{"chassis": "@hv1"}"#), None),
        (update("vif2", r#"{"chassis": ["set", []]}"#), Some(itself)),
        (update("vif2", r#"{"up": false}"#), Some("column up")),
        (
            update("vif1", r#"{"chassis": ["set", []], "up": false}"#),
            None,
        ),
        (update("vif1", r#"{"chassis": "@hv2"}"#), Some(itself)),
        (update("vif1", r#"{"encap": "@e2"}"#), Some("column encap")),
        (
            update("vif1", r#"{"tag": 5}"#),
            Some("column tag of table Port_Binding"),
        ),
        (
            update("vif1", r#"{"options": {"requested-chassis": "hv1"}}"#),
            Some("the key requested-chassis"),
        ),
        (
            update("pinned", r#"{"chassis": "@hv1"}"#),
            Some("requested-chassis names \"hv2\""),
        ),
        (
            update("inside", r#"{"chassis": "@hv1"}"#),
            Some("requested-chassis names \"hv2\""),
        ),
        (
            update("unknown", r#"{"chassis": "@hv1"}"#),
            Some("requested-chassis names \"hv9\""),
        ),
        (
            update("gw", r#"{"chassis": "@hv1"}"#),
            Some("l3gateway-chassis names \"hv2\""),
        ),
        (update("cr", r#"{"chassis": "@hv1"}"#), None),
        (
            update("cr9", r#"{"chassis": "@hv1"}"#),
            Some("no member of its group"),
        ),
        (
            update("local", r#"{"chassis": "@hv1"}"#),
            Some("type \"localport\""),
        ),
        (
            delete("vif1"),
            Some("delete table Port_Binding: the role may not delete rows"),
        ),
        (
            insert("Port_Binding", r#"{"logical_port": "x"}"#),
            Some("may not insert rows"),
        ),
    ] {
        check(&json!([operation]), expected);
    }
}

#[test]
fn a_migrating_port_has_two_chassis_that_each_write_their_own_part() {
    for (operation, expected) in [
        (
            update(
                "moving",
                r#"{"additional_chassis": "@hv1", "additional_encap": "@e1"}"#,
            ),
            None,
        ),
        (
            update("moving", r#"{"additional_chassis": "@hv2"}"#),
            Some("adds and removes itself only"),
        ),
        (
            update("moving", r#"{"additional_encap": "@e2"}"#),
            Some("column additional_encap"),
        ),
        (
            update("moving", r#"{"chassis": "@hv1"}"#),
            Some("requested-chassis names"),
        ),
        (
            update("free", r#"{"additional_chassis": "@hv1"}"#),
            Some("not requested as an additional one"),
        ),
    ] {
        check(&json!([operation]), expected);
    }
    let joins = update("moving", r#"{"additional_chassis": "@hv1"}"#);
    let activates = |name: &str| {
        json!({"op": "mutate", "table": "Port_Binding", "where": by_name("moving"),
            "mutations": [["options", "insert", {"additional-chassis-activated": name}]]})
    };
    check(&json!([joins, activates("hv1")]), None);
    check(
        &json!([joins, activates("hv2")]),
        Some("adds itself to additional-chassis-activated only"),
    );
    check(&json!([activates("hv1")]), Some("only who has the port"));
}

#[test]
fn a_virtual_port_goes_to_the_chassis_of_its_parent() {
    for (row, expected) in [
        (r#"{"chassis": "@hv1", "virtual_parent": "vif1"}"#, None),
        (
            r#"{"chassis": "@hv1", "virtual_parent": "vif2"}"#,
            Some("\"vif2\" is not bound"),
        ),
        (
            r#"{"chassis": "@hv1", "virtual_parent": "free"}"#,
            Some("none of its virtual-parents"),
        ),
        (
            r#"{"virtual_parent": "vif1"}"#,
            Some("only who has the port"),
        ),
    ] {
        check(&json!([update("vip", row)]), expected);
    }
}

#[test]
fn a_chassis_learns_for_its_own_ports() {
    let far = "is not local to this chassis";
    for (operation, expected) in [
        // The router is local through sw1, and so is sw2 behind it; the switch apart is not.
        (
            insert(
                "MAC_Binding",
                r#"{"logical_port": "lr-sw2", "datapath": "@lr"}"#,
            ),
            None,
        ),
        (
            insert(
                "MAC_Binding",
                r#"{"logical_port": "lr-sw2", "datapath": "@sw1"}"#,
            ),
            Some("not of that datapath"),
        ),
        (
            insert(
                "MAC_Binding",
                r#"{"logical_port": "gw", "datapath": "@apart"}"#,
            ),
            Some(far),
        ),
        (
            insert(
                "MAC_Binding",
                r#"{"logical_port": "vif2", "datapath": "@sw2"}"#,
            ),
            Some("\"vif2\" is not bound"),
        ),
        (
            insert("MAC_Binding", r#"{"logical_port": "x", "datapath": "@lr"}"#),
            Some("no such logical port"),
        ),
        (update("mb", r#"{"mac": "b"}"#), None),
        (
            update("mb", r#"{"datapath": "@apart", "logical_port": "gw"}"#),
            Some(far),
        ),
        (delete("mb"), None),
        (insert("FDB", r#"{"dp_key": 1, "port_key": 1}"#), None),
        (insert("FDB", r#"{"dp_key": 1, "port_key": 12}"#), None),
        (
            insert("FDB", r#"{"dp_key": 2, "port_key": 1}"#),
            Some("\"vif2\" is not bound"),
        ),
        (
            insert("FDB", r#"{"dp_key": 1, "port_key": 99}"#),
            Some("no port with that key"),
        ),
        (
            insert("FDB", r#"{"dp_key": 9, "port_key": 1}"#),
            Some("no datapath with that key"),
        ),
        (update("fdb1", r#"{"mac": "b"}"#), None),
        (
            update("fdb2", r#"{"mac": "b"}"#),
            Some("\"vif2\" is not bound"),
        ),
        // The address moved to a port here.
        (update("fdb2", r#"{"dp_key": 1}"#), None),
        (update("fdb4", r#"{"dp_key": 1}"#), Some(far)),
        (delete("fdb1"), None),
        (delete("fdb2"), Some("\"vif2\" is not bound")),
        (
            insert(
                "IGMP_Group",
                r#"{"chassis": "@hv1", "datapath": "@sw1", "ports": "@vif1"}"#,
            ),
            None,
        ),
        (
            insert(
                "IGMP_Group",
                r#"{"chassis": "@hv1", "datapath": "@sw1", "ports": "@vif2"}"#,
            ),
            Some("column ports"),
        ),
        (
            insert("IGMP_Group", r#"{"chassis": "@hv1", "datapath": "@apart"}"#),
            Some(far),
        ),
        (
            insert(
                "IGMP_Group",
                r#"{"chassis": "@hv1", "chassis_name": "hv2", "datapath": "@sw1"}"#,
            ),
            Some("another chassis"),
        ),
        (
            insert("IGMP_Group", r#"{"chassis": "@hv2", "datapath": "@sw1"}"#),
            Some("another chassis"),
        ),
        (
            insert("IGMP_Group", r#"{"datapath": "@sw1"}"#),
            Some("does not say whose"),
        ),
        (delete("igmp2"), Some("another chassis")),
        (insert("Controller_Event", r#"{"chassis": "@hv1"}"#), None),
        (
            insert("Controller_Event", r#"{"chassis": "@hv2"}"#),
            Some("another chassis"),
        ),
        (delete("event2"), Some("another chassis")),
        (
            insert(
                "Learned_Route",
                r#"{"logical_port": "@lr-sw2", "datapath": "@lr"}"#,
            ),
            None,
        ),
        (
            insert(
                "Learned_Route",
                r#"{"logical_port": "@far", "datapath": "@apart"}"#,
            ),
            Some("\"far\" is not bound"),
        ),
        (update("sm1", r#"{"status": "online"}"#), None),
        (
            update("sm2", r#"{"status": "online"}"#),
            Some("\"vif2\" is not bound"),
        ),
        (update("sm21", r#"{"status": "online"}"#), None),
        (
            update("sm12", r#"{"status": "online"}"#),
            Some("that of chassis"),
        ),
        (
            update("sm1", r#"{"chassis_name": "hv1"}"#),
            Some("column chassis_name"),
        ),
        (update("bfd1", r#"{"status": "up"}"#), None),
        (update("bfd2", r#"{"status": "up"}"#), Some(far)),
    ] {
        check(&json!([operation]), expected);
    }
}

#[test]
fn the_order_of_operations_does_not_matter() {
    // A new chassis registers as OVN's controller does it: what refers to a row comes before the row.
    let operations = json!([
        {"op": "insert", "table": "Chassis_Private", "row": {"name": "hv3", "chassis": ["named-uuid", "c"]}},
        {"op": "insert", "table": "Chassis", "uuid-name": "c", "row": {"name": "hv3", "encaps": ["named-uuid", "e"]}},
        {"op": "insert", "table": "Encap", "uuid-name": "e", "row": {"chassis_name": "hv3"}},
    ]);
    let register = |name: &str| {
        let caller = Caller::new(Role::Chassis, name);
        World::new().execute(&caller, operations.clone())
    };
    assert!(register("hv3").is_ok());
    assert!(register("hv1").is_err());
    assert!(register("").is_err());
    // Giving up a port and saying that it is down may be two operations.
    let release = update("vif1", r#"{"chassis": ["set", []]}"#);
    let down = update("vif1", r#"{"up": false}"#);
    check(&json!([release, down]), None);
    check(&json!([down, release]), None);
    // What comes and goes within a transaction has never been.
    check(
        &json!([
            update("vif1", r#"{"up": true}"#),
            update("vif2", r#"{"up": true}"#)
        ]),
        Some("column up"),
    );
}

#[test]
fn what_is_not_listed_is_denied() {
    for (operation, expected) in [
        (
            json!({"op": "select", "table": "Connection", "where": []}),
            "select table Connection",
        ),
        (
            json!({"op": "select", "table": "SSL", "where": []}),
            "select table SSL",
        ),
        (
            json!({"op": "wait", "table": "Connection", "where": [], "columns": [], "until": "==", "rows": []}),
            "wait table Connection",
        ),
        (insert("Datapath_Binding", "{}"), "may not insert rows"),
        (update("sw1", "{}"), "the role may only read it"),
        (delete("sw1"), "may not delete rows"),
        (
            json!({"op": "assert", "lock": "ovn_northd"}),
            "assert: the role may not use locks",
        ),
    ] {
        check(&json!([operation]), Some(expected));
    }
    let unknown = Caller::new(Role::from_name("typo"), "hv1");
    let select = json!([{"op": "select", "table": "Chassis", "where": []}]);
    assert!(World::new().execute(&unknown, select).is_err());
}
