//! `put_nd_ra_opts`, and advertisements that nobody asked for: what a router tells guests of its link (RFC 4861).
//!
//! A solicitation goes on as the advertisement; the flow carries all of it.
//!
//! A router's port with `options:ipv6_ra_send_periodic` advertises by itself, on every chassis where the switch at its other end
//! is, to the guests there. The next advertisement comes between `ipv6_ra_min_interval` and `ipv6_ra_max_interval` seconds after
//! the last. Where in between, differs by port and by advertisement, so that routers do not speak all at once. That is so for
//! gateway routers, too: guests hear their own chassis, wherever the router is.

mod periodic;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::time::{Duration, Instant};

use daemon::Now;
use openflow::Action;
use ovsdb::Uuid;
use ovsdb::typed::Table;
use packet::advertisement;
use packet::frame::{Frame, FrameError};
use packet::userdata::{AdvertisementArguments, Opcode};
use rustc_hash::{FxHashMap, FxHasher};
use sb_db::tables::PortBinding;

use crate::layout::{self, flag};
use crate::pinctrl::fields::{result_bit, set_result};
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

use periodic::Periodic;

/// How many advertisements are made at once.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Default)]
pub struct Advertise {
    /// What ports tell by themselves, and when next.
    ports: FxHashMap<Uuid, (Periodic, Instant)>,
    due: BTreeSet<(Instant, Uuid)>,
    /// How many advertisements were due so far.
    count: u64,
}

impl Service for Advertise {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::PutRouterAdvertisement]
    }

    fn tables(&self) -> &'static [usize] {
        &[PortBinding::INDEX]
    }

    fn changed(
        &mut self,
        now: Now,
        change: Change<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) {
        if let Change::Row(row) = change {
            self.look_at(now, row.uuid, view, effects);
        }
    }

    /// Lets the packet go on: as an advertisement with the result bit set, or unchanged without it.
    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        _: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let arguments = AdvertisementArguments::decode(packet.arguments)?;
        let result = result_bit(arguments.result)?;
        let mut resumed = packet.packet_in.clone();
        let answered = answered(&resumed.packet, &arguments.message);
        set_result(&mut resumed.metadata, result, answered.is_ok());
        match answered {
            Ok(packet) => resumed.packet = packet,
            Err(error) => effects.push(Effect::Note(format!("no advertisement: {error}"))),
        }
        effects.push(Effect::Resume(resumed));
        Ok(())
    }

    fn tick(&mut self, now: Now, view: &dyn View, effects: &mut Vec<Effect>) {
        for _ in 0..BATCH {
            let Some(&(at, port)) = self.due.first().filter(|(at, _)| *at <= now.at) else {
                return;
            };
            self.due.remove(&(at, port));
            self.advertise(now, port, view, effects);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

fn answered(packet: &[u8], message: &[u8]) -> Result<Vec<u8>, FrameError> {
    advertisement::reply(&Frame::parse(packet)?, message)
}

impl Advertise {
    /// A port may advertise from now on, or no longer, or something else.
    fn look_at(&mut self, now: Now, uuid: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        let wanted = match view.port(uuid).map(|port| Periodic::of(port)) {
            Some(Ok(wanted)) => wanted,
            Some(Err(problem)) => {
                effects.push(Effect::Note(format!("no advertisements: {problem}")));
                None
            }
            None => None,
        };
        let known = self.ports.get(&uuid).map(|(known, _)| known);
        if known == wanted.as_ref() {
            return;
        }
        if let Some((_, next)) = self.ports.remove(&uuid) {
            self.due.remove(&(next, uuid));
        }
        if let Some(wanted) = wanted {
            let next = now.at + self.pause(uuid, &wanted);
            self.due.insert((next, uuid));
            self.ports.insert(uuid, (wanted, next));
        }
    }

    /// The time until the next advertisement of a port.
    fn pause(&mut self, uuid: Uuid, periodic: &Periodic) -> Duration {
        self.count += 1;
        let hasher = BuildHasherDefault::<FxHasher>::default();
        let spread = hasher.hash_one((uuid, self.count)) >> 32;
        let room = periodic.longest.saturating_sub(periodic.shortest);
        let part = (u128::from(spread) * room.as_millis()) >> 32;
        periodic.shortest + Duration::from_millis(u64::try_from(part).unwrap_or_default())
    }

    fn advertise(&mut self, now: Now, uuid: Uuid, view: &dyn View, effects: &mut Vec<Effect>) {
        let Some((periodic, _)) = self.ports.get(&uuid) else {
            return;
        };
        let periodic = periodic.clone();
        let next = now.at + self.pause(uuid, &periodic);
        self.due.insert((next, uuid));
        self.ports.insert(uuid, (periodic.clone(), next));
        let peer = view
            .port_named(&periodic.peer)
            .filter(|peer| view.is_local(peer.datapath));
        let Some(peer) = peer else {
            return;
        };
        match advertisement::to_all(periodic.mac, periodic.source, &periodic.message) {
            Ok(frame) => {
                let out = view.packet_from(peer, frame);
                effects.extend(out.map(|mut out| {
                    // Every other chassis has its own.
                    let stays =
                        Action::set_masked(layout::FLAGS, flag::LOCAL_ONLY, flag::LOCAL_ONLY);
                    out.actions.insert(0, stays);
                    Effect::PacketOut(out)
                }));
            }
            Err(error) => effects.push(Effect::Note(format!("no advertisement: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
