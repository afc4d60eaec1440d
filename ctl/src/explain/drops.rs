//! Which rules drop packets, by what the switch has counted: nothing is asked of anybody else, and nothing is counted that
//! was not before.
//!
//! | what is told | by |
//! | --- | --- |
//! | flows that drop | their counters |
//! | flows that answer with an error (a reset, an ICMP error) instead | their counters |
//! | what is above a rate | the meter's counter, and the flows that use it |
//! | what no flow of a table matches | the table's counters |
//! | flows of the chassis itself, which are there for no logical flow | their counters |
//!
//! The cookie of a flow is the start of the UUID of the logical flow that it is there for; the flow's hint is that of the
//! northbound row. An access control list only notes its verdict, and a later flow that all of them share acts on it: the
//! packets are told of the list, and of the shared flow only those that are left over. Which of a switch's ports a packet came from is only
//! known where the rule itself names the port.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use ovsdb::{Table as _, TableDefinition as _, Uuid};
use replica::Tables;
use sb_db::tables as sb;

use super::counters::Counters;
use super::intent::{Intent, table_name};
use super::records::Records;

/// The rows that a flow is there for, by the start of their UUID.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Vec<Intent>;

/// The bit of a verdict: that a list drops, as OVN has it, too.
const VERDICT_DROP: &str = "reg8[17] = 1";
/// That it rejects.
const VERDICT_REJECT: &str = "reg8[18] = 1";
/// Actions that make an error of a packet.
const ERRORS: [&str; 8] = [
    "icmp4 {",
    "icmp4_error {",
    "icmp6 {",
    "icmp6_error {",
    "reject {",
    "sctp_abort {",
    "tcp_reset {",
    "icmp4{",
];

/// The OpenFlow table in which packets from ports and tunnels begin, and the one that gives them to ports; in all versions of
/// OVN, too.
const FIRST_TABLE: u8 = 0;
const LAST_TABLE: u8 = 65;

/// What became of packets, for a logical flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    Answered,
}

/// Something to be told.
struct Told {
    /// What names the port first, then what is of its datapath alone, then what others share.
    rank: u8,
    packets: u64,
    text: String,
}

/// A southbound, with what a switch has counted for it.
struct Reading<'a> {
    south: &'a Tables,
    counters: &'a Counters,
    /// By cookie.
    flows: HashMap<u64, Vec<sb::LogicalFlow>>,
    port: Option<&'a str>,
    /// The port's.
    datapath: Option<Uuid>,
    intents: Lookup<'a>,
}

/// What was dropped, the most first, in words; of one port's datapath, if a port is named.
///
/// # Errors
/// When there is no such port.
pub fn tell(
    south: &Tables,
    counters: &Counters,
    port: Option<&str>,
    intents: Lookup<'_>,
) -> Result<String, String> {
    let datapath = match port {
        None => None,
        Some(name) => {
            let mut ports = south.iter_as::<sb::PortBinding>();
            let found = ports.find(|port| &*port.logical_port == name);
            let found = found.ok_or_else(|| format!("{name}: there is no such port"))?;
            Some(found.datapath)
        }
    };
    let reading = Reading {
        south,
        counters,
        flows: logical_flows(south, counters),
        port,
        datapath,
        intents,
    };
    let mut told = reading.by_flows();
    told.extend(reading.above_rates());
    told.sort_by(|a, b| (a.rank, b.packets, &a.text).cmp(&(b.rank, a.packets, &b.text)));
    // What follows is known of all datapaths together.
    for mut others in [reading.unmatched(), reading.by_the_chassis()] {
        others.sort_by(|a, b| (b.packets, &a.text).cmp(&(a.packets, &b.text)));
        told.extend(others);
    }
    if told.is_empty() {
        return Ok("nothing was dropped here\n".to_owned());
    }
    Ok(told.into_iter().map(|told| told.text).collect())
}

