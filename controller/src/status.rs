//! What the control socket tells about the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::local::Local;
use crate::network::{Engine, Network, PortKind};
use crate::settings::Settings;

/// What the overview is made of.
pub(crate) struct Facts<'a> {
    pub(crate) settings: Option<&'a Settings>,
    pub(crate) network: &'a Network,
    pub(crate) south_connected: bool,
    pub(crate) south_synced: bool,
    pub(crate) switch_ready: bool,
    pub(crate) ready: bool,
    pub(crate) nb_cfg: i64,
    pub(crate) nb_cfg_reached: Option<i64>,
    pub(crate) packets_dropped: u64,
}

/// `status`: where the agent stands.
pub(crate) fn overview(facts: &Facts<'_>) -> String {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let network = facts.network;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    };
    line(
        "chassis",
        facts
            .settings
            .map_or_else(|| "(no system-id)".to_owned(), |s| s.system_id.to_string()),
    );
    line(
        "southbound",
        facts
            .settings
            .filter(|settings| !settings.remotes.is_empty())
            .map_or_else(|| "(none)".to_owned(), remotes),
    );
    line(
        "southbound connected",
        yes_no(facts.south_connected).to_owned(),
    );
    line("southbound complete", yes_no(facts.south_synced).to_owned());
    line("switch connected", yes_no(facts.switch_ready).to_owned());
    line("flows follow the databases", yes_no(facts.ready).to_owned());
    line("local datapaths", network.local.len().to_string());
    line("attached ports", network.bindings.len().to_string());
    line("flows wanted", network.desired.len().to_string());
    line(
        "flows installed",
        network.desired.installed_len().to_string(),
    );
    line("rows with problems", network.problems.len().to_string());
    line("nb_cfg", facts.nb_cfg.to_string());
    line(
        "nb_cfg reached",
        facts
            .nb_cfg_reached
            .map_or_else(|| "none".to_owned(), |n| n.to_string()),
    );
    line("packets dropped", facts.packets_dropped.to_string());
    text
}

fn remotes(settings: &Settings) -> String {
    let remotes: Vec<String> = settings.remotes.iter().map(ToString::to_string).collect();
    remotes.join(",")
}

/// `ct-zone-list`: every zone.
pub(crate) fn zones(network: &Network) -> String {
    network
        .zones
        .iter()
        .map(|(name, number)| format!("{name} {number}\n"))
        .collect()
}

/// A name that something here may be bound under: an interface's `iface-id`, or the parent of containers and virtual ports.
#[derive(Default)]
struct LocalBinding<'a> {
    /// The interface's name, if there is one.
    interface: Option<Arc<str>>,
    /// The port of that name, with what OVN calls its kind.
    own: Option<&'static str>,
    /// The ports that follow it: kind and name.
    children: BTreeSet<(&'static str, &'a str)>,
}

/// `debug/dump-local-bindings`: what is bound by which interface, in OVN's form.
pub(crate) fn bindings(network: &Network, local: &Local) -> String {
    let mut bindings: BTreeMap<&str, LocalBinding<'_>> = BTreeMap::new();
    for (id, interfaces) in &local.ports.interfaces {
        let bound = network.port_named_now(id);
        let bound = bound.and_then(|port| network.bindings.peek(port.uuid)?.at.interface);
        let interface = bound.or(interfaces.first().map(|interface| interface.uuid));
        let interface = interface.and_then(|uuid| local.interface_name(uuid));
        bindings.entry(id).or_default().interface = interface;
    }
    for (_, port) in network.ports.iter() {
        let (kind, parent) = match PortKind::of(port) {
            PortKind::Container => ("CONTAINER", &port.parent_port),
            PortKind::Virtual => ("VIRTUAL", &port.virtual_parent),
            _ => continue,
        };
        if let Some(parent) = parent.as_deref().filter(|parent| !parent.is_empty()) {
            let children = &mut bindings.entry(parent).or_default().children;
            children.insert((kind, &port.logical_port));
        }
    }
    let mut text = String::from("Local bindings:\n");
    for (name, mut binding) in bindings {
        let kind = network.port_named_now(name).map(|port| PortKind::of(port));
        binding.own = match kind {
            Some(PortKind::Guest) => Some("primary"),
            Some(PortKind::Localport) => Some("localport"),
            _ => None,
        };
        binding.write(name, &mut text);
    }
    text
}

impl LocalBinding<'_> {
    fn write(&self, name: &str, text: &mut String) {
        let interface = self.interface.as_deref().unwrap_or("NULL");
        let count = self.children.len() + usize::from(self.own.is_some());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "name: [{name}], OVS interface name : [{interface}], num binding lports : [{count}]"
        );
        match self.own {
            Some(kind) => {
                let _ = writeln!(text, "{kind} lport : [{name}]");
            }
            None if count > 0 => text.push_str("no primary lport\n"),
            None => {}
        }
        for (number, (kind, child)) in (1..).zip(&self.children) {
            let _ = writeln!(text, "child lport[{number}] : [{child}], type : [{kind}]");
        }
        let _ = writeln!(text, "{:-<40}", "");
    }
}

