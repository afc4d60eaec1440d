//! A chassis: from the start of its controller until everything is installed, a local port plugged in, a remote port
//! added, with a real `ovs-vswitchd` whose devices are dummies.
//!
//! A compiler describes the network in the southbound once and is then stopped, so that what is compared is the
//! controllers. What it would do for one more remote port is done by copying what it did for another. For the changes that are
//! more than a few rows, of load balancers, rules and address sets, the compiler runs again, and what is measured is the
//! controller's processor time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use rig::chassis::start_switch_database;
use rig::implementation::{
    Database, Door, Implementation, Side, place, start_controller, start_northd,
};
use rig::ovsdb::Client;
use rig::process::{Daemon, control_socket};
use rig::run::Run;
use serde_json::{Map, Value, json};

use super::network::{Network, port_addresses, port_name, uuid_of};
use super::northd::repeat;
use super::report::{Column, Number, median, print};
use super::{Burden, Topology, Whose, settled_cpu_time};

const PORTS_PER_SWITCH: usize = 50;
const SOUTHBOUND: &str = "OVN_Southbound";
const SWITCH_DATABASE: &str = "Open_vSwitch";
/// The port, behind the local ones, that another chassis has.
const REMOTE_PORT: usize = PORTS_PER_SWITCH;

/// A network: how it is connected, how many switches, what else.
type Kind = (Topology, usize, Burden);

/// Measures, and prints one table.
pub fn run(network: Kind, changes: usize, whose: Whose) -> Result<()> {
    use Implementation::{Ovn, Weft};
    let (topology, switches, burden) = network;
    println!(
        "chassis: southbound on OVN's ovsdb-server; {topology:?}, {switches} switches of {PORTS_PER_SWITCH} ports, one of them \
         local, {} load balancers, {} rules",
        burden.load_balancers, burden.acls
    );
    println!("times of single changes are medians of {changes}; CPU is the controller's own");
    let mut columns = Vec::new();
    for (name, northd, controller) in [
        ("OVN on OVN's flows", Ovn, Ovn),
        ("Weft on OVN's flows", Ovn, Weft),
        ("Weft on Weft's flows", Weft, Weft),
    ] {
        if whose.includes(controller) {
            columns.push((name, measure(northd, controller, network, changes)?));
        }
    }
    print("controller", &columns);
    Ok(())
}

fn measure(
    northd: Implementation,
    controller: Implementation,
    network: Kind,
    changes: usize,
) -> Result<Column> {
    let dir = tempfile::tempdir()?;
    let mut southbound = Southbound::compile(dir.path(), northd, network, changes)?;
    let mut switch = Switch::start(dir.path(), &southbound.remotes[1])?;
    for port in 0..PORTS_PER_SWITCH {
        switch.plug(&port_name(0, port))?;
    }

    let local: BTreeSet<String> = (0..PORTS_PER_SWITCH)
        .map(|port| port_name(0, port))
        .collect();
    let began = Instant::now();
    let (daemon, started) = std::thread::scope(|scope| {
        let started = scope.spawn(|| southbound.wait_started(local).map(|()| began.elapsed()));
        let daemon = start_controller(controller, &switch.dir, None, &switch.remote)?;
        anyhow::Ok((daemon, started.join().expect("waiting does not panic")?))
    })?;
    let start_cpu = settled_cpu_time(&daemon)?;
    let memory = daemon.peak_memory()?;
    let flows = switch.count_flows()?;

    let mut plugged = Vec::new();
    for number in 0..changes {
        let port = port_name(0, REMOTE_PORT + 1 + number);
        let began = Instant::now();
        switch.plug(&port)?;
        southbound.wait_up(&port)?;
        plugged.push(began.elapsed());
    }

    let (added, added_cpu) = repeat(&daemon, changes, |number| {
        let operations = southbound.remote_port(number)?;
        southbound.client.transact(SOUTHBOUND, operations)?;
        southbound.wait_installed()
    })?;
    let mut column = vec![
        ("start to hv_cfg, all ports up", Number::Time(started)),
        ("start: CPU", Number::Time(start_cpu)),
        ("start: peak memory", Number::Memory(memory)),
        ("start: OpenFlow flows", Number::Count(flows)),
        ("local port plugged to up", Number::Time(median(plugged))),
        ("remote port added to hv_cfg", Number::Time(added)),
        ("remote port added: CPU", Number::Time(added_cpu)),
    ];
    let (_, _, burden) = network;
    if burden.load_balancers > 0 || burden.acls > 0 {
        let _northd = southbound.compile_again(dir.path(), northd)?;
        let mut changed = |change: fn(&mut Network, usize) -> Result<()>| {
            let cpu = repeat(&daemon, changes, |number| southbound.change(change, number));
            cpu.map(|(_, cpu)| Number::Time(cpu))
        };
        if burden.load_balancers > 0 {
            let added = changed(Network::add_load_balancer)?;
            column.push(("a load balancer added on all: CPU", added));
            let less = changed(Network::remove_backend)?;
            column.push(("a backend of it less: CPU", less));
        }
        if burden.acls > 0 {
            let added = changed(Network::add_acl)?;
            column.push(("a rule added for all: CPU", added));
        }
    }
    Ok(column)
}

