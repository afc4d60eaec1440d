//! The switch of this machine: what it has counted, and what its ports are.

use std::collections::HashMap;
use std::sync::Arc;

use daemon::place;
use ovsdb::{Atom, Remote, Row, Uuid};

use super::connection::{Reader, wrong};
use super::counters::Counters;
use crate::error::{CommandError, Outcome, fail};

/// Where a tunnel's port says whose it is, as `CHASSIS@REMOTE%LOCAL`.
const TUNNEL_OF: &str = "ovn-chassis-id";

/// What it has counted.
pub fn counters(switch: &str) -> Outcome<Counters> {
    let ask = |command: &str| ofctl(command, switch);
    let (flows, tables) = (ask("dump-flows")?, ask("dump-tables")?);
    Ok(Counters::read(&flows, &tables, &ask("meter-stats")?))
}

/// What its ports have counted, as `ovs-ofctl dump-ports` prints it.
pub fn ports(switch: &str) -> Outcome<String> {
    ofctl("dump-ports", switch)
}

fn ofctl(command: &str, switch: &str) -> Outcome<String> {
    let told = crate::ofctl::ask(command, switch);
    told.map_err(|why| CommandError::Failed(format!("{switch}: {command} failed: {why}")))
}

/// The chassis in `CHASSIS@REMOTE%LOCAL`.
fn chassis_of(text: &str) -> String {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    name.to_owned()
}

/// An interface of the integration bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The logical port that it is.
    pub id: Option<String>,
    /// The chassis to which it is a tunnel.
    pub chassis: Option<String>,
}

/// The interfaces on the integration bridge by their OpenFlow ports; of the switch whose database is given, else of this machine.
pub(crate) fn interfaces(reader: &Reader, given: Option<&str>) -> Outcome<HashMap<u64, Interface>> {
    let default = || {
        let socket = place::switch_run_dir().join("db.sock");
        format!("unix:{}", socket.display())
    };
    let remote = given.map_or_else(default, str::to_owned);
    let remotes = Remote::parse_list(&remote).map_err(|error| wrong(&error))?;
    let schema = Arc::new(reader.schema(&remotes, "Open_vSwitch")?);
    let names = ["Open_vSwitch", "Bridge", "Port", "Interface"];
    let indexes: Option<Vec<usize>> = names
        .map(|name| schema.table_index(name))
        .into_iter()
        .collect();
    let Some(indexes) = indexes else {
        return fail(format!("{remote}: this is no database of a switch"));
    };
    let client = reader.connect(Arc::clone(&schema), &remote, &indexes)?;
    let tables = client.tables();
    let column = |table: usize, row: &Row, name: &str| {
        let index = schema.tables[table].column_index(name);
        index.map_or_else(ovsdb::Datum::empty_set, |index| row.get(index).clone())
    };
    let [vswitch, bridge, port, interface] = [indexes[0], indexes[1], indexes[2], indexes[3]];
    let of_switch = tables.table(vswitch).iter().next();
    let integration = of_switch.and_then(|(_, row)| {
        let ids = column(vswitch, row, "external_ids");
        ids.get_str("ovn-bridge").map(str::to_owned)
    });
    let integration = integration.unwrap_or_else(|| "br-int".to_owned());
    let named = |row: &Row| {
        let name = column(bridge, row, "name");
        name.scalar()
            .and_then(|name| name.as_str().map(str::to_owned))
    };
    let mut bridges = tables.table(bridge).iter();
    let Some((_, found)) = bridges.find(|(_, row)| named(row).as_deref() == Some(&integration))
    else {
        return fail(format!("{remote}: there is no bridge {integration}"));
    };
    let mut by_port = HashMap::new();
    for port_uuid in uuids(&column(bridge, found, "ports")) {
        let Some(row) = tables.get(port, port_uuid) else {
            continue;
        };
        let owner = column(port, row, "external_ids");
        let chassis = owner.get_str(TUNNEL_OF).map(chassis_of);
        for uuid in uuids(&column(port, row, "interfaces")) {
            let Some(row) = tables.get(interface, uuid) else {
                continue;
            };
            let number = column(interface, row, "ofport");
            let number = number.scalar().and_then(Atom::as_integer);
            let name = column(interface, row, "name");
            let name = name
                .scalar()
                .and_then(|name| name.as_str().map(str::to_owned));
            let ids = column(interface, row, "external_ids");
            let id = ids.get_str("iface-id").map(str::to_owned);
            if let (Some(number), Some(name)) = (number.and_then(|n| u64::try_from(n).ok()), name) {
                let chassis = chassis.clone();
                by_port.insert(number, Interface { name, id, chassis });
            }
        }
    }
    Ok(by_port)
}

/// The references of a column.
fn uuids(datum: &ovsdb::Datum) -> Vec<Uuid> {
    let elements = datum.atoms().iter();
    elements.filter_map(Atom::as_uuid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_a_set() {
        let one = Uuid::from_u128(1);
        let two = Uuid::from_u128(2);
        let atoms = [one, two].map(Atom::Uuid);
        assert_eq!(uuids(&ovsdb::Datum::set(atoms)), [one, two]);
        assert_eq!(uuids(&ovsdb::Datum::One(Atom::Uuid(one))), [one]);
        assert_eq!(chassis_of("hv1@tcp:10.0.0.1:6642%10.0.0.2"), "hv1");
        assert_eq!(chassis_of("hv1"), "hv1");
    }
}
