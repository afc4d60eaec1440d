//! Whose southbound this chassis follows, and what it says.
//!
//! Where the southbound is can change while the agent runs. When only the list of its members does, the replica that there is
//! takes the new list: it reconnects where it must, and tells the difference. With other keys for TLS a new replica is made, whose
//! events carry a higher number (the *epoch*); whatever an earlier one still says is not heard. The new one knows nothing of the
//! rows that were told before, and tells everything as new; so its rows are gathered until all are there ([`Contents`]), and
//! become the difference to what was known. Until then the old rows stand, and with them the flows in the switch.
//!
//! Another southbound may have the same network under other identities. Ports are then asked for by the names of all interfaces
//! here, so that they come with the first contents, and no port seems to be gone meanwhile.

use std::sync::Arc;

use ovsdb::{Row, RowChange, Uuid};
use replica::TransactError;
use rustc_hash::FxHashMap;

use super::leave::SOUTH;
use super::writes::is_nobodys;
use super::{Core, Effects, Now, SouthConnection, SouthTarget, Subject};
use crate::pinctrl::service::Change;
use crate::settings::Settings;
use crate::south::{South, table_specs};

/// The rows that a new replica has told so far, while the old ones stand.
#[derive(Debug, Default)]
pub(super) struct Contents {
    rows: FxHashMap<(usize, Uuid), Arc<Row>>,
}

