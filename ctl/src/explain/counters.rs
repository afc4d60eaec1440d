//! What a switch has counted of its own accord, out of what `ovs-ofctl` prints: flows, look-ups that found nothing, and
//! meters. Nothing is switched on for it, so that nobody pays until somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// So many cookies of a table are remembered: one is enough to say which stage it is.
const SAMPLED: usize = 8;
/// Where packets come in by ports of the switch.
const IN_BY_PORT: u8 = 0;
/// Where they go out by them.
const OUT_BY_PORT: u8 = 65;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many packets.
    pub packets: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Volume {
    /// What was counted between two readings. Who counts less than before has begun anew, from zero.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        match self.packets.checked_sub(before.packets) {
            Some(packets) => Self {
                packets,
                bytes: self.bytes.saturating_sub(before.bytes),
            },
            None => self,
        }
    }
}

impl AddAssign for Volume {
    fn add_assign(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

/// A flow of the switch that drops what it matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dropping {
    /// The OpenFlow table.
    pub table: u8,
    /// The cookie.
    pub cookie: u64,
    /// Priority and match, as `ovs-ofctl` prints them.
    pub what: String,
}

/// What a switch has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What flows have met, by cookie.
    pub flows: BTreeMap<u64, Volume>,
    /// What has come in by ports of the switch, by the cookies of the flows there, which are those of logical ports.
    pub entered: BTreeMap<u64, Volume>,
    /// What has gone out by them.
    pub left: BTreeMap<u64, Volume>,
    /// What flows that drop have met.
    pub drops: BTreeMap<Dropping, u64>,
    /// Some of the cookies in each table.
    pub cookies: BTreeMap<u8, BTreeSet<u64>>,
    /// How many packets were looked up in a table and found no flow there.
    pub misses: BTreeMap<u8, u64>,
    /// How many packets were above the rate of a meter.
    pub exceeded: BTreeMap<u32, u64>,
    /// The cookies of the flows that use a meter.
    pub metered: BTreeMap<u32, BTreeSet<u64>>,
}

impl Counters {
    /// Of what `dump-flows`, `dump-tables` and `meter-stats` print. Lines that are none of theirs are passed over.
    pub fn read(flows: &str, tables: &str, meters: &str) -> Self {
        let mut counters = Self::default();
        flows
            .lines()
            .filter_map(Line::read)
            .for_each(|line| counters.add(&line));
        counters.misses = misses(tables);
        counters.exceeded = exceeded(meters);
        counters
    }

    fn add(&mut self, line: &Line<'_>) {
        let is_drop = is_drop(line.actions);
        *self.flows.entry(line.cookie).or_default() += line.volume;
        match line.table {
            IN_BY_PORT if !is_drop => *self.entered.entry(line.cookie).or_default() += line.volume,
            OUT_BY_PORT if !is_drop => *self.left.entry(line.cookie).or_default() += line.volume,
            _ => {}
        }
        let sample = self.cookies.entry(line.table).or_default();
        if sample.len() < SAMPLED {
            sample.insert(line.cookie);
        }
        if is_drop {
            let dropping = Dropping {
                table: line.table,
                cookie: line.cookie,
                what: line.what.to_owned(),
            };
            *self.drops.entry(dropping).or_default() += line.volume.packets;
        }
        for meter in meters(line.actions) {
            self.metered.entry(meter).or_default().insert(line.cookie);
        }
    }

    /// What was counted between two readings. A flow that was made anew has begun from zero.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            flows: volumes(&self.flows, &before.flows),
            entered: volumes(&self.entered, &before.entered),
            left: volumes(&self.left, &before.left),
            drops: grown(&self.drops, &before.drops),
            misses: grown(&self.misses, &before.misses),
            exceeded: grown(&self.exceeded, &before.exceeded),
            cookies: self.cookies.clone(),
            metered: self.metered.clone(),
        }
    }

    /// The packets that flows with this cookie have dropped.
    pub fn dropped(&self) -> BTreeMap<u64, u64> {
        let mut dropped = BTreeMap::new();
        for (dropping, packets) in self.drops.iter().filter(|(_, packets)| **packets > 0) {
            *dropped.entry(dropping.cookie).or_default() += packets;
        }
        dropped
    }
}

/// What was counted between two readings, by cookie.
fn volumes(now: &BTreeMap<u64, Volume>, before: &BTreeMap<u64, Volume>) -> BTreeMap<u64, Volume> {
    let grown = now.iter().map(|(cookie, now)| {
        let then = before.get(cookie).copied().unwrap_or_default();
        (*cookie, now.since(then))
    });
    grown.collect()
}

