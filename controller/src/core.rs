//! The whole agent: one function from events to effects.
//!
//! [`Core::step`] takes what happened and says what is to be done. It does no I/O, asks no clock, and keeps no promise that an
//! effect succeeds: what should be is compared with what is told, again and again, until they agree. Each database has at most one
//! transaction under way, so that nothing is written twice.
//!
//! **Nothing is changed in the switch too early.** The first change is made when all of this is known: the local database, the
//! southbound with its subscription settled, and all flows of the switch. From then on the switch follows the databases; when one
//! of them is lost, it stays as it is.
//!
//! **Nothing is promised too early.** A port is up, and a configuration reached, when a barrier behind the flows in question has
//! come back.

mod effects;
mod ports;
mod work;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use daemon::unixctl::Request;
use openflow::Message;
use ovsdb::{RowChange, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::inject;
use crate::local::Local;
use crate::network::{Engine, Network, Own};
use crate::pinctrl::PinControl;
use crate::pinctrl::southbound::Southbound;
use crate::south::{Conditions, South};
use crate::status;
use crate::switch::{Notice, Switch};

pub use effects::{Effects, Event, Now, SouthTarget, SwitchEvent};
pub use ports::PortProgress;

/// The versions of all that the local database should say, and of what it says: while they stay, so does the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalInputs {
    local: u64,
    south: u64,
    topology: u64,
    zones: u64,
    known: bool,
    ready: bool,
}

/// The agent.
pub struct Core {
    local: Local,
    /// The local database was read once.
    local_known: bool,
    south: South,
    south_target: Option<SouthTarget>,
    south_synced: bool,
    south_connected: bool,
    conditions: Conditions,
    /// The number of the last change of conditions, and of the last that the server has carried out. The replica counts
    /// in the same way, from 1.
    conditions_asked: u64,
    conditions_in_effect: u64,
    network: Network,
    engine: Engine,
    switch: Option<Switch>,
    switch_path: Option<PathBuf>,
    /// The number of the last barrier, over all connections.
    barriers: u64,
    /// The switch may be changed.
    ready: bool,
    zones_restored: bool,
    ports: PortProgress,
    /// Chassis-wide progress: the configuration that was reached, and the one that waits for a barrier.
    nb_cfg_reached: Option<i64>,
    nb_cfg_waiting: VecDeque<(i64, u64)>,
    packets: PinControl,
    packet_context: Southbound,
    local_transaction: Option<u64>,
    south_transaction: Option<u64>,
    next_transaction: u64,
    /// Transactions of packet handlers, whose results nobody waits for.
    learned: FxHashSet<u64>,
    paused: bool,
    /// What the subscription and the last look at each database were made of, when they left nothing to do.
    subscribed_to: Option<(u64, u64, Option<Uuid>)>,
    local_settled: Option<LocalInputs>,
    registered: Option<(u64, u64)>,
    /// Complaints about failed transactions, so that each is made once.
    complaints: FxHashMap<&'static str, String>,
}

impl Core {
    /// An agent that knows nothing yet but its host's name.
    pub fn new(hostname: String) -> Self {
        let mut core = Core {
            local: Local::new(hostname),
            local_known: false,
            south: South::default(),
            south_target: None,
            south_synced: false,
            south_connected: false,
            conditions: Conditions::everything(),
            conditions_asked: 0,
            conditions_in_effect: 0,
            network: Network::default(),
            engine: Engine::new(),
            switch: None,
            switch_path: None,
            barriers: 0,
            ready: false,
            zones_restored: false,
            ports: PortProgress::default(),
            nb_cfg_reached: None,
            nb_cfg_waiting: VecDeque::new(),
            packets: PinControl::default(),
            packet_context: Southbound::default(),
            local_transaction: None,
            south_transaction: None,
            next_transaction: 1,
            learned: FxHashSet::default(),
            paused: false,
            subscribed_to: None,
            local_settled: None,
            registered: None,
            complaints: FxHashMap::default(),
        };
        core.engine.input(&mut core.network, |network, changes| {
            network.set_own(changes, Own::default());
        });
        core
    }

