//! Which ports the southbound is told of, and when.
//!
//! Two chassis may both think that a port is theirs: a guest is being moved without `requested-chassis`, or an interface was
//! left behind. Each would claim what the other has claimed, at the speed of their round trips. So who has claimed a port waits
//! [`HOLD`] before it takes the port from another again, as OVN's controller does.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ovsdb::{Operation, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::PortBinding;

use super::{Core, Now, Subject};
use crate::network::{Binding, NameId, PortKind, is_meant};
use crate::south::{Claim, Claimant, Role, South};

/// For so long a claim is not repeated against another chassis.
pub const HOLD: Duration = Duration::from_secs(2);

/// For so long a gateway goes on after another one has claimed its port: others hear of it later than this one, and send here
/// until then. Longer than [`TAKEOVER`], which may begin a little later.
const HANDOVER: Duration = Duration::from_millis(1_500);
/// For so long the chassis that has claimed the port of a living gateway sends on to that one what it does not know. Who has sent
/// anything outwards by then is known.
const TAKEOVER: Duration = Duration::from_secs(1);

/// For so long the flows of a gateway are in place before it is taken from a chassis that lives: the switch goes on for a moment to do
/// with packets what it did with those before.
const SETTLING: Duration = Duration::from_millis(150);

/// For so long a gateway is not taken from a chassis that lives because its physical network is not attached yet, and how often that is
/// looked at.
const ATTACHING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));

/// For so long a member of a group yields to a better one that it does not see, at first and at most.
const CONCESSION: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(64));

/// When ports were claimed, and which wait.
#[derive(Debug, Default)]
pub(super) struct Claims {
    since: FxHashMap<Uuid, Instant>,
    /// The same in the order of time, with what was overwritten meanwhile among it.
    order: VecDeque<(Instant, Uuid)>,
    /// Claims that wait, by when they may be made.
    waiting: BTreeSet<(Instant, Uuid)>,
    /// Ports of living gateways that are to be claimed, by when.
    settling: FxHashMap<Uuid, Instant>,
    /// Ports of living gateways whose physical network is not attached yet, since when.
    attaching: FxHashMap<Uuid, Instant>,
    /// Ports of gateways that others have claimed, by when this chassis stops serving them.
    handed_over: VecDeque<(Instant, Uuid)>,
    /// Ports that this chassis has taken from gateways that live, by when those are not needed any more.
    taken_over: VecDeque<(Instant, Uuid)>,
    /// Ports of gateways that better members have, whatever sessions say, by when sessions count again.
    conceded: BTreeSet<(Instant, Uuid)>,
    /// For how long each was conceded last, and until when.
    concessions: FxHashMap<Uuid, (Duration, Instant)>,
    /// Ports that seem to be nowhere here, until everything is told.
    unsettled: FxHashSet<Uuid>,
    /// Ports with an interface here that other chassis are asked for, each with what the log was told.
    declined: FxHashMap<Uuid, String>,
}

impl Claims {
    /// When a claim may be made that has to wait now.
    fn waits_until(&self, port: Uuid) -> Option<Instant> {
        Some(*self.since.get(&port)? + HOLD)
    }

    /// A port is not taken from a living gateway, or not any more.
    fn unsettle(&mut self, port: Uuid) {
        self.settling.remove(&port);
        self.attaching.remove(&port);
    }

    fn note(&mut self, now: Instant, port: Uuid) {
        self.since.insert(port, now);
        self.order.push_back((now, port));
    }

    /// A port is left to a better member for a while: for twice as long as the last time, if that is not long ago.
    fn concede(&mut self, now: Instant, port: Uuid) {
        let longest = CONCESSION.1;
        let before = self.concessions.get(&port).copied();
        let pause = before.map_or(CONCESSION.0, |(pause, _)| (pause * 2).min(longest));
        if let Some((_, until)) = before {
            self.conceded.remove(&(until, port));
        }
        self.concessions.insert(port, (pause, now + pause));
        self.conceded.insert((now + pause, port));
    }

    /// The other chassis is seen again: the next time begins anew.
    fn reconcile(&mut self, port: Uuid) {
        if let Some((_, until)) = self.concessions.remove(&port) {
            self.conceded.remove(&(until, port));
        }
    }

