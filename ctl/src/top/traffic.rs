//! Who has the traffic of a switch, out of its counters: ports, rules, load balancers, and the chassis that tunnels lead to.
//!
//! A port's interface counts for it. Where it does not (the port is a container behind a guest's interface, or the switch
//! cannot read an interface that is in another network namespace), the flows do by which its packets come in and go out.

use std::collections::{BTreeMap, HashMap, HashSet};

use nb_db::tables as nb;
use ovsdb::{Table as _, TableDefinition as _, Uuid};
use replica::Tables;
use sb_db::tables as sb;

use crate::explain::counters::{Counters, Volume};
use crate::explain::intent::Intents;
use crate::explain::switch::Interface;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Logical ports that are plugged in here.
    Ports,
    /// Access control lists.
    Rules,
    /// Load balancers.
    Balancers,
    /// Chassis, by the tunnels to them.
    Chassis,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ports, Self::Rules, Self::Balancers, Self::Chassis];

    /// Its heading.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Rules => "rules",
            Self::Balancers => "load balancers",
            Self::Chassis => "chassis",
        }
    }

    /// Whether it has two directions.
    pub fn has_directions(self) -> bool {
        matches!(self, Self::Ports | Self::Chassis)
    }
}

/// What somebody has sent and received; what a rule or a load balancer has met is all sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From a port into the network; to a chassis.
    pub sent: Volume,
    /// To a port; from a chassis.
    pub received: Volume,
}

/// By subject and name.
pub type Reading = BTreeMap<(Subject, String), Traffic>;

/// What the cookies of flows are there for.
#[derive(Debug, Default)]
pub struct Known {
    /// By cookie: the subject, its name, and the stage of the flow.
    flows: HashMap<u64, Vec<(Subject, String, String)>>,
    /// Guests' and containers' ports, by the cookie of the flows that are theirs alone.
    ports: HashMap<u64, String>,
    /// Cookies of flows that are there for none.
    others: HashSet<u64>,
}

impl Known {
    /// What two databases say.
    pub fn new(south: &Tables, north: &Tables) -> Self {
        let intents = Intents::new(north);
        let mut known = Self {
            ports: ports(south),
            ..Self::default()
        };
        // What has the name of another is told from it by its UUID.
        let mut of_name: HashMap<(Subject, String), HashSet<Uuid>> = HashMap::new();
        let mut found = Vec::new();
        for (uuid, row) in south.table(sb::LogicalFlow::INDEX).iter() {
            let cookie = u64::from(uuid.as_fields().0);
            let flow = sb::LogicalFlow::from_row(uuid, row);
            let hint = flow.external_ids.get("stage-hint");
            let hinted = hint.map(|hint| intents.find(north, hint));
            let stage = flow.external_ids.get("stage-name");
            let stage = stage.map_or_else(String::new, ToString::to_string);
            let mut is_one = false;
            for intent in hinted.into_iter().flatten() {
                let subject = match intent.table {
                    nb::Acl::INDEX => Subject::Rules,
                    nb::LoadBalancer::INDEX => Subject::Balancers,
                    _ => continue,
                };
                let named = of_name.entry((subject, intent.name.clone())).or_default();
                named.insert(intent.uuid);
                found.push((cookie, subject, intent, stage.clone()));
                is_one = true;
            }
            if !is_one {
                known.others.insert(cookie);
            }
        }
        for (cookie, subject, intent, stage) in found {
            let named = of_name.get(&(subject, intent.name.clone()));
            let name = match named.map_or(0, HashSet::len) {
                0 | 1 => intent.name,
                _ => format!("{} ({:08x})", intent.name, intent.uuid.as_fields().0),
            };
            let of = known.flows.entry(cookie).or_default();
            of.push((subject, name, stage));
        }
        known
    }