impl Contents {
    fn apply(&mut self, changes: Vec<RowChange>) {
        for change in changes {
            let key = (change.table, change.uuid);
            match change.new {
                Some(row) => drop(self.rows.insert(key, row)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    /// What changes when these rows take the place of those that are known.
    fn differences(mut self, known: &South) -> Vec<RowChange> {
        let mut changes = Vec::new();
        for (table, uuid, old) in known.rows() {
            let new = self.rows.remove(&(table, uuid));
            if new.as_ref() != Some(old) {
                let old = Some(old.clone());
                changes.push(RowChange {
                    table,
                    uuid,
                    old,
                    new,
                });
            }
        }
        changes.extend(self.rows.into_iter().map(|((table, uuid), row)| RowChange {
            table,
            uuid,
            old: None,
            new: Some(row),
        }));
        changes
    }
}

impl Core {
    /// Sees to it that the southbound is followed where the settings say it is.
    pub(super) fn connect_south(&mut self, settings: &Settings, effects: &mut Effects) {
        let tls = self.local.ssl().map(|ssl| replica::Tls {
            certificate: ssl.certificate.to_string().into(),
            private_key: ssl.private_key.to_string().into(),
            ca: ssl.ca_cert.to_string().into(),
            server_name: None,
        });
        let target = SouthTarget {
            remotes: settings.remotes.clone(),
            tls,
        };
        let Some(known) = &self.south_target else {
            if !target.remotes.is_empty() {
                self.replace_south(target, effects);
            }
            return;
        };
        if *known == target {
            return;
        }
        let is_another = !known
            .remotes
            .iter()
            .any(|remote| target.remotes.contains(remote));
        if is_another && !target.remotes.is_empty() {
            self.seeks_all = true;
            self.holds.moved = true;
            // Nothing is said of it before it has said what it has.
            self.south_synced = false;
            (self.registered, self.registered_as) = (None, None);
            // What another northd has counted.
            self.nb_cfg_reached = None;
            self.nb_cfg_waiting.clear();
            self.subscribed_to = None;
        }
        if known.tls == target.tls {
            effects.south_remotes = Some(target.remotes.clone());
            self.south_target = Some(target);
        } else {
            self.replace_south(target, effects);
        }
    }

    /// Makes a new replica. Nothing that was asked of the old one will be answered.
    fn replace_south(&mut self, target: SouthTarget, effects: &mut Effects) {
        self.south_epoch += 1;
        self.south_connected = false;
        self.south_synced = false;
        let has_rows = self.south.rows().next().is_some();
        self.contents = has_rows.then(Contents::default);
        let unanswered = self.south_writes.forget();
        unanswered.into_iter().for_each(|s| self.ask_again(s));
        self.learned.forget();
        self.conditions = self.wanted_conditions();
        (self.conditions_asked, self.conditions_in_effect) = (0, 0);
        self.subscribed_to = None;
        self.registered = None;
        self.ports.all_again(&self.network);
        effects.conditions.clear();
        effects.south.clear();
        effects.connect_south = Some(SouthConnection {
            epoch: self.south_epoch,
            target: target.clone(),
            tables: table_specs(&self.conditions),
        });
        self.south_target = Some(target);
    }

    pub(super) fn south_event(&mut self, now: Now, epoch: u64, event: replica::Event) {
        if epoch != self.south_epoch {
            return;
        }
        match event {
            replica::Event::Connected { .. } => self.south_connected = true,
            replica::Event::Disconnected { .. } => {
                self.south_connected = false;
                self.south_synced = false;
                self.ports.all_again(&self.network);
            }
            replica::Event::Changes(changes) => match &mut self.contents {
                Some(contents) => contents.apply(changes),
                None => self.south_changed(now, &changes),
            },
            replica::Event::Synced => {
                if let Some(contents) = self.contents.take() {
                    let changes = contents.differences(&self.south);
                    self.south_changed(now, &changes);
                }
                (self.south_synced, self.south_known) = (true, true);
                if std::mem::take(&mut self.seeks_all) {
                    self.subscribed_to = None;
                    // What was confirmed meanwhile, another southbound had counted.
                    self.nb_cfg_reached = None;
                    self.nb_cfg_waiting.clear();
                }
            }
            replica::Event::ConditionsInEffect(number) => self.conditions_in_effect = number,
            replica::Event::TransactReply { id, result } => {
                let failure = result.err();
                if !self.learned.answered(now.at, id, failure.as_ref()) {
                    self.south_answered(now, id, failure.as_ref());
                }
            }
            replica::Event::Lock(_) => {}
        }
    }

    /// A transaction was answered that is not about what packets taught.
    fn south_answered(&mut self, now: Now, id: u64, failure: Option<&TransactError>) {
        let Some(outcome) = self.south_writes.answered(now.at, id, failure) else {
            return;
        };
        if let (Some(leaving), Some(error)) = (&mut self.leaving, failure) {
            leaving.failed(SOUTH, id, error);
        }
        let has_word = failure.is_none() && outcome.again.contains(&Subject::Word);
        // If it was cut off again meanwhile, that is another story.
        if has_word && self.network.awaits_word() {
            self.engine.input(&mut self.network, |network, changes| {
                network.has_word(changes);
            });
        }
        for subject in outcome.again {
            self.ask_again(subject);
        }
        let Some(error) = failure else {
            return self.complaints.forget(SOUTH);
        };
        match outcome.refused {
            None if is_nobodys(error) => self.complaints.database(SOUTH, error),
            None => {}
            Some((subject, pause)) => {
                let what = self.describe(subject);
                self.complaints.refusal(now.at, &what, pause, error);
            }
        }
    }

    /// What is wanted of a subject has to be found out anew.
    pub(super) fn ask_again(&mut self, subject: Subject) {
        match subject {
            Subject::Port(port) => self.ports.untold.extend([port]),
            Subject::Registration => self.registered = None,
            Subject::Report => self.reported = None,
            Subject::Progress | Subject::Farewell | Subject::Word => {}
        }
    }

    pub(super) fn describe(&self, subject: Subject) -> String {
        let name = self.local.settings.as_ref().map(|s| s.system_id.clone());
        let name = name.unwrap_or_default();
        match subject {
            Subject::Registration => format!("Chassis {name}"),
            Subject::Progress => format!("Chassis_Private {name}, nb_cfg"),
            Subject::Report => format!("Chassis_Private {name}, external_ids"),
            Subject::Farewell => format!("the removal of Chassis {name}"),
            Subject::Word => "a comment".to_owned(),
            Subject::Port(uuid) => {
                let port = self.network.ports.peek(uuid);
                let name = port.map_or_else(|| uuid.to_string(), |p| p.logical_port.to_string());
                format!("Port_Binding {name}")
            }
        }
    }

    fn south_changed(&mut self, now: Now, changes: &[RowChange]) {
        let was_encrypted = self.south.ipsec().is_some();
        for change in changes {
            self.south.apply(change);
            self.ports.row_changed(change);
        }
        let settings = self.local.settings.as_ref();
        let is_flow_based = settings.is_some_and(|settings| settings.flow_based_tunnels);
        if !was_encrypted && self.south.ipsec().is_some() && is_flow_based {
            tracing::warn!(
                "tunnels are to be encrypted (NB_Global.ipsec), which flow-based ones cannot be: \
                 packets go in clear; set ovn-enable-flow-based-tunnels to false"
            );
        }
        self.engine.input(&mut self.network, |network, told| {
            changes
                .iter()
                .for_each(|change| network.apply(told, change));
            network.update_applied();
        });
        for change in changes {
            self.sought.row_changed(change, &self.local, &self.network);
        }
        let chassis = self.south.take_changed_chassis();
        if let Some(settings) = &self.local.settings
            && chassis.contains(&settings.system_id)
        {
            // Ports may be reached by other ends of tunnels.
            self.ports.all_again(&self.network);
        }
        self.local.chassis_changed(chassis);
        self.tell_own();
        self.tell_services(now, changes.iter().map(Change::Row));
    }
}
