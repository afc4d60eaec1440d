//! Northbound rows in words: what somebody wanted, by the start of a UUID as flows give it in `stage-hint`.
//!
//! The words are ovn-detrace's, for scripts read them.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::{Table, TableDefinition, Uuid};
use replica::Tables;

/// The tables of the northbound that flows may be there for.
pub const TABLES: [usize; 10] = [
    nb::Acl::INDEX,
    nb::DhcpOptions::INDEX,
    nb::ForwardingGroup::INDEX,
    nb::LogicalSwitchPort::INDEX,
    nb::LogicalRouterPort::INDEX,
    nb::LogicalRouterPolicy::INDEX,
    nb::LoadBalancer::INDEX,
    nb::Nat::INDEX,
    nb::LogicalRouterStaticRoute::INDEX,
    nb::Qos::INDEX,
];

/// The rows of those tables, by the first 32 bits of their UUIDs.
#[derive(Debug, Default)]
pub struct Intents(HashMap<u32, Vec<(usize, Uuid)>>);

/// A row in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its table.
    pub table: usize,
    /// Its UUID.
    pub uuid: Uuid,
    /// What people call it, if they do: a name, else what tells it from others.
    pub name: String,
    /// As ovn-detrace prints it.
    pub text: String,
}

impl Intents {
    /// Those of a northbound.
    pub fn new(tables: &Tables) -> Self {
        let mut found: HashMap<u32, Vec<(usize, Uuid)>> = HashMap::new();
        for table in TABLES {
            for (uuid, _) in tables.table(table).iter() {
                let start = uuid.as_fields().0;
                found.entry(start).or_default().push((table, uuid));
            }
        }
        Self(found)
    }

    /// The rows whose UUIDs start with these eight digits, in the order of [`TABLES`].
    pub fn find(&self, tables: &Tables, start: &str) -> Vec<Intent> {
        let start = u32::from_str_radix(start.get(..8).unwrap_or(start), 16);
        let found = start.ok().and_then(|start| self.0.get(&start));
        let mut found: Vec<(usize, Uuid)> = found.cloned().unwrap_or_default();
        found.sort_by_key(|(table, _)| TABLES.iter().position(|known| known == table));
        found
            .into_iter()
            .filter_map(|(table, uuid)| describe(tables, table, uuid))
            .collect()
    }
}

