//! The networks of the benchmarks: switches full of ports, each with a MAC address, an IP address and port security.

mod routers;
mod services;

use std::path::Path;

use anyhow::{Context, Result};
use rig::ovsdb::Client;
use serde_json::{Value, json};

use super::{Burden, Topology};

/// The northbound database's name.
pub const NORTHBOUND: &str = "OVN_Northbound";

/// A network being built and changed.
pub struct Network {
    client: Client,
    /// The row of every switch.
    switches: Vec<String>,
    /// The row of every port that was there from the beginning.
    ports: Vec<String>,
    ports_per_switch: usize,
    nb_cfg: i64,
}

impl Network {
    /// Describes `switches` of `ports_per_switch` each in an empty northbound, and asks for `sb_cfg` 1.
    pub fn describe(socket: &Path, switches: usize, ports_per_switch: usize) -> Result<Self> {
        let mut client = Client::connect(socket)?;
        client.transact(
            NORTHBOUND,
            vec![json!({"op": "insert", "table": "NB_Global", "row": {"nb_cfg": 1}})],
        )?;
        let mut network = Self {
            client,
            switches: Vec::new(),
            ports: Vec::new(),
            ports_per_switch,
            nb_cfg: 1,
        };
        for switch in 0..switches {
            let uuid = network.add_switch(switch)?;
            network.switches.push(uuid);
        }
        network
            .client
            .monitor(NORTHBOUND, "NB_Global", &["sb_cfg"])?;
        Ok(network)
    }

    /// Adds routers, and what else there is, as asked for.
    pub fn add_all(&mut self, topology: Topology, burden: Burden) -> Result<()> {
        if topology != Topology::Switches {
            self.add_routers(topology == Topology::K8s)?;
        }
        if burden.load_balancers > 0 {
            self.add_load_balancers(burden.load_balancers)?;
        }
        if burden.acls > 0 {
            self.add_acls(burden.acls)?;
        }
        Ok(())
    }

    /// The newest `nb_cfg`.
    pub fn nb_cfg(&self) -> i64 {
        self.nb_cfg
    }

    /// Waits until northd has confirmed the newest `nb_cfg`.
    pub fn wait_compiled(&mut self) -> Result<()> {
        let wanted = self.nb_cfg;
        self.client.wait_for_update("sb_cfg", |update| {
            let rows = update["NB_Global"].as_object()?;
            rows.values()
                .any(|row| row["new"]["sb_cfg"] == wanted)
                .then_some(())
        })
    }

    /// Changes nothing, and asks for the next `sb_cfg`, as if it were the change of that number.
    pub fn confirm(&mut self, _: usize) -> Result<()> {
        let next = self.next();
        self.client.transact(NORTHBOUND, vec![next]).map(drop)
    }

    /// Adds one more port to the first switch and asks for the next `sb_cfg`: the port's row.
    pub fn add_port(&mut self, number: usize) -> Result<String> {
        let port = insert_port(0, self.ports_per_switch + number);
        let link = self.mutate_ports("insert", &json!(["named-uuid", port["uuid-name"]]));
        let next = self.next();
        let results = self.client.transact(NORTHBOUND, vec![port, link, next])?;
        uuid_of(&results[0])
    }

    /// Removes a port of the first switch and asks for the next `sb_cfg`.
    pub fn remove_port(&mut self, port: &str) -> Result<()> {
        let unlink = self.mutate_ports("delete", &json!(["uuid", port]));
        let next = self.next();
        self.client
            .transact(NORTHBOUND, vec![unlink, next])
            .map(drop)
    }

