//! Southbound rows in words, by the cookies that chassis give their OpenFlow flows: the first 32 bits of a row's UUID.

use std::collections::HashMap;

use ovsdb::{Table, Uuid};
use replica::Tables;
use sb_db::tables as sb;

/// The tables of the southbound that a controller makes OpenFlow flows of, and those that say what they mean.
pub const TABLES: [usize; 8] = [
    sb::LogicalFlow::INDEX,
    sb::PortBinding::INDEX,
    sb::MacBinding::INDEX,
    sb::MulticastGroup::INDEX,
    sb::Chassis::INDEX,
    sb::LoadBalancer::INDEX,
    sb::DatapathBinding::INDEX,
    sb::LogicalDpGroup::INDEX,
];

/// How many of [`TABLES`] have cookies.
const WITH_COOKIES: usize = 6;

/// The rows that cookies mean.
#[derive(Debug, Default)]
pub struct Records(HashMap<u64, Vec<(usize, Uuid)>>);

/// A row in words, and the northbound row that it is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The table.
    table: usize,
    /// What it is, a line each.
    pub lines: Vec<String>,
    /// The start of a northbound UUID.
    pub hint: Option<String>,
}

impl Record {
    /// Whether two rows are of one table.
    pub fn is_like(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl Records {
    /// Those of a southbound.
    pub fn new(tables: &Tables) -> Self {
        let mut found: HashMap<u64, Vec<(usize, Uuid)>> = HashMap::new();
        for table in &TABLES[..WITH_COOKIES] {
            for (uuid, _) in tables.table(*table).iter() {
                let cookie = u64::from(uuid.as_fields().0);
                found.entry(cookie).or_default().push((*table, uuid));
            }
        }
        Self(found)
    }

    /// The rows that a cookie means, in the order of [`TABLES`].
    pub fn find(&self, tables: &Tables, cookie: u64) -> Vec<Record> {
        let mut found = self.0.get(&cookie).cloned().unwrap_or_default();
        found.sort_by_key(|(table, _)| TABLES.iter().position(|known| known == table));
        found
            .into_iter()
            .filter_map(|(table, uuid)| describe(tables, table, uuid))
            .collect()
    }
}

fn describe(tables: &Tables, table: usize, uuid: Uuid) -> Option<Record> {
    let mut hint = None;
    let lines = match table {
        sb::LogicalFlow::INDEX => {
            let row: sb::LogicalFlow = tables.get_as(uuid)?;
            hint = row.external_ids.get("stage-hint").map(ToString::to_string);
            logical_flow(tables, &row)
        }
        sb::PortBinding::INDEX => {
            let row: sb::PortBinding = tables.get_as(uuid)?;
            vec![
                of_datapath(tables, row.datapath),
                format!(
                    "Port Binding: logical_port \"{}\", tunnel_key {}, {}",
                    row.logical_port,
                    row.tunnel_key,
                    row.chassis
                        .map_or_else(String::new, |uuid| chassis(tables, uuid))
                ),
            ]
        }
        sb::MacBinding::INDEX => {
            let row: sb::MacBinding = tables.get_as(uuid)?;
            let (ip, port, mac) = (&row.ip, &row.logical_port, &row.mac);
            vec![
                of_datapath(tables, row.datapath),
                format!("MAC Binding: ip \"{ip}\", logical_port \"{port}\", mac \"{mac}\""),
            ]
        }
        sb::MulticastGroup::INDEX => {
            let row: sb::MulticastGroup = tables.get_as(uuid)?;
            let ports = row.ports.iter().filter_map(|port| {
                let port: sb::PortBinding = tables.get_as(*port)?;
                Some(port.logical_port.to_string())
            });
            let ports: Vec<String> = ports.collect();
            vec![
                of_datapath(tables, row.datapath),
                format!(
                    "Multicast Group: name \"{}\", tunnel_key {} ports: ({})",
                    row.name,
                    row.tunnel_key,
                    ports.join(", ")
                ),
            ]
        }
        sb::Chassis::INDEX => vec![format!("Chassis: {}", chassis(tables, uuid))],
        sb::LoadBalancer::INDEX => {
            let row: sb::LoadBalancer = tables.get_as(uuid)?;
            let vips = row.vips.iter().map(|(vip, of)| format!("'{vip}': '{of}'"));
            let vips: Vec<String> = vips.collect();
            let protocol = row.protocol.iter().map(|name| format!("'{name}'"));
            let protocol: Vec<String> = protocol.collect();
            vec![format!(
                "Load Balancer: {} protocol [{}] vips {{{}}}",
                row.name,
                protocol.join(", "),
                vips.join(", ")
            )]
        }
        _ => return None,
    };
    Some(Record { table, lines, hint })
}

fn logical_flow(tables: &Tables, row: &sb::LogicalFlow) -> Vec<String> {
    let group = row.logical_dp_group;
    let group: Option<sb::LogicalDpGroup> = group.and_then(|group| tables.get_as(group));
    let of_group = group.into_iter().flat_map(|group| group.datapaths);
    let mut lines = vec!["Logical datapaths:".to_owned()];
    for uuid in row.logical_datapath.into_iter().chain(of_group) {
        let datapath = datapath(tables, uuid);
        lines.push(format!("    {datapath} [{}]", row.pipeline));
    }
    let stage = row.external_ids.get("stage-name");
    lines.push(format!(
        "Logical flow: table={} ({}), priority={}, match=({}), actions=({})",
        row.table_id,
        stage.map_or("None", |stage| &**stage),
        row.priority,
        row.r#match.trim_matches('"'),
        row.actions.trim_matches('"')
    ));
    lines
}

fn of_datapath(tables: &Tables, uuid: Uuid) -> String {
    format!("Logical datapath: {}", datapath(tables, uuid))
}

fn datapath(tables: &Tables, uuid: Uuid) -> String {
    let row: Option<sb::DatapathBinding> = tables.get_as(uuid);
    let name = row.and_then(|row| row.external_ids.get("name").cloned());
    let name = name.as_deref().unwrap_or("None");
    format!("\"{name}\" ({uuid})")
}

fn chassis(tables: &Tables, uuid: Uuid) -> String {
    let row: Option<sb::Chassis> = tables.get_as(uuid);
    row.map_or_else(String::new, |row| {
        let (name, host) = (&row.name, &row.hostname);
        format!("chassis-name \"{name}\", chassis-str \"{host}\"")
    })
}
