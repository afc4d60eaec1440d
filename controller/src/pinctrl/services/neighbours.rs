//! Neighbours that a router is about to forget are asked whether they are there.
//!
//! Where a router forgets neighbours of which nobody hears (`mac_binding_age_threshold`), one that sends traffic and no requests would
//! be forgotten, and asked for again by the next packet to it. So it is asked before, at half and at three quarters of its age, at
//! its own MAC address. Its answer is learned anew ([`super::learn`]).
//!
//! The chassis that asks is the one that has the router's port: a gateway's, or a gateway router's. At a port that is on all of them
//! nobody asks: all would. There, neighbours are guests with addresses that their switch does not know. What was learned before an age was set is not
//! asked for until it is heard of once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use addr::{Cidr, Mac, MacAndIps};
use daemon::Now;
use ovsdb::typed::Table;
use ovsdb::{Row, Uuid};
use packet::neighbour;
use packet::userdata::Opcode;
use rustc_hash::FxHashMap;
use sb_db::tables::MacBinding;

use crate::pinctrl::service::{Change, Effect, Service, View};

/// How long after half of its age a neighbour is asked: by then its answer is news ([`crate::network`]).
const AFTER_HALF_MS: i64 = 1_000;
/// The prefix of link-local addresses (RFC 4291, section 2.5.6), which each port has beside its own.
const LINK_LOCAL_BITS: u8 = 10;
/// How many are asked at once.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Default)]
pub struct Neighbours {
    neighbours: FxHashMap<Uuid, (Neighbour, Instant)>,
    due: BTreeSet<(Instant, Uuid)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Neighbour {
    port: Arc<str>,
    ip: IpAddr,
    mac: Mac,
    /// When it is asked, in milliseconds since 1970.
    asked_ms: [i64; 2],
}

impl Service for Neighbours {
    fn opcodes(&self) -> &'static [Opcode] {
        &[]
    }