fn grown<K: Clone + Ord>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let grown = now.iter().map(|(key, now)| {
        let then = before.get(key).copied().unwrap_or_default();
        (key.clone(), now.checked_sub(then).unwrap_or(*now))
    });
    grown.collect()
}

/// A line of `dump-flows`.
struct Line<'a> {
    cookie: u64,
    table: u8,
    volume: Volume,
    what: &'a str,
    actions: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (head, actions) = line.split_once("actions=")?;
        let value = |key: &str| {
            let mut fields = head.split([',', ' ']);
            fields.find_map(|field| field.trim().strip_prefix(key))
        };
        let number = |key: &str| value(key).and_then(|text| text.parse().ok());
        let cookie = value("cookie=0x").and_then(|text| u64::from_str_radix(text, 16).ok())?;
        // What is behind the last counter is priority and match, which hold no blank.
        let what = head.trim_end().rsplit(' ').next().unwrap_or_default();
        Some(Self {
            cookie,
            table: value("table=").map_or(Some(0), |text| text.parse().ok())?,
            volume: Volume {
                packets: number("n_packets=")?,
                bytes: number("n_bytes=").unwrap_or_default(),
            },
            what: if what.contains('=') { what } else { "" },
            actions: actions.trim(),
        })
    }
}

/// Whether a flow does nothing else, but that it may tell collectors (`debug_drop_collector_set`).
fn is_drop(actions: &str) -> bool {
    let sample = actions.strip_prefix("sample(");
    let told = sample.and_then(|rest| rest.strip_suffix(')'));
    actions == "drop" || told.is_some_and(|rest| !rest.contains(')'))
}

/// The meters that actions name: `meter:3`, and `meter_id=3` of packets to the controller.
fn meters(actions: &str) -> impl Iterator<Item = u32> + '_ {
    let words = actions.split(|c: char| !(c.is_ascii_alphanumeric() || "_:=".contains(c)));
    words.filter_map(|word| {
        let number = word
            .strip_prefix("meter:")
            .or_else(|| word.strip_prefix("meter_id="))?;
        number.parse().ok()
    })
}

/// By table, the look-ups that found nothing. A table that is `ditto` is like the one before.
fn misses(text: &str) -> BTreeMap<u8, u64> {
    let mut misses = BTreeMap::new();
    let (mut current, mut last) = (None, 0);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line
            .strip_prefix("tables ")
            .or_else(|| line.strip_prefix("table "))
        {
            let (range, ditto) = rest.split_once(':').unwrap_or((rest, ""));
            let range = range.split_whitespace().next().unwrap_or_default();
            let (first, end) = range.split_once("...").unwrap_or((range, range));
            let (Ok(first), Ok(end)) = (first.parse::<u8>(), end.parse::<u8>()) else {
                continue;
            };
            current = Some(first);
            if ditto.trim() == "ditto" && last > 0 {
                misses.extend((first..=end).map(|table| (table, last)));
            }
        }
        let value = |key: &str| {
            let mut fields = line.split(", ");
            fields.find_map(|field| field.strip_prefix(key)?.parse::<u64>().ok())
        };
        if let (Some(table), Some(lookups), Some(matched)) =
            (current, value("lookup="), value("matched="))
        {
            last = lookups.saturating_sub(matched);
            if last > 0 {
                misses.insert(table, last);
            }
        }
    }
    misses
}