    /// Whether flows with packets are there for what is not known.
    pub fn is_stale(&self, counters: &Counters) -> bool {
        let met = counters
            .flows
            .iter()
            .filter(|(_, volume)| volume.packets > 0);
        let mut cookies = met.map(|(cookie, _)| cookie);
        cookies.any(|cookie| *cookie != 0 && !self.has(*cookie) && !self.others.contains(cookie))
    }

    fn has(&self, cookie: u64) -> bool {
        self.flows.contains_key(&cookie) || self.ports.contains_key(&cookie)
    }

    /// What is still not known after the databases were read again is there for none: a chassis has flows of its own.
    pub fn leave_out(&mut self, counters: &Counters) {
        let cookies = counters.flows.keys().copied();
        let unknown: Vec<u64> = cookies.filter(|cookie| !self.has(*cookie)).collect();
        self.others.extend(unknown);
    }
}

/// The ports of guests and containers, by cookie.
fn ports(south: &Tables) -> HashMap<u64, String> {
    let rows = south.table(sb::PortBinding::INDEX).iter();
    let ports = rows.filter_map(|(uuid, row)| {
        let port = sb::PortBinding::from_row(uuid, row);
        let cookie = u64::from(uuid.as_fields().0);
        let is_guests = port.r#type.is_empty();
        is_guests.then(|| (cookie, port.logical_port.to_string()))
    });
    ports.collect()
}

/// What a switch has counted, of everybody.
pub fn read(
    counters: &Counters,
    known: &Known,
    ports: &str,
    interfaces: &HashMap<u64, Interface>,
) -> Reading {
    let mut reading = Reading::new();
    for (number, traffic) in port_counters(ports) {
        let (Some(interface), Some(traffic)) = (interfaces.get(&number), traffic) else {
            continue;
        };
        let of = match (&interface.id, &interface.chassis) {
            (Some(id), _) => (Subject::Ports, id.clone()),
            // What a tunnel has received has come from that chassis.
            (None, Some(chassis)) => (Subject::Chassis, chassis.clone()),
            (None, None) => continue,
        };
        let traffic = match of.0 {
            Subject::Chassis => Traffic {
                sent: traffic.received,
                received: traffic.sent,
            },
            _ => traffic,
        };
        let sum = reading.entry(of).or_default();
        sum.sent += traffic.sent;
        sum.received += traffic.received;
    }
    add_uncounted(&mut reading, counters, known);
    // A packet may meet flows of one rule in several stages, and is counted in one.
    let mut by_stage: BTreeMap<(Subject, &str, &str), Volume> = BTreeMap::new();
    for (cookie, volume) in &counters.flows {
        for (subject, name, stage) in known.flows.get(cookie).into_iter().flatten() {
            *by_stage.entry((*subject, name, stage)).or_default() += *volume;
        }
    }
    for ((subject, name, _), volume) in by_stage {
        let most = reading.entry((subject, name.to_owned())).or_default();
        if volume.packets >= most.sent.packets {
            most.sent = volume;
        }
    }
    reading
}

/// Adds the ports for which no interface counts, by what their flows have met.
fn add_uncounted(reading: &mut Reading, counters: &Counters, known: &Known) {
    let mut uncounted: BTreeMap<&str, Traffic> = BTreeMap::new();
    for (cookie, name) in &known.ports {
        let volume = |of: &BTreeMap<u64, Volume>| of.get(cookie).copied();
        let (sent, received) = (volume(&counters.entered), volume(&counters.left));
        let is_here = sent.is_some() || received.is_some();
        if is_here && !reading.contains_key(&(Subject::Ports, name.clone())) {
            let of = uncounted.entry(name).or_default();
            of.sent += sent.unwrap_or_default();
            of.received += received.unwrap_or_default();
        }
    }
    let uncounted = uncounted.into_iter();
    reading.extend(uncounted.map(|(name, traffic)| ((Subject::Ports, name.to_owned()), traffic)));
}

