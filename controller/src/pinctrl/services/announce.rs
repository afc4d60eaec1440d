//! Guests on switches with a physical network are announced there, so that the network learns behind which chassis they are.
//!
//! A port's first address is announced by a gratuitous ARP, or by a reverse ARP if it has no IPv4 address, as if the guest itself
//! had sent it. It is announced where its chassis is this one and its switch has a localnet port here, unless its
//! `options:disable_garp_rarp` says no.
//!
//! The first announcement is made after a second, each pause is twice as long as the last. By default there are five, at 1, 2, 4,
//! 8 and 16 seconds. With `external_ids:garp-max-timeout-sec` there is no last one and the pause grows up to that; a change of it
//! starts all over. These are ovn-controller(8)'s rules.
//!
//! Those of routers are [`super::nat_addresses`].

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use addr::Mac;
use daemon::Now;
use ovsdb::typed::Table;
use ovsdb::{Datum, Row, Uuid};
use packet::announce;
use packet::userdata::Opcode;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::PortBinding;

use crate::network::PortKind;
use crate::pinctrl::service::{Change, Effect, Service, View};

/// The first pause.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The pause before which, by default, the last announcement is made.
pub(super) const LAST_PAUSE: Duration = Duration::from_secs(16);
/// How many announcements are made at once.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Default)]
pub struct Announce {
    /// Ports that are this chassis', by datapath: a localnet port that comes or goes is about them.
    here: FxHashMap<Uuid, FxHashSet<Uuid>>,
    /// What is announced, by port.
    announced: FxHashMap<Uuid, Announced>,
    /// Announcements to come.
    due: BTreeSet<(Instant, Uuid)>,
    /// The setting by which the pauses go.
    longest: Option<Duration>,
}

/// What is announced of a port, and when.
#[derive(Clone, Copy, Debug)]
struct Announced {
    what: What,
    /// The next announcement; none after the last.
    next: Option<Instant>,
    pause: Duration,
}

/// What is announced. Another is announced anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct What {
    datapath: Uuid,
    port: i64,
    mac: Mac,
    ip: Option<Ipv4Addr>,
}

