//! The chassis that a change has to do with: those with a port on a datapath that changes, or on one that links lead to from
//! there, for they follow all of these.

use std::collections::{BTreeSet, HashMap, HashSet};

use ovsdb::{RowChange, Uuid};
use replica::Tables;
use sb_db::tables as sb;

use super::rows::typed;
use super::section;

/// The datapaths of which something changes.
pub fn datapaths(south: &Tables, changes: &[RowChange]) -> HashSet<Uuid> {
    let mut found = HashSet::new();
    let mut groups = HashSet::new();
    for (old, new) in typed::<sb::LogicalFlow>(changes) {
        for flow in [old, new].into_iter().flatten() {
            found.extend(flow.logical_datapath);
            groups.extend(flow.logical_dp_group);
        }
    }
    for (old, new) in typed::<sb::LogicalDpGroup>(changes) {
        let members = |group: &Option<sb::LogicalDpGroup>| -> HashSet<Uuid> {
            let members = group.iter().flat_map(|group| group.datapaths.iter());
            members.copied().collect()
        };
        let (before, after) = (members(&old), members(&new));
        found.extend(before.symmetric_difference(&after));
    }
    for group in groups {
        let group = south.get_as::<sb::LogicalDpGroup>(group);
        found.extend(group.into_iter().flat_map(|group| group.datapaths.to_vec()));
    }
    for (old, new) in typed::<sb::PortBinding>(changes) {
        found.extend([old, new].into_iter().flatten().map(|port| port.datapath));
    }
    found
}

/// The chassis, in words.
pub fn tell(south: &Tables, changes: &[RowChange], limit: usize) -> String {
    let ports: Vec<sb::PortBinding> = south.iter_as().collect();
    let of_port: HashMap<&str, Uuid> = ports
        .iter()
        .map(|port| (&*port.logical_port, port.datapath))
        .collect();
    let mut links: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    let mut on: HashMap<Uuid, BTreeSet<Uuid>> = HashMap::new();
    for port in &ports {
        if let Some(peer) = port.options.get("peer")
            && let Some(other) = of_port.get(&**peer)
        {
            links.entry(port.datapath).or_default().push(*other);
        }
        on.entry(port.datapath).or_default().extend(port.chassis);
    }
    let mut reached = datapaths(south, changes);
    let mut todo: Vec<Uuid> = reached.iter().copied().collect();
    while let Some(datapath) = todo.pop() {
        for other in links.get(&datapath).into_iter().flatten() {
            if reached.insert(*other) {
                todo.push(*other);
            }
        }
    }
    let touched = reached.iter().filter_map(|datapath| on.get(datapath));
    let touched: BTreeSet<Uuid> = touched.flatten().copied().collect();
    let all = south.iter_as::<sb::Chassis>();
    let mut count = 0;
    let mut names: Vec<String> = Vec::new();
    for chassis in all {
        count += 1;
        if touched.contains(&chassis.uuid) {
            names.push(chassis.name.to_string());
        }
    }
    names.sort_unstable();
    let heading = format!("chassis: {} of {count} follow what changes", names.len());
    section(&heading, &names, limit)
}