/// The southbound, compiled and left to the controller.
struct Southbound {
    client: Client,
    /// Where the northbound and the southbound are.
    remotes: [String; 2],
    network: Network,
    /// The newest configuration, which the controller confirms.
    nb_cfg: i64,
    /// What was compiled for the remote port.
    pattern: Pattern,
    _databases: [Database; 2],
}

impl Southbound {
    fn compile(
        dir: &Path,
        northd: Implementation,
        (topology, switches, burden): Kind,
        spare_ports: usize,
    ) -> Result<Self> {
        let start = |side| Database::start(Implementation::Ovn, side, dir, None, None);
        let databases = [start(Side::Northbound)?, start(Side::Southbound)?];
        let mut network = Network::describe(&databases[0].socket(), switches, PORTS_PER_SWITCH)?;
        network.add_all(topology, burden)?;
        // The remote port, and those that will be plugged in one by one.
        for number in 0..=spare_ports {
            network.add_port(number)?;
        }
        let remotes = [0, 1].map(|side: usize| databases[side].local_remote(Door::Ovsdb));
        let mut northd = start_northd(northd, dir, None, &remotes[0], &remotes[1])?;
        network.wait_compiled()?;
        northd.terminate()?;

        let mut client = Client::connect(&databases[1].socket())?;
        bind_remote_port(&mut client)?;
        let pattern = Pattern::read(&mut client)?;
        let global = select(&mut client, "SB_Global", &json!([]))?;
        let nb_cfg = global
            .first()
            .and_then(|row| row["nb_cfg"].as_i64())
            .context("SB_Global has no nb_cfg")?;
        let columns = json!({
            "Chassis_Private": {"columns": ["nb_cfg"]},
            "Port_Binding": {"columns": ["logical_port", "up"]},
        });
        client.request("monitor", &json!([SOUTHBOUND, "bench", columns]))?;
        Ok(Self {
            client,
            remotes,
            network,
            nb_cfg,
            pattern,
            _databases: databases,
        })
    }

    /// Has the compiler run again, which takes back the remote ports that it knows nothing of.
    fn compile_again(&mut self, dir: &Path, northd: Implementation) -> Result<Daemon> {
        let [north, south] = &self.remotes;
        let daemon = start_northd(northd, dir, None, north, south)?;
        self.change(Network::confirm, 0)?;
        Ok(daemon)
    }

    /// Makes a change of the northbound, and waits until the controller has confirmed it.
    fn change(
        &mut self,
        change: fn(&mut Network, usize) -> Result<()>,
        number: usize,
    ) -> Result<()> {
        change(&mut self.network, number)?;
        self.nb_cfg = self.network.nb_cfg();
        self.wait_installed()
    }

    /// Waits until the controller has confirmed the newest configuration and all `ports` are up.
    fn wait_started(&mut self, mut ports: BTreeSet<String>) -> Result<()> {
        let (nb_cfg, mut confirmed) = (self.nb_cfg, false);
        self.client
            .wait_for_update("the controller's start", |update| {
                confirmed |= confirms(update, nb_cfg);
                for port in ports_up(update) {
                    ports.remove(port);
                }
                (confirmed && ports.is_empty()).then_some(())
            })
    }

    fn wait_up(&mut self, port: &str) -> Result<()> {
        self.client.wait_for_update("a port to be up", |update| {
            ports_up(update).any(|up| up == port).then_some(())
        })
    }

    fn wait_installed(&mut self) -> Result<()> {
        let nb_cfg = self.nb_cfg;
        self.client
            .wait_for_update("hv_cfg", |update| confirms(update, nb_cfg).then_some(()))
    }

    /// The operations that add one more remote port and ask for confirmation.
    fn remote_port(&mut self, number: usize) -> Result<Vec<Value>> {
        self.nb_cfg += 1;
        let mut operations = self.pattern.instance(number);
        operations.push(json!({"op": "update", "table": "SB_Global", "where": [], "row": {"nb_cfg": self.nb_cfg}}));
        Ok(operations)
    }
}

