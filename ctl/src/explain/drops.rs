//! Which rules drop packets, by what the switch has counted: its flows are read, nothing is asked of anybody else, and
//! nothing is counted that was not before.
//!
//! The cookie of a flow is the start of the UUID of the logical flow that it is there for; the flow's hint is that of the
//! northbound row. An access control list only notes its verdict, and a later flow that all of them share drops by it: so flows
//! that are there for a list that drops or rejects count, too. Which of a switch's ports a packet came from is only known where the rule itself names the port.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use ovsdb::{Table as _, TableDefinition as _, Uuid};
use replica::Tables;
use sb_db::tables as sb;

use super::intent::{Intent, table_name};

/// Packets that flows have met, by cookie and by whether these flows drop them.
pub type Counts = BTreeMap<(u64, bool), u64>;

/// The rows that a flow is there for, by the start of their UUID.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Vec<Intent>;

/// What flows have met, of what `ovs-ofctl dump-flows` prints.
pub fn counted(text: &str) -> Counts {
    let mut counts = Counts::new();
    for line in text.lines() {
        let Some((head, actions)) = line.split_once("actions=") else {
            continue;
        };
        let drops = is_drop(actions.trim());
        let value = |key: &str| {
            let mut fields = head.split([',', ' ']);
            fields.find_map(|field| field.trim().strip_prefix(key))
        };
        let cookie = value("cookie=0x").and_then(|text| u64::from_str_radix(text, 16).ok());
        let packets = value("n_packets=").and_then(|text| text.parse::<u64>().ok());
        if let (Some(cookie), Some(packets)) = (cookie, packets) {
            *counts.entry((cookie, drops)).or_default() += packets;
        }
    }
    counts
}

/// Whether a flow does nothing else, but that it may tell collectors (`debug_drop_collector_set`).
fn is_drop(actions: &str) -> bool {
    let sample = actions.strip_prefix("sample(");
    let told = sample.and_then(|rest| rest.strip_suffix(')'));
    actions == "drop" || told.is_some_and(|rest| !rest.contains(')'))
}

/// What was dropped between two readings. A flow that was made anew has begun from zero.
pub fn since(before: &Counts, after: &Counts) -> Counts {
    let grown = after.iter().map(|(flow, now)| {
        let then = before.get(flow).copied().unwrap_or_default();
        (*flow, now.checked_sub(then).unwrap_or(*now))
    });
    grown.collect()
}

