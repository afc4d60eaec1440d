//! Addresses of routers on switches with a physical network are announced there, so that the network learns on which chassis the
//! gateway is.
//!
//! They stand in `Port_Binding.nat_addresses` of the switch's port to the router: a MAC address, IP addresses, and perhaps the port
//! that must be here for this chassis to announce them (`is_chassis_resident("port")`). They are announced by gratuitous ARP where
//! that port is, or where the port itself is if it is of type `l3gateway`; and from the start again whenever that or the addresses
//! change.
//!
//! The first announcement is made at once, unless the port is handed over by a chassis that lives: then this one announces when it
//! has claimed the port, and [`HANDOVER`] later, so that whoever sends to the gateway sends to the new one first; answers that
//! came there earlier would not be known. The pauses are those of guests' ([`super::announce`]).
//!
//! Before it claims the port, the bridges of this chassis learn the new place, from a frame that goes no further: to an address that
//! they have just learned to be there, too ([`DEPUTY`]). They may have known it elsewhere, and it takes the switch some milliseconds to forget what it did by that. The way to the
//! physical network may only come with the gateway, and its flows a little later; and the old gateway may announce itself meanwhile. So
//! the frame is sent several times, from when the way is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use addr::Mac;
use daemon::Now;
use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use packet::announce;
use packet::userdata::Opcode;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::PortBinding;

use super::announce::{FIRST_PAUSE, LAST_PAUSE};
use crate::network::PortKind;
use crate::pinctrl::service::{Change, Effect, Service, View};

/// How long after a port was claimed that a living chassis had its addresses are announced; that one serves them for longer. It is
/// the time in which the other chassis hear of the claim, and no more: until they are announced, what goes out by this one may be
/// answered by way of the other.
const HANDOVER: Duration = Duration::from_millis(10);
/// After so long a chassis that hands a port over serves it no longer. If it still has it then, it is to take it back.
const SERVED_ON: Duration = Duration::from_millis(1_510);
/// How often bridges learn before a port is claimed, and the pause between.
const LESSONS: (u8, Duration) = (5, Duration::from_millis(30));
/// Nobody's address, to which frames go that are for a bridge alone: it has learned that this is where they come from.
const DEPUTY: Mac = Mac([0x02, 0x57, 0x45, 0x46, 0x54, 0x00]);
/// How many addresses are announced at once.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Default)]
pub struct NatAddresses {
    /// Ports with such addresses.
    ports: FxHashMap<Uuid, Announced>,
    /// Those of each datapath: a localnet port that comes or goes is about them.
    of_datapath: FxHashMap<Uuid, FxHashSet<Uuid>>,
    /// Those that wait for a port of this name, or announce because it is here.
    by_resident: FxHashMap<Arc<str>, FxHashSet<Uuid>>,
    /// The localnet ports of each datapath, with their keys.
    localnets: FxHashMap<Uuid, BTreeMap<Uuid, u32>>,
    /// In which each is.
    localnet_in: FxHashMap<Uuid, Uuid>,
    /// Announcements to come.
    due: BTreeSet<(Instant, Uuid)>,
}

/// What is announced of a port, and when.
#[derive(Debug, Default)]
struct Announced {
    datapath: Uuid,
    residents: Vec<Arc<str>>,
    addresses: Vec<(Mac, Ipv4Addr)>,
    /// How many of these have had their turn this time.
    done: usize,
    next: Option<Instant>,
    pause: Duration,
    /// A chassis that lives still has a port that is to be here.
    is_awaited: bool,
    /// This chassis has had such a port, and serves it for a moment longer.
    hands_over: bool,
    /// Until a port is claimed, what bridges learn: the addresses, and how often they are still to be told.
    taught: Vec<Mac>,
    lessons: u8,
}

