//! What follows from what is known: done after every event.

use std::collections::BTreeSet;
use std::sync::Arc;

use openflow::Message;
use ovsdb::{Operation, Uuid};

use super::{Core, Effects, Now, Subject};
use crate::desired::Changes;
use crate::local::{Progress, RemoteEncap, Sink, Wanted, WantedMirror, WantedPatch, WantedQueue};
use crate::network::{Network, ZoneChange, Zones};
use crate::pinctrl::service::Change;
use crate::settings::Settings;
use crate::south::{Conditions, South};

/// What northd calls its own version in `SB_Global.options:northd_internal_version`: it and this are of one workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What there should be in the local database, going by what is known.
struct WantedHere<'a> {
    south: &'a South,
    network: &'a Network,
    is_known: bool,
    is_ready: bool,
    has_flows: bool,
    progress: Progress,
}

/// How many units of the network run before packets and other events have their turn: a few milliseconds' work.
const UNITS_AT_ONCE: usize = 1_000;

/// What a subscription was last made of, by version or value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subscribed {
    settings: u64,
    sought: u64,
    topology: u64,
    chassis: Option<Uuid>,
    name: Option<Arc<str>>,
}

impl Wanted for WantedHere<'_> {
    fn progress(&self) -> Progress {
        self.progress
    }

    fn chassis(&self) -> Vec<Arc<str>> {
        self.south.chassis_names().cloned().collect()
    }

    fn encaps(&self, settings: &Settings, chassis: &str) -> Vec<RemoteEncap> {
        self.south.remote_encaps(settings, chassis)
    }

    fn patches(&self) -> Vec<WantedPatch> {
        let mappings = self.network.own_now().bridge_mappings;
        let mut patches = Vec::new();
        for (datapath, ()) in self.network.local.iter() {
            for uuid in self.network.localnets_of.peek(datapath) {
                let Some(port) = self.network.ports.peek(*uuid) else {
                    continue;
                };
                let network = port.options.get("network_name");
                let bridge = network.and_then(|name| mappings.get(name));
                patches.extend(bridge.map(|bridge| WantedPatch {
                    port: port.logical_port.clone(),
                    is_gateway: false,
                    bridge: bridge.clone(),
                }));
            }
        }
        let own = self.network.own_now();
        let gateways = self.network.l2_gateways.iter();
        let gateways = gateways.filter_map(|uuid| self.network.ports.peek(*uuid));
        for port in gateways.filter(|port| Network::is_l2_gateway(&own, port)) {
            let network = port.options.get("network_name");
            let bridge = network.and_then(|name| own.bridge_mappings.get(name));
            patches.extend(bridge.map(|bridge| WantedPatch {
                port: port.logical_port.clone(),
                is_gateway: true,
                bridge: bridge.clone(),
            }));
        }
        patches
    }

    fn queues(&self) -> Vec<WantedQueue> {
        let mappings = self.network.own_now().bridge_mappings;
        let queues = self.network.traffic.queues();
        let queues = queues.filter_map(|queue| {
            Some(WantedQueue {
                port: queue.port.clone(),
                bridge: mappings.get(&queue.network)?.clone(),
                number: queue.number,
                min_rate: queue.min_rate,
                max_rate: queue.max_rate,
                burst: queue.burst,
            })
        });
        queues.collect()
    }

    fn mirrors(&self) -> Vec<WantedMirror> {
        let mirrors = self.network.traffic.mirrors();
        let mirrors = mirrors.filter_map(|(mirror, interfaces)| {
            let sink = match &*mirror.r#type {
                "local" => Sink::Interface(mirror.sink.clone()),
                kind @ ("gre" | "erspan") => Sink::Tunnel {
                    is_erspan: kind == "erspan",
                    to: mirror.sink.parse().ok()?,
                    index: mirror.index,
                },
                _ => return None,
            };
            let copies = |direction| match &*mirror.filter {
                "both" => interfaces.clone(),
                filter if filter == direction => interfaces.clone(),
                _ => BTreeSet::new(),
            };
            Some(WantedMirror {
                name: mirror.name.clone(),
                sink,
                from: copies("from-lport"),
                to: copies("to-lport"),
            })
        });
        mirrors.collect()
    }

    fn zones(&self) -> Option<&Zones> {
        self.is_ready.then_some(&self.network.zones)
    }

    fn is_known(&self) -> bool {
        self.is_known
    }

    fn has_flows(&self) -> bool {
        self.has_flows
    }
}