/// By meter, the packets above its rate.
fn exceeded(text: &str) -> BTreeMap<u32, u64> {
    let mut exceeded = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some(number) = first.strip_prefix("meter:") {
            current = number.parse::<u32>().ok();
        } else if let (Some(meter), Some(packets)) = (
            current,
            words
                .next()
                .and_then(|word| word.strip_prefix("packet_count:")),
        ) {
            let packets: u64 = packets.parse().unwrap_or_default();
            if packets > 0 {
                *exceeded.entry(meter).or_default() += packets;
            }
        }
    }
    exceeded
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOWS: &str = "NXST_FLOW reply (xid=0x4):\n \
        cookie=0x11111111, duration=1.2s, table=45, n_packets=3, n_bytes=294, idle_age=1, priority=2000,ip,metadata=0x1 actions=drop\n \
        cookie=0x11111111, duration=1.2s, table=45, n_packets=4, n_bytes=294, priority=2000,ipv6,metadata=0x1 actions=drop\n \
        cookie=0x22222222, duration=1.2s, table=8, n_packets=9, n_bytes=90, priority=50,metadata=0x1 actions=meter:3,resubmit(,9)\n \
        cookie=0x33333333, duration=1.2s, table=9, n_packets=0, n_bytes=0, priority=50 actions=controller(userdata=00.01,meter_id=7)\n \
        cookie=0x44, duration=1.2s, table=0, n_packets=4, n_bytes=40, priority=100,in_port=5 actions=resubmit(,8)\n \
        cookie=0x44, duration=1.2s, table=0, n_packets=2, n_bytes=20, priority=150,in_port=5,vlan_tci=0x1033/0x1fff actions=strip_vlan,resubmit(,8)\n \
        cookie=0x44, duration=1.2s, table=65, n_packets=2, n_bytes=20, priority=100,reg15=0x1,metadata=0x1 actions=output:5\n \
        cookie=0x44, duration=1.2s, table=65, n_packets=7, n_bytes=70, priority=1000,reg15=0x1,metadata=0x1 actions=drop\n";

    const TABLES: &str = "OFPST_TABLE reply (OF1.5) (xid=0x2):\n  \
        table 0:\n    active=12, lookup=30, matched=28\n    max_entries=1000000\n\n  \
        table 1:\n    active=0, lookup=0, matched=0\n    (same features)\n\n  \
        tables 2...7: ditto\n  \
        table 8:\n    active=9, lookup=30, matched=30\n  \
        table 65:\n    active=9, lookup=31, matched=30\n  \
        table 66: ditto\n";

    const METERS: &str = "OFPST_METER reply (OF1.5) (xid=0x2):\n\
        meter:3 flow_count:1 packet_in_count:9 byte_in_count:90 duration:1.2s bands:\n\
        0: packet_count:5 byte_count:50\n\
        meter:7 flow_count:1 packet_in_count:0 byte_in_count:0 duration:1.2s bands:\n\
        0: packet_count:0 byte_count:0\n";

    #[test]
    fn what_the_switch_prints_is_understood() {
        let counters = Counters::read(FLOWS, TABLES, METERS);
        let volume = |packets, bytes| Volume { packets, bytes };
        assert_eq!(counters.flows[&0x1111_1111], volume(7, 588));
        assert_eq!(counters.flows[&0x2222_2222], volume(9, 90));
        let dropped = BTreeMap::from([(0x44, 7), (0x1111_1111, 7)]);
        assert_eq!(counters.dropped(), dropped);
        assert_eq!(counters.entered, BTreeMap::from([(0x44, volume(6, 60))]));
        assert_eq!(counters.left, BTreeMap::from([(0x44, volume(2, 20))]));
        let what: Vec<&str> = counters.drops.keys().map(|flow| &*flow.what).collect();
        assert_eq!(
            what,
            [
                "priority=2000,ip,metadata=0x1",
                "priority=2000,ipv6,metadata=0x1",
                "priority=1000,reg15=0x1,metadata=0x1"
            ]
        );
        assert_eq!(counters.misses, BTreeMap::from([(0, 2), (65, 1), (66, 1)]));
        assert_eq!(counters.exceeded, BTreeMap::from([(3, 5)]));
        assert_eq!(counters.metered[&3], BTreeSet::from([0x2222_2222]));
        assert_eq!(counters.metered[&7], BTreeSet::from([0x3333_3333]));
        assert_eq!(counters.cookies[&8], BTreeSet::from([0x2222_2222]));
    }

    #[test]
    fn only_what_has_come_since_counts() {
        let before = Counters::read(FLOWS, TABLES, METERS);
        let later = FLOWS.replace("n_packets=3", "n_packets=5");
        let later = Counters::read(&later, &TABLES.replace("lookup=31", "lookup=33"), METERS);
        let grown = later.since(&before);
        assert_eq!(grown.dropped(), BTreeMap::from([(0x1111_1111, 2)]));
        assert_eq!(grown.misses[&65], 2);
        assert_eq!(grown.misses[&0], 0);
        // A flow that was made anew.
        let anew = FLOWS.replace("n_packets=9", "n_packets=1");
        let anew = Counters::read(&anew, TABLES, METERS).since(&before);
        assert_eq!(anew.flows[&0x2222_2222].packets, 1);
    }

    #[test]
    fn a_drop_that_is_told_to_collectors_is_one() {
        for (actions, is_one) in [
            ("drop", true),
            (
                "sample(probability=65535,collector_set_id=1,obs_domain_id=2,obs_point_id=3)",
                true,
            ),
            (
                "sample(probability=65535,collector_set_id=1),resubmit(,9)",
                false,
            ),
            ("resubmit(,9)", false),
        ] {
            assert_eq!(is_drop(actions), is_one, "{actions}");
        }
    }

    #[test]
    fn what_is_none_of_it_is_passed_over() {
        for text in [
            "",
            "nonsense",
            "table x:\n lookup=1, matched=0",
            "cookie=0x1 actions=drop",
            "meter:x\n0: packet_count:1",
        ] {
            assert_eq!(
                Counters::read(text, text, text),
                Counters::default(),
                "{text}"
            );
        }
    }
}
