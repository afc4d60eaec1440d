//! Packets by example, whose fate is another after the change.
//!
//! The examples go between guests that the change has to do with, and from them to the addresses that its flows name: pings,
//! and the transport ports that the flows name. They open connections. The interpreter follows each through the southbound
//! as it is and as it would be.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use ovsdb::{RowChange, Uuid};
use replica::Tables;
use sb_db::tables as sb;

use super::chassis::datapaths;
use super::rows::typed;
use super::{counted, section};
use crate::explain::why::explain;
use crate::trace::known::Known;
use crate::trace::request::Request;
use crate::trace::track::Answers;
use crate::trace::walk::{Manner, Settings};

/// So many guests send, so many are sent to, and so many other addresses.
const GUESTS: usize = 8;
const ADDRESSES: usize = 8;
/// So many transport ports are tried.
const SERVICES: usize = 4;
/// A new connection, `trk` and `new`, as often as a packet may be tracked.
const NEW: (u128, usize) = (0x21, 32);

/// A guest.
#[derive(Clone, Debug)]
struct Guest {
    name: String,
    datapath: Uuid,
    mac: String,
    ip: IpAddr,
}

/// What is sent to, and by which MAC.
#[derive(Clone, Debug)]
struct Target {
    name: String,
    mac: String,
    ip: IpAddr,
}

/// The examples whose fate changes, in words. What is known is as before afterwards.
pub fn tell(south: &Tables, known: &mut Known, changes: &[RowChange], limit: usize) -> String {
    let examples = examples(south, changes);
    let before = fates(known, &examples);
    // What is taken away and put back is what stands here, which may be newer than what the change was made on.
    let changes = changes.iter().map(|change| RowChange {
        old: south.get(change.table, change.uuid).cloned(),
        ..change.clone()
    });
    let changes: Vec<RowChange> = changes.collect();
    known.apply(&changes);
    let after = fates(known, &examples);
    let back: Vec<RowChange> = changes.iter().map(RowChange::reversed).collect();
    known.apply(&back);
    let mut lines = Vec::new();
    for (((name, _), before), after) in examples.iter().zip(&before).zip(&after) {
        if before != after {
            lines.push(format!("{name}\n      now:  {before}\n      then: {after}"));
        }
    }
    let of = counted(examples.len(), "example");
    let heading = format!("packets: {} of {of} would fare otherwise", lines.len());
    section(&heading, &lines, limit)
}

/// What becomes of each.
fn fates(known: &Known, examples: &[(String, String)]) -> Vec<String> {
    let Known { world, stages } = known;
    let fates = examples.iter().map(|(_, microflow)| {
        let request = Request {
            settings: Settings {
                answers: Answers {
                    states: VecDeque::from(vec![NEW.0; NEW.1]),
                    backend: None,
                },
                selected: None,
                friendly: true,
                manner: Manner::Chassis,
            },
            microflow: microflow.clone(),
            ..Request::default()
        };
        let Ok(followed) = request.follow(world, stages) else {
            return "there is no such port".to_owned();
        };
        let told = explain(world, &followed.endings, &|_| Vec::new());
        let mut lines: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
        lines.dedup();
        // Which row a flow stands in is no fate.
        let lines = lines.into_iter().map(|line| match line.rfind(", uuid ") {
            Some(end) => &line[..end],
            None => line,
        });
        lines.collect::<Vec<_>>().join(" ")
    });
    fates.collect()
}

