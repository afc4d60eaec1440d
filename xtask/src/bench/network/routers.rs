//! Routers for the networks of the benchmarks: one that connects all switches, and, as Kubernetes' networks have it, a
//! gateway router with SNAT for each switch behind a join switch.

use anyhow::Result;
use serde_json::{Value, json};

use super::{NORTHBOUND, Network};

const CLUSTER: &str = "cluster";
const JOIN: &str = "join";

impl Network {
    /// Connects all switches by one router; with gateways, it leads to a gateway router for each.
    pub fn add_routers(&mut self, has_gateways: bool) -> Result<()> {
        let mut operations = vec![insert(
            "Logical_Router",
            "cluster",
            &json!({"name": CLUSTER}),
        )];
        if has_gateways {
            operations.push(insert("Logical_Switch", "join", &json!({"name": JOIN})));
            operations.extend(link(
                "cluster",
                (CLUSTER, "0a:40:00:00:00:01", "100.64.0.1"),
                JOIN,
            ));
        }
        self.client.transact(NORTHBOUND, operations)?;
        for switch in 0..self.switches.len() {
            let mut operations = to_cluster(switch);
            if has_gateways {
                operations.extend(gateway(switch));
            }
            self.client.transact(NORTHBOUND, operations)?;
        }
        Ok(())
    }

    /// Adds a switch with a port and a port of the router that connects all, and asks for the next `sb_cfg`.
    pub fn add_routed_switch(&mut self, number: usize) -> Result<()> {
        let switch = self.switches.len() + number;
        let port = super::insert_port(switch, 1);
        let ports = json!([["named-uuid", port["uuid-name"]]]);
        let row = json!({"name": format!("sw{switch}"), "ports": ["set", ports]});
        let mut operations = vec![port, insert("Logical_Switch", "new", &row)];
        operations.extend(to_cluster(switch));
        operations.push(self.next());
        self.client.transact(NORTHBOUND, operations).map(drop)
    }

    /// Adds a route to the router that connects all, by way of the first switch, and asks for the next `sb_cfg`.
    pub fn add_route(&mut self, number: usize) -> Result<()> {
        let [.., a, b] = number.to_be_bytes();
        let prefix = format!("192.{a}.{b}.0/24");
        let row = json!({"ip_prefix": prefix, "nexthop": "10.0.0.1"});
        self.add_to(
            CLUSTER,
            ("static_routes", "Logical_Router_Static_Route"),
            &row,
        )
    }

    /// Adds a NAT rule to the first gateway router, and asks for the next `sb_cfg`.
    pub fn add_nat(&mut self, number: usize) -> Result<()> {
        let [.., a, b] = number.to_be_bytes();
        let row = json!({
            "type": "dnat_and_snat",
            "external_ip": format!("172.17.{a}.{b}"),
            "logical_ip": format!("10.0.{a}.{b}"),
        });
        self.add_to("gr0", ("nat", "NAT"), &row)
    }

    fn add_to(&mut self, router: &str, (column, table): (&str, &str), row: &Value) -> Result<()> {
        let add = mutate("Logical_Router", router, column, "new");
        let operations = vec![insert(table, "new", row), add, self.next()];
        self.client.transact(NORTHBOUND, operations).map(drop)
    }
}

/// A switch's link to the router that connects all.
fn to_cluster(switch: usize) -> Vec<Value> {
    let (mac, gateway) = (mac(1, switch), format!("10.{}.255.254", switch % 256));
    let end = (CLUSTER, mac.as_str(), gateway.as_str());
    link("switch", end, &format!("sw{switch}"))
}

/// The gateway router of a switch, its link to the join switch, and the physical network behind it.
fn gateway(switch: usize) -> Vec<Value> {
    let (router, outside) = (format!("gr{switch}"), format!("ext{switch}"));
    let (high, low) = (1 + switch / 250, 1 + switch % 250);
    let joined = format!("100.64.{high}.{low}");
    let external = format!("172.16.{high}.{low}");
    let network = format!("10.{}.0.0/16", switch % 256);
    let routes = [
        ("10.0.0.0/8", "100.64.0.1"),
        ("0.0.0.0/0", "172.16.255.254"),
    ];
    let routes = routes.map(|(prefix, hop)| json!({"ip_prefix": prefix, "nexthop": hop}));
    let nat = json!({"type": "snat", "external_ip": external, "logical_ip": network});
    let chassis = json!(["map", [["chassis", format!("chassis{switch}")]]]);
    let row = json!({
        "name": router,
        "options": chassis,
        "nat": ["named-uuid", "nat"],
        "static_routes": ["set", [["named-uuid", "inward"], ["named-uuid", "outward"]]],
    });
    let localnet = json!({
        "name": format!("{outside}-physical"),
        "type": "localnet",
        "addresses": "unknown",
        "options": ["map", [["network_name", "physnet"]]],
    });
    let back = json!({"ip_prefix": network, "policy": "src-ip", "nexthop": joined});
    let mut operations = vec![
        insert("NAT", "nat", &nat),
        insert("Logical_Router_Static_Route", "inward", &routes[0]),
        insert("Logical_Router_Static_Route", "outward", &routes[1]),
        insert("Logical_Router", "gateway", &row),
        insert("Logical_Switch_Port", "localnet", &localnet),
        insert(
            "Logical_Switch",
            "outside",
            &json!({"name": outside, "ports": ["named-uuid", "localnet"]}),
        ),
        insert("Logical_Router_Static_Route", "back", &back),
        mutate("Logical_Router", CLUSTER, "static_routes", "back"),
    ];
    let (inner, outer) = (mac(2, switch), mac(3, switch));
    operations.extend(link("inner", (&router, &inner, &joined), JOIN));
    operations.extend(link("outer", (&router, &outer, &external), &outside));
    operations
}

/// A router's port with an address of a network of 16 bits, and the port of a switch that it leads to.
fn link(id: &str, (router, mac, address): (&str, &str, &str), switch: &str) -> Vec<Value> {
    let (router_id, switch_id) = (format!("{id}r"), format!("{id}s"));
    let name = format!("{router}-{switch}");
    let end = json!({"name": name, "mac": mac, "networks": format!("{address}/16")});
    let port = json!({
        "name": format!("{switch}-{router}"),
        "type": "router",
        "addresses": "router",
        "options": ["map", [["router-port", name]]],
    });
    vec![
        insert("Logical_Router_Port", &router_id, &end),
        mutate("Logical_Router", router, "ports", &router_id),
        insert("Logical_Switch_Port", &switch_id, &port),
        mutate("Logical_Switch", switch, "ports", &switch_id),
    ]
}

/// A MAC address of a kind of router ports.
pub(super) fn mac(kind: u8, switch: usize) -> String {
    let [.., high, low] = switch.to_be_bytes();
    format!("0a:{kind:02x}:00:00:{high:02x}:{low:02x}")
}

fn insert(table: &str, id: &str, row: &Value) -> Value {
    json!({"op": "insert", "table": table, "uuid-name": id, "row": row})
}

/// Adds a row of the same transaction to a column of the row with a name.
pub(super) fn mutate(table: &str, name: &str, column: &str, id: &str) -> Value {
    json!({
        "op": "mutate",
        "table": table,
        "where": [["name", "==", name]],
        "mutations": [[column, "insert", ["set", [["named-uuid", id]]]]],
    })
}