    fn tables(&self) -> &'static [usize] {
        &[MacBinding::INDEX]
    }

    fn changed(&mut self, now: Now, change: Change<'_>, view: &dyn View, _: &mut Vec<Effect>) {
        let Change::Row(change) = change else {
            return;
        };
        if let Some((_, at)) = self.neighbours.remove(&change.uuid) {
            self.due.remove(&(at, change.uuid));
        }
        if let Some(neighbour) = change
            .new
            .as_deref()
            .and_then(|row| Neighbour::of(row, view))
        {
            self.schedule(now, change.uuid, neighbour);
        }
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        for _ in 0..BATCH {
            let Some(&(at, row)) = self.due.first().filter(|(at, _)| *at <= now.at) else {
                return;
            };
            self.due.remove(&(at, row));
            let Some((neighbour, _)) = self.neighbours.remove(&row) else {
                continue;
            };
            effects.extend(neighbour.ask(view));
            self.schedule(now, row, neighbour);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Neighbours {
    /// When a neighbour is asked next, if it is.
    fn schedule(&mut self, now: Now, row: Uuid, neighbour: Neighbour) {
        let mut times = neighbour.asked_ms.into_iter();
        let next = times.find(|at_ms| *at_ms > now.unix_ms);
        let wait_ms = next.and_then(|at_ms| u64::try_from(at_ms - now.unix_ms).ok());
        if let Some(wait_ms) = wait_ms {
            let at = now.at + Duration::from_millis(wait_ms);
            self.due.insert((at, row));
            self.neighbours.insert(row, (neighbour, at));
        }
    }
}

impl Neighbour {
    /// Who is to be asked, if the router forgets.
    fn of(row: &Row, view: &dyn View) -> Option<Self> {
        let column = MacBinding::COLUMN;
        let ip = column.ip.get(row).parse().ok()?;
        let ages = view.datapath(column.datapath.get(row))?.ages.as_ref()?;
        let (heard_ms, age_s) = (column.timestamp.get(row), i64::from(ages.of(ip)?));
        let asked_ms = [age_s * 500 + AFTER_HALF_MS, age_s * 750];
        Some(Self {
            port: column.logical_port.get(row),
            ip,
            mac: column.mac.get(row).parse().ok()?,
            asked_ms: asked_ms.map(|after_ms| heard_ms.saturating_add(after_ms)),
        })
    }

    /// The question, if it is for this chassis to ask.
    fn ask(&self, view: &dyn View) -> Option<Effect> {
        let port = view
            .port_named(&self.port)
            .filter(|port| view.has_alone(port))?;
        let peer = view.port_named(port.options.get("peer")?)?;
        let own: MacAndIps = port.mac.first()?.parse().ok()?;
        let link_local = Cidr::new(own.mac.link_local().into(), LINK_LOCAL_BITS);
        let mut networks = own.ips.iter().copied().chain(link_local);
        let network = networks.find(|network| network.network().contains(self.ip))?;
        let frame = neighbour::request((own.mac, network.addr()), (self.mac, self.ip)).ok()?;
        view.packet_from(peer, frame).map(Effect::PacketOut)
    }
}

#[cfg(test)]
mod tests {
    use ovsdb::RowChange;
    use ovsdb::typed::TableDefinition;
    use sb_db::tables::PortBinding;

    use super::*;
    use crate::network::Datapath;
    use crate::pinctrl::tests::{DATAPATH, OWN, World, now};

    /// Which of the next minute's seconds a neighbour that was heard of now is asked in, at a port like that.
    fn asked(change: impl FnOnce(&mut PortBinding), here: &[&str], age: &str) -> Vec<u64> {
        asked_at("10.0.0.9", change, here, age)
    }

    fn asked_at(
        ip: &str,
        change: impl FnOnce(&mut PortBinding),
        here: &[&str],
        age: &str,
    ) -> Vec<u64> {
        let mut world = World::default();
        let mut port = PortBinding::clone(&world.ports[0]);
        port.mac = vec!["02:00:00:00:00:01 10.0.0.1/24 fd00::1/64".into()];
        port.options = [("peer".into(), "p2".into())].into();
        change(&mut port);
        world.ports[0] = Arc::new(port);
        world.here = here.iter().map(|name| Arc::from(*name)).collect();
        world.datapath = Some(Datapath {
            key: 7,
            is_router: true,
            name: "r".into(),
            snat_zone: None,
            is_quiet: false,
            ages: Some(Arc::new(age.parse().expect("an age"))),
            fdb_age_s: None,
        });
        let start = now();
        let row = MacBinding {
            logical_port: "p1".into(),
            ip: ip.into(),
            mac: "02:00:00:00:00:09".into(),
            timestamp: start.unix_ms,
            datapath: DATAPATH,
            ..MacBinding::default()
        };
        let change = RowChange {
            table: MacBinding::INDEX,
            uuid: Uuid::from_u128(77),
            old: None,
            new: Some(Arc::new(row.to_row())),
        };
        let mut service = Neighbours::default();
        service.changed(start, Change::Row(&change), &world, &mut Vec::new());
        let mut asked = Vec::new();
        while let Some(at) = service.deadline() {
            let since = at - start.at;
            let unix_ms = start.unix_ms + i64::try_from(since.as_millis()).expect("short");
            let mut effects = Vec::new();
            service.tick(Now { at, unix_ms }, &world, &mut effects);
            asked.extend(effects.iter().map(|_| since.as_secs()));
        }
        assert!(service.neighbours.is_empty());
        asked
    }

    #[test]
    fn who_has_the_port_asks_twice_before_a_neighbour_is_forgotten() {
        let never: [u64; 0] = [];
        let gateway = |port: &mut PortBinding| {
            port.options
                .insert("chassis-redirect-port".into(), "cr-p1".into());
        };
        assert_eq!(asked(gateway, &["cr-p1"], "20"), [11, 15]);
        let link_local = asked_at("fe80::9", gateway, &["cr-p1"], "20");
        assert_eq!(link_local, [11, 15]);
        assert_eq!(asked(gateway, &[], "20"), never);
        assert_eq!(asked(gateway, &["cr-p1"], "10.0.0.0/24:0;20"), never);
        let gateway_router = |of: Uuid| {
            move |port: &mut PortBinding| {
                port.r#type = "l3gateway".into();
                port.chassis = Some(of);
            }
        };
        assert_eq!(asked(gateway_router(OWN), &[], "20"), [11, 15]);
        assert_eq!(asked(gateway_router(Uuid::from_u128(8)), &[], "20"), never);
        assert_eq!(asked(|_| {}, &[], "20"), never, "a port of all chassis");
    }
}