    /// A port is not claimed although it has an interface here: the log is told so once. What was released needs no more words.
    fn decline(&mut self, port: &PortBinding, claimant: &Claimant<'_>, south: &South) {
        let asked = port.options.get("requested-chassis");
        let holder = port.chassis.filter(|holder| *holder != claimant.chassis);
        let holder = holder.and_then(|holder| south.chassis_name(holder));
        let line = format!(
            "Not claiming lport {}, chassis {} requested-chassis {} pb->chassis {}",
            port.logical_port,
            claimant.name,
            asked.map_or("", |names| names),
            holder.map_or("", |name| name),
        );
        let is_ours = port.chassis == Some(claimant.chassis);
        let is_released = is_ours || port.additional_chassis.contains(&claimant.chassis);
        let is_told = self.declined.get(&port.uuid) == Some(&line);
        if !is_told && !is_released {
            tracing::info!(target: "binding", "{line}");
        }
        if !is_told {
            self.declined.insert(port.uuid, line);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(&(since, port)) = self.order.front() {
            if since + HOLD > now {
                break;
            }
            self.order.pop_front();
            if self.since.get(&port) == Some(&since) {
                self.since.remove(&port);
            }
        }
    }

    /// Time has passed: gives the ports whose claims may be made now.
    pub(super) fn elapse(&mut self, now: Instant) -> Vec<Uuid> {
        let mut due = Vec::new();
        while let Some(&first) = self.waiting.first().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&first);
            due.push(first.1);
        }
        due
    }

    /// When a claim is due that waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let handed_over = self.handed_over.front().map(|(at, _)| *at);
        let taken_over = self.taken_over.front().map(|(at, _)| *at);
        let conceded = self.conceded.first().map(|(at, _)| *at);
        let all = [waiting, handed_over, taken_over, conceded];
        all.into_iter().flatten().min()
    }
}

/// A port's time begins, and not for the first time, perhaps.
fn begin(times: &mut VecDeque<(Instant, Uuid)>, until: Instant, port: Uuid) {
    times.retain(|(_, known)| *known != port);
    times.push_back((until, port));
}

impl Core {
    /// Gateways that were just taken over by others are served for a moment longer.
    pub(super) fn hand_over(&mut self, now: Instant) {
        let claims = &mut self.claims.handed_over;
        for port in self.network.take_handovers() {
            begin(claims, now + HANDOVER, port);
        }
        while let Some((_, port)) = claims.pop_front_if(|(at, _)| *at <= now) {
            self.ports.untold.insert(port);
            self.engine.input(&mut self.network, |network, changes| {
                network.end_handover(changes, port);
            });
        }
        let claims = &mut self.claims.taken_over;
        for port in self.network.take_takeovers() {
            begin(claims, now + TAKEOVER, port);
        }
        while let Some((_, port)) = claims.pop_front_if(|(at, _)| *at <= now) {
            self.engine.input(&mut self.network, |network, changes| {
                network.end_takeover(changes, port);
            });
        }
        for port in self.network.take_reconciled() {
            self.claims.reconcile(port);
        }
        let conceded = self.network.take_concessions();
        if !conceded.is_empty() {
            let concessions = &mut self.claims.concessions;
            concessions.retain(|_, (_, until)| now < *until + CONCESSION.1);
        }
        for port in conceded {
            self.claims.concede(now, port);
        }
        while let Some(&first) = self.claims.conceded.first().filter(|(at, _)| *at <= now) {
            self.claims.conceded.remove(&first);
            self.engine.input(&mut self.network, |network, changes| {
                network.end_concession(changes, first.1);
            });
        }
    }

    /// What the southbound has to be told of ports that may have changed, of as many as a transaction takes.
    pub(super) fn port_operations(
        &mut self,
        now: Now,
        own: Uuid,
        wanted: &mut Vec<(Subject, Vec<Operation>)>,
    ) {
        self.claims.forget_old(now.at);
        let knows_all = self.is_settled() && self.ready;
        if knows_all {
            self.ports.untold.extend(self.claims.unsettled.drain());
        }
        while wanted.len() < self.south_writes.room()
            && let Some(uuid) = self.ports.untold.pop_first()
        {
            let Some(port) = self.network.ports.peek(uuid).cloned() else {
                self.claims.unsettle(uuid);
                self.claims.declined.remove(&uuid);
                self.south_writes.forgive(Subject::Port(uuid));
                continue;
            };
            if self.south_writes.is_held_back(Subject::Port(uuid)) {
                // It comes again when its pause is over.
                continue;
            }
            let told = match PortKind::of(&port) {
                kind if kind.is_claimed() => self.tell_of(now, own, &port, knows_all),
                // What it was when it was claimed it is not any more.
                _ => self.south.release(&port, own),
            };
            if !told.is_empty() {
                // It is looked at again when the answer has come.
                wanted.push((Subject::Port(uuid), told));
            }
        }
    }