impl Core {
    pub(super) fn work(&mut self, now: Now, effects: &mut Effects) {
        if !self.local_known {
            return;
        }
        self.connect(effects);
        if self.holds_still() {
            return;
        }
        if !self.engine.step(&mut self.network, UNITS_AT_ONCE).done {
            // Nothing is told or changed before all of it is known.
            effects.again = true;
            return;
        }
        self.note_rebound(now);
        self.subscribe(effects);
        while self.become_ready() {
            if !self.engine.step(&mut self.network, UNITS_AT_ONCE).done {
                effects.again = true;
                return;
            }
        }
        self.change_switch(now);
        self.write_local(now, effects);
        self.write_south(now, effects);
    }

    /// Whom to be connected to.
    fn connect(&mut self, effects: &mut Effects) {
        let version = self.local.settings_version;
        if self.connected_for == Some(version) {
            return;
        }
        self.connected_for = Some(version);
        let Some(settings) = self.local.settings.clone() else {
            return;
        };
        self.connect_south(&settings, effects);
        // The switch makes the socket with the bridge.
        if self.local.has_bridge() {
            let path = daemon::place::switch_run_dir().join(format!("{}.mgmt", settings.bridge));
            if self.switch_path.as_ref() != Some(&path) {
                self.switch_lost("another bridge is the integration bridge");
                effects.connect_switch = Some(path.clone());
                self.switch_path = Some(path);
            }
        }
    }

    /// Whether nothing is to be done because northd is of another version, and this chassis is told to wait for its own.
    fn holds_still(&mut self) -> bool {
        let settings = self.local.settings.as_ref();
        if !settings.is_some_and(|settings| settings.match_northd_version) || !self.south_known {
            self.waits_for_northd = None;
            return false;
        }
        let theirs = self.south.northd_version().unwrap_or_default();
        if theirs == VERSION {
            self.waits_for_northd = None;
            return false;
        }
        if self.waits_for_northd.as_deref() != Some(theirs) {
            tracing::warn!(
                "controller version - {VERSION} mismatch with northd version - {theirs}"
            );
            self.waits_for_northd = Some(theirs.to_owned());
        }
        true
    }

    fn note_rebound(&mut self, now: Now) {
        let rebound = std::mem::take(&mut self.network.rebound);
        self.ports.rebound(&rebound, &self.network);
        let changes = rebound.into_iter().map(Change::Attachment);
        self.tell_services(now, changes);
    }

    pub(super) fn wanted_conditions(&mut self) -> Conditions {
        let settings = self.local.settings.as_ref();
        let own_name = settings.map(|settings| settings.system_id.clone());
        let own_names = own_name.into_iter().chain(self.registered_as.clone());
        if settings.is_some_and(|settings| settings.monitor_all) {
            return Conditions::everything(own_names);
        }
        let own = self.own_chassis();
        let local = self.network.local.iter();
        let local =
            local.map(|(uuid, ())| (uuid, self.network.datapaths.peek(uuid).map(|d| d.key)));
        let mut names = self.network.unknown_peers();
        let (_, sought) = self.sought.names(&self.local, &self.network);
        names.extend(sought.iter().cloned());
        if self.seeks_all {
            names.extend(self.local.iface_ids.iter().cloned());
        }
        let groups = self.network.local_groups();
        Conditions::local(own_names, &names, own, local, groups)
    }

