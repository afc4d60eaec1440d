//! What the engine has done, by kind of unit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The nodes of OVN's engines that are no tables, of northd and of the controller.
const NODES_OF_OVN: &[&str] = &[
    "acl_id",
    "activated_ports",
    "addr_sets",
    "advertised_mac_binding_sync",
    "advertised_route_sync",
    "bfd",
    "bfd_sync",
    "controller_output",
    "ct_zones",
    "datapath_logical_router",
    "datapath_logical_switch",
    "datapath_sync",
    "datapath_synced_logical_router",
    "datapath_synced_logical_switch",
    "dhcp_options",
    "dns_cache",
    "dynamic_routes",
    "ecmp_nexthop",
    "fdb_aging",
    "fdb_aging_waker",
    "flow_output",
    "global_config",
    "group_ecmp_route",
    "if_status_mgr",
    "lb_data",
    "learned_route_sync",
    "lflow",
    "logical_flow_output",
    "lr_nat",
    "lr_stateful",
    "ls_arp",
    "ls_stateful",
    "mac_binding_aging",
    "mac_binding_aging_waker",
    "mac_cache",
    "meters",
    "mff_ovn_geneve",
    "multicast_igmp",
    "non_vif_data",
    "northd",
    "northd_options",
    "northd_output",
    "ofctrl_is_connected",
    "ovs_interface_shadow",
    "physical_flow_output",
    "port_group",
    "port_groups",
    "postponed_ports",
    "route",
    "route_exchange",
    "route_policies",
    "routes",
    "runtime_data",
    "sampling_app",
    "sync_from_sb",
    "sync_meters",
    "sync_to_sb",
    "sync_to_sb_addr_set",
    "sync_to_sb_lb",
    "sync_to_sb_pb",
    "template_vars",
];

fn is_node_of_ovn(name: &str) -> bool {
    let is_table = ["NB_", "SB_", "OVS_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    is_table || NODES_OF_OVN.contains(&name)
}

use rustc_hash::FxHashMap;

/// Counters of one kind of unit since the last [`Stats::clear`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnitStats {
    /// How often units of this kind ran.
    pub runs: u64,
    /// How many of those runs said exactly what had been said before.
    pub unchanged: u64,
    /// How many facts were asserted.
    pub asserted: u64,
    /// How many facts were retracted.
    pub retracted: u64,
}

/// Counters of all kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// How often everything was computed anew, since somebody asked for it.
    recomputed: u64,
    /// By where the name of a kind stands: every run is counted, and looks at no name.
    kinds: FxHashMap<(usize, usize), (&'static str, UnitStats)>,
}

impl Stats {
    /// Counters by kind, in the order of their names.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, UnitStats)> {
        let mut kinds: BTreeMap<&'static str, UnitStats> = BTreeMap::new();
        for (kind, stats) in self.kinds.values() {
            let sum = kinds.entry(kind).or_default();
            sum.runs += stats.runs;
            sum.unchanged += stats.unchanged;
            sum.asserted += stats.asserted;
            sum.retracted += stats.retracted;
        }
        kinds.into_iter()
    }

    /// The counters in the form of OVN's `inc-engine/show-stats`: of all kinds, of one (`node`), or one counter of it.
    ///
    /// The names of OVN's own nodes stand for all units together, since its scripts ask for them; a node that nobody knows is told
    /// of with nothing, as there. `recompute` counts what was asked for by that name: by itself nothing is computed anew.
    pub fn show(&self, node: Option<&str>, counter: Option<&str>) -> String {
        let own = |name: &str| self.kinds().find(|(kind, _)| *kind == name);
        let shown: Vec<(&str, UnitStats)> = match node {
            None => self.kinds().collect(),
            Some(name) => vec![match own(name) {
                Some(of) => of,
                None if is_node_of_ovn(name) => (name, self.sum()),
                None => return String::new(),
            }],
        };
        let mut text = String::new();
        for (kind, of) in shown {
            let counters = [
                ("recompute", self.recomputed),
                ("compute", of.runs),
                ("cancel", 0),
                ("unchanged", of.unchanged),
                ("asserted", of.asserted),
                ("retracted", of.retracted),
            ];
            if let Some(name) = counter {
                let found = counters.iter().find(|(known, _)| *known == name);
                return match found {
                    Some((_, value)) => format!("{value}\n"),
                    None => format!("Invalid stat type : {name}\n"),
                };
            }
            // Writing to a string cannot fail.
            let _ = writeln!(text, "Node: {kind}");
            for (name, value) in counters {
                let _ = writeln!(text, "- {:<11}{value:>12}", format!("{name}:"));
            }
        }
        text
    }

    fn sum(&self) -> UnitStats {
        let mut sum = UnitStats::default();
        for (_, of) in self.kinds() {
            sum.runs += of.runs;
            sum.unchanged += of.unchanged;
            sum.asserted += of.asserted;
            sum.retracted += of.retracted;
        }
        sum
    }

    /// Everything is computed anew, since somebody asked for it.
    pub fn recompute(&mut self) {
        self.recomputed += 1;
    }

    /// Sets all counters to zero.
    pub fn clear(&mut self) {
        self.recomputed = 0;
        self.kinds.clear();
    }

    pub(crate) fn of(&mut self, kind: &'static str) -> &mut UnitStats {
        let place = (kind.as_ptr().addr(), kind.len());
        let (_, stats) = (self.kinds.entry(place)).or_insert((kind, UnitStats::default()));
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_of_all_of_one_kind_and_under_names_of_ovn() {
        let mut stats = Stats::default();
        stats.of("port").runs = 3;
        stats.of("flow").runs = 4;
        stats.recompute();
        let all = stats.show(None, None);
        assert!(
            all.starts_with("Node: flow\n- recompute:            1\n- compute:              4\n"),
            "{all}"
        );
        for (node, counter, told) in [
            ("port", "compute", "3\n"),
            ("northd", "recompute", "1\n"),
            ("lflow", "compute", "7\n"),
            ("SB_chassis", "compute", "7\n"),
            ("port", "x", "Invalid stat type : x\n"),
            ("ports", "compute", ""),
        ] {
            let shown = stats.show(Some(node), Some(counter));
            assert_eq!(shown, told, "{node} {counter}");
        }
    }
}
