//! `trigger_event`: somebody asked for a load balancer that has no backends, and the management system wants to know, to start some.
//!
//! A row of `Controller_Event` says so: who it was that was asked for, and a number that grows with each event of this chassis
//! (ovn-sb(5), `Controller_Event`). The management system deletes the row when it has seen it; as long as the row is there, it is
//! not said again. Nor is it within [`PAUSE`], so that packets cannot make rows as fast as those are deleted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Operation, Row, Uuid};
use packet::userdata::{EmptyBackendsArguments, Opcode};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::ControllerEvent;

use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

/// For how long the same event is not told again.
pub const PAUSE: Duration = Duration::from_secs(1);
/// How many events are remembered. Of others, nothing is told until there is room.
const LIMIT: usize = 1_024;

/// The service.
#[derive(Debug, Default)]
pub struct EmptyBackends {
    /// Events with rows.
    rows: FxHashMap<EmptyBackendsArguments, Uuid>,
    /// Events that were told lately, the first first.
    told: FxHashSet<EmptyBackendsArguments>,
    told_at: VecDeque<(Instant, EmptyBackendsArguments)>,
    /// The number of the last event.
    last: i64,
    /// Packets whose events were not told for there were too many.
    dropped: u64,
}

impl Service for EmptyBackends {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::Event]
    }

    fn tables(&self) -> &'static [usize] {
        &[ControllerEvent::INDEX]
    }

    fn changed(&mut self, _: Now, change: Change<'_>, view: &dyn View, _: &mut Vec<Effect>) {
        let Change::Row(change) = change else {
            return;
        };
        let is_own = |row: &Row| ControllerEvent::COLUMN.chassis.get(row) == view.own();
        if let Some(old) = &change.old {
            let event = event_of(old);
            if self.rows.get(&event) == Some(&change.uuid) {
                self.rows.remove(&event);
            }
        }
        if let Some(new) = change.new.as_ref().filter(|row| is_own(row)) {
            self.rows.insert(event_of(new), change.uuid);
            let number = ControllerEvent::COLUMN.seq_num.get(new);
            self.last = self.last.max(number);
        }
    }

    fn packet(
        &mut self,
        now: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let Some(event) = EmptyBackendsArguments::decode(packet.arguments)? else {
            return Ok(());
        };
        let Some(own) = view.own() else {
            return Ok(());
        };
        let is_past = |told: &mut (Instant, EmptyBackendsArguments)| told.0 + PAUSE <= now.at;
        while let Some((_, past)) = self.told_at.pop_front_if(is_past) {
            self.told.remove(&past);
        }
        if self.rows.contains_key(&event) || self.told.contains(&event) {
            return Ok(());
        }
        if self.told.len() >= LIMIT || self.rows.len() >= LIMIT {
            if self.dropped == 0 {
                effects.push(Effect::Warn(format!(
                    "there are {LIMIT} rows of Controller_Event of this chassis that nobody has deleted: no more are made"
                )));
            }
            self.dropped += 1;
            return Ok(());
        }
        self.last += 1;
        let uuid = identity(own, &event, self.last, now);
        let row = ControllerEvent {
            event_type: "empty_lb_backends".into(),
            event_info: [
                ("vip", &event.vip),
                ("protocol", &event.protocol),
                ("load_balancer", &event.load_balancer),
            ]
            .map(|(key, value)| (key.into(), value.as_str().into()))
            .into(),
            chassis: Some(own),
            seq_num: self.last,
            ..ControllerEvent::default()
        };
        let row = row.to_row().columns().iter().cloned().enumerate().collect();
        let insert = Operation::Insert {
            table: ControllerEvent::INDEX,
            uuid,
            row,
        };
        effects.push(Effect::Write(uuid, vec![insert]));
        self.told.insert(event.clone());
        self.told_at.push_back((now.at, event));
        Ok(())
    }

    fn dropped(&self) -> Option<(&'static str, u64)> {
        Some(("events", self.dropped))
    }
}

/// What a row tells of.
fn event_of(row: &Row) -> EmptyBackendsArguments {
    let info = ControllerEvent::COLUMN.event_info.get(row);
    let text = |key: &str| {
        let value = info.get(key).map(ToString::to_string);
        value.unwrap_or_default()
    };
    EmptyBackendsArguments {
        vip: text("vip"),
        protocol: text("protocol"),
        load_balancer: text("load_balancer"),
    }
}

