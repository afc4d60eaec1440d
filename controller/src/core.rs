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

mod claims;
mod complaints;
mod effects;
mod holds;
mod learned;
mod leave;
mod newborn;
mod packets;
mod ports;
mod report;
mod requests;
mod sought;
mod southbound;
mod transactions;
mod work;
mod writes;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::coverage::Counter;
use ovsdb::{RowChange, Uuid};
use replica::TransactError;

use crate::local::Local;
use crate::network::{Engine, NameId, Network, Own};
use crate::pinctrl::PinControl;
use crate::pinctrl::service::Change;
use crate::south::{Conditions, South};
use crate::switch::{Notice, Switch};

use claims::Claims;
use complaints::Complaints;
use learned::Learned;
use leave::{LOCAL, Leaving};
use sought::Sought;
use southbound::Contents;
use transactions::Transactions;
use writes::Writes;

pub use crate::logical::CONSIDERED;
pub use claims::HOLD;
pub use daemon::Now;
pub use effects::{Effects, Event, SouthConnection, SouthTarget, SwitchEvent};
pub use ports::PortProgress;
pub use work::VERSION;

/// How often all flows were computed, in OVN's words: those of the logical network, and the others.
pub static LFLOW_RUN: Counter = Counter::new("lflow_run");
/// See [`LFLOW_RUN`].
pub static PHYSICAL_RUN: Counter = Counter::new("physical_run");
/// How many packets the switch has sent up.
pub static PACKETS: Counter = Counter::new("pinctrl_total_pin_pkts");

/// The version of gateways, this chassis, and the settings of sessions.
type SessionsFor = (u64, Option<Uuid>, BTreeMap<Arc<str>, Arc<str>>);

/// What of the southbound is changed together, and refused together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Subject {
    /// This chassis' rows, on the way out.
    Farewell,
    /// This chassis' rows.
    Registration,
    /// How far this chassis is.
    Progress,
    /// What this chassis cannot do.
    Report,
    /// A row of `Port_Binding`.
    Port(Uuid),
    /// An answer of the southbound, whatever it is: what it told before is known then.
    Word,
}

/// The agent.
pub struct Core {
    local: Local,
    /// The local database was read once.
    local_known: bool,
    south: South,
    south_target: Option<SouthTarget>,
    /// The number of the replica that is listened to.
    south_epoch: u64,
    /// What a new replica has told, until it has told everything.
    contents: Option<Contents>,
    /// All ports with an interface here are asked for by name: the southbound may know them under other identities.
    seeks_all: bool,
    /// The name under which this chassis is in the southbound.
    registered_as: Option<Arc<str>>,
    south_synced: bool,
    /// The southbound was read once.
    south_known: bool,
    south_connected: bool,
    conditions: Conditions,
    /// The number of the last change of conditions, and of the last that the server has carried out. The replica counts
    /// in the same way, from 1.
    conditions_asked: u64,
    holds: holds::Holds,
    newborn: newborn::Newborn,
    /// The bits that the switch had when it was read, until the first change.
    bits_read: Option<crate::network::Bits>,
    conditions_in_effect: u64,
    network: Network,
    engine: Engine,
    switch: Option<Switch>,
    switch_path: Option<PathBuf>,
    /// The switch does not keep up with what is to be written.
    switch_is_full: bool,
    /// The switch has confirmed flows since it was connected.
    switch_has_flows: bool,
    /// So many confirmations are still to come that promise nothing, since the bundles before them were refused.
    barriers_void: usize,
    /// The number of the last barrier, over all connections.
    barriers: u64,
    /// The switch may be changed.
    ready: bool,
    zones_restored: bool,
    sought: Sought,
    ports: PortProgress,
    claims: Claims,
    /// Chassis-wide progress: the configuration that was reached, and the one that waits for a barrier.
    nb_cfg_reached: Option<i64>,
    /// When this controller first had something to write, in milliseconds since the epoch.
    started_ms: Option<i64>,
    nb_cfg_waiting: VecDeque<(i64, u64)>,
    report: report::Report,
    packets: PinControl,
    local_transactions: Transactions,
    south_writes: Writes<Subject>,
    next_transaction: u64,
    learned: Learned,
    paused: bool,
    /// The chassis is taking leave.
    leaving: Option<Leaving>,
    /// Of which other version's northd the log was told, while this chassis waits for its own.
    waits_for_northd: Option<String>,
    /// What the connections, the subscription and what follows from them were last made of. The local database's settings and
    /// names, the southbound's chassis, and what is local are each known by a version.
    connected_for: Option<u64>,
    own_told: Option<(u64, Option<Uuid>)>,
    subscribed_to: Option<work::Subscribed>,
    registered: Option<(u64, u64)>,
    /// For which problems and rows the southbound says what cannot be done here.
    reported: Option<(u64, u64)>,
    /// What BFD sessions were last asked for by: gateways, this chassis, and the settings.
    sessions_for: Option<SessionsFor>,
    /// The version of what is local of which the local database was told, and whether it was told of zones.
    local_told: (u64, bool),
    /// The same of queues and mirrors.
    traffic_told: u64,
    complaints: Complaints,
    /// When the next learned neighbour is to be heard of again.
    ripe_at: Option<Instant>,
}