    /// What the southbound has to be told of a port that can be claimed; nothing also when that has to wait.
    fn tell_of(
        &mut self,
        now: Now,
        own: Uuid,
        port: &PortBinding,
        knows_all: bool,
    ) -> Vec<Operation> {
        match self.network.bindings.peek(port.uuid).copied() {
            Some(binding) => self.claim(now, own, port, &binding).unwrap_or_default(),
            // Before everything is told, a port may only seem to be nowhere.
            None if knows_all => {
                self.claims.unsettle(port.uuid);
                self.note_declined(own, port);
                self.south.release(port, own)
            }
            None => {
                self.claims.unsettled.insert(port.uuid);
                Vec::new()
            }
        }
    }

    /// Whether a gateway is not to be taken yet, because what comes there would have no way out.
    fn waits_for_network(&mut self, now: Instant, port: &PortBinding) -> bool {
        if !self.network.awaits_network_of(port) {
            self.claims.attaching.remove(&port.uuid);
            return false;
        }
        let (limit, pause) = ATTACHING;
        let since = *self.claims.attaching.entry(port.uuid).or_insert(now);
        if now >= since + limit {
            return false;
        }
        self.claims.waiting.insert((now + pause, port.uuid));
        true
    }

    /// Claims an attached port; `None` if that has to wait.
    fn claim(
        &mut self,
        now: Now,
        own: Uuid,
        port: &PortBinding,
        binding: &Binding,
    ) -> Option<Vec<Operation>> {
        let settings = self.local.settings.as_ref()?;
        let claimant = Claimant::new(own, settings);
        // A container is here as what its guest is.
        let parent = port.parent_port.as_ref();
        let parent = parent.and_then(|name| self.network.port_named_now(name));
        let guest = match PortKind::of(port) {
            PortKind::Container => parent.and_then(|parent| claimant.role(parent)),
            _ => Some(Role::Main),
        };
        let role = claimant.role(port).zip(guest).map(|both| match both {
            (Role::Main, Role::Main) => Role::Main,
            _ => Role::Additional,
        });
        let Some(role) = role else {
            self.claims.unsettle(port.uuid);
            self.claims.decline(port, &claimant, &self.south);
            return Some(self.south.release(port, own));
        };
        self.claims.declined.remove(&port.uuid);
        let encap_ip = binding
            .at
            .interface
            .and_then(|interface| self.local.encap_ip(interface));
        let claim = Claim {
            chassis: own,
            role,
            encap: encap_ip.and_then(|ip| self.south.encap_at(own, ip)),
            is_installed: self.ports.is_installed(port.uuid),
            has_spoken: self.network.activated.peek(port.uuid).is_some(),
        };
        if self.network.handed_over.peek(port.uuid).is_some() {
            return None;
        }
        if !self.network.is_served_elsewhere(port) {
            self.claims.unsettle(port.uuid);
        } else if claim.is_installed && self.waits_for_network(now.at, port) {
            self.claims.settling.remove(&port.uuid);
            return None;
        } else if claim.is_installed {
            let settling = self.claims.settling.entry(port.uuid);
            let until = *settling.or_insert(now.at + SETTLING);
            if now.at < until {
                self.claims.waiting.insert((until, port.uuid));
                return None;
            }
        } else {
            // It is looked at again when its flows are in place.
            self.claims.unsettle(port.uuid);
            return None;
        }
        if self.south.is_taken(port, &claim)
            && let Some(until) = self.claims.waits_until(port.uuid)
        {
            tracing::debug!(target: "binding", "Postponed claim on logical port {}.", port.logical_port);
            self.claims.waiting.insert((until, port.uuid));
            return None;
        }
        let operations = self.south.claim(port, &claim);
        // A guest that comes by migration is not fought for.
        if claim.role == Role::Main && port.chassis != Some(own) {
            self.claims.note(now.at, port.uuid);
        }
        Some(operations)
    }

    /// A port is attached nowhere here: because another chassis is asked for, or there is nothing that it could be attached to.
    fn note_declined(&mut self, own: Uuid, port: &PortBinding) {
        let Some(settings) = &self.local.settings else {
            return;
        };
        let claimant = Claimant::new(own, settings);
        let interfaces = self.network.interfaces.peek(NameId::of(&port.logical_port));
        let is_plugged = interfaces.is_some_and(|all| all.iter().any(|one| is_meant(port, one)));
        let is_guest = PortKind::of(port) == PortKind::Guest;
        if is_guest && is_plugged && claimant.role(port).is_none() {
            self.claims.decline(port, &claimant, &self.south);
        } else {
            self.claims.declined.remove(&port.uuid);
        }
    }
}