/// The identity of a new row. The same event may have had one that was deleted.
fn identity(own: Uuid, event: &EmptyBackendsArguments, number: i64, now: Now) -> Uuid {
    let name = format!(
        "event {} {} {} {number} {}",
        event.vip, event.protocol, event.load_balancer, now.unix_ms
    );
    Uuid::new_v5(&own, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::RowChange;

    use super::*;
    use crate::pinctrl::tests::{OWN, World, now, packet_in};

    /// What a packet for a load balancer of this address leads to.
    fn ask(service: &mut EmptyBackends, now: Now, vip: &str) -> Vec<ControllerEvent> {
        let arguments = EmptyBackendsArguments {
            vip: vip.to_owned(),
            protocol: "tcp".into(),
            load_balancer: "some".into(),
        };
        let packet_in = packet_in(1, arguments.encode().expect("short"), Vec::new());
        let (opcode, arguments) = Opcode::split(&packet_in.userdata).expect("a header");
        let packet = Packet {
            opcode,
            arguments,
            packet_in: &packet_in,
        };
        let mut effects = Vec::new();
        service
            .packet(now, packet, &World::default(), &mut effects)
            .expect("it makes sense");
        let rows = effects.into_iter().filter_map(|effect| match effect {
            Effect::Write(_, operations) => Some(operations),
            _ => None,
        });
        let rows = rows.map(|operations| {
            let [Operation::Insert { uuid, row, .. }] = &operations[..] else {
                panic!("{operations:?}");
            };
            let data: Vec<_> = row.iter().map(|(_, datum)| datum.clone()).collect();
            ControllerEvent::from_row(*uuid, &Row::new(data))
        });
        rows.collect()
    }

    fn tell(
        service: &mut EmptyBackends,
        old: Option<&ControllerEvent>,
        new: Option<&ControllerEvent>,
    ) {
        let change = RowChange {
            table: ControllerEvent::INDEX,
            uuid: old.or(new).expect("one of them").uuid,
            old: old.map(|row| Arc::new(row.to_row())),
            new: new.map(|row| Arc::new(row.to_row())),
        };
        let world = World::default();
        service.changed(now(), Change::Row(&change), &world, &mut Vec::new());
    }

    #[test]
    fn an_event_is_told_once_while_its_row_is_there() {
        let mut service = EmptyBackends::default();
        let start = now();
        let later = |seconds| Now {
            at: start.at + Duration::from_secs(seconds),
            ..start
        };
        let told = ask(&mut service, start, "10.0.0.1:80");
        let [first] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((first.seq_num, first.chassis), (1, Some(OWN)));
        assert_eq!(
            first.event_info.get("vip").map(|v| &**v),
            Some("10.0.0.1:80")
        );
        assert_eq!(ask(&mut service, start, "10.0.0.1:80"), []);
        // The transaction was lost: it is told again.
        assert_eq!(ask(&mut service, later(1), "10.0.0.1:80").len(), 1);
        tell(&mut service, None, Some(first));
        assert_eq!(ask(&mut service, later(60), "10.0.0.1:80"), []);
        assert_eq!(ask(&mut service, later(60), "10.0.0.2:80")[0].seq_num, 3);
        tell(&mut service, Some(first), None);
        let again = ask(&mut service, later(61), "10.0.0.1:80");
        assert_eq!(again.len(), 1);
        assert_ne!(again[0].uuid, first.uuid);
    }

    #[test]
    fn a_flood_of_events_is_bounded_and_numbers_go_on_after_a_restart() {
        let mut service = EmptyBackends::default();
        let before = ControllerEvent {
            uuid: Uuid::from_u128(5),
            seq_num: 41,
            chassis: Some(OWN),
            ..ControllerEvent::default()
        };
        tell(&mut service, None, Some(&before));
        let now = now();
        let told = (0..3_000).map(|n| ask(&mut service, now, &format!("10.0.0.1:{n}")).len());
        assert_eq!(told.sum::<usize>(), LIMIT);
        assert_eq!(service.dropped(), Some(("events", 3_000 - LIMIT as u64)));
        assert_eq!(service.last, 41 + LIMIT as i64);
    }
}