impl Core {
    /// The chassis goes by this name, whatever the switch's database says.
    pub fn set_chassis_name(&mut self, name: String) {
        self.local.set_chassis_name(name);
    }

    /// An agent that knows nothing yet but its host's name.
    pub fn new(hostname: String) -> Self {
        let mut core = Core {
            local: Local::new(hostname),
            local_known: false,
            south: South::default(),
            south_target: None,
            south_epoch: 0,
            contents: None,
            seeks_all: false,
            registered_as: None,
            south_synced: false,
            south_known: false,
            south_connected: false,
            conditions: Conditions::default(),
            conditions_asked: 0,
            holds: holds::Holds::default(),
            newborn: newborn::Newborn::default(),
            bits_read: None,
            conditions_in_effect: 0,
            network: Network::default(),
            engine: Engine::new(),
            switch: None,
            switch_path: None,
            switch_is_full: false,
            switch_has_flows: false,
            barriers_void: 0,
            barriers: 0,
            ready: false,
            zones_restored: false,
            sought: Sought::default(),
            ports: PortProgress::default(),
            claims: Claims::default(),
            nb_cfg_reached: None,
            started_ms: None,
            nb_cfg_waiting: VecDeque::new(),
            report: report::Report::default(),
            packets: PinControl::default(),
            local_transactions: Transactions::default(),
            south_writes: Writes::default(),
            next_transaction: 1,
            learned: Learned::default(),
            paused: false,
            leaving: None,
            waits_for_northd: None,
            connected_for: None,
            own_told: None,
            subscribed_to: None,
            registered: None,
            reported: None,
            sessions_for: None,
            local_told: (0, false),
            traffic_told: 0,
            complaints: Complaints::default(),
            ripe_at: None,
        };
        core.engine.input(&mut core.network, |network, changes| {
            network.set_own(changes, Own::default());
        });
        LFLOW_RUN.add(1);
        PHYSICAL_RUN.add(1);
        core
    }

    /// Takes an event, and says what is to be done.
    pub fn step(&mut self, now: Now, event: Event) -> Effects {
        let mut effects = Effects::default();
        self.elapse(now);
        match event {
            Event::Local(event) => self.local_event(now, event),
            Event::South(epoch, event) => self.south_event(now, epoch, event),
            Event::Switch(event) => self.switch_event(now, event, &mut effects),
            Event::Request(request) => self.request(request, &mut effects),
            Event::Tick => self.tick(now, &mut effects),
        }
        self.hand_over(now.at);
        if let Some(mut leaving) = self.leaving.take() {
            self.leave(&mut leaving, &mut effects);
            self.leaving = Some(leaving);
        } else {
            // Packets come first, and whatever else is paused or waits.
            self.handle_packets(now);
            self.write_learned(&mut effects);
            if !self.paused {
                self.work(now, &mut effects);
            }
        }
        effects.to_switch = self
            .switch
            .as_mut()
            .map(Switch::take_output)
            .unwrap_or_default();
        self.ripe_at = self.network.ripe_at_ms().map(|at_ms| {
            let wait_ms = u64::try_from(at_ms.saturating_sub(now.unix_ms)).unwrap_or_default();
            now.at + Duration::from_millis(wait_ms)
        });
        effects.wake_at = self.deadline();
        effects.again |= self.serves_packets() && self.packets.has_work();
        effects
    }