/// `debug/dump-related-ports`: every port of a local datapath.
pub(crate) fn related_ports(network: &Network) -> String {
    let local = network
        .ports
        .iter()
        .filter(|(_, port)| network.local.peek(port.datapath).is_some());
    let mut names: Vec<&str> = local.map(|(_, port)| &*port.logical_port).collect();
    names.sort_unstable();
    names.iter().map(|name| format!("{name}\n")).collect()
}

/// `group-table-list`: the groups that are wanted, with their numbers.
pub(crate) fn groups(network: &Network) -> String {
    let groups = network.desired.groups();
    let lines = groups
        .iter()
        .map(|group| format!("{group}: {}\n", group.id));
    lines.collect()
}

/// `meter-table-list`: the meters that the southbound asks for, with their numbers.
pub(crate) fn meters(network: &Network) -> String {
    let meters = network.desired.meters();
    let lines = meters
        .iter()
        .map(|(name, number)| format!("{name}: {number}\n"));
    lines.collect()
}

/// `lflow-cache/show-stats`: logical flows are parsed once and emitted where they are needed, and nothing else is kept. Whether a cache
/// is enabled is what the switch's database says of OVN's.
pub(crate) fn flow_cache(settings: Option<&Settings>) -> String {
    let is_enabled = settings.is_none_or(|settings| settings.lflow_cache);
    let counters = [
        "high-watermark",
        "total",
        "cache-expr",
        "cache-matches",
        "trim count",
        "Mem usage (KB)",
    ];
    let lines = counters.iter().map(|counter| format!("{counter:<16}: 0\n"));
    format!("Enabled: {is_enabled}\n{}", lines.collect::<String>())
}

/// `debug/dump-local-datapaths`: the datapaths of which a port is here, or can be reached from here.
pub(crate) fn datapaths(network: &Network) -> String {
    let local = network.local.iter();
    let local = local.filter_map(|(uuid, ())| network.datapaths.peek(uuid));
    let mut lines: Vec<String> = local
        .map(|datapath| {
            let kind = if datapath.is_router {
                "router"
            } else {
                "switch"
            };
            format!("Datapath: {}, type: {kind}\n", datapath.name)
        })
        .collect();
    lines.sort();
    format!("Local datapaths:\n{}", lines.concat())
}

/// `debug/dump-peer-ports`: the ports of local datapaths that lead to a peer, with it.
pub(crate) fn peer_ports(network: &Network) -> String {
    let ports = network.ports.iter();
    let ports = ports.filter(|(_, port)| network.local.peek(port.datapath).is_some());
    let mut lines: Vec<String> = ports
        .filter_map(|(_, port)| {
            let peer = port.options.get("peer")?;
            Some(format!("local: {}, remote: {peer}\n", port.logical_port))
        })
        .collect();
    lines.sort();
    format!("Peer ports:\n{}", lines.concat())
}

/// `debug/dump-lflow-conj-ids`: how many conjunctive matches have a number.
pub(crate) fn conjunctions(network: &Network) -> String {
    let count = network.desired.conjunctions_len();
    format!("Conjunction IDs allocations:\n---\nTotal {count} IDs used.\n")
}

/// `debug/dump-local-template-vars`: the values that template variables have here.
pub(crate) fn templates(network: &Network) -> String {
    let values = network.templates.iter().map(|(_, value)| value);
    let mut lines: Vec<String> = values
        .map(|(name, value)| format!("name: '{name}' value: '{value}'\n"))
        .collect();
    lines.sort();
    format!("Local template vars:\n{}", lines.concat())
}

/// `debug/dump-mac-bindings`: the learned neighbours of local routers.
pub(crate) fn neighbours(network: &Network) -> String {
    let rows = network.mac_bindings.iter().map(|(_, row)| row);
    let rows = rows.filter(|row| network.local.peek(row.datapath).is_some());
    let mut lines: Vec<String> = rows
        .map(|row| {
            format!(
                "{} {} {} (timestamp {})\n",
                row.logical_port, row.ip, row.mac, row.timestamp
            )
        })
        .collect();
    lines.sort();
    format!("Local MAC bindings:\n{}", lines.concat())
}

/// `inc-engine/show-stats`: what was computed how often.
pub(crate) fn engine(engine: &Engine, node: Option<&str>, counter: Option<&str>) -> String {
    let mut text = engine.stats().show(node, counter);
    if node.is_none() {
        let (cells, reads) = engine.size();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} units read {cells} cells, {reads} reads",
            engine.unit_count()
        );
    }
    text
}