/// What a compiler has written for one port, to be written again for others.
struct Pattern {
    flows: Vec<Map<String, Value>>,
    binding: Map<String, Value>,
    /// The multicast groups that hold the port.
    groups: Vec<Value>,
    next_key: i64,
}

impl Pattern {
    fn read(client: &mut Client) -> Result<Self> {
        let name = port_name(0, REMOTE_PORT);
        let addresses = port_addresses(0, REMOTE_PORT);
        let words: Vec<&str> = addresses.split(' ').chain([name.as_str()]).collect();
        let mentions = |row: &Map<String, Value>| {
            ["match", "actions"].iter().any(|column| {
                row[*column]
                    .as_str()
                    .is_some_and(|text| words.iter().any(|word| text.contains(word)))
            })
        };
        let mut flows = select(client, "Logical_Flow", &json!([]))?;
        flows.retain(mentions);
        let bindings = select(client, "Port_Binding", &json!([]))?;
        let next_key = bindings
            .iter()
            .filter_map(|row| row["tunnel_key"].as_i64())
            .max()
            .unwrap_or_default()
            + 1;
        let binding = bindings
            .into_iter()
            .find(|row| row["logical_port"] == name)
            .context("the remote port is unknown")?;
        let groups = select(
            client,
            "Multicast_Group",
            &json!([["ports", "includes", binding["_uuid"]]]),
        )?;
        let groups = groups
            .into_iter()
            .map(|group| group["_uuid"].clone())
            .collect();
        Ok(Self {
            flows,
            binding,
            groups,
            next_key,
        })
    }

    fn instance(&mut self, number: usize) -> Vec<Value> {
        let (old_name, old_addresses) = (port_name(0, REMOTE_PORT), port_addresses(0, REMOTE_PORT));
        // Of a switch that is not there, so that no other port has them.
        let (name, addresses) = (format!("remote{number}"), port_addresses(200, number));
        let mut pairs: Vec<(&str, &str)> =
            old_addresses.split(' ').zip(addresses.split(' ')).collect();
        pairs.push((&old_name, &name));
        let mut operations = Vec::new();
        for flow in &self.flows {
            operations.push(insert("Logical_Flow", flow, &pairs));
        }
        let mut binding = self.binding.clone();
        binding.insert("tunnel_key".to_owned(), json!(self.next_key));
        self.next_key += 1;
        let mut binding = insert("Port_Binding", &binding, &pairs);
        binding["uuid-name"] = json!("binding");
        operations.push(binding);
        for group in &self.groups {
            operations.push(json!({
                "op": "mutate",
                "table": "Multicast_Group",
                "where": [["_uuid", "==", group]],
                "mutations": [["ports", "insert", ["set", [["named-uuid", "binding"]]]]],
            }));
        }
        operations
    }
}

/// The insertion of a row like `row`, with words replaced wherever they stand.
fn insert(table: &str, row: &Map<String, Value>, replacements: &[(&str, &str)]) -> Value {
    let mut row = row.clone();
    row.retain(|column, _| !column.starts_with('_'));
    row.values_mut()
        .for_each(|value| replace(value, replacements));
    json!({"op": "insert", "table": table, "row": row})
}

fn replace(value: &mut Value, replacements: &[(&str, &str)]) {
    match value {
        Value::String(text) => {
            for (old, new) in replacements {
                *text = text.replace(old, new);
            }
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| replace(value, replacements)),
        _ => {}
    }
}

fn select(client: &mut Client, table: &str, condition: &Value) -> Result<Vec<Map<String, Value>>> {
    let results = client.transact(
        SOUTHBOUND,
        vec![json!({"op": "select", "table": table, "where": condition})],
    )?;
    let rows = results[0]["rows"]
        .as_array()
        .context("a select gives rows")?;
    Ok(rows.iter().filter_map(Value::as_object).cloned().collect())
}

/// Registers a chassis that is not there, and lets it have the remote port.
fn bind_remote_port(client: &mut Client) -> Result<()> {
    let encap = json!({"type": "geneve", "ip": "192.168.77.3", "chassis_name": "remote"});
    let chassis = json!({"name": "remote", "encaps": ["named-uuid", "encap"]});
    let binding = json!({"chassis": ["named-uuid", "chassis"], "up": true});
    let condition = json!([["logical_port", "==", port_name(0, REMOTE_PORT)]]);
    let results = client.transact(
        SOUTHBOUND,
        vec![
            json!({"op": "insert", "table": "Encap", "uuid-name": "encap", "row": encap}),
            json!({"op": "insert", "table": "Chassis", "uuid-name": "chassis", "row": chassis}),
            json!({"op": "update", "table": "Port_Binding", "where": condition, "row": binding}),
        ],
    )?;
    uuid_of(&results[1]).map(drop)
}

