//! Services and rules for the networks of the benchmarks: load balancers in one group on all switches and routers, and rules that
//! track connections on a port group of all ports.

use anyhow::Result;
use serde_json::{Value, json};

use super::routers::mutate;
use super::{NORTHBOUND, Network};

const SERVICES: &str = "services";
const GUARDED: &str = "guarded";
/// So many operations a transaction.
const CHUNK: usize = 200;

impl Network {
    /// Adds so many load balancers, in one group on everything that is there.
    pub fn add_load_balancers(&mut self, count: usize) -> Result<()> {
        let group =
            json!({"op": "insert", "table": "Load_Balancer_Group", "row": {"name": SERVICES}});
        let results = self.client.transact(NORTHBOUND, vec![group])?;
        let group = super::uuid_of(&results[0])?;
        let everywhere = |table: &str| {
            let row = json!({"load_balancer_group": ["uuid", group]});
            json!({"op": "update", "table": table, "where": [], "row": row})
        };
        let operations = vec![everywhere("Logical_Switch"), everywhere("Logical_Router")];
        self.client.transact(NORTHBOUND, operations)?;
        let numbers: Vec<usize> = (0..count).collect();
        for numbers in numbers.chunks(CHUNK) {
            let operations = numbers.iter().flat_map(|number| balancer(*number, 3));
            self.client.transact(NORTHBOUND, operations.collect())?;
        }
        Ok(())
    }

    /// Adds so many rules to a port group of all ports.
    pub fn add_acls(&mut self, count: usize) -> Result<()> {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|port| json!(["uuid", port]))
            .collect();
        let row = json!({"name": GUARDED, "ports": ["set", ports]});
        let group = json!({"op": "insert", "table": "Port_Group", "row": row});
        self.client.transact(NORTHBOUND, vec![group])?;
        let numbers: Vec<usize> = (0..count).collect();
        for numbers in numbers.chunks(CHUNK) {
            let operations = numbers.iter().flat_map(|number| acl(*number));
            self.client.transact(NORTHBOUND, operations.collect())?;
        }
        Ok(())
    }

    /// Adds one more load balancer to the group, and asks for the next `sb_cfg`.
    pub fn add_load_balancer(&mut self, number: usize) -> Result<()> {
        let mut operations = balancer(MORE + number, 3).to_vec();
        operations.push(self.next());
        self.client.transact(NORTHBOUND, operations).map(drop)
    }

    /// Takes a backend from one of these, and asks for the next `sb_cfg`.
    pub fn remove_backend(&mut self, number: usize) -> Result<()> {
        let number = MORE + number;
        let change = json!({
            "op": "update",
            "table": "Load_Balancer",
            "where": [["name", "==", format!("lb{number}")]],
            "row": {"vips": vips(number, 2)},
        });
        let next = self.next();
        self.client
            .transact(NORTHBOUND, vec![change, next])
            .map(drop)
    }

    /// Adds one more rule to the port group, and asks for the next `sb_cfg`.
    pub fn add_acl(&mut self, number: usize) -> Result<()> {
        let mut operations = acl(MORE + number).to_vec();
        operations.push(self.next());
        self.client.transact(NORTHBOUND, operations).map(drop)
    }
}

/// What is added later has numbers from here on.
const MORE: usize = 20_000;

/// A load balancer with so many backends, in the group.
fn balancer(number: usize, backends: usize) -> [Value; 2] {
    let id = format!("lb{number}");
    let row = json!({"name": id, "vips": vips(number, backends), "protocol": "tcp"});
    let insert = json!({"op": "insert", "table": "Load_Balancer", "uuid-name": id, "row": row});
    let join = mutate("Load_Balancer_Group", SERVICES, "load_balancer", &id);
    [insert, join]
}

fn vips(number: usize, backends: usize) -> Value {
    let [.., a, b] = number.to_be_bytes();
    let backends: Vec<String> = (1..=backends)
        .map(|backend| format!("10.{b}.{a}.{backend}:8080"))
        .collect();
    json!(["map", [[format!("172.30.{a}.{b}:80"), backends.join(",")]]])
}

/// A rule that lets a service pass, in the port group.
fn acl(number: usize) -> [Value; 2] {
    let id = format!("acl{number}");
    let row = json!({
        "direction": "to-lport",
        "priority": 1000,
        "match": format!("outport == @{GUARDED} && tcp.dst == {}", 1 + number),
        "action": "allow-related",
    });
    let insert = json!({"op": "insert", "table": "ACL", "uuid-name": id, "row": row});
    [insert, mutate("Port_Group", GUARDED, "acls", &id)]
}