    fn subscribe(&mut self, effects: &mut Effects) {
        if self.south_target.is_none() {
            return;
        }
        let (sought, _) = self.sought.names(&self.local, &self.network);
        let inputs = Subscribed {
            settings: self.local.settings_version,
            sought,
            topology: self.network.topology_version,
            chassis: self.own_chassis(),
            name: self.registered_as.clone(),
        };
        if self.subscribed_to.as_ref() == Some(&inputs) {
            return;
        }
        self.subscribed_to = Some(inputs);
        let wanted = self.wanted_conditions();
        let changes = wanted.changes_from(&self.conditions);
        if !changes.is_empty() {
            self.conditions = wanted;
            self.conditions_asked += 1;
            effects.conditions = changes;
        }
    }

    /// Whether everything that was asked for has been told.
    pub(super) fn is_settled(&self) -> bool {
        self.south_synced && self.conditions_in_effect == self.conditions_asked
    }

    /// From here on the switch follows the databases. True when something has to be computed before.
    fn become_ready(&mut self) -> bool {
        if self.ready
            || !self.is_settled()
            || !self
                .switch
                .as_ref()
                .is_some_and(crate::switch::Switch::is_ready)
        {
            return false;
        }
        if let Some(bits) = self.bits_read.take() {
            // Only now is it known which datapaths are local, and so what each bit stood for.
            self.engine.input(&mut self.network, |network, changes| {
                network.recall_bits(changes, bits);
            });
            return true;
        }
        self.ready = true;
        self.network.forget_recalled_bits();
        // Those of ports and routers that are not here any more.
        self.network.zones.release_unheld();
        tracing::info!("all databases and the switch are known; flows follow them from now on");
        false
    }

    /// Sends what differs, and asks for confirmation where somebody waits for it.
    fn change_switch(&mut self, now: Now) {
        if !self.ready || self.switch_is_full {
            return;
        }
        let settled = self.is_settled();
        if self.holds.hold(now.at, self.south_synced && !settled) {
            return;
        }
        let Some(switch) = self.switch.as_mut().filter(|switch| switch.is_ready()) else {
            return;
        };
        self.network.zones.forget_left();
        for change in self.network.zones.take_changes() {
            let ZoneChange::Flush(zone) = change;
            switch.send(&Message::CtFlushZone(zone));
        }
        let flushes = self.network.take_flushes();
        let changes = if self.network.desired.is_dirty() {
            self.network.desired.changes()
        } else {
            Changes::default()
        };
        let nb_cfg = self.south.nb_cfg();
        let newest = self
            .nb_cfg_waiting
            .back()
            .map(|(cfg, _)| *cfg)
            .or(self.nb_cfg_reached);
        let cfg_waits = settled && newest != Some(nb_cfg);
        let ports_wait = settled && self.ports.has_unsent();
        if changes.is_empty() && flushes.is_empty() && !cfg_waits && !ports_wait {
            return;
        }
        if !changes.is_empty() {
            tracing::debug!(target: "ofctrl", "{} changes of flows, groups and meters", changes.len());
        }
        switch.change_flows(changes);
        // Only then do no more packets go to who is gone.
        flushes
            .into_iter()
            .for_each(|flush| switch.flush(flush.into()));
        let barrier = switch.ask_confirmation();
        if cfg_waits {
            self.nb_cfg_waiting.push_back((nb_cfg, barrier));
        }
        if ports_wait {
            self.ports.all_sent(barrier);
        }
    }

    fn write_local(&mut self, now: Now, effects: &mut Effects) {
        let version = self.network.traffic.version;
        if self.traffic_told != version {
            self.local.traffic_changed();
            self.traffic_told = version;
        }
        let told = (self.network.topology_version, self.ready);
        if self.local_told.0 != told.0 {
            self.local.patches_changed();
        }
        if self.local_told.1 != told.1 {
            self.local.all_zones_changed();
        }
        self.local_told = told;
        self.tell_sessions();
        self.local
            .zones_changed(self.network.zones.take_renumbered());
        if !self.local_transactions.may_send() {
            return;
        }
        let wanted = WantedHere {
            south: &self.south,
            network: &self.network,
            is_known: self.is_settled(),
            is_ready: self.ready,
            has_flows: self.switch_has_flows,
            progress: Progress {
                started_ms: *self.started_ms.get_or_insert(now.unix_ms),
                nb_cfg: self.nb_cfg_reached,
                now_ms: now.unix_ms,
            },
        };
        let operations = self.local.reconcile(&wanted, &mut self.ports.marks);
        if operations.is_empty() {
            return;
        }
        let id = self.new_transaction();
        self.local_transactions.sent(id);
        effects.local.push((id, operations));
    }

