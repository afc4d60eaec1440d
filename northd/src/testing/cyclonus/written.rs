//! The cases as a file, for the test on real switches: what there is at each step, and who may ask whom for what.
//!
//! ```text
//! case NAME
//! step ip4
//! pods x-a=1 x-b=2            with the last byte of their addresses
//! group NAME PORT,PORT
//! rule GROUP DIRECTION PRIORITY ACTION MATCH
//! set NAME ADDRESS,ADDRESS
//! from POD HEX HEX            a bit of SERVICES for each pod, in their order
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use nb_db::tables as nb;
use ovsdb::Uuid;

use super::super::World;
use super::{Case, Cluster, SERVICES};

/// Where the test on real switches reads them.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/cyclonus.txt");

/// All cases so far.
#[derive(Default)]
pub(super) struct Written(String);

impl Written {
    pub(super) fn begin(&mut self, case: &Case) {
        writeln!(self.0, "case {}", case.name).expect("a string");
    }

    /// A step: the rows of its policies, and what is allowed.
    pub(super) fn step(&mut self, cluster: &Cluster, world: &World) {
        let mut lines = vec![format!("step ip{}", if cluster.is_ip4 { 4 } else { 6 })];
        let pods = cluster.pods.iter();
        let pods: Vec<String> = pods
            .map(|pod| format!("{}={}", pod.id(), pod.number))
            .collect();
        lines.push(format!("pods {}", pods.join(" ")));
        let mut rows = rows(world);
        rows.sort();
        lines.extend(rows);
        lines.extend(cluster.pods.iter().map(|from| {
            let allowed = cluster.pods.iter().map(|to| {
                let bits = SERVICES.iter().enumerate().filter(|(_, service)| {
                    to.number != from.number && cluster.allows(from, to, **service)
                });
                format!("{:02x}", bits.fold(0, |bits, (bit, _)| bits | 1u8 << bit))
            });
            let allowed: Vec<String> = allowed.collect();
            format!("from {} {}", from.id(), allowed.join(" "))
        }));
        for line in lines {
            writeln!(self.0, "{line}").expect("a string");
        }
    }

    /// The file says the same; with `BLESS=1` it does from now on.
    pub(super) fn check(&self) {
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(FILE, &self.0).expect("a file that can be written");
        }
        let known = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(known == self.0, "{FILE} is stale: BLESS=1 writes it anew");
    }
}

/// Sets, groups and the rules of groups.
fn rows(world: &World) -> Vec<String> {
    let sets = world.nb::<nb::AddressSet>().into_iter();
    let mut lines: Vec<String> = sets
        .map(|(_, set)| format!("set {} {}", set.name, set.addresses.join(",")))
        .collect();
    let ports = world.nb::<nb::LogicalSwitchPort>().into_iter();
    let names: BTreeMap<Uuid, Arc<str>> = ports.map(|(uuid, port)| (uuid, port.name)).collect();
    let acls: BTreeMap<Uuid, nb::Acl> = world.nb::<nb::Acl>().into_iter().collect();
    for (_, group) in world.nb::<nb::PortGroup>() {
        let mut ports: Vec<&str> = group.ports.iter().map(|port| &*names[port]).collect();
        ports.sort_unstable();
        lines.push(format!("group {} {}", group.name, ports.join(",")));
        lines.extend(group.acls.iter().map(|acl| {
            let acl = &acls[acl];
            let (of, direction) = (&group.name, &acl.direction);
            let (priority, action) = (acl.priority, &acl.action);
            format!("rule {of} {direction} {priority} {action} {}", acl.r#match)
        }));
    }
    lines
}