    /// Takes an event, and says what is to be done.
    pub fn step(&mut self, now: Now, event: Event) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Local(event) => self.local_event(event),
            Event::South(event) => self.south_event(event),
            Event::Switch(event) => self.switch_event(now, event, &mut effects),
            Event::Request(request) => self.request(now, request, &mut effects),
            Event::Tick => self.tick(now, &mut effects),
        }
        if !self.paused {
            self.work(now, &mut effects);
        }
        effects.to_switch = self
            .switch
            .as_mut()
            .map(Switch::take_output)
            .unwrap_or_default();
        effects.wake_at = self.switch.as_ref().and_then(Switch::deadline);
        effects.again = self.packets.has_work();
        effects
    }

    fn local_event(&mut self, event: replica::Event) {
        match event {
            replica::Event::Changes(changes) => {
                self.local.apply(&changes);
                if self.local_known {
                    self.local_changed();
                }
            }
            replica::Event::Synced => {
                self.local_known = true;
                self.local_changed();
            }
            replica::Event::TransactReply { id, result } if self.local_transaction == Some(id) => {
                self.local_transaction = None;
                self.complain("the local database", result.err().map(|e| e.to_string()));
            }
            _ => {}
        }
    }

    fn local_changed(&mut self) {
        let old = self.local.refresh();
        let new = &self.local.ports;
        self.engine.input(&mut self.network, |network, changes| {
            network.set_local_ports(changes, &old, new);
        });
        if !self.zones_restored
            && let Some(bridge) = self.local.bridge()
        {
            self.zones_restored = true;
            self.network.zones.restore(&bridge.external_ids);
        }
        self.tell_own();
    }

    fn south_event(&mut self, event: replica::Event) {
        match event {
            replica::Event::Connected { .. } => self.south_connected = true,
            replica::Event::Disconnected { .. } => {
                self.south_connected = false;
                self.south_synced = false;
                self.ports.all_again(&self.network);
            }
            replica::Event::Changes(changes) => self.south_changed(&changes),
            replica::Event::Synced => self.south_synced = true,
            replica::Event::ConditionsInEffect(number) => self.conditions_in_effect = number,
            replica::Event::TransactReply { id, result } => {
                if self.learned.remove(&id) {
                    // Another chassis may have been faster; the next packet tries again.
                    return;
                }
                if self.south_transaction == Some(id) {
                    self.south_transaction = None;
                    self.complain("the southbound", result.err().map(|e| e.to_string()));
                }
            }
            replica::Event::Lock(_) => {}
        }
    }

    fn south_changed(&mut self, changes: &[RowChange]) {
        for change in changes {
            self.south.apply(change);
            self.packet_context.apply(change);
            self.ports.row_changed(change);
        }
        self.engine.input(&mut self.network, |network, told| {
            changes
                .iter()
                .for_each(|change| network.apply(told, change));
        });
        self.tell_own();
    }

    /// Tells the network who we are, if that changed.
    fn tell_own(&mut self) {
        let Some(settings) = &self.local.settings else {
            return;
        };
        let chassis = self
            .south
            .chassis_named(&settings.system_id)
            .map(|chassis| chassis.uuid);
        let settings = settings.clone();
        self.engine.input(&mut self.network, |network, changes| {
            network.change_own(changes, |own| {
                own.chassis = chassis;
                own.name = settings.system_id;
                own.hostname = settings.shown.hostname;
                own.bridge_mappings = settings.bridge_mappings;
            });
        });
    }

    fn switch_event(&mut self, now: Now, event: SwitchEvent, effects: &mut Effects) {
        match event {
            SwitchEvent::Connected => {
                let probe = self
                    .local
                    .settings
                    .as_ref()
                    .and_then(|settings| settings.openflow_probe);
                self.switch = Some(Switch::new(now.at, probe, self.barriers));
            }
            SwitchEvent::Closed(reason) => self.switch_lost(&reason),
            SwitchEvent::Data(bytes) => {
                let Some(switch) = &mut self.switch else {
                    return;
                };
                match switch.receive(now.at, &bytes) {
                    Ok(notices) => notices.into_iter().for_each(|notice| self.notice(notice)),
                    Err(error) => {
                        tracing::warn!(target: "ofctrl", "{error}");
                        self.switch_lost(&error.to_string());
                        effects.reconnect_switch = true;
                    }
                }
            }
        }
    }

    fn switch_lost(&mut self, reason: &str) {
        if let Some(switch) = self.switch.take() {
            tracing::info!(target: "ofctrl", "connection to the switch closed: {reason}");
            self.barriers = switch.sent();
            self.network.desired.forget_installed();
            self.ports.barriers_lost();
            self.nb_cfg_waiting.clear();
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::GeneveField(field) => {
                self.engine.input(&mut self.network, |network, changes| {
                    network.change_own(changes, |own| own.geneve_field = Some(field));
                });
            }
            Notice::Read(flows, unreadable) => {
                if let Some(first) = unreadable.first() {
                    let count = unreadable.len();
                    tracing::warn!(target: "ofctrl", "{count} flows of the bridge are not understood and left alone; the first: {first}");
                }
                self.network.desired.set_installed(flows);
            }
            Notice::Refused(key, error) => {
                let cookie = self.network.desired.refuse(&key).unwrap_or_default();
                let (table, priority, matches) = (key.table, key.priority, &key.matches);
                tracing::warn!(
                    target: "ofctrl",
                    "the switch refused a flow of row {cookie:08x}..: {error}: table={table},priority={priority},{matches}"
                );
            }
            Notice::BundleFailed(error) => {
                tracing::warn!(target: "ofctrl", "the switch refused a bundle: {error}; reading its flows again");
            }
            Notice::Confirmed(number) => self.confirmed(number),
            Notice::Packet(packet) => self.packets.receive(*packet),
            Notice::Error(error) => {
                tracing::warn!(target: "ofctrl", "error from the switch: {error}");
            }
        }
    }

    fn confirmed(&mut self, number: u64) {
        self.ports.confirmed(number);
        while let Some(&(nb_cfg, barrier)) = self.nb_cfg_waiting.front() {
            if barrier > number {
                break;
            }
            self.nb_cfg_waiting.pop_front();
            self.nb_cfg_reached = Some(nb_cfg);
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        if let Some(switch) = &mut self.switch
            && let Err(error) = switch.tick(now.at)
        {
            self.switch_lost(&error.to_string());
            effects.reconnect_switch = true;
        }
    }

    fn request(&mut self, now: Now, request: Request, effects: &mut Effects) {
        match request.command {
            "exit" => {
                effects.exit = true;
                request.succeed("");
            }
            "connection-status" => request.succeed(if self.south_connected {
                "connected"
            } else {
                "not connected"
            }),
            "status" => request.succeed(status::overview(self, now)),
            "ct-zone-list" => request.succeed(status::zones(&self.network)),
            "debug/pause" => {
                self.paused = true;
                request.succeed("");
            }
            "debug/resume" => {
                self.paused = false;
                request.succeed("");
            }
            "debug/status" => request.succeed(if self.paused { "paused" } else { "running" }),
            "debug/dump-local-bindings" => request.succeed(status::bindings(&self.network)),
            "debug/dump-related-ports" => request.succeed(status::related_ports(&self.network)),
            "inject-pkt" => match self.inject(&request.args[0]) {
                Ok(()) => request.succeed(""),
                Err(problem) => request.fail(problem),
            },
            "recompute" | "inc-engine/recompute" => {
                let answer = self.recompute();
                request.succeed(answer);
            }
            "inc-engine/show-stats" => request.succeed(status::engine(&self.engine)),
            "inc-engine/clear-stats" => {
                self.engine.stats_mut().clear();
                request.succeed("");
            }
            other => request.fail(format!("{other} is not supported")),
        }
    }

    /// Sends a packet as described into its pipeline.
    fn inject(&mut self, description: &str) -> Result<(), String> {
        let switch = self
            .switch
            .as_mut()
            .filter(|switch| switch.is_ready())
            .ok_or("the switch is not connected")?;
        let packet = inject::packet_out(&self.network, description)?;
        switch.send(&Message::PacketOut(packet));
        Ok(())
    }

    /// Derives everything anew from the rows, compares, and goes on with the new one. Says what differed.
    fn recompute(&mut self) -> String {
        let mut fresh = Network::default();
        let mut engine = Engine::new();
        fresh.zones = self.network.zones.clone();
        let own = self.network.own_now();
        let (south, ports) = (&self.south, &self.local.ports);
        engine.input(&mut fresh, |network, changes| {
            network.set_own(changes, own);
            network.set_local_ports(changes, &crate::network::LocalPorts::default(), ports);
            south
                .everything()
                .for_each(|change| network.apply(changes, &change));
        });
        engine.step(&mut fresh, usize::MAX);
        let before: FxHashSet<_> = self
            .network
            .desired
            .contents()
            .map(|(digest, _)| digest)
            .collect();
        let now: FxHashSet<_> = fresh.desired.contents().map(|(digest, _)| digest).collect();
        let (missing, excess) = (
            now.difference(&before).count(),
            before.difference(&now).count(),
        );
        let total = now.len();
        let mut old = std::mem::replace(&mut self.network, fresh);
        (self.subscribed_to, self.local_settled) = (None, None);
        self.network.desired.adopt_installed(&mut old.desired);
        self.network.rebound.extend(old.rebound);
        self.engine = engine;
        if missing + excess > 0 {
            tracing::error!(target: "inc_engine", "recomputation found {missing} flows missing and {excess} in excess; corrected");
        }
        format!("{total} flows: {missing} were missing, {excess} were in excess")
    }

    /// Complains about something once, until it works or fails otherwise.
    fn complain(&mut self, about: &'static str, failure: Option<String>) {
        match failure {
            None => drop(self.complaints.remove(about)),
            Some(text) => {
                if self.complaints.get(about) != Some(&text) {
                    tracing::warn!("transaction on {about} failed: {text}");
                    self.complaints.insert(about, text);
                }
            }
        }
    }

    fn new_transaction(&mut self) -> u64 {
        let id = self.next_transaction;
        self.next_transaction += 1;
        id
    }

    /// Who we are in the southbound.
    fn own_chassis(&self) -> Option<Uuid> {
        let settings = self.local.settings.as_ref()?;
        self.south
            .chassis_named(&settings.system_id)
            .map(|chassis| chassis.uuid)
    }

    /// When the switch's session last wanted attention, and other facts for the status page.
    pub(crate) fn facts(&self) -> status::Facts<'_> {
        status::Facts {
            settings: self.local.settings.as_ref(),
            network: &self.network,
            south_connected: self.south_connected,
            south_synced: self.south_synced,
            switch_ready: self.switch.as_ref().is_some_and(Switch::is_ready),
            ready: self.ready,
            nb_cfg: self.south.nb_cfg(),
            nb_cfg_reached: self.nb_cfg_reached,
            packets_dropped: self.packets.dropped(),
        }
    }

    /// Whether nothing waits that time alone would bring. For tests.
    pub fn deadline(&self) -> Option<Instant> {
        self.switch.as_ref().and_then(Switch::deadline)
    }
}