    /// Forgets the times that have come: what waits for them is looked at in this step.
    fn elapse(&mut self, now: Now) {
        for chassis in self.newborn.elapse(now.at) {
            self.engine.input(&mut self.network, |network, changes| {
                network.end_silence(changes, &chassis);
            });
        }
        self.local_transactions.elapse(now.at);
        self.report.elapse(now.at);
        self.learned.elapse(now.at);
        for subject in self.south_writes.elapse(now.at) {
            self.ask_again(subject);
        }
        self.ports.untold.extend(self.claims.elapse(now.at));
        if self
            .network
            .ripe_at_ms()
            .is_some_and(|at| at <= now.unix_ms)
        {
            self.engine.input(&mut self.network, |network, changes| {
                network.ripen(changes, now.unix_ms);
            });
        }
    }

    fn local_event(&mut self, now: Now, event: replica::Event) {
        match event {
            replica::Event::Changes(changes) => self.local_changed(now, &changes),
            replica::Event::Synced => self.local_known = true,
            replica::Event::TransactReply { id, result } => {
                let failure = result.err();
                if self
                    .local_transactions
                    .answered(now.at, id, failure.is_some())
                {
                    self.local_answered(id, failure);
                }
            }
            _ => {}
        }
    }

    fn local_changed(&mut self, now: Now, changes: &[RowChange]) {
        let version = self.local.settings_version;
        let changed = self.local.apply(changes);
        for name in &changed.interfaces {
            self.interface_changed(name);
            self.sought.look_at(name, &self.local, &self.network);
        }
        let ports = &self.local.ports;
        let silent = changed.tunnels.iter().filter(|chassis| {
            let is_new = ports.newborn.contains(*chassis);
            self.newborn.look_at(now.at, chassis, is_new)
        });
        let silent: Vec<_> = silent.collect();
        self.engine.input(&mut self.network, |network, changes| {
            network.change_local_ports(changes, ports, &changed);
            for chassis in silent {
                network.silence_session(changes, chassis);
            }
        });
        if let Some(settings) = &self.local.settings {
            let range = settings.zones;
            self.engine.input(&mut self.network, |network, changes| {
                network.set_zone_range(changes, range);
            });
        }
        if !self.zones_restored
            && let Some(bridge) = self.local.bridge()
        {
            self.zones_restored = true;
            self.network.zones.restore(&bridge.external_ids);
        }
        self.tell_own();
        if self.local.settings_version != version {
            self.tell_services(now, [Change::Settings]);
        }
    }

    /// An interface changed, perhaps in what decides by which tunnel end its ports are reached: a guest and its containers.
    fn interface_changed(&mut self, name: &str) {
        // A port that other chassis are asked for has an interface here, or none any more.
        if let Some(port) = self.network.port_named_now(name) {
            self.ports.untold.insert(port.uuid);
        }
        if let Some(interfaces) = self.local.ports.interfaces.get(name)
            && self.network.interfaces.peek(NameId::of(name)) == Some(interfaces)
        {
            for interface in interfaces {
                self.ports.look_again(interface.uuid);
            }
        }
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
        let inputs = (self.local.settings_version, chassis);
        if self.own_told == Some(inputs) {
            return;
        }
        self.own_told = Some(inputs);
        let settings = settings.clone();
        self.engine.input(&mut self.network, |network, changes| {
            network.change_own(changes, |own| {
                own.chassis = chassis;
                own.name = settings.system_id.clone();
                own.hostname = settings.shown.hostname.clone();
                own.bridge = settings.bridge.clone();
                own.bridge_mappings = settings.bridge_mappings.clone();
                own.mac_mappings = settings.mac_mappings.clone();
                own.shares_flows = settings.shares_flows;
                own.keeps_apart = settings.keeps_apart;
                own.encap_default = settings.encap_default;
                own.transport_zones = settings.shown.transport_zones.clone();
                own.is_interconn = settings.is_interconn;
                own.encap_ips.clear();
                for (_, ip) in &settings.encaps {
                    if !own.encap_ips.contains(ip) {
                        own.encap_ips.push(*ip);
                    }
                }
            });
        });
    }