/// The logical flows that matter: those with packets or meters, and some of every table, by which its stage is known.
fn logical_flows(south: &Tables, counters: &Counters) -> HashMap<u64, Vec<sb::LogicalFlow>> {
    let met = counters
        .flows
        .iter()
        .filter(|(_, volume)| volume.packets > 0);
    let mut wanted: HashSet<u64> = met.map(|(cookie, _)| *cookie).collect();
    wanted.extend(counters.metered.values().flatten());
    wanted.extend(counters.cookies.values().flatten());
    let mut flows: HashMap<u64, Vec<sb::LogicalFlow>> = HashMap::new();
    for (uuid, row) in south.table(sb::LogicalFlow::INDEX).iter() {
        let cookie = u64::from(uuid.as_fields().0);
        if wanted.contains(&cookie) {
            let flow = sb::LogicalFlow::from_row(uuid, row);
            flows.entry(cookie).or_default().push(flow);
        }
    }
    flows
}

impl Reading<'_> {
    /// By logical flows: what they drop, and what they answer with errors.
    fn by_flows(&self) -> Vec<Told> {
        let dropped = self.counters.dropped();
        let lists = self.lists();
        let told_by_lists = |flow: &sb::LogicalFlow, fate| self.told_by_lists(&lists, flow, fate);
        let mut told = Vec::new();
        for (cookie, flows) in &self.flows {
            let met = self.counters.flows.get(cookie).copied().unwrap_or_default();
            for flow in flows.iter().filter(|flow| self.is_here(flow)) {
                let verdict = verdict(flow);
                let (packets, fate) = match (dropped.get(cookie), verdict) {
                    (Some(packets), _) => (
                        packets.saturating_sub(told_by_lists(flow, Fate::Dropped)),
                        Fate::Dropped,
                    ),
                    (None, Some(fate)) => (met.packets, fate),
                    (None, None) if is_error(flow) => (
                        met.packets
                            .saturating_sub(told_by_lists(flow, Fate::Answered)),
                        Fate::Answered,
                    ),
                    (None, None) => continue,
                };
                if packets > 0 {
                    let how = match fate {
                        Fate::Dropped => "",
                        Fate::Answered => " answered with an error",
                    };
                    told.push(self.told(flow, packets, how));
                }
            }
        }
        told
    }

    /// What flows with verdicts have met.
    fn lists(&self) -> Vec<List> {
        let mut lists = Vec::new();
        for (cookie, flows) in &self.flows {
            let met = self.counters.flows.get(cookie).copied();
            let met = met.filter(|volume| volume.packets > 0);
            for flow in met.iter().flat_map(|_| flows) {
                let group = stage(flow).and_then(|stage| stage.strip_suffix("_eval"));
                if let (Some(group), Some(fate), Some(met)) = (group, verdict(flow), met) {
                    lists.push(List {
                        group: group.to_owned(),
                        fate,
                        packets: met.packets,
                        datapaths: datapaths(self.south, flow),
                    });
                }
            }
        }
        lists
    }

    /// Of the packets of a flow that acts on verdicts, those that are told of the flows with the verdict.
    fn told_by_lists(&self, lists: &[List], acting: &sb::LogicalFlow, fate: Fate) -> u64 {
        let Some(group) = stage(acting).and_then(|stage| stage.strip_suffix("_action")) else {
            return 0;
        };
        let datapaths: HashSet<Uuid> = datapaths(self.south, acting).into_iter().collect();
        let lists = lists
            .iter()
            .filter(|list| list.group == group && list.fate == fate);
        let lists = lists.filter(|list| list.datapaths.iter().any(|of| datapaths.contains(of)));
        lists.map(|list| list.packets).sum()
    }

    /// Above the rates of meters.
    fn above_rates(&self) -> Vec<Told> {
        let mut told = Vec::new();
        for (meter, packets) in self
            .counters
            .exceeded
            .iter()
            .filter(|(_, packets)| **packets > 0)
        {
            let cookies = self.counters.metered.get(meter).into_iter().flatten();
            let flows = cookies.filter_map(|cookie| self.flows.get(cookie));
            let mut flows: Vec<&sb::LogicalFlow> = flows.flatten().collect();
            if flows.is_empty() && self.datapath.is_none() {
                let text = format!("{} above the rate of meter {meter}\n", packet(*packets));
                told.push(Told {
                    rank: 2,
                    packets: *packets,
                    text,
                });
            }
            flows.retain(|flow| self.is_here(flow));
            // Those that met packets, if that says which it was.
            let has_met = |flow: &&sb::LogicalFlow| {
                let cookie = u64::from(flow.uuid.as_fields().0);
                let met = self.counters.flows.get(&cookie);
                met.is_some_and(|volume| volume.packets > 0)
            };
            if flows.iter().any(has_met) {
                flows.retain(|flow| has_met(flow));
            }
            flows.sort_by_key(|flow| flow.uuid);
            let how = match flows.len() {
                0 | 1 => format!(" above the rate of meter {meter}"),
                count => format!(" above the rate of meter {meter}, which {count} flows share"),
            };
            told.extend(flows.first().map(|flow| self.told(flow, *packets, &how)));
        }
        told
    }

    /// What no flow of a table matched.
    fn unmatched(&self) -> Vec<Told> {
        let stages = self.stages();
        let of = |egress: bool| {
            let tables = stages.iter().filter(move |(_, stage)| {
                (stage.pipeline == "egress") == egress && **stage != Stage::default()
            });
            tables.map(|(table, _)| *table)
        };
        let first_egress = of(true).min().unwrap_or(LAST_TABLE);
        let last_ingress = of(false).filter(|table| *table < first_egress).max();
        let mut told = Vec::new();
        for (table, packets) in self
            .counters
            .misses
            .iter()
            .filter(|(_, packets)| **packets > 0)
        {
            let between = last_ingress.is_some_and(|last| last < *table) && *table < first_egress;
            let what = match stages.get(table) {
                Some(stage) => format!(
                    "{} table {} ({}): no flow there matches",
                    stage.pipeline,
                    stage.table,
                    stage.names.join(" or ")
                ),
                None if *table == FIRST_TABLE => {
                    "OpenFlow table 0: they came by a port that is no logical port's here, or through a tunnel for a datapath \
                     or a port that is not here"
                        .to_owned()
                }
                None if *table == LAST_TABLE => {
                    "OpenFlow table 65: their output port is not plugged in".to_owned()
                }
                None if between => format!(
                    "OpenFlow table {table}: their output port is not on this chassis, and no tunnel leads to it"
                ),
                // Tables that are asked, and where nothing is no drop.
                None => continue,
            };
            let text = format!("{}: {what}; of all datapaths\n", packet(*packets));
            told.push(Told {
                rank: 3,
                packets: *packets,
                text,
            });
        }
        told
    }

    /// By flows that are there for no logical flow: of ports, tunnels and loops.
    fn by_the_chassis(&self) -> Vec<Told> {
        let records = Records::new(self.south);
        let own = self.counters.drops.iter();
        let own =
            own.filter(|(flow, packets)| **packets > 0 && !self.flows.contains_key(&flow.cookie));
        let told = own.map(|(flow, packets)| {
            let mut text = format!(
                "{}: OpenFlow table {}, of the chassis itself: {}\n",
                packet(*packets),
                flow.table,
                flow.what
            );
            for record in records.find(self.south, flow.cookie) {
                for line in &record.lines {
                    // Writing to a string does not fail.
                    let _ = writeln!(text, "  {line}");
                }
            }
            Told {
                rank: 3,
                packets: *packets,
                text,
            }
        });
        told.collect()
    }

    /// By OpenFlow table, the logical table whose flows are there.
    fn stages(&self) -> BTreeMap<u8, Stage> {
        let mut stages: BTreeMap<u8, Stage> = BTreeMap::new();
        for (table, cookies) in &self.counters.cookies {
            for flow in cookies
                .iter()
                .filter_map(|cookie| self.flows.get(cookie))
                .flatten()
            {
                let found = stages.entry(*table).or_default();
                found.pipeline = flow.pipeline.to_string();
                found.table = flow.table_id;
                if let Some(name) = stage(flow)
                    && !found.names.iter().any(|known| known == name)
                {
                    found.names.push(name.to_owned());
                }
            }
        }
        stages
    }

    fn is_here(&self, flow: &sb::LogicalFlow) -> bool {
        self.datapath
            .is_none_or(|datapath| datapaths(self.south, flow).contains(&datapath))
    }

    /// A logical flow with its packets, and the rows that it is there for.
    fn told(&self, flow: &sb::LogicalFlow, packets: u64, how: &str) -> Told {
        // A flow of several is one on the switch, with one counter for all.
        let mut of = datapaths(self.south, flow);
        of.sort_by_key(|uuid| Some(*uuid) != self.datapath);
        let names_port = self
            .port
            .is_some_and(|port| flow.r#match.contains(&format!("\"{port}\"")));
        let rank = match (names_port, self.datapath.is_some() && of.len() > 1) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        let named = of.iter().take(3).map(|uuid| named(self.south, *uuid));
        let named: Vec<String> = named.collect();
        let of = match of.len() {
            0 | 1 => named.join(""),
            2 | 3 => format!("{}, counted together", named.join(", ")),
            count => format!("{} and {} others, counted together", named[0], count - 1),
        };
        let stage = stage(flow).map_or_else(String::new, |stage| format!(" ({stage})"));
        let mut text = format!(
            "{}{how}: {} table {}{stage} of {of}: priority {}, match ({}), actions ({}), uuid {}\n",
            packet(packets),
            flow.pipeline,
            flow.table_id,
            flow.priority,
            flow.r#match,
            flow.actions,
            flow.uuid
        );
        let hint = flow.external_ids.get("stage-hint");
        for intent in hint.map(|hint| (self.intents)(hint)).unwrap_or_default() {
            let (table, uuid) = (table_name(intent.table), intent.uuid);
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {table} {uuid} ({}): {}", intent.name, intent.text);
        }
        Told {
            rank,
            packets,
            text,
        }
    }
}