impl Service for NatAddresses {
    fn opcodes(&self) -> &'static [Opcode] {
        &[]
    }

    fn tables(&self) -> &'static [usize] {
        &[PortBinding::INDEX]
    }

    fn changed(&mut self, now: Now, change: Change<'_>, view: &dyn View, _: &mut Vec<Effect>) {
        match change {
            Change::Row(&RowChange { uuid, .. }) | Change::Attachment(uuid) => {
                let port = view.port(uuid);
                self.note_localnet(uuid, port);
                let Some(port) = port else {
                    self.forget(uuid);
                    return;
                };
                let affected = match PortKind::of(port) {
                    PortKind::Localnet => self.of_datapath.get(&port.datapath),
                    PortKind::ChassisRedirect => self.by_resident.get(&port.logical_port),
                    _ => None,
                };
                for port in affected.cloned().into_iter().flatten().chain([uuid]) {
                    self.look_at(now, port, view);
                }
            }
            Change::Settings => {}
        }
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        let mut left = BATCH;
        while let Some(&(at, uuid)) = self.due.first().filter(|(at, _)| *at <= now.at && left > 0) {
            let Some(announced) = self.ports.get_mut(&uuid) else {
                self.due.remove(&(at, uuid));
                continue;
            };
            if announced.hands_over {
                announced.hands_over = false;
                self.schedule(uuid, None);
                self.look_at(now, uuid, view);
                continue;
            }
            if announced.lessons > 0 {
                announced.lessons -= 1;
                let pause = (announced.lessons > 0).then_some(LESSONS.1);
                let begins = (!announced.addresses.is_empty()).then_some(Duration::ZERO);
                let next = pause.or(begins).map(|pause| now.at + pause);
                self.teach(uuid, view, effects);
                self.schedule(uuid, next);
                continue;
            }
            let rest = announced.addresses.iter().skip(announced.done).take(left);
            let before = announced.done;
            let port = view.port(uuid).filter(|port| !is_quiet(port, view));
            for (mac, ip) in rest {
                announced.done += 1;
                let frame = announce::gratuitous_arp(*mac, *ip);
                let out = port.and_then(|port| view.packet_from(port, frame));
                effects.extend(out.map(Effect::PacketOut));
            }
            left -= announced.done - before;
            if announced.done < announced.addresses.len() {
                return;
            }
            let longest = view.settings().and_then(|s| s.garp_max_timeout);
            let limit = longest.unwrap_or(LAST_PAUSE);
            let goes_on = longest.is_some() || announced.pause < LAST_PAUSE;
            let next = goes_on.then(|| now.at + announced.pause.min(limit));
            announced.pause = (announced.pause * 2).min(limit);
            self.schedule(uuid, next);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl NatAddresses {
    /// A row may be a localnet port's, or no longer.
    fn note_localnet(&mut self, uuid: Uuid, port: Option<&Arc<PortBinding>>) {
        let port = port.filter(|port| PortKind::of(port) == PortKind::Localnet);
        if let Some(port) = port {
            let key = u32::try_from(port.tunnel_key).unwrap_or_default();
            let of_datapath = self.localnets.entry(port.datapath).or_default();
            of_datapath.insert(uuid, key);
        }
        let now = port.map(|port| port.datapath);
        let before = match now {
            Some(datapath) => self.localnet_in.insert(uuid, datapath),
            None => self.localnet_in.remove(&uuid),
        };
        if let Some(datapath) = before.filter(|_| before != now)
            && let Some(of_datapath) = self.localnets.get_mut(&datapath)
        {
            of_datapath.remove(&uuid);
            if of_datapath.is_empty() {
                self.localnets.remove(&datapath);
            }
        }
    }

    /// A port may have other addresses, or they are to be announced from now on, or no longer.
    fn look_at(&mut self, now: Now, uuid: Uuid, view: &dyn View) {
        let port = view.port(uuid).filter(|port| {
            let kind = PortKind::of(port);
            !port.nat_addresses.is_empty() && matches!(kind, PortKind::Patch | PortKind::L3Gateway)
        });
        let Some(port) = port else {
            self.forget(uuid);
            return;
        };
        let parsed: Vec<NatAddress> = port.nat_addresses.iter().filter_map(|a| parse(a)).collect();
        let residents: Vec<Arc<str>> = parsed.iter().filter_map(|a| a.resident.clone()).collect();
        let is_here = |address: &NatAddress| match &address.resident {
            Some(name) => view.is_here(name) && !view.is_served_elsewhere(name),
            // A patch port is on all chassis, so that nothing says which is to announce.
            None => PortKind::of(port) == PortKind::L3Gateway && view.is_here(&port.logical_port),
        };
        let mut addresses = Vec::new();
        if view.has_localnet(port.datapath) {
            for address in parsed.iter().filter(|address| is_here(address)) {
                addresses.extend(address.ips.iter().map(|ip| (address.mac, *ip)));
            }
        }
        let awaits = |name: &Arc<str>| view.is_here(name) && view.is_served_elsewhere(name);
        let is_awaited = residents.iter().any(&awaits);
        let known = self.ports.get(&uuid);
        let was_awaited = known.is_some_and(|known| known.is_awaited);
        let learns = is_awaited && view.has_localnet(port.datapath) && !is_quiet(port, view);
        let awaited = parsed.iter().filter(|_| learns);
        let awaited = awaited.filter(|address| address.resident.as_ref().is_some_and(&awaits));
        let taught: BTreeSet<Mac> = awaited.map(|address| address.mac).collect();
        let mut taught: Vec<Mac> = taught.into_iter().collect();
        let hands_over = is_awaited
            && known.is_some_and(|known| {
                let mut announced = known.addresses.iter();
                known.hands_over || announced.any(|(mac, _)| taught.contains(mac))
            });
        if hands_over {
            // Bridges here are to learn where the other one is.
            taught.clear();
        }
        let is_same = known.is_some_and(|known| {
            known.addresses == addresses
                && known.residents == residents
                && known.datapath == port.datapath
                && known.is_awaited == is_awaited
                && known.taught == taught
                && known.hands_over == hands_over
        });
        if is_same {
            return;
        }
        self.forget(uuid);
        self.of_datapath
            .entry(port.datapath)
            .or_default()
            .insert(uuid);
        for name in &residents {
            let waiting = self.by_resident.entry(name.clone()).or_default();
            waiting.insert(uuid);
        }
        let begins = !addresses.is_empty() || !taught.is_empty();
        let lessons = if taught.is_empty() { 0 } else { LESSONS.0 };
        let announced = Announced {
            datapath: port.datapath,
            residents,
            addresses,
            pause: FIRST_PAUSE,
            is_awaited,
            hands_over,
            taught,
            lessons,
            ..Announced::default()
        };
        self.ports.insert(uuid, announced);
        let pause = match (hands_over, was_awaited && !is_awaited) {
            (true, _) => SERVED_ON,
            // Traffic goes the old way until then.
            (false, true) => HANDOVER,
            (false, false) => Duration::ZERO,
        };
        let begins = begins || hands_over;
        self.schedule(uuid, begins.then_some(now.at + pause));
    }

    /// The bridges of this chassis learn where the addresses of a port are to be.
    fn teach(&self, uuid: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        let (Some(announced), Some(port)) = (self.ports.get(&uuid), view.port(uuid)) else {
            return;
        };
        let localnets = self.localnets.get(&port.datapath).into_iter();
        let doors: Vec<u32> = localnets.flat_map(|of| of.values().copied()).collect();
        let from = u32::try_from(port.tunnel_key).unwrap_or_default();
        // What is for an address that a bridge knows elsewhere, it would send there.
        let all = std::iter::once(&DEPUTY).chain(&announced.taught);
        let frames = all.map(|mac| towards(*mac, DEPUTY));
        let out = frames.filter_map(|frame| view.packet_onward(port.datapath, from, &doors, frame));
        effects.extend(out.map(Effect::PacketOut));
    }

    fn forget(&mut self, uuid: Uuid) {
        self.schedule(uuid, None);
        let Some(old) = self.ports.remove(&uuid) else {
            return;
        };
        remove(&mut self.of_datapath, &old.datapath, uuid);
        for name in &old.residents {
            remove(&mut self.by_resident, name, uuid);
        }
    }

    fn schedule(&mut self, uuid: Uuid, next: Option<Instant>) {
        let Some(announced) = self.ports.get_mut(&uuid) else {
            return;
        };
        if let Some(old) = announced.next {
            self.due.remove(&(old, uuid));
        }
        if let Some(next) = next {
            self.due.insert((next, uuid));
        }
        (announced.next, announced.done) = (next, 0);
    }
}

/// A frame from an address to another one.
fn towards(from: Mac, to: Mac) -> Vec<u8> {
    let mut frame = announce::gratuitous_arp(from, Ipv4Addr::UNSPECIFIED);
    frame[..6].copy_from_slice(&to.0);
    frame
}

fn remove<K: std::hash::Hash + Eq>(map: &mut FxHashMap<K, FxHashSet<Uuid>>, key: &K, member: Uuid) {
    if let Some(members) = map.get_mut(key) {
        members.remove(&member);
        if members.is_empty() {
            map.remove(key);
        }
    }
}

/// Whether the router that a port leads to is never announced (`disable_garp_rarp` of its datapath).
fn is_quiet(port: &PortBinding, view: &dyn View) -> bool {
    let peer = port.options.get("peer");
    let peer = peer.and_then(|name| view.port_named(name));
    let router = peer.and_then(|peer| view.datapath(peer.datapath));
    router.is_some_and(|router| router.is_quiet)
}

/// A member of `nat_addresses`.
#[derive(Debug, PartialEq)]
struct NatAddress {
    mac: Mac,
    ips: Vec<Ipv4Addr>,
    resident: Option<Arc<str>>,
}

/// Reads a member of `nat_addresses`. IPv6 addresses are left to neighbour discovery.
fn parse(text: &str) -> Option<NatAddress> {
    let (addresses, condition) = match text.split_once("is_chassis_resident(") {
        Some((addresses, condition)) => (addresses, Some(condition)),
        None => (text, None),
    };
    let mut words = addresses.split_whitespace();
    let mac = words.next()?.parse().ok()?;
    let ips = words.filter_map(|word| word.split('/').next()?.parse().ok());
    let resident = condition.map(|text| text.trim_end().trim_end_matches(')').trim_matches('"'));
    Some(NatAddress {
        mac,
        ips: ips.collect(),
        resident: resident.map(Arc::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinctrl::tests::{DATAPATH, World, now};

    const PORT: Uuid = Uuid::from_u128(1);
    const GATEWAY: Uuid = Uuid::from_u128(2);

    fn port(uuid: Uuid, name: &str, kind: &str, addresses: &[&str]) -> Arc<PortBinding> {
        Arc::new(PortBinding {
            uuid,
            logical_port: name.into(),
            r#type: kind.into(),
            datapath: DATAPATH,
            nat_addresses: addresses.iter().map(|a| (*a).into()).collect(),
            ..PortBinding::default()
        })
    }

    #[test]
    fn addresses_are_announced_where_their_gateway_is() {
        let text =
            "02:00:00:00:00:01 203.0.113.10 203.0.113.50 is_chassis_resident(\"cr-r-public\")";
        let mut world = World {
            has_localnet: true,
            ports: vec![
                port(PORT, "public-r", "patch", &[text, "nonsense"]),
                port(GATEWAY, "cr-r-public", "chassisredirect", &[]),
            ],
            ..World::default()
        };
        let mut service = NatAddresses::default();
        let mut now = now();
        let told = |service: &mut NatAddresses, world: &World, now: Now| {
            let mut effects = Vec::new();
            service.changed(now, Change::Attachment(GATEWAY), world, &mut effects);
            service.changed(now, Change::Attachment(PORT), world, &mut effects);
            while service.deadline().is_some_and(|due| due <= now.at) {
                service.tick(now, world, &mut effects);
            }
            effects.len()
        };
        assert_eq!(told(&mut service, &world, now), 0, "it is elsewhere");
        world.here.push("cr-r-public".into());
        assert_eq!(told(&mut service, &world, now), 2, "at once");
        let mut count = 0;
        while let Some(due) = service.deadline() {
            now.at = due;
            count += told(&mut service, &world, now);
        }
        assert_eq!(count, 2 * 4, "five times in all");
        world.here.clear();
        assert_eq!(told(&mut service, &world, now), 0);
        world.here.push("cr-r-public".into());
        assert_eq!(told(&mut service, &world, now), 2, "it is back");
        world.here.clear();
        assert_eq!(told(&mut service, &world, now), 0);
        let held = PortBinding {
            chassis: Some(Uuid::from_u128(9)),
            ..(*world.ports[1]).clone()
        };
        world.ports[1] = Arc::new(held);
        world.here.push("cr-r-public".into());
        now.at += HANDOVER;
        world.has_localnet = false;
        assert_eq!(told(&mut service, &world, now), 0, "no way there yet");
        world.has_localnet = true;
        assert_eq!(
            told(&mut service, &world, now),
            2,
            "another one still has it: bridges learn"
        );
        assert_eq!(told(&mut service, &world, now), 0, "later again");
        let (lessons, pause) = LESSONS;
        for _ in 1..lessons {
            now.at += pause;
            assert_eq!(told(&mut service, &world, now), 2);
        }
        now.at += pause;
        assert_eq!(told(&mut service, &world, now), 0, "often enough");
        world.ports[1] = port(GATEWAY, "cr-r-public", "chassisredirect", &[]);
        assert_eq!(told(&mut service, &world, now), 0, "it is claimed");
        now.at += HANDOVER;
        assert_eq!(told(&mut service, &world, now), 2, "soon");
        now.at += FIRST_PAUSE;
        assert_eq!(told(&mut service, &world, now), 2, "again");
        let taken = PortBinding {
            chassis: Some(Uuid::from_u128(9)),
            ..(*world.ports[1]).clone()
        };
        let own = std::mem::replace(&mut world.ports[1], Arc::new(taken));
        for _ in 0..3 {
            now.at += pause;
            assert_eq!(told(&mut service, &world, now), 0, "another one has it now");
        }
        now.at += SERVED_ON;
        assert_eq!(told(&mut service, &world, now), 2, "it is to come back");
        world.ports[1] = own;
        now.at += HANDOVER;
        assert_eq!(told(&mut service, &world, now), 0, "it is back");
        now.at += HANDOVER;
        assert_eq!(told(&mut service, &world, now), 2, "soon");
        let leads = PortBinding {
            options: [("peer".into(), "r-public".into())].into(),
            ..(*world.ports[0]).clone()
        };
        world.ports[0] = Arc::new(leads);
        world
            .ports
            .push(port(Uuid::from_u128(3), "r-public", "patch", &[]));
        world.datapath = Some(crate::network::Datapath {
            key: 7,
            is_router: true,
            name: "r".into(),
            snat_zone: None,
            is_quiet: true,
            ages: None,
            fdb_age_s: None,
        });
        now.at += LAST_PAUSE;
        assert_eq!(told(&mut service, &world, now), 0, "the router is quiet");
        world.ports.remove(0);
        assert_eq!(told(&mut service, &world, now), 0);
    }

    #[test]
    fn many_addresses_have_their_turn() {
        let ips: Vec<String> = (0..200).map(|n| format!("203.0.113.{n}")).collect();
        let text = format!("02:00:00:00:00:01 {}", ips.join(" "));
        let world = World {
            has_localnet: true,
            ports: vec![port(PORT, "public-r", "l3gateway", &[&text])],
            here: vec!["public-r".into()],
            ..World::default()
        };
        let mut service = NatAddresses::default();
        let (now, mut effects) = (now(), Vec::new());
        service.changed(now, Change::Attachment(PORT), &world, &mut effects);
        service.tick(now, &world, &mut effects);
        assert_eq!(effects.len(), BATCH);
        while service.deadline().is_some_and(|due| due <= now.at) {
            service.tick(now, &world, &mut effects);
        }
        assert_eq!(effects.len(), 200);
    }

    #[test]
    fn nobody_announces_what_is_everywhere() {
        let text = "02:00:00:00:00:01 203.0.113.10";
        let world = World {
            has_localnet: true,
            ports: vec![port(PORT, "public-r", "patch", &[text])],
            ..World::default()
        };
        let mut service = NatAddresses::default();
        service.changed(now(), Change::Attachment(PORT), &world, &mut Vec::new());
        assert_eq!(service.deadline(), None);
    }
}