    fn switch_event(&mut self, now: Now, event: SwitchEvent, effects: &mut Effects) {
        match event {
            SwitchEvent::Full => self.switch_is_full = true,
            SwitchEvent::Drained => self.switch_is_full = false,
            SwitchEvent::Connected => {
                // The end of an earlier one was not told if another switch took its place.
                self.switch_lost("another connection");
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
        self.switch_is_full = false;
        self.switch_has_flows = false;
        self.barriers_void = 0;
        if let Some(switch) = self.switch.take() {
            tracing::info!(target: "ofctrl", "connection to the switch closed: {reason}");
            self.barriers = switch.sent();
            self.network.desired.forget_installed();
            self.ports.barriers_lost();
            self.nb_cfg_waiting.clear();
            // Who waits for an answer waits at another connection.
            self.packets.forget_waiting();
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::GeneveField(field) => {
                self.engine.input(&mut self.network, |network, changes| {
                    network.change_own(changes, |own| own.geneve_field = Some(field));
                });
            }
            Notice::Read(installed, unreadable) => {
                if let Some(first) = unreadable.first() {
                    let count = unreadable.len();
                    tracing::warn!(target: "ofctrl", "{count} flows of the bridge are not understood and left alone; the first: {first}");
                }
                if !self.ready {
                    let bits = crate::physical::bits_of_flows(&installed.flows);
                    self.bits_read = Some(bits.clone());
                    self.engine.input(&mut self.network, |network, changes| {
                        network.recall_bits(changes, bits);
                    });
                }
                self.network.desired.set_installed(installed);
            }
            Notice::Refused(key, error) => {
                let cookie = self.network.desired.refuse(&key).unwrap_or_default();
                let (table, priority, matches) = (key.table, key.priority, &key.matches);
                tracing::warn!(
                    target: "ofctrl",
                    "the switch refused a flow of row {cookie:08x}..: {error}: table={table},priority={priority},{matches}"
                );
            }
            Notice::GroupRefused(number, error) => {
                self.network.desired.refuse_group(number);
                tracing::warn!(target: "ofctrl", "the switch refused group {number}, and gets no flows that use it: {error}");
            }
            Notice::MeterRefused(number, error) => {
                self.network.desired.refuse_meter(number);
                tracing::warn!(target: "ofctrl", "the switch refused meter {number}, and gets no flows that use it; what goes to this controller goes by the flow's own meter, without any limit if that is refused, too: {error}");
            }
            Notice::BundleFailed { error, again } => {
                tracing::warn!(target: "ofctrl", "the switch refused a bundle: {error}; reading what it has");
                // The barrier behind the bundle comes back all the same, and promises nothing.
                self.ports.barriers_lost();
                self.barriers_void += 1;
                self.nb_cfg_waiting.clear();
                self.holds.gave_up |= again;
            }
            Notice::Confirmed(number) => self.confirmed(number),
            Notice::Packet(packet) => {
                PACKETS.add(1);
                self.packets.receive(*packet);
            }
            Notice::CannotFlush(error) => {
                tracing::warn!(
                    target: "ofctrl",
                    "the switch cannot forget single connections, so those of backends that are gone stay until they time out: {error}"
                );
            }
            Notice::Error(error) => {
                tracing::warn!(target: "ofctrl", "error from the switch: {error}");
            }
        }
    }

    fn confirmed(&mut self, number: u64) {
        match self.barriers_void.checked_sub(1) {
            Some(left) => self.barriers_void = left,
            None => self.switch_has_flows |= self.ready,
        }
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

    /// A transaction on the local database is done, or failed.
    fn local_answered(&mut self, id: u64, failure: Option<TransactError>) {
        let Some(error) = failure else {
            return self.complaints.forget(LOCAL);
        };
        if let Some(leaving) = &mut self.leaving {
            leaving.failed(LOCAL, id, &error);
        }
        self.complaints.database(LOCAL, &error);
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

    /// When time alone brings something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let switch = self.switch.as_ref().and_then(Switch::deadline);
        let packets = self.serves_packets().then(|| self.packets.deadline());
        let own = [
            packets.flatten(),
            self.claims.deadline(),
            self.holds.deadline(),
            self.local_transactions.deadline(),
            self.south_writes.deadline(),
            self.learned.deadline(),
            self.newborn.deadline(),
            self.report.deadline(),
            self.ripe_at,
        ];
        own.into_iter().chain([switch]).flatten().min()
    }
}