    /// Adds a port group of all ports and an address set of as many addresses, and asks for the next `sb_cfg`.
    pub fn add_large_sets(&mut self) -> Result<()> {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|port| json!(["uuid", port]))
            .collect();
        let addresses: Vec<String> = (0..ports.len()).map(address_of_set).collect();
        let group = json!({"name": LARGE, "ports": ["set", ports]});
        let set = json!({"name": LARGE_SET, "addresses": ["set", addresses]});
        let next = self.next();
        let operations = vec![
            json!({"op": "insert", "table": "Port_Group", "row": group}),
            json!({"op": "insert", "table": "Address_Set", "row": set}),
            next,
        ];
        self.client.transact(NORTHBOUND, operations).map(drop)
    }

    /// Lets an address that is not in the large set join it (`insert`) or leave it again (`delete`), and asks for the next
    /// `sb_cfg`.
    pub fn change_set(&mut self, mutator: &str, number: usize) -> Result<()> {
        let address = json!(address_of_set(self.ports.len() + number));
        self.mutate_large("Address_Set", "addresses", mutator, &address)
    }

    /// Lets a port leave the large group (`delete`) or join it again (`insert`), and asks for the next `sb_cfg`.
    pub fn change_group(&mut self, mutator: &str, number: usize) -> Result<()> {
        let port = json!(["uuid", self.ports[number % self.ports.len()]]);
        self.mutate_large("Port_Group", "ports", mutator, &port)
    }

    fn mutate_large(
        &mut self,
        table: &str,
        column: &str,
        mutator: &str,
        member: &Value,
    ) -> Result<()> {
        let name = if table == "Port_Group" {
            LARGE
        } else {
            LARGE_SET
        };
        let change = json!({
            "op": "mutate",
            "table": table,
            "where": [["name", "==", name]],
            "mutations": [[column, mutator, ["set", [member]]]],
        });
        let next = self.next();
        self.client
            .transact(NORTHBOUND, vec![change, next])
            .map(drop)
    }

    fn add_switch(&mut self, switch: usize) -> Result<String> {
        let mut operations: Vec<Value> = (0..self.ports_per_switch)
            .map(|port| insert_port(switch, port))
            .collect();
        let ports: Vec<Value> = operations
            .iter()
            .map(|port| json!(["named-uuid", port["uuid-name"]]))
            .collect();
        let row = json!({"name": format!("sw{switch}"), "ports": ["set", ports]});
        operations.push(json!({"op": "insert", "table": "Logical_Switch", "row": row}));
        let results = self.client.transact(NORTHBOUND, operations)?;
        for port in &results[..self.ports_per_switch] {
            self.ports.push(uuid_of(port)?);
        }
        uuid_of(results.last().context("an insert has a result")?)
    }

    fn mutate_ports(&self, mutator: &str, port: &Value) -> Value {
        json!({
            "op": "mutate",
            "table": "Logical_Switch",
            "where": [["_uuid", "==", ["uuid", self.switches[0]]]],
            "mutations": [["ports", mutator, ["set", [port]]]],
        })
    }

    fn next(&mut self) -> Value {
        self.nb_cfg += 1;
        json!({"op": "update", "table": "NB_Global", "where": [], "row": {"nb_cfg": self.nb_cfg}})
    }
}

/// The names of the large group and the large set.
const LARGE: &str = "large";
const LARGE_SET: &str = "large_set";

/// An address of the large set.
fn address_of_set(number: usize) -> String {
    let [.., a, b, c] = number.to_be_bytes();
    format!("172.{a}.{b}.{c}")
}

/// The name of a port.
pub fn port_name(switch: usize, port: usize) -> String {
    format!("sw{switch}-p{port}")
}

/// The MAC address and the IP address of a port, as its `addresses` say them.
pub fn port_addresses(switch: usize, port: usize) -> String {
    let [.., s1, s0] = switch.to_be_bytes();
    let [.., p1, p0] = port.to_be_bytes();
    format!(
        "02:00:{s1:02x}:{s0:02x}:{p1:02x}:{p0:02x} 10.{}.{p1}.{}",
        switch % 256,
        p0
    )
}

/// The MAC address of the port of the router that connects all, in a switch.
pub fn router_address(switch: usize) -> String {
    routers::mac(1, switch)
}

fn insert_port(switch: usize, port: usize) -> Value {
    let addresses = port_addresses(switch, port);
    let row = json!({"name": port_name(switch, port), "addresses": addresses, "port_security": addresses});
    json!({"op": "insert", "table": "Logical_Switch_Port", "uuid-name": format!("p{port}"), "row": row})
}

/// The row that an insert has made.
pub fn uuid_of(result: &Value) -> Result<String> {
    Ok(result["uuid"][1]
        .as_str()
        .with_context(|| format!("an insert gave {result}"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!(port_addresses(0, 1), "02:00:00:00:00:01 10.0.0.1");
        assert_eq!(port_addresses(249, 300), "02:00:00:f9:01:2c 10.249.1.44");
    }
}