    /// With whom BFD sessions are to run, if that may have changed.
    fn tell_sessions(&mut self) {
        let own = self.own_chassis();
        let settings = self.south.bfd_settings();
        let inputs = (self.network.gateways_version, own, settings);
        if self.sessions_for.as_ref() != Some(&inputs) {
            self.local
                .set_bfd(self.network.bfd_peers(), inputs.2.clone());
            self.sessions_for = Some(inputs);
        }
    }

    fn write_south(&mut self, now: Now, effects: &mut Effects) {
        if !self.south_writes.may_send() || !self.south_synced {
            return;
        }
        let Some(settings) = self.local.settings.clone() else {
            return;
        };
        let mut wanted = self.registration(&settings);
        if wanted.is_empty()
            && let Some(own) = self.own_chassis()
        {
            if !self.south_writes.is_held_back(Subject::Progress) {
                let reached = self.nb_cfg_reached;
                let reached = reached.filter(|cfg| self.report.may_tell(now.at, *cfg));
                let progress =
                    reached.and_then(|cfg| self.south.progress(&settings, cfg, now.unix_ms));
                wanted.extend(progress.map(|progress| (Subject::Progress, vec![progress])));
            }
            wanted.extend(self.report(&settings));
            self.port_operations(now, own, &mut wanted);
            if self.network.awaits_word() && !self.south_writes.is_held_back(Subject::Word) {
                let comment = format!("weft-controller: {} is back", settings.system_id).into();
                wanted.push((Subject::Word, vec![Operation::Comment { comment }]));
            }
        }
        // Claims may be repeated word for word, against another chassis.
        if let [(Subject::Registration, _)] = wanted[..] {
            for subject in self.south_writes.leave_out_repeated(now.at, &mut wanted) {
                let what = self.describe(subject);
                tracing::warn!(
                    "the southbound takes what this chassis says of {what}, and does not say it"
                );
                // What waited for it waits no longer.
                effects.again = true;
            }
        }
        if wanted.is_empty() {
            return;
        }
        let id = self.new_transaction();
        effects.south.push((id, self.south_writes.send(id, wanted)));
    }

    /// What the southbound is to be told of what cannot be done here, once all is known that is to be done.
    fn report(&mut self, settings: &Settings) -> Option<(Subject, Vec<Operation>)> {
        let inputs = (self.network.problems_version, self.south.version);
        let waits = !self.is_settled() || self.south_writes.is_held_back(Subject::Report);
        if self.reported == Some(inputs) || waits {
            return None;
        }
        let operation = self
            .south
            .report(&settings.system_id, &self.network.problems_by_hint());
        if operation.is_none() {
            self.reported = Some(inputs);
        }
        Some((Subject::Report, vec![operation?]))
    }

    /// What has to be written of this chassis' own rows, in a transaction of its own: without them nothing else can be said.
    fn registration(&mut self, settings: &Settings) -> Vec<(Subject, Vec<Operation>)> {
        let inputs = (self.local.settings_version, self.south.version);
        if self.registered == Some(inputs) || self.south_writes.is_held_back(Subject::Registration)
        {
            return Vec::new();
        }
        let before = self.registered_as.as_deref();
        let operations = self.south.registration(settings, before);
        if !operations.is_empty() {
            return vec![(Subject::Registration, operations)];
        }
        self.registered = Some(inputs);
        if self.own_chassis().is_some() {
            self.registered_as = Some(settings.system_id.clone());
        }
        Vec::new()
    }
}