fn describe(tables: &Tables, table: usize, uuid: Uuid) -> Option<Intent> {
    let (name, text) = match table {
        nb::Acl::INDEX => acl(&row(tables, uuid)?),
        nb::DhcpOptions::INDEX => {
            let row: nb::DhcpOptions = row(tables, uuid)?;
            let options = map(&row.options);
            let text = format!("DHCP Options: cidr {} options ({options})", row.cidr);
            (row.cidr.to_string(), text)
        }
        nb::ForwardingGroup::INDEX => {
            let row: nb::ForwardingGroup = row(tables, uuid)?;
            let liveness = if row.liveness { "True" } else { "False" };
            let text = format!(
                "Forwarding Group: name {} vip {} vmac {} liveness {liveness} child ports ({})",
                row.name,
                row.vip,
                row.vmac,
                list(&row.child_port)
            );
            (row.name.to_string(), text)
        }
        nb::LogicalSwitchPort::INDEX => {
            let row: nb::LogicalSwitchPort = row(tables, uuid)?;
            let text = format!(
                "Logical Switch Port: {} type {} (addresses {}, dynamic addresses {}, security {}",
                row.name,
                row.r#type,
                list(&row.addresses),
                list(row.dynamic_addresses.as_slice()),
                list(&row.port_security)
            );
            (row.name.to_string(), text)
        }
        nb::LogicalRouterPort::INDEX => {
            let row: nb::LogicalRouterPort = row(tables, uuid)?;
            let text = format!(
                "Logical Router Port: {} mac {} networks {} ipv6_ra_configs {}",
                row.name,
                row.mac,
                list(&row.networks),
                map(&row.ipv6_ra_configs)
            );
            (row.name.to_string(), text)
        }
        nb::LogicalRouterPolicy::INDEX => {
            let row: nb::LogicalRouterPolicy = row(tables, uuid)?;
            let text = format!(
                "Logical Router Policy: priority {} match {} action {} nexthop {}",
                row.priority,
                row.r#match,
                row.action,
                list(row.nexthop.as_slice())
            );
            (format!("{} {}", row.priority, row.r#match), text)
        }
        nb::LoadBalancer::INDEX => {
            let row: nb::LoadBalancer = row(tables, uuid)?;
            let text = format!(
                "Load Balancer: {} protocol {} vips {} ip_port_mappings {}",
                row.name,
                list(row.protocol.as_slice()),
                map(&row.vips),
                map(&row.ip_port_mappings)
            );
            (row.name.to_string(), text)
        }
        nb::Nat::INDEX => {
            let row: nb::Nat = row(tables, uuid)?;
            let text = format!(
                "NAT: external IP {} external_mac {} logical_ip {} logical_port {} type {}",
                row.external_ip,
                list(row.external_mac.as_slice()),
                row.logical_ip,
                list(row.logical_port.as_slice()),
                row.r#type
            );
            (format!("{} {}", row.r#type, row.external_ip), text)
        }
        nb::LogicalRouterStaticRoute::INDEX => {
            let row: nb::LogicalRouterStaticRoute = row(tables, uuid)?;
            let text = format!(
                "Route: {} via {} (port {}), policy={}",
                row.ip_prefix,
                row.nexthop,
                list(row.output_port.as_slice()),
                list(row.policy.as_slice())
            );
            (format!("{} via {}", row.ip_prefix, row.nexthop), text)
        }
        nb::Qos::INDEX => {
            let row: nb::Qos = row(tables, uuid)?;
            let text = format!(
                "QoS: priority {} direction {} match {} action {} bandwidth {}",
                row.priority,
                row.direction,
                row.r#match,
                map(&row.action),
                map(&row.bandwidth)
            );
            (format!("{} {}", row.priority, row.r#match), text)
        }
        _ => return None,
    };
    Some(Intent {
        table,
        uuid,
        name,
        text,
    })
}

fn row<T: Table>(tables: &Tables, uuid: Uuid) -> Option<T> {
    tables.get_as::<T>(uuid)
}

fn acl(row: &nb::Acl) -> (String, String) {
    let log = if row.log { " (log)" } else { "" };
    let text = format!(
        "ACL: {}, priority={}, match=({}), {}{log}",
        row.direction,
        row.priority,
        row.r#match.trim_matches('"'),
        row.action
    );
    let name = match &row.name {
        Some(name) if !name.is_empty() => name.to_string(),
        _ => format!("{} {} {}", row.direction, row.priority, row.r#match),
    };
    (name, text)
}

/// A set as Python prints a list of strings.
fn list(values: &[Arc<str>]) -> String {
    let quoted: Vec<String> = values.iter().map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

/// A map as Python prints a dictionary: strings in quotes, numbers as they are.
fn map<'a, V: Value + 'a>(pairs: impl IntoIterator<Item = (&'a Arc<str>, &'a V)>) -> String {
    let mut out = String::from("{");
    for (index, (key, value)) in pairs.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing into a string does not fail.
        let _ = write!(out, "{separator}{}: {}", quoted(key), value.shown());
    }
    out + "}"
}

trait Value {
    fn shown(&self) -> String;
}

impl Value for Arc<str> {
    fn shown(&self) -> String {
        quoted(self)
    }
}

impl Value for i64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

/// A string as Python prints it.
fn quoted(text: &(impl Display + ?Sized)) -> String {
    let text = text.to_string();
    match text.contains('\'') && !text.contains('"') {
        true => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
    }
}

/// The name of a table of the northbound.
pub fn table_name(table: usize) -> &'static str {
    match table {
        nb::Acl::INDEX => nb::Acl::NAME,
        nb::DhcpOptions::INDEX => nb::DhcpOptions::NAME,
        nb::ForwardingGroup::INDEX => nb::ForwardingGroup::NAME,
        nb::LogicalSwitchPort::INDEX => nb::LogicalSwitchPort::NAME,
        nb::LogicalRouterPort::INDEX => nb::LogicalRouterPort::NAME,
        nb::LogicalRouterPolicy::INDEX => nb::LogicalRouterPolicy::NAME,
        nb::LoadBalancer::INDEX => nb::LoadBalancer::NAME,
        nb::Nat::INDEX => nb::Nat::NAME,
        nb::LogicalRouterStaticRoute::INDEX => nb::LogicalRouterStaticRoute::NAME,
        _ => nb::Qos::NAME,
    }
}