/// A flow with a verdict that met packets.
struct List {
    /// The name of the stage without `_eval`.
    group: String,
    fate: Fate,
    packets: u64,
    datapaths: Vec<Uuid>,
}

/// A logical table, with the stages that it is on switches and on routers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stage {
    pipeline: String,
    table: i64,
    names: Vec<String>,
}

/// What a list of access control says by this flow.
fn verdict(flow: &sb::LogicalFlow) -> Option<Fate> {
    if flow.actions.contains(VERDICT_DROP) {
        Some(Fate::Dropped)
    } else if flow.actions.contains(VERDICT_REJECT) {
        Some(Fate::Answered)
    } else {
        None
    }
}

fn is_error(flow: &sb::LogicalFlow) -> bool {
    ERRORS.iter().any(|error| flow.actions.contains(error))
}

fn stage(flow: &sb::LogicalFlow) -> Option<&str> {
    flow.external_ids.get("stage-name").map(|stage| &**stage)
}

/// `1 packet`, `2 packets`.
fn packet(count: u64) -> String {
    match count {
        1 => "1 packet".to_owned(),
        count => format!("{count} packets"),
    }
}

fn datapaths(south: &Tables, flow: &sb::LogicalFlow) -> Vec<Uuid> {
    match (flow.logical_datapath, flow.logical_dp_group) {
        (Some(datapath), _) => vec![datapath],
        (None, Some(group)) => {
            let group = south.get_as::<sb::LogicalDpGroup>(group);
            group.map_or_else(Vec::new, |group| group.datapaths.to_vec())
        }
        (None, None) => Vec::new(),
    }
}

