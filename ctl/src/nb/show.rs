//! The overview that `show` prints: switches, then routers, each with its ports. By name, so that the same database
//! always looks the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use nb_db::tables::{
    GatewayChassis, LogicalRouter, LogicalRouterPort, LogicalSwitch, LogicalSwitchPort, Nat,
};
use northbound::Draft;
use ovsdb::Uuid;

use crate::text::quoted;

/// All switches and routers.
pub fn everything(draft: &Draft<'_>) -> String {
    let mut switches = draft.all::<LogicalSwitch>();
    switches.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let mut routers = draft.all::<LogicalRouter>();
    routers.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let switches = switches.iter().map(|row| switch(draft, row.uuid));
    switches
        .chain(routers.iter().map(|row| router(draft, row.uuid)))
        .collect()
}

/// A switch.
pub fn switch(draft: &Draft<'_>, uuid: Uuid) -> String {
    let Some(switch) = draft.typed::<LogicalSwitch>(uuid) else {
        return String::new();
    };
    let alias = alias(&switch.external_ids, "neutron:network_name");
    let mut text = format!("switch {uuid} ({}){alias}\n", switch.name);
    let mut ports: Vec<LogicalSwitchPort> = typed(draft, &switch.ports);
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    for port in &ports {
        text.push_str(&switch_port(port));
    }
    text
}

fn switch_port(port: &LogicalSwitchPort) -> String {
    let alias = alias(&port.external_ids, "neutron:port_name");
    let mut text = format!("    port {}{alias}\n", port.name);
    if !port.r#type.is_empty() {
        text.push_str(&format!("        type: {}\n", port.r#type));
    }
    if let Some(parent) = &port.parent_name {
        text.push_str(&format!("        parent: {parent}\n"));
    }
    if let Some(tag) = port.tag {
        text.push_str(&format!("        tag: {tag}\n"));
    }
    // A router's port has the addresses of the router's side.
    if !port.addresses.is_empty() && &*port.r#type != "router" {
        text.push_str(&format!(
            "        addresses: [{}]\n",
            quoted_list(&port.addresses)
        ));
    }
    if let Some(router_port) = port.options.get("router-port") {
        text.push_str(&format!("        router-port: {router_port}\n"));
    }
    text
}

/// A router.
pub fn router(draft: &Draft<'_>, uuid: Uuid) -> String {
    let Some(router) = draft.typed::<LogicalRouter>(uuid) else {
        return String::new();
    };
    let alias = alias(&router.external_ids, "neutron:router_name");
    let mut text = format!("router {uuid} ({}){alias}\n", router.name);
    let mut ports: Vec<LogicalRouterPort> = typed(draft, &router.ports);
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    for port in &ports {
        text.push_str(&router_port(draft, port));
    }
    let mut nats: Vec<Nat> = typed(draft, &router.nat);
    nats.sort_by(|a, b| (&a.external_ip, a.uuid).cmp(&(&b.external_ip, b.uuid)));
    for nat in &nats {
        text.push_str(&translation(nat));
    }
    text
}

fn router_port(draft: &Draft<'_>, port: &LogicalRouterPort) -> String {
    let mut text = format!("    port {}\n", port.name);
    if !port.mac.is_empty() {
        text.push_str(&format!("        mac: {}\n", quoted(&port.mac)));
    }
    if !port.networks.is_empty() {
        text.push_str(&format!(
            "        networks: [{}]\n",
            quoted_list(&port.networks)
        ));
    }
    if !port.gateway_chassis.is_empty() {
        let mut chassis: Vec<GatewayChassis> = typed(draft, &port.gateway_chassis);
        chassis.sort_by(|a, b| {
            b.priority
                .cmp(&a.priority)
                .then(a.chassis_name.cmp(&b.chassis_name))
        });
        let names: Vec<&str> = chassis
            .iter()
            .map(|chassis| &*chassis.chassis_name)
            .collect();
        text.push_str(&format!("        gateway chassis: [{}]\n", names.join(" ")));
    }
    text
}

fn translation(nat: &Nat) -> String {
    let mut text = format!("    nat {}\n", nat.uuid);
    text.push_str(&format!(
        "        external ip: {}\n",
        quoted(&nat.external_ip)
    ));
    if !nat.external_port_range.is_empty() {
        let range = quoted(&nat.external_port_range);
        text.push_str(&format!("        external port(s): {range}\n"));
    }
    text.push_str(&format!(
        "        logical ip: {}\n",
        quoted(&nat.logical_ip)
    ));
    text.push_str(&format!("        type: {}\n", quoted(&nat.r#type)));
    text
}

fn typed<T: ovsdb::TableDefinition>(draft: &Draft<'_>, uuids: &[Uuid]) -> Vec<T> {
    uuids.iter().filter_map(|uuid| draft.typed(*uuid)).collect()
}

fn alias(external_ids: &BTreeMap<Arc<str>, Arc<str>>, key: &str) -> String {
    external_ids
        .get(key)
        .map_or_else(String::new, |name| format!(" (aka {name})"))
}

fn quoted_list(texts: &[Arc<str>]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    quoted.join(", ")
}
