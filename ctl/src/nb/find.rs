//! Switches, ports and routers by what people call them: a UUID or a name.

use std::sync::Arc;

use nb_db::tables::{
    LoadBalancer, LogicalRouter, LogicalRouterPort, LogicalSwitch, LogicalSwitchPort, PortGroup,
};
use ovsdb::typed::TableDefinition;
use ovsdb::{Column, Uuid};

use crate::data::{Draft, lookup};
use crate::error::{Outcome, fail};

/// The row that `text` means by its UUID or by its `name` column, if there is one. `plural` says in an error what there
/// are several of.
fn by_uuid_or_name<T: TableDefinition>(
    draft: &Draft<'_>,
    text: &str,
    name: Column<Arc<str>>,
    plural: &str,
) -> Outcome<Option<Uuid>> {
    if let Some(uuid) = lookup::parse_uuid(text) {
        let table = draft.table_of::<T>()?;
        return Ok(draft.row(table, uuid).map(|_| uuid));
    }
    let found = draft.find::<T, _>(name, &Arc::from(text));
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        _ => fail(format!("Multiple {plural} named '{text}'.  Use a UUID.")),
    }
}

fn required(found: Option<Uuid>, text: &str, what: &str) -> Outcome<Uuid> {
    let kind = if lookup::parse_uuid(text).is_some() {
        "UUID"
    } else {
        "name"
    };
    match found {
        Some(uuid) => Ok(uuid),
        None => fail(format!("{text}: {what} {kind} not found")),
    }
}

/// The switch, if there is one.
pub fn switch_if_any(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    let name = LogicalSwitch::COLUMN.name;
    by_uuid_or_name::<LogicalSwitch>(draft, text, name, "logical switches")
}

/// The switch.
pub fn switch(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    required(switch_if_any(draft, text)?, text, "switch")
}

/// The router, if there is one.
pub fn router_if_any(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    let name = LogicalRouter::COLUMN.name;
    by_uuid_or_name::<LogicalRouter>(draft, text, name, "logical routers")
}

/// The router.
pub fn router(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    required(router_if_any(draft, text)?, text, "router")
}

/// The switch port, if there is one.
pub fn port_if_any(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    let name = LogicalSwitchPort::COLUMN.name;
    by_uuid_or_name::<LogicalSwitchPort>(draft, text, name, "logical switch ports")
}

/// The switch port.
pub fn port(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    required(port_if_any(draft, text)?, text, "port")
}

/// The router port, if there is one.
pub fn router_port_if_any(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    let name = LogicalRouterPort::COLUMN.name;
    by_uuid_or_name::<LogicalRouterPort>(draft, text, name, "logical router ports")
}

/// The router port.
pub fn router_port(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    required(router_port_if_any(draft, text)?, text, "port")
}

/// The port group, if there is one.
pub fn port_group_if_any(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    by_uuid_or_name::<PortGroup>(draft, text, PortGroup::COLUMN.name, "port groups")
}

/// The port group.
pub fn port_group(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    required(port_group_if_any(draft, text)?, text, "port group")
}

/// The load balancer, if there is one.
pub fn load_balancer_if_any(draft: &Draft<'_>, text: &str) -> Outcome<Option<Uuid>> {
    by_uuid_or_name::<LoadBalancer>(draft, text, LoadBalancer::COLUMN.name, "load balancers")
}

/// The load balancer.
pub fn load_balancer(draft: &Draft<'_>, text: &str) -> Outcome<Uuid> {
    required(load_balancer_if_any(draft, text)?, text, "load balancer")
}

/// The router that a port is in.
pub fn router_of_port(draft: &Draft<'_>, port: Uuid) -> Outcome<Uuid> {
    let (table, ports) = draft.column_of::<LogicalRouter, _>(LogicalRouter::COLUMN.ports)?;
    let atom = ovsdb::Atom::Uuid(port);
    let mut rows = draft.rows(table);
    match rows.find(|(_, row)| row.get(ports).contains(&atom)) {
        Some((uuid, _)) => Ok(uuid),
        None => {
            let name = draft.get::<LogicalRouterPort, _>(port, LogicalRouterPort::COLUMN.name);
            fail(format!(
                "logical port {name} is not part of any logical router"
            ))
        }
    }
}

/// The switch that a port is in.
pub fn switch_of_port(draft: &Draft<'_>, port: Uuid) -> Outcome<Uuid> {
    let (table, ports) = draft.column_of::<LogicalSwitch, _>(LogicalSwitch::COLUMN.ports)?;
    let atom = ovsdb::Atom::Uuid(port);
    let found = draft
        .rows(table)
        .find(|(_, row)| row.get(ports).contains(&atom))
        .map(|(uuid, _)| uuid);
    match found {
        Some(uuid) => Ok(uuid),
        None => {
            let name = draft.get::<LogicalSwitchPort, _>(port, LogicalSwitchPort::COLUMN.name);
            fail(format!(
                "logical port {name} is not part of any logical switch"
            ))
        }
    }
}

/// What a switch is called: its name, or its UUID if it has none.
pub fn switch_name(draft: &Draft<'_>, switch: Uuid) -> String {
    let name = draft.get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.name);
    if name.is_empty() {
        switch.to_string()
    } else {
        name.to_string()
    }
}