/// What was dropped, the most first, in words; of one port's datapath, if a port is named.
///
/// # Errors
/// When there is no such port.
pub fn tell(
    south: &Tables,
    counts: &Counts,
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
    let wanted: HashSet<u64> = counts
        .iter()
        .filter(|(_, packets)| **packets > 0)
        .map(|((cookie, _), _)| *cookie)
        .collect();
    let mut flows: HashMap<u64, Vec<sb::LogicalFlow>> = HashMap::new();
    for (uuid, row) in south.table(sb::LogicalFlow::INDEX).iter() {
        let cookie = u64::from(uuid.as_fields().0);
        if wanted.contains(&cookie) {
            let flow = sb::LogicalFlow::from_row(uuid, row);
            flows.entry(cookie).or_default().push(flow);
        }
    }
    let mut found: Vec<(u64, &sb::LogicalFlow)> = Vec::new();
    for ((cookie, drops), packets) in counts.iter().filter(|(_, packets)| **packets > 0) {
        let flows = flows.get(cookie).into_iter().flatten();
        let here = flows.filter(|flow| {
            let is_verdict = || {
                let hint = flow.external_ids.get("stage-hint");
                let mut intents = hint
                    .map(|hint| intents(hint))
                    .unwrap_or_default()
                    .into_iter();
                intents.any(|intent| intent.refuses)
            };
            datapath.is_none_or(|datapath| datapaths(south, flow).contains(&datapath))
                && (*drops || is_verdict())
        });
        found.extend(here.map(|flow| (*packets, flow)));
    }
    // Those that name the port first, those that other datapaths share last; then those that have dropped the most.
    let rank = |flow: &sb::LogicalFlow| {
        let names = port.is_some_and(|port| flow.r#match.contains(&format!("\"{port}\"")));
        match (
            names,
            datapath.is_some() && datapaths(south, flow).len() > 1,
        ) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        }
    };
    found.sort_by_key(|(packets, flow)| (rank(flow), std::cmp::Reverse(*packets), flow.uuid));
    let mut text = String::new();
    for (packets, flow) in &found {
        let stage = flow.external_ids.get("stage-name");
        let stage = stage.map_or_else(String::new, |stage| format!(" ({stage})"));
        // A flow of several is one on the switch, with one counter for all.
        let mut of = datapaths(south, flow);
        of.sort_by_key(|uuid| Some(*uuid) != datapath);
        let named: Vec<String> = of.iter().take(3).map(|uuid| named(south, *uuid)).collect();
        let of = match of.len() {
            0 | 1 => named.join(""),
            2 | 3 => format!("{}, counted together", named.join(", ")),
            count => format!("{} and {} others, counted together", named[0], count - 1),
        };
        let noun = if *packets == 1 { "packet" } else { "packets" };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{packets} {noun}: {} table {}{stage} of {of}: priority {}, match ({}), actions ({}), uuid {}",
            flow.pipeline, flow.table_id, flow.priority, flow.r#match, flow.actions, flow.uuid
        );
        let hint = flow.external_ids.get("stage-hint");
        for intent in hint.map(|hint| intents(hint)).unwrap_or_default() {
            let (table, uuid) = (table_name(intent.table), intent.uuid);
            let _ = writeln!(text, "  {table} {uuid} ({}): {}", intent.name, intent.text);
        }
    }
    if found.is_empty() {
        text.push_str("nothing was dropped by a rule here\n");
    }
    let known = |cookie: &u64| flows.contains_key(cookie);
    let others = counts.iter();
    let others = others.filter(|((cookie, drops), _)| *drops && !known(cookie));
    let others: u64 = others.map(|(_, packets)| *packets).sum();
    if others > 0 {
        let _ = writeln!(
            text,
            "{others} more by flows of no logical flow, on all datapaths: of ports, tunnels and loops"
        );
    }
    Ok(text)
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

    const DUMP: &str = "NXST_FLOW reply (xid=0x4):\n \
        cookie=0x11111111, duration=1.2s, table=45, n_packets=3, n_bytes=294, idle_age=1, priority=2000,ip,metadata=0x1 actions=drop\n \
        cookie=0x11111111, duration=1.2s, table=45, n_packets=4, n_bytes=294, priority=2000,ipv6,metadata=0x1 actions=drop\n \
        cookie=0x22222222, duration=1.2s, table=8, n_packets=9, n_bytes=9, priority=50,metadata=0x1 actions=resubmit(,9)\n \
        cookie=0x33333333, duration=1.2s, table=9, n_packets=0, n_bytes=0, priority=50 actions=drop\n \
        cookie=0x44444444, duration=1.2s, table=9, n_packets=2, n_bytes=0, priority=60 \
        actions=sample(probability=65535,collector_set_id=7,obs_domain_id=1,obs_point_id=2,sampling_port=0)\n \
        cookie=0x55555555, duration=1.2s, table=9, n_packets=1, n_bytes=0, priority=70 \
        actions=sample(probability=65535,collector_set_id=7,obs_domain_id=1,obs_point_id=2),resubmit(,10)\n";

    fn put<T: ovsdb::TableDefinition + ovsdb::Table>(tables: &mut Tables, uuid: u128, row: &T) {
        tables.apply(&RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(uuid),
            old: None,
            new: Some(Arc::new(row.to_row())),
        });
    }

    #[test]
    fn rules_are_told_with_what_they_dropped() {
        let counts = counted(DUMP);
        let expected = [
            ((0x1111_1111, true), 7),
            ((0x2222_2222, false), 9),
            ((0x3333_3333, true), 0),
            ((0x4444_4444, true), 2),
            ((0x5555_5555, false), 1),
        ];
        assert_eq!(counts, Counts::from(expected));
        let before = Counts::from([((0x1111_1111, true), 5)]);
        assert_eq!(since(&before, &counts)[&(0x1111_1111, true)], 2);
        let anew = Counts::from([((0x1111_1111, true), 9)]);
        assert_eq!(since(&anew, &counts)[&(0x1111_1111, true)], 7);

        let mut tables = Tables::new(sb_db::schema());
        let datapath = |name: &str| sb::DatapathBinding {
            external_ids: [("name".into(), name.into())].into_iter().collect(),
            ..sb::DatapathBinding::default()
        };
        put(&mut tables, 1, &datapath("s"));
        put(&mut tables, 2, &datapath("t"));
        for (uuid, name, datapath) in [(3, "p", 1), (4, "q", 2)] {
            let port = sb::PortBinding {
                logical_port: name.into(),
                datapath: Uuid::from_u128(datapath),
                ..sb::PortBinding::default()
            };
            put(&mut tables, uuid, &port);
        }
        let flow = sb::LogicalFlow {
            logical_datapath: Some(Uuid::from_u128(1)),
            pipeline: "egress".into(),
            table_id: 2,
            priority: 1000,
            r#match: "outport == \"p\"".into(),
            actions: "drop;".into(),
            ..sb::LogicalFlow::default()
        };
        put(&mut tables, 0x1111_1111_u128 << 96, &flow);
        let nobody = |_: &str| Vec::new();
        let told = tell(&tables, &counts, Some("p"), &nobody).expect("there is the port");
        assert!(
            told.starts_with(
                "7 packets: egress table 2 of \"s\": priority 1000, match (outport == \"p\")"
            ),
            "{told}"
        );
        let other = tell(&tables, &counts, Some("q"), &nobody).expect("there is the port");
        assert_eq!(other, "nothing was dropped by a rule here\n");
        assert!(tell(&tables, &counts, Some("none"), &nobody).is_err());

        // What datapaths share is counted once for all of them.
        let group = sb::LogicalDpGroup {
            datapaths: vec![Uuid::from_u128(1), Uuid::from_u128(2)],
            ..sb::LogicalDpGroup::default()
        };
        put(&mut tables, 5, &group);
        let shared = sb::LogicalFlow {
            logical_datapath: None,
            logical_dp_group: Some(Uuid::from_u128(5)),
            r#match: "1".into(),
            ..flow
        };
        put(&mut tables, 0x4444_4444_u128 << 96, &shared);
        let counts = Counts::from([((0x4444_4444, true), 1), ((0x5555_5555, true), 2)]);
        let told = tell(&tables, &counts, Some("q"), &nobody).expect("there is the port");
        let of = "1 packet: egress table 2 of \"t\", \"s\", counted together: priority 1000";
        assert!(told.starts_with(of), "{told}");
        assert!(
            told.contains("2 more by flows of no logical flow"),
            "{told}"
        );
    }
}