/// Names and descriptions of packets.
fn examples(south: &Tables, changes: &[RowChange]) -> Vec<(String, String)> {
    let touched = datapaths(south, changes);
    let now: Vec<sb::PortBinding> = south.iter_as().collect();
    let come = typed::<sb::PortBinding>(changes);
    let come: Vec<sb::PortBinding> = come.filter_map(|(_, new)| new).collect();
    let texts = typed::<sb::LogicalFlow>(changes);
    let texts = texts.flat_map(|(old, new)| [old, new]).flatten();
    let texts: Vec<String> = texts.map(|flow| flow.r#match.to_string()).collect();
    let named = named(&texts);
    let mut guests: BTreeMap<(usize, String), Guest> = BTreeMap::new();
    let names: BTreeSet<&str> = come.iter().map(|port| &*port.logical_port).collect();
    let is_come = |port: &sb::PortBinding| names.contains(&*port.logical_port);
    for port in come.iter().chain(&now) {
        let Some(guest) = guest(port) else { continue };
        // Those that the change itself is about come first.
        let rank = match () {
            () if is_come(port) || named.ports.contains(&guest.name) => 0,
            () if touched.contains(&port.datapath) => 1,
            () => 2,
        };
        guests.entry((rank, guest.name.clone())).or_insert(guest);
    }
    let guests: Vec<Guest> = guests.into_values().take(GUESTS).collect();
    let gateways = gateways(now.iter().chain(&come));
    let mut examples = Vec::new();
    for from in &guests {
        let gateway = gateways.get(&from.datapath);
        let mut targets: Vec<Target> = Vec::new();
        for to in guests.iter().filter(|to| to.name != from.name) {
            let mac = match (to.datapath == from.datapath, gateway) {
                (true, _) => to.mac.clone(),
                (false, Some(mac)) => mac.clone(),
                (false, None) => continue,
            };
            targets.push(Target {
                name: to.name.clone(),
                mac,
                ip: to.ip,
            });
        }
        let of_gateway = named.addresses.iter().filter_map(|ip| {
            Some(Target {
                name: ip.to_string(),
                mac: gateway?.clone(),
                ip: *ip,
            })
        });
        targets.extend(of_gateway);
        let of_family = targets
            .iter()
            .filter(|to| to.ip.is_ipv4() == from.ip.is_ipv4());
        for to in of_family {
            for service in &named.services {
                examples.push(example(from, to, service));
            }
        }
    }
    examples
}

/// What flows name.
struct Named {
    ports: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    /// Matches of the transport, and `""` for a ping.
    services: BTreeSet<(&'static str, u16)>,
}

fn named(texts: &[String]) -> Named {
    let mut named = Named {
        ports: BTreeSet::new(),
        addresses: BTreeSet::new(),
        services: BTreeSet::from([("icmp", 0)]),
    };
    for text in texts {
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '{' | '}' | ','))
            .filter(|word| !word.is_empty())
            .collect();
        for three in words.windows(3) {
            let (field, value) = (three[0], three[2]);
            if three[1] != "==" {
                continue;
            }
            match field {
                "inport" | "outport" if named.ports.len() < GUESTS => {
                    named.ports.insert(value.trim_matches('"').to_owned());
                }
                "ip4.src" | "ip4.dst" | "ip6.src" | "ip6.dst" | "reg0" | "xxreg0"
                    if named.addresses.len() < ADDRESSES =>
                {
                    named.addresses.extend(value.parse::<IpAddr>());
                }
                "tcp.dst" | "udp.dst" if named.services.len() < SERVICES => {
                    let protocol = if field.starts_with("tcp") {
                        "tcp"
                    } else {
                        "udp"
                    };
                    named
                        .services
                        .extend(value.parse().map(|port| (protocol, port)));
                }
                _ => {}
            }
        }
    }
    named
        .addresses
        .retain(|ip| !ip.is_multicast() && !ip.is_unspecified());
    if named.services.len() == 1 {
        named.services.insert(("tcp", 80));
    }
    named
}

/// A guest of a port, if it is one that has an address.
fn guest(port: &sb::PortBinding) -> Option<Guest> {
    if !port.r#type.is_empty() {
        return None;
    }
    let first = port.mac.first()?;
    let mut words = first.split_whitespace();
    let mac = words.next().filter(|mac| mac.contains(':'))?;
    let ip = words.next()?.parse().ok()?;
    Some(Guest {
        name: port.logical_port.to_string(),
        datapath: port.datapath,
        mac: mac.to_owned(),
        ip,
    })
}

/// By switch: the MAC of a router on it.
fn gateways<'p>(ports: impl Iterator<Item = &'p sb::PortBinding>) -> HashMap<Uuid, String> {
    let links: Vec<&sb::PortBinding> = ports
        .filter(|port| port.options.contains_key("peer"))
        .collect();
    let by_name: HashMap<&str, &sb::PortBinding> = links
        .iter()
        .map(|port| (&*port.logical_port, *port))
        .collect();
    let found = links.iter().filter_map(|port| {
        let peer = by_name.get(&**port.options.get("peer")?)?;
        // The end on a router has its networks beside its MAC.
        let mac = peer.mac.first()?.split_whitespace().next()?;
        let is_mac = mac.matches(':').count() == 5;
        is_mac.then(|| (port.datapath, mac.to_owned()))
    });
    found.collect()
}

fn example(from: &Guest, to: &Target, service: &(&'static str, u16)) -> (String, String) {
    let family = if to.ip.is_ipv4() { 4 } else { 6 };
    let (named, transport) = match service {
        ("icmp", _) => {
            let echo = if family == 4 { 8 } else { 128 };
            ("a ping".to_owned(), format!("icmp{family}.type == {echo}"))
        }
        (protocol, port) => {
            let text = format!("{protocol}.src == 40000 && {protocol}.dst == {port}");
            (format!("{protocol} to port {port}"), text)
        }
    };
    let name = format!("{named} from {} to {}", from.name, to.name);
    let microflow = format!(
        "inport == {:?} && eth.src == {} && eth.dst == {} && ip{family}.src == {} && ip{family}.dst == {} && ip.ttl == 64 && {transport}",
        from.name, from.mac, to.mac, from.ip, to.ip
    );
    (name, microflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flows_name_is_tried() {
        let texts = [
            "inport == \"vm1\" && (ip4.dst == 10.0.0.9 && tcp.dst == 443)".to_owned(),
            "ip4.src == 10.0.0.0/24 && udp.dst == 53".to_owned(),
        ];
        let named = named(&texts);
        assert!(named.ports.contains("vm1"));
        let address: IpAddr = "10.0.0.9".parse().expect("an address");
        assert_eq!(named.addresses, BTreeSet::from([address]));
        let services = BTreeSet::from([("icmp", 0), ("tcp", 443), ("udp", 53)]);
        assert_eq!(named.services, services);
    }
}