/// What came between two readings. Who has begun anew has begun from zero.
pub fn since(before: &Reading, after: &Reading) -> Reading {
    let grown = after.iter().map(|(of, now)| {
        let then = before.get(of).copied().unwrap_or_default();
        let traffic = Traffic {
            sent: now.sent.since(then.sent),
            received: now.received.since(then.received),
        };
        (of.clone(), traffic)
    });
    grown.collect()
}

/// By OpenFlow port, what `dump-ports` prints; nothing where the switch has no numbers. A guest's port receives in the switch
/// what the guest sends.
fn port_counters(text: &str) -> Vec<(u64, Option<Traffic>)> {
    let mut found: Vec<(u64, Option<Traffic>)> = Vec::new();
    for line in text.lines().map(str::trim) {
        let (head, counters) = match line.strip_prefix("port ") {
            Some(rest) => match rest.split_once(':') {
                Some((number, counters)) => (number.trim().parse::<u64>().ok(), counters.trim()),
                None => continue,
            },
            None => (None, line),
        };
        let value = |key: &str| {
            let mut fields = counters.split([',', ' ']);
            fields.find_map(|field| field.strip_prefix(key)?.parse::<u64>().ok())
        };
        // What the switch cannot read is a question mark.
        let volume = value("pkts=").map(|packets| Volume {
            packets,
            bytes: value("bytes=").unwrap_or_default(),
        });
        if counters.starts_with("rx ") {
            // A port without a number is the bridge's own.
            let number = head.unwrap_or(u64::MAX);
            let traffic = volume.map(|sent| Traffic {
                sent,
                received: Volume::default(),
            });
            found.push((number, traffic));
        } else if counters.starts_with("tx ")
            && let Some((_, Some(traffic))) = found.last_mut()
        {
            traffic.received = volume.unwrap_or_default();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::{RowChange, TableDefinition};

    use super::*;

    const PORTS: &str = "OFPST_PORT reply (OF1.5) (xid=0x2): 3 ports\n  \
        port LOCAL: rx pkts=9, bytes=9, drop=0, errs=0, frame=0, over=0, crc=0\n           \
        tx pkts=9, bytes=9, drop=0, errs=0, coll=0\n           duration=5.5s\n  \
        port  1: rx pkts=4, bytes=400, drop=0, errs=0, frame=0, over=0, crc=0\n           \
        tx pkts=6, bytes=600, drop=0, errs=0, coll=0\n  \
        port 12: rx pkts=1, bytes=100, drop=?, errs=?\n           \
        tx pkts=2, bytes=200, drop=?, errs=?\n  \
        port 13: rx pkts=?, bytes=?, drop=?, errs=?, frame=?, over=?, crc=?\n           \
        tx pkts=?, bytes=?, drop=?, errs=?, coll=?\n           duration=5.5s\n";

    fn volume(packets: u64) -> Volume {
        Volume {
            packets,
            bytes: packets * 100,
        }
    }

    fn put<T: TableDefinition + ovsdb::Table>(tables: &mut Tables, uuid: u128, row: &T) {
        tables.apply(&RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(uuid),
            old: None,
            new: Some(Arc::new(row.to_row())),
        });
    }

    #[test]
    fn ports_rules_balancers_and_chassis_have_their_traffic() {
        let mut north = Tables::new(nb_db::schema());
        let acl = nb::Acl {
            name: Some("no-telnet".into()),
            ..nb::Acl::default()
        };
        put(&mut north, 0xaaaa_0001_u128 << 96, &acl);
        let acl = nb::Acl {
            name: Some("drop".into()),
            ..nb::Acl::default()
        };
        put(&mut north, 0xaaaa_0002_u128 << 96, &acl);
        put(&mut north, 0xaaaa_0003_u128 << 96, &acl);
        let balancer = nb::LoadBalancer {
            name: "web".into(),
            ..nb::LoadBalancer::default()
        };
        put(&mut north, 0xbbbb_0001_u128 << 96, &balancer);
        let mut south = Tables::new(sb_db::schema());
        for (cookie, hint, stage) in [
            (1_u128, "aaaa0001", "ls_out_pre_acl"),
            (2, "aaaa0001", "ls_out_acl_eval"),
            (3, "aaaa0001", "ls_out_acl_eval"),
            (4, "bbbb0001", "ls_in_lb"),
            (5, "cccc0001", "ls_in_l2_lkup"),
            (6, "aaaa0002", "ls_in_acl_eval"),
            (7, "aaaa0003", "ls_in_acl_eval"),
        ] {
            let ids = [("stage-hint", hint), ("stage-name", stage)];
            let flow = sb::LogicalFlow {
                external_ids: ids.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
                ..sb::LogicalFlow::default()
            };
            put(&mut south, cookie << 96, &flow);
        }
        for (cookie, name, kind) in [
            (0x21_u128, "vm1", ""),
            (0x22, "moved", ""),
            (0x23, "container", ""),
            (0x24, "elsewhere", ""),
            (0x25, "localnet", "localnet"),
        ] {
            let port = sb::PortBinding {
                logical_port: name.into(),
                r#type: kind.into(),
                ..sb::PortBinding::default()
            };
            put(&mut south, cookie << 96, &port);
        }
        let known = Known::new(&south, &north);
        let counted = |all: &[(u64, u64)]| {
            let all = all.iter();
            all.map(|(cookie, packets)| (*cookie, volume(*packets)))
                .collect()
        };
        // The interface of the first counts by itself, and counts more.
        let mut counters = Counters {
            entered: counted(&[(0x21, 3), (0x22, 5), (0x23, 1), (0x25, 9)]),
            left: counted(&[(0x21, 3), (0x22, 6)]),
            ..Counters::default()
        };
        for (cookie, packets) in [(1, 7), (2, 4), (3, 3), (4, 2), (5, 50), (6, 8), (7, 9)] {
            counters.flows.insert(cookie, volume(packets));
        }
        assert!(!known.is_stale(&counters));
        let interface = |id: Option<&str>, chassis: Option<&str>| Interface {
            name: "x".to_owned(),
            id: id.map(str::to_owned),
            chassis: chassis.map(str::to_owned),
        };
        let interfaces = HashMap::from([
            (1, interface(Some("vm1"), None)),
            (12, interface(None, Some("hv2"))),
            (13, interface(Some("moved"), None)),
        ]);
        let reading = read(&counters, &known, PORTS, &interfaces);
        let traffic = |sent, received| Traffic {
            sent: volume(sent),
            received: volume(received),
        };
        let expected = [
            (Subject::Ports, "vm1", traffic(4, 6)),
            (Subject::Ports, "moved", traffic(5, 6)),
            (Subject::Ports, "container", traffic(1, 0)),
            (Subject::Rules, "drop (aaaa0002)", traffic(8, 0)),
            (Subject::Rules, "drop (aaaa0003)", traffic(9, 0)),
            (Subject::Rules, "no-telnet", traffic(7, 0)),
            (Subject::Balancers, "web", traffic(2, 0)),
            (Subject::Chassis, "hv2", traffic(2, 1)),
        ];
        let expected =
            expected.map(|(subject, name, traffic)| ((subject, name.to_owned()), traffic));
        assert_eq!(reading, Reading::from(expected));

        let later = PORTS.replace("pkts=4, bytes=400", "pkts=9, bytes=900");
        let later = read(&counters, &known, &later, &interfaces);
        let grown = since(&reading, &later);
        assert_eq!(grown[&(Subject::Ports, "vm1".to_owned())], traffic(5, 0));
        counters.flows.insert(8, volume(1));
        assert!(known.is_stale(&counters));
        let mut known = known;
        known.leave_out(&counters);
        assert!(!known.is_stale(&counters));
    }
}