fn named(south: &Tables, datapath: Uuid) -> String {
    let row = south.get_as::<sb::DatapathBinding>(datapath);
    let name = row.and_then(|row| row.external_ids.get("name").map(ToString::to_string));
    format!("{:?}", name.unwrap_or_else(|| datapath.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::RowChange;

    use super::*;
    use crate::explain::counters::{Dropping, Volume};

    fn put<T: ovsdb::TableDefinition + ovsdb::Table>(tables: &mut Tables, uuid: u128, row: &T) {
        tables.apply(&RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(uuid),
            old: None,
            new: Some(Arc::new(row.to_row())),
        });
    }

    /// Switches `s` with the port `p` and `t` with `q`.
    fn world() -> Tables {
        let mut tables = Tables::new(sb_db::schema());
        for (uuid, name, port) in [(1, "s", "p"), (2, "t", "q")] {
            let datapath = sb::DatapathBinding {
                external_ids: [("name".into(), name.into())].into_iter().collect(),
                ..sb::DatapathBinding::default()
            };
            put(&mut tables, uuid, &datapath);
            let port = sb::PortBinding {
                logical_port: port.into(),
                datapath: Uuid::from_u128(uuid),
                ..sb::PortBinding::default()
            };
            put(&mut tables, uuid + 2, &port);
        }
        let group = sb::LogicalDpGroup {
            datapaths: vec![Uuid::from_u128(1), Uuid::from_u128(2)],
            ..sb::LogicalDpGroup::default()
        };
        put(&mut tables, 5, &group);
        tables
    }

    const BOTH: Option<u128> = None;

    /// A flow of the datapath with this UUID, or of both.
    fn flow(
        tables: &mut Tables,
        cookie: u32,
        of: Option<u128>,
        stage: (&str, i64),
        text: (&str, &str),
    ) {
        let name: Arc<str> = stage.0.into();
        let flow = sb::LogicalFlow {
            logical_datapath: of.map(Uuid::from_u128),
            logical_dp_group: of.is_none().then(|| Uuid::from_u128(5)),
            pipeline: if stage.0.contains("_out_") {
                "egress".into()
            } else {
                "ingress".into()
            },
            table_id: stage.1,
            priority: 1000,
            r#match: text.0.into(),
            actions: text.1.into(),
            external_ids: [("stage-name".into(), name)].into_iter().collect(),
            ..sb::LogicalFlow::default()
        };
        put(tables, u128::from(cookie) << 96, &flow);
    }

    /// Counters of flows: table, cookie, packets, and whether they drop.
    fn counted(flows: &[(u8, u64, u64, bool)]) -> Counters {
        let mut counters = Counters::default();
        for (table, cookie, packets, drops) in flows {
            let volume = Volume {
                packets: *packets,
                bytes: 0,
            };
            counters.flows.insert(*cookie, volume);
            counters.cookies.entry(*table).or_default().insert(*cookie);
            if *drops {
                let dropping = Dropping {
                    table: *table,
                    cookie: *cookie,
                    what: "priority=7,reg15=0x3".to_owned(),
                };
                counters.drops.insert(dropping, *packets);
            }
        }
        counters
    }

    fn nobody(_: &str) -> Vec<Intent> {
        Vec::new()
    }

    #[test]
    fn rules_are_told_with_what_they_dropped() {
        let mut tables = world();
        let stage = ("ls_out_check_port_sec", 6);
        flow(
            &mut tables,
            0x1111_1111,
            Some(1),
            stage,
            ("outport == \"p\"", "drop;"),
        );
        flow(&mut tables, 0x4444_4444, BOTH, stage, ("1", "drop;"));
        let counters = counted(&[(54, 0x1111_1111, 7, true), (54, 0x2222_2222, 9, false)]);
        let told = tell(&tables, &counters, Some("p"), &nobody).expect("there is the port");
        let start = "7 packets: egress table 6 (ls_out_check_port_sec) of \"s\": priority 1000, match (outport == \"p\")";
        assert!(told.starts_with(start), "{told}");
        let other = tell(&tables, &counters, Some("q"), &nobody).expect("there is the port");
        assert_eq!(other, "nothing was dropped here\n");
        assert!(tell(&tables, &counters, Some("none"), &nobody).is_err());

        // What datapaths share is counted once for all of them; the chassis has drops of its own.
        let counters = counted(&[(54, 0x4444_4444, 1, true), (47, 0x5555_5555, 2, true)]);
        let told = tell(&tables, &counters, Some("q"), &nobody).expect("there is the port");
        let of = "1 packet: egress table 6 (ls_out_check_port_sec) of \"t\", \"s\", counted together: priority 1000";
        assert!(told.starts_with(of), "{told}");
        let own = "2 packets: OpenFlow table 47, of the chassis itself: priority=7,reg15=0x3\n";
        assert!(told.ends_with(own), "{told}");
    }

    #[test]
    fn what_a_list_drops_is_told_once() {
        let mut tables = world();
        let (eval, action) = (("ls_out_acl_eval", 1), ("ls_out_acl_action", 2));
        let drops = ("ip4", "reg8[17] = 1; next;");
        flow(&mut tables, 0x1, Some(1), eval, drops);
        flow(
            &mut tables,
            0x2,
            Some(1),
            eval,
            ("tcp", "reg8[18] = 1; next;"),
        );
        flow(&mut tables, 0x3, BOTH, action, ("reg8[17]", "drop;"));
        flow(
            &mut tables,
            0x4,
            BOTH,
            action,
            ("reg8[18]", "reject { outport <-> inport; };"),
        );
        let mut counters = counted(&[
            (49, 0x1, 5, false),
            (49, 0x2, 3, false),
            (50, 0x3, 5, true),
            (50, 0x4, 3, false),
        ]);
        let told = tell(&tables, &counters, None, &nobody).expect("no port is named");
        let heads: Vec<&str> = told
            .lines()
            .filter_map(|line| line.split(", actions").next())
            .collect();
        let expected = [
            "5 packets: egress table 1 (ls_out_acl_eval) of \"s\": priority 1000, match (ip4)",
            "3 packets answered with an error: egress table 1 (ls_out_acl_eval) of \"s\": priority 1000, match (tcp)",
        ];
        assert_eq!(heads, expected);
        // What no list has said is told of the flow that acts.
        let dropping = counters.drops.values_mut().next().expect("one drops");
        *dropping += 4;
        let told = tell(&tables, &counters, None, &nobody).expect("no port is named");
        let left = "4 packets: egress table 2 (ls_out_acl_action)";
        assert!(told.contains(left), "{told}");
    }

    #[test]
    fn rates_and_tables_without_a_flow_are_told() {
        let mut tables = world();
        flow(
            &mut tables,
            0x1,
            Some(1),
            ("ls_in_qos", 8),
            ("ip4", "set_meter(9); next;"),
        );
        flow(
            &mut tables,
            0x2,
            BOTH,
            ("ls_in_l2_lkup", 23),
            ("1", "output;"),
        );
        flow(
            &mut tables,
            0x3,
            BOTH,
            ("ls_out_pre_acl", 0),
            ("1", "next;"),
        );
        let mut counters = counted(&[
            (16, 0x1, 9, false),
            (31, 0x2, 1, false),
            (48, 0x3, 1, false),
        ]);
        counters.exceeded.insert(4, 6);
        counters.metered.entry(4).or_default().insert(0x1);
        counters
            .misses
            .extend([(0, 1), (31, 2), (46, 3), (65, 4), (66, 9)]);
        let told = tell(&tables, &counters, None, &nobody).expect("no port is named");
        let heads: Vec<&str> = told.lines().collect();
        assert_eq!(heads.len(), 5, "{told}");
        for (line, start) in heads.iter().zip([
            "6 packets above the rate of meter 4: ingress table 8 (ls_in_qos) of \"s\"",
            "4 packets: OpenFlow table 65: their output port is not plugged in",
            "3 packets: OpenFlow table 46: their output port is not on this chassis, and no tunnel leads to it",
            "2 packets: ingress table 23 (ls_in_l2_lkup): no flow there matches",
            "1 packet: OpenFlow table 0: they came by a port that is no logical port's here",
        ]) {
            assert!(line.starts_with(start), "{line}");
        }
    }
}
