//! Which ports the southbound is told of, and when.
//!
//! Two chassis may both think that a port is theirs: a guest is being moved without `requested-chassis`, or an interface was
//! left behind. Each would claim what the other has claimed, at the speed of their round trips. So who has claimed a port waits
//! [`HOLD`] before it takes the port from another again, as OVN's controller does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ovsdb::{Operation, Uuid};
use rustc_hash::FxHashMap;
use sb_db::tables::PortBinding;

use super::{Core, Now};
use crate::network::{Binding, PortKind};
use crate::south::{Claim, Claimant, Role};

/// For so long a claim is not repeated against another chassis.
pub const HOLD: Duration = Duration::from_secs(2);

/// When ports were claimed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    since: FxHashMap<Uuid, Instant>,
    /// The same in the order of time, with what was overwritten meanwhile among it.
    order: VecDeque<(Instant, Uuid)>,
    /// When the first claim that waits may be made.
    due: Option<Instant>,
}

impl Claims {
    /// When a claim may be made that has to wait now.
    fn waits_until(&self, port: Uuid) -> Option<Instant> {
        Some(*self.since.get(&port)? + HOLD)
    }

    fn note(&mut self, now: Instant, port: Uuid) {
        self.since.insert(port, now);
        self.order.push_back((now, port));
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

    /// Forgets what is due: whoever looks at the claims finds out.
    pub(super) fn elapse(&mut self) {
        self.due = None;
    }

    /// When a claim is due that waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

impl Core {
    /// What the southbound has to be told of ports that may have changed.
    pub(super) fn port_operations(&mut self, now: Now, own: Uuid) -> Vec<Operation> {
        self.claims.forget_old(now.at);
        let settled = self.is_settled();
        let mut operations = Vec::new();
        let mut later = Vec::new();
        for uuid in std::mem::take(&mut self.ports.untold) {
            let Some(port) = self.network.ports.peek(uuid).cloned() else {
                continue;
            };
            // Only ports that could be ours need another look.
            if !PortKind::of(&port).is_claimed() {
                continue;
            }
            let told = match self.network.bindings.peek(uuid).copied() {
                Some(binding) => match self.claim(now, own, &port, &binding) {
                    Some(told) => told,
                    None => {
                        later.push(uuid);
                        continue;
                    }
                },
                // Before everything is told, a port may only seem to be nowhere.
                None if settled && self.ready => self.south.release(&port, own),
                None => {
                    later.push(uuid);
                    continue;
                }
            };
            if !told.is_empty() {
                // It is looked at again when the answer has come.
                later.push(uuid);
                operations.extend(told);
            }
        }
        self.ports.untold.extend(later);
        operations
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
        let claimant = Claimant {
            chassis: own,
            name: &settings.system_id,
            hostname: &settings.shown.hostname,
        };
        let Some(role) = claimant.role(port) else {
            return Some(self.south.release(port, own));
        };
        let encap_ip = binding
            .at
            .interface
            .and_then(|interface| self.local.encap_ip(interface));
        let claim = Claim {
            chassis: own,
            role,
            encap: encap_ip.and_then(|ip| self.south.encap_at(own, ip)),
            is_installed: self.ports.is_installed(port.uuid),
        };
        if self.south.is_taken(port, &claim)
            && let Some(until) = self.claims.waits_until(port.uuid)
        {
            tracing::debug!(target: "binding", "Postponed claim on logical port {}.", port.logical_port);
            let due = self.claims.due.get_or_insert(until);
            *due = until.min(*due);
            return None;
        }
        let operations = self.south.claim(port, &claim);
        // A guest that comes by migration is not fought for.
        if claim.role == Role::Main && port.chassis != Some(own) {
            self.claims.note(now.at, port.uuid);
        }
        Some(operations)
    }
}