fn confirms(update: &Value, nb_cfg: i64) -> bool {
    let rows = update["Chassis_Private"].as_object();
    rows.is_some_and(|rows| rows.values().any(|row| row["new"]["nb_cfg"] == nb_cfg))
}

fn ports_up(update: &Value) -> impl Iterator<Item = &str> {
    let rows = update["Port_Binding"]
        .as_object()
        .into_iter()
        .flat_map(Map::values);
    rows.filter(|row| row["new"]["up"] == true)
        .filter_map(|row| row["new"]["logical_port"].as_str())
}

/// Open vSwitch with dummy devices.
struct Switch {
    client: Client,
    dir: std::path::PathBuf,
    remote: String,
    bridge: Value,
    _daemons: [Daemon; 2],
}

impl Switch {
    fn start(parent: &Path, southbound: &str) -> Result<Self> {
        let dir = parent.join("chassis");
        std::fs::create_dir(&dir)?;
        let database = start_switch_database(&dir, None)?;
        let remote = format!("unix:{}", dir.join("db.sock").display());
        let run = Run::new("ovs-vswitchd")
            .arg(&remote)
            .args(["--enable-dummy", "--disable-system"]);
        let run = place(run, &dir, "switch", None);
        let switch = Daemon::start("switch", &dir, run, control_socket(&dir, "switch"), None)?;
        Run::new("ovs-vsctl")
            .arg(format!("--db={remote}"))
            .args(["--timeout=30", "add-br", "br-int", "--"])
            .args([
                "set",
                "Bridge",
                "br-int",
                "datapath_type=dummy",
                "fail_mode=secure",
                "--",
            ])
            .args(["set", "Open_vSwitch", ".", "external_ids:system-id=local"])
            .arg(format!("external_ids:ovn-remote=\"{southbound}\""))
            .args([
                "external_ids:ovn-encap-type=geneve",
                "external_ids:ovn-encap-ip=192.168.77.2",
            ])
            .arg("external_ids:ovn-bridge-datapath-type=dummy")
            .output()?;
        let mut client = Client::connect(&dir.join("db.sock"))?;
        let find = json!({"op": "select", "table": "Bridge", "where": [["name", "==", "br-int"]], "columns": ["_uuid"]});
        let found = client.transact(SWITCH_DATABASE, vec![find])?;
        let bridge = found[0]["rows"][0]["_uuid"].clone();
        Ok(Self {
            client,
            dir,
            remote,
            bridge,
            _daemons: [switch, database],
        })
    }

    /// How many flows the bridge has.
    fn count_flows(&self) -> Result<usize> {
        let management = format!("unix:{}", self.dir.join("br-int.mgmt").display());
        let told = Run::new("ovs-ofctl")
            .args(["--protocols=OpenFlow15", "dump-aggregate", &management])
            .output()?;
        let count = told.split("flow_count=").nth(1);
        let count = count.and_then(|rest| rest.split_whitespace().next());
        count
            .and_then(|count| count.parse().ok())
            .with_context(|| format!("ovs-ofctl tells no number of flows: {told}"))
    }

    /// Plugs an interface in for a logical port.
    fn plug(&mut self, port: &str) -> Result<()> {
        let interface =
            json!({"name": port, "type": "dummy", "external_ids": ["map", [["iface-id", port]]]});
        let row = json!({"name": port, "interfaces": ["named-uuid", "interface"]});
        let operations = vec![
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": interface}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": row}),
            json!({
                "op": "mutate",
                "table": "Bridge",
                "where": [["_uuid", "==", self.bridge]],
                "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]]],
            }),
            // The switch looks at its database when this number changes.
            json!({
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["next_cfg", "+=", 1]],
            }),
        ];
        self.client.transact(SWITCH_DATABASE, operations).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_written_with_other_words() {
        let flow = json!({"_uuid": ["uuid", "x"], "match": "eth.dst == 02:00:00:00:00:32", "tags": ["map", [["a", "sw0-p50"]]]});
        let row = flow.as_object().unwrap();
        let copy = insert(
            "Logical_Flow",
            row,
            &[
                ("02:00:00:00:00:32", "02:00:00:00:00:01"),
                ("sw0-p50", "r1"),
            ],
        );
        let expected =
            json!({"match": "eth.dst == 02:00:00:00:00:01", "tags": ["map", [["a", "r1"]]]});
        assert_eq!(copy["row"], expected);
    }
}