impl Service for Announce {
    fn opcodes(&self) -> &'static [Opcode] {
        &[]
    }

    fn tables(&self) -> &'static [usize] {
        &[PortBinding::INDEX]
    }

    fn changed(&mut self, now: Now, change: Change<'_>, view: &dyn View, _: &mut Vec<Effect>) {
        match change {
            Change::Row(row) => {
                if let Some(old) = &row.old {
                    self.forget_place(row.uuid, PortBinding::COLUMN.datapath.get(old));
                }
                self.look_at(now, row.uuid, view);
                if let Some(datapath) = row.old.as_deref().and_then(localnet_of) {
                    // It may lead nowhere any more; where it leads instead is told when it is attached.
                    self.look_at_all_of(now, datapath, view);
                }
            }
            Change::Attachment(uuid) => match view.port(uuid) {
                Some(port) if PortKind::of(port) == PortKind::Localnet => {
                    self.look_at_all_of(now, port.datapath, view);
                }
                _ => self.look_at(now, uuid, view),
            },
            Change::Settings => {
                let longest = view.settings().and_then(|s| s.garp_max_timeout);
                if longest != self.longest {
                    self.longest = longest;
                    let ports: Vec<Uuid> = self.announced.keys().copied().collect();
                    ports.into_iter().for_each(|port| self.begin(now, port));
                }
            }
        }
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        for _ in 0..BATCH {
            let Some(&(at, port)) = self.due.first().filter(|(at, _)| *at <= now.at) else {
                return;
            };
            self.due.remove(&(at, port));
            self.announce(now, port, view, effects);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Announce {
    /// A port may be announced from now on, or no longer, or differently.
    fn look_at(&mut self, now: Now, uuid: Uuid, view: &dyn View) {
        let port = view
            .port(uuid)
            .filter(|port| port.r#type.is_empty())
            .filter(|port| view.own().is_some() && port.chassis == view.own());
        let Some(port) = port else {
            self.stop(uuid);
            return;
        };
        self.here.entry(port.datapath).or_default().insert(uuid);
        let is_wanted = view.has_localnet(port.datapath) && !is_disabled(port);
        match what(port).filter(|_| is_wanted) {
            Some(what) if self.announced.get(&uuid).is_some_and(|a| a.what == what) => {}
            Some(what) => {
                self.stop(uuid);
                let announced = Announced {
                    what,
                    next: None,
                    pause: FIRST_PAUSE,
                };
                self.announced.insert(uuid, announced);
                self.begin(now, uuid);
            }
            None => self.stop(uuid),
        }
    }

    /// The ports of a datapath may be announced from now on, or no longer.
    fn look_at_all_of(&mut self, now: Now, datapath: Uuid, view: &dyn View) {
        let affected = self.here.get(&datapath).cloned();
        for port in affected.into_iter().flatten() {
            self.look_at(now, port, view);
        }
    }

    /// The port's row was in this datapath. It may still be.
    fn forget_place(&mut self, uuid: Uuid, datapath: Uuid) {
        if let Some(ports) = self.here.get_mut(&datapath) {
            ports.remove(&uuid);
            if ports.is_empty() {
                self.here.remove(&datapath);
            }
        }
    }

    fn begin(&mut self, now: Now, uuid: Uuid) {
        self.schedule(uuid, Some(now.at + FIRST_PAUSE), FIRST_PAUSE);
    }

    fn stop(&mut self, uuid: Uuid) {
        self.schedule(uuid, None, FIRST_PAUSE);
        self.announced.remove(&uuid);
    }

    fn schedule(&mut self, uuid: Uuid, next: Option<Instant>, pause: Duration) {
        let Some(announced) = self.announced.get_mut(&uuid) else {
            return;
        };
        if let Some(old) = announced.next {
            self.due.remove(&(old, uuid));
        }
        if let Some(next) = next {
            self.due.insert((next, uuid));
        }
        (announced.next, announced.pause) = (next, pause);
    }

    fn announce(&mut self, now: Now, uuid: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        let Some(announced) = self.announced.get(&uuid).copied() else {
            return;
        };
        let frame = match announced.what.ip {
            Some(ip) => announce::gratuitous_arp(announced.what.mac, ip),
            None => announce::rarp(announced.what.mac),
        };
        let out = view
            .port(uuid)
            .and_then(|port| view.packet_from(port, frame));
        effects.extend(out.map(Effect::PacketOut));
        let pause = announced.pause;
        let limit = self.longest.unwrap_or(LAST_PAUSE);
        let goes_on = self.longest.is_some() || pause < LAST_PAUSE;
        let next = goes_on.then(|| now.at + pause.min(limit));
        self.schedule(uuid, next, (pause * 2).min(limit));
    }
}

/// The datapath of a localnet port.
fn localnet_of(row: &Row) -> Option<Uuid> {
    let column = PortBinding::COLUMN;
    let is_localnet = *row.get(column.r#type.index) == Datum::from("localnet");
    is_localnet.then(|| column.datapath.get(row))
}

/// The first address of a port.
fn what(port: &PortBinding) -> Option<What> {
    let (mac, ip) = port.mac.iter().find_map(|text| {
        let mut words = text.split_whitespace();
        let mac: Mac = words.next()?.parse().ok()?;
        Some((mac, words.find_map(|word| word.parse().ok())))
    })?;
    Some(What {
        datapath: port.datapath,
        port: port.tunnel_key,
        mac,
        ip,
    })
}

fn is_disabled(port: &PortBinding) -> bool {
    ovsdb::truth(port.options.get("disable_garp_rarp"), false)
}

#[cfg(test)]
mod tests;
