//! What the controller knows, as the incremental engine sees it: rows of the southbound, facts of the local switch, and what
//! follows from both.
//!
//! Inputs and conclusions are stores whose reads are tracked. Three layers of units work on them:
//!
//! | layer | units | say | and then |
//! | --- | --- | --- | --- |
//! | 0 | [`Unit::Binding`] | which logical ports have a port of this switch | [`settle`](Network::settle): which datapaths are local, which zones are needed |
//! | 1 | [`Unit::Uses`] | which sets and groups packets are compared with | bits of those are given out |
//! | 2 | all others | flows | the flows are in [`Desired`] |
//!
//! A unit of the later layers reads whether its datapath is local, so that a datapath's flows come and go with its first and last port.

mod balancers;
mod binding;
mod fact;
mod gateways;
mod input;
mod locality;
mod members;
mod migration;
mod paths;
mod recall;
mod ripening;
mod sharing;
mod templates;
mod traffic;
mod tunnels;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};

use addr::{Ages, Mac};
use incr::{Index, Store};
use ovsdb::{Row, Uuid};
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{
    Fdb, HaChassisGroup, LogicalFlow, MacBinding, Meter, MeterBand, MulticastGroup, PortBinding,
    StaticMacBinding,
};
use smallvec::SmallVec;

use crate::desired::Desired;
use crate::flow::MeterSpec;
use crate::settings::{DEFAULT_BRIDGE, TunnelKind};

pub use balancers::{Balancer, Endpoint, Flush, Vip, endpoint};
pub use binding::{Attachment, Binding, PortKind, patch_name};
pub(crate) use binding::{is_meant, may_have};
pub use fact::{Fact, Key};
pub use input::{LocalPorts, PortChanges};
pub(crate) use locality::translation_zones;
pub use members::{BitsByNames, Membership, Use};
pub(crate) use members::{Named, NamedBit, integers, named_bits};
pub use migration::{ACTIVATED, has_spoken, is_additional};
pub(crate) use sharing::SharedBit;
pub use sharing::{Bits, BitsByKeys};
pub(crate) use templates::expand;
pub(crate) use tunnels::is_reached;
pub use tunnels::{EncapEnd, RemoteChassis, Way};
pub use zones::{FIRST_ZONE, LAST_ZONE, ZoneChange, Zones};

use members::Members;
use paths::Paths;
use sharing::Sharing;
use traffic::Traffic;

/// What a running unit reads.
pub type Reads = incr::Reads<Cell>;
/// What has changed.
pub type Changes = incr::Changes<Cell, Unit>;
/// The engine.
pub type Engine = incr::Engine<Network>;

/// A name as a number: the engine's cells must be small. The hash has a key of its own in every process, so that nobody can
/// craft two names with one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(u64);

impl NameId {
    /// The number of a name.
    pub fn of(name: &str) -> NameId {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        NameId(KEY.get_or_init(RandomState::new).hash_one(name))
    }

    /// The number of an address.
    pub fn of_address(ip: IpAddr) -> NameId {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        NameId(KEY.get_or_init(RandomState::new).hash_one(ip))
    }
}

/// Something that a unit can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// [`Network::own`]
    Own,
    /// A row of `Chassis`.
    Chassis(Uuid),
    /// A row of `Encap`.
    Encap(Uuid),
    /// A row of `HA_Chassis_Group`.
    HaGroup(Uuid),
    /// A row of `HA_Chassis` or `Gateway_Chassis`.
    Rank(Uuid),
    /// Whether the BFD session with the chassis of this name is up.
    Session(NameId),
    /// Whether any BFD session is up.
    Connected,
    /// Whether this chassis has just lost a `chassisredirect` port to another one.
    HandedOver(Uuid),
    /// From which chassis this one has just taken a `chassisredirect` port.
    TakenOver(Uuid),
    /// Whether the guest of a port that is here in addition has spoken.
    Activated(Uuid),
    /// Which chassis has taken a `chassisredirect` port and lives, although no session with it is up.
    Conceded(Uuid),
    /// Whether this chassis was cut off, and may not know what became of its claims.
    CutOff,
    /// The value of the template variable of this name.
    Template(NameId),
    /// A row of `Datapath_Binding`.
    Datapath(Uuid),
    /// A row of `Port_Binding`.
    Port(Uuid),
    /// Which row has this `logical_port`.
    PortNamed(NameId),
    /// Which port of a datapath has this key.
    PortKeyed(Uuid, u32),
    /// The `localnet` ports of a datapath.
    LocalnetsOf(Uuid),
    /// The `patch` ports of a datapath.
    PatchesOf(Uuid),
    /// A row of `Multicast_Group`.
    Group(Uuid),
    /// Which group of a datapath has this name.
    GroupNamed(Uuid, NameId),
    /// A row of `Logical_Flow`.
    Flow(Uuid),
    /// The address set of this name.
    AddressSet(NameId),
    /// The port group of this name.
    PortGroup(NameId),
    /// Whether there is a port group of this name.
    PortGroupThere(NameId),
    /// Whether the port group of this name has the port of this name.
    Member(NameId, NameId),
    /// The bit of a set or group.
    MemberBit(Membership, NameId),
    /// The bits of all port groups.
    GroupBits,
    /// Whether any port group has a bit.
    HasGroupBits,
    /// What a stage (of egress: `true`) looks up on the way in.
    StageLookups(bool, u8),
    /// The ports of a datapath that packets here come from or go to.
    NearPorts(Uuid),
    /// A row of `FDB`.
    Fdb(Uuid),
    /// A row of `MAC_Binding`.
    MacBinding(Uuid),
    /// A row of `Static_MAC_Binding`.
    StaticMacBinding(Uuid),
    /// Whether a learned neighbour is to be heard of again.
    Ripe(Uuid),
    /// Which datapath has this key.
    DatapathKeyed(u32),
    /// The meter of this name.
    Meter(NameId),
    /// A row of `Meter_Band`.
    MeterBand(Uuid),
    /// The codes of DHCP options, of both versions.
    DhcpOptions,
    /// The interface with this `iface-id`.
    Interface(NameId),
    /// The tunnels to the chassis of this name.
    Tunnels(NameId),
    /// The tunnel that is this port of the switch.
    TunnelPort(u32),
    /// The port number of a patch port with this name.
    Patch(NameId),
    /// Where a logical port is attached.
    Binding(Uuid),
    /// Whether a datapath is local.
    Local(Uuid),
    /// Which members of a datapath group are local.
    LocalMembers(Uuid),
    /// Which bit the switches, or the routers, of a datapath group have.
    GroupBit(Uuid, bool),
    /// The bits of a datapath.
    BitsOf(Uuid),
    /// The connection tracking zone of this name.
    Zone(NameId),
    /// In which registers northd's flows of load balancers look.
    NewRegisters,
    /// [`Network::commits_plainly`]
    CommitsPlainly,
    /// Whether guests of other chassis are reached by tunnels where a physical network leads to them, too.
    AlwaysTunnel,
    /// A row of `Load_Balancer`.
    Balancer(Uuid),
    /// A virtual address of a load balancer, or one of its backends.
    Vip(NameId),
    /// The ports that have an address.
    PortsWith(NameId),
}

/// Something that concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Where a logical port is attached.
    Binding(Uuid),
    /// Flows between a logical port and the switch's ports.
    Port(Uuid),
    /// Flows of a logical port's port security.
    PortSecurity(Uuid),
    /// Flows of a multicast group.
    Group(Uuid),
    /// Which sets and groups a logical flow compares packets with.
    Uses(Uuid),
    /// Flows of a logical flow.
    Flow(Uuid),
    /// The flow of a stage that asks for address sets, for packets of datapaths that do not.
    Stage(bool, u8),
    /// Flows that tell which port groups have a port, where a flow has written it.
    PortBits,
    /// The flow of a learned Ethernet address.
    Fdb(Uuid),
    /// The flows of a learned neighbour.
    MacBinding(Uuid),
    /// The flows of a declared neighbour.
    StaticMacBinding(Uuid),
    /// Flows of what comes in by a tunnel.
    Tunnel(u32),
    /// Flows that know a chassis by its MACs.
    ChassisMacs(Uuid),
    /// Flows that are always there.
    Constant,
    /// Flows for connections that come back from a load balancer to their client.
    Vip(NameId),
}

/// What the controller knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The `Chassis` row, once it is there.
    pub chassis: Option<Uuid>,
    /// The chassis' name.
    pub name: Arc<str>,
    /// The host's name, by which `requested-chassis` may also name the chassis.
    pub hostname: Arc<str>,
    /// The number of the `tun_metadata` field of OVN's Geneve option; `None` until the switch has said it.
    pub geneve_field: Option<u8>,
    /// The integration bridge's name.
    pub bridge: Arc<str>,
    /// The bridge of each physical network.
    pub bridge_mappings: BTreeMap<Arc<str>, Arc<str>>,
    /// The MAC of this chassis in each physical network.
    pub mac_mappings: BTreeMap<Arc<str>, Mac>,
    /// The addresses of this chassis' ends of tunnels, in the order of the settings.
    pub encap_ips: Vec<IpAddr>,
    /// That of them by which packets leave where nothing else is said; the first, if that is not said either.
    pub encap_default: Option<IpAddr>,
    /// Its transport zones; there are tunnels within them only.
    pub transport_zones: Vec<Arc<str>>,
    /// It has tunnels to other availability zones.
    pub is_interconn: bool,
    /// Flows of datapath groups are installed once for all datapaths where they can be.
    pub shares_flows: bool,
    /// Connections that are not translated are kept apart from those that are ([`Settings::keeps_apart`](crate::settings::Settings)).
    pub keeps_apart: bool,
}

impl Default for Own {
    fn default() -> Self {
        Own {
            chassis: None,
            name: Arc::default(),
            hostname: Arc::default(),
            geneve_field: None,
            bridge: DEFAULT_BRIDGE.into(),
            bridge_mappings: BTreeMap::new(),
            mac_mappings: BTreeMap::new(),
            encap_ips: Vec::new(),
            encap_default: None,
            transport_zones: Vec::new(),
            is_interconn: false,
            shares_flows: false,
            keeps_apart: true,
        }
    }
}

/// A datapath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datapath {
    /// Its key, on every tunnel.
    pub key: u32,
    /// A router, not a switch.
    pub is_router: bool,
    /// The name that its connection tracking zones are derived from.
    pub name: Arc<str>,
    /// The zone that a router asks for, for its translations of sources.
    pub snat_zone: Option<u16>,
    /// A router's addresses are not announced.
    pub is_quiet: bool,
    /// How long a router remembers neighbours, if not for ever.
    pub ages: Option<Arc<Ages>>,
    /// How many seconds a switch remembers Ethernet addresses, if not for ever.
    pub fdb_age_s: Option<u32>,
}

/// A tunnel to another chassis, as a port of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its number on the bridge.
    pub ofport: u32,
    /// Its kind.
    pub kind: TunnelKind,
    /// The address at the other end; `None` if a flow says it.
    pub remote: Option<IpAddr>,
    /// The address at this end; `None` if a flow or the route says it.
    pub local: Option<IpAddr>,
}

/// The interfaces of the integration bridge that name a logical port, in the order of their numbers: one, or those of an earlier
/// port of the name, too.
pub type LocalInterfaces = SmallVec<[LocalInterface; 1]>;

/// An interface of the integration bridge that names a logical port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInterface {
    /// Its row.
    pub uuid: Uuid,
    /// Its number on the bridge.
    pub ofport: u32,
    /// `iface-id-ver`: which of the ports that have had the name it is for, if it says so.
    pub version: Option<Arc<str>>,
}

/// Codes and types of DHCP options by their names in logical flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DhcpCodes {
    /// `DHCP_Options`: name to code and type.
    pub v4: BTreeMap<Arc<str>, (u8, Arc<str>)>,
    /// `DHCPv6_Options`.
    pub v6: BTreeMap<Arc<str>, (u8, Arc<str>)>,
}

/// All of it.
#[derive(Debug)]
pub struct Network {
    // Inputs.
    pub(crate) own: Store<Cell, (), Own>,
    pub(crate) chassis: Store<Cell, Uuid, RemoteChassis>,
    pub(crate) encaps: Store<Cell, Uuid, EncapEnd>,
    /// The members of groups of chassis.
    pub(crate) ha_groups: Store<Cell, Uuid, Arc<HaChassisGroup>>,
    /// Chassis and priority of each row of `HA_Chassis` and `Gateway_Chassis`.
    pub(crate) ranks: Store<Cell, Uuid, (Uuid, i64)>,
    /// Counts the changes of groups, their members and chassis.
    pub(crate) gateways_version: u64,
    /// Whether the BFD session with a chassis is up, where there is one.
    pub(crate) sessions: Store<Cell, NameId, bool>,
    /// Any of them is.
    pub(crate) connected: Store<Cell, (), ()>,
    /// The `chassisredirect` ports that other chassis have just claimed, and this one still serves.
    pub(crate) handed_over: Store<Cell, Uuid, ()>,
    /// Those of them of which nobody was told yet.
    pub(crate) just_handed_over: Vec<Uuid>,
    /// The `chassisredirect` ports that this one has just claimed, and the chassis that still serve them.
    pub(crate) taken_over: Store<Cell, Uuid, Uuid>,
    pub(crate) just_taken_over: Vec<Uuid>,
    /// The ports that are here in addition to their main chassis, and whose guests have spoken here.
    pub(crate) activated: Store<Cell, Uuid, ()>,
    /// The `chassisredirect` ports that better members have taken from this one, and live, whatever sessions say.
    pub(crate) conceded: Store<Cell, Uuid, Uuid>,
    pub(crate) just_conceded: Vec<Uuid>,
    pub(crate) just_reconciled: Vec<Uuid>,
    /// Present from when the last session went down until the southbound has answered afterwards.
    pub(crate) cut_off: Store<Cell, (), ()>,
    /// Names and values of this chassis' template variables.
    pub(crate) templates: Store<Cell, NameId, (Arc<str>, Arc<str>)>,
    template_rows: FxHashMap<Uuid, Vec<NameId>>,
    pub(crate) datapaths: Store<Cell, Uuid, Datapath>,
    pub(crate) datapath_keyed: Store<Cell, u32, Uuid>,
    pub(crate) ports: Store<Cell, Uuid, Arc<PortBinding>>,
    pub(crate) port_named: Store<Cell, NameId, Uuid>,
    pub(crate) port_keyed: Store<Cell, (Uuid, u32), Uuid>,
    pub(crate) localnets_of: Index<Cell, Uuid, Uuid>,
    /// The patch ports of each datapath.
    pub(crate) patches_of: Index<Cell, Uuid, Uuid>,
    pub(crate) groups: Store<Cell, Uuid, Arc<MulticastGroup>>,
    pub(crate) group_named: Store<Cell, (Uuid, NameId), Uuid>,
    /// As the replica has them: there are many, and each is looked at when it is translated and not again.
    pub(crate) flows: Store<Cell, Uuid, Arc<Row>>,
    pub(crate) address_sets: Store<Cell, NameId, Named>,
    pub(crate) port_groups: Store<Cell, NameId, Named>,
    pub(crate) fdb: Store<Cell, Uuid, Arc<Fdb>>,
    /// The ports of L2 gateways, of this chassis and others.
    pub(crate) l2_gateways: BTreeSet<Uuid>,
    pub(crate) mac_bindings: Store<Cell, Uuid, Arc<MacBinding>>,
    pub(crate) static_mac_bindings: Store<Cell, Uuid, Arc<StaticMacBinding>>,
    /// The rows of `MAC_Binding` whose neighbours are to be heard of again.
    pub(crate) ripe: Store<Cell, Uuid, ()>,
    ripening: ripening::Ripening,
    pub(crate) meters: Store<Cell, NameId, Arc<Meter>>,
    pub(crate) meter_bands: Store<Cell, Uuid, MeterBand>,
    pub(crate) dhcp: Store<Cell, (), Arc<DhcpCodes>>,
    pub(crate) interfaces: Store<Cell, NameId, LocalInterfaces>,
    pub(crate) tunnels: Store<Cell, NameId, SmallVec<[Tunnel; 1]>>,
    pub(crate) tunnel_ports: Store<Cell, u32, Tunnel>,
    pub(crate) patches: Store<Cell, NameId, u32>,
    /// Northd's flows of load balancers use the registers that they use since OVN 25.09, and no others.
    pub(crate) new_registers: Store<Cell, (), ()>,
    /// There while connections are remembered without being kept apart from translated ones ([`Own::keeps_apart`]).
    pub(crate) commits_plainly: Store<Cell, (), ()>,
    /// Guests of other chassis are reached by tunnels, also where a physical network leads to them.
    pub(crate) always_tunnel: Store<Cell, (), ()>,
    pub(crate) balancers: Store<Cell, Uuid, Balancer>,
    pub(crate) vips: Store<Cell, NameId, Vip>,
    balancers_known: FxHashMap<Uuid, balancers::Known>,
    /// On how many grounds load balancers act on a datapath or a group of datapaths.
    balanced: FxHashMap<Uuid, u32>,
    /// Connections of backends that are gone, to be forgotten.
    flushes: balancers::Flushes,
    pub(crate) ports_with: Index<Cell, NameId, Uuid>,
    /// Rows of `DHCP_Options` and `DHCPv6_Options`, from which `dhcp` is made: name, code, type, IPv6.
    dhcp_rows: FxHashMap<Uuid, (Arc<str>, u8, Arc<str>, bool)>,
    /// Members of each datapath group, and the groups of each datapath.
    group_members: FxHashMap<Uuid, Arc<[Uuid]>>,
    groups_of: FxHashMap<Uuid, FxHashSet<Uuid>>,
    paths: Paths,
    // Conclusions.
    pub(crate) bindings: Store<Cell, Uuid, Binding>,
    pub(crate) local: Store<Cell, Uuid, ()>,
    pub(crate) local_members: Store<Cell, Uuid, Arc<[Uuid]>>,
    /// The bit that the local switches (or routers: `true`) of a datapath group share, and who they are.
    pub(crate) group_bit: Store<Cell, (Uuid, bool), SharedBit>,
    /// The bits of `metadata` that packets of a datapath carry beside its key; none is not there.
    pub(crate) bits_of: Store<Cell, Uuid, u64>,
    sharing: Sharing,
    /// Who has the bits of address sets and port groups, with the names of these.
    pub(crate) member_bits: Store<Cell, (Membership, NameId), NamedBit>,
    /// Those of port groups, ascending; not there while there are none.
    pub(crate) group_bits: Store<Cell, (), Arc<[NamedBit]>>,
    /// There are some.
    pub(crate) has_group_bits: Store<Cell, (), ()>,
    /// Which lookups are made on the way into a stage: 1 for the source, 2 for the destination.
    pub(crate) stage_lookups: Store<Cell, (bool, u8), u8>,
    pub(crate) members: Members,
    /// By datapath: attached ports, and those that are no guests.
    pub(crate) near_ports: Index<Cell, Uuid, Uuid>,
    near_in: FxHashMap<Uuid, Uuid>,
    pub(crate) zone_of: Store<Cell, NameId, u16>,
    /// How many ports of each datapath are attached and make it local.
    seeds: FxHashMap<Uuid, u32>,
    /// Datapaths with a first attached port since locality was settled.
    new_seeds: Vec<Uuid>,
    /// Counts the changes of what is local, and of ports that may lead there or to a bridge.
    pub(crate) topology_version: u64,
    /// The names by which attached ports and local datapaths got their zones.
    zone_names: FxHashMap<Uuid, Arc<str>>,
    pub(crate) traffic: Traffic,
    datapath_zones: FxHashMap<Uuid, (SmallVec<[String; 2]>, Option<u16>)>,
    /// Ports to routers of which rules are asked (`enable_router_port_acl`), by datapath.
    ruled: FxHashMap<Uuid, BTreeSet<Arc<str>>>,
    /// The zones.
    pub zones: Zones,
    /// Logical ports whose attachment changed since this was last taken.
    pub(crate) rebound: FxHashSet<Uuid>,
    /// The flows.
    pub desired: Desired,
    /// What is wrong with logical flows and ports, by row, for the log.
    pub(crate) problems: FxHashMap<Uuid, String>,
    /// Counts their changes.
    pub(crate) problems_version: u64,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            own: Store::new(|()| Cell::Own),
            chassis: Store::new(Cell::Chassis),
            encaps: Store::new(Cell::Encap),
            ha_groups: Store::new(Cell::HaGroup),
            ranks: Store::new(Cell::Rank),
            gateways_version: 0,
            sessions: Store::new(Cell::Session),
            connected: Store::new(|()| Cell::Connected),
            handed_over: Store::new(Cell::HandedOver),
            just_handed_over: Vec::new(),
            taken_over: Store::new(Cell::TakenOver),
            just_taken_over: Vec::new(),
            activated: Store::new(Cell::Activated),
            conceded: Store::new(Cell::Conceded),
            just_conceded: Vec::new(),
            just_reconciled: Vec::new(),
            cut_off: Store::new(|()| Cell::CutOff),
            templates: Store::new(Cell::Template),
            template_rows: FxHashMap::default(),
            datapaths: Store::new(Cell::Datapath),
            datapath_keyed: Store::new(Cell::DatapathKeyed),
            ports: Store::new(Cell::Port),
            port_named: Store::new(Cell::PortNamed),
            port_keyed: Store::new(|(datapath, key)| Cell::PortKeyed(datapath, key)),
            localnets_of: Index::new(Cell::LocalnetsOf),
            patches_of: Index::new(Cell::PatchesOf),
            groups: Store::new(Cell::Group),
            group_named: Store::new(|(datapath, name)| Cell::GroupNamed(datapath, name)),
            flows: Store::new(Cell::Flow),
            address_sets: Store::new(Cell::AddressSet),
            port_groups: Store::new(Cell::PortGroup),
            fdb: Store::new(Cell::Fdb),
            l2_gateways: BTreeSet::new(),
            mac_bindings: Store::new(Cell::MacBinding),
            static_mac_bindings: Store::new(Cell::StaticMacBinding),
            ripe: Store::new(Cell::Ripe),
            ripening: ripening::Ripening::default(),
            meters: Store::new(Cell::Meter),
            meter_bands: Store::new(Cell::MeterBand),
            dhcp: Store::new(|()| Cell::DhcpOptions),
            interfaces: Store::new(Cell::Interface),
            tunnels: Store::new(Cell::Tunnels),
            tunnel_ports: Store::new(Cell::TunnelPort),
            patches: Store::new(Cell::Patch),
            new_registers: Store::new(|()| Cell::NewRegisters),
            commits_plainly: Store::new(|()| Cell::CommitsPlainly),
            always_tunnel: Store::new(|()| Cell::AlwaysTunnel),
            balancers: Store::new(Cell::Balancer),
            vips: Store::new(Cell::Vip),
            balancers_known: FxHashMap::default(),
            balanced: FxHashMap::default(),
            flushes: balancers::Flushes::default(),
            ports_with: Index::new(Cell::PortsWith),
            dhcp_rows: FxHashMap::default(),
            group_members: FxHashMap::default(),
            groups_of: FxHashMap::default(),
            paths: Paths::default(),
            bindings: Store::new(Cell::Binding),
            local: Store::new(Cell::Local),
            local_members: Store::new(Cell::LocalMembers),
            group_bit: Store::new(|(group, is_router)| Cell::GroupBit(group, is_router)),
            bits_of: Store::new(Cell::BitsOf),
            sharing: Sharing::default(),
            member_bits: Store::new(|(of, name)| Cell::MemberBit(of, name)),
            group_bits: Store::new(|()| Cell::GroupBits),
            has_group_bits: Store::new(|()| Cell::HasGroupBits),
            stage_lookups: Store::new(|(egress, table)| Cell::StageLookups(egress, table)),
            members: Members::default(),
            near_ports: Index::new(Cell::NearPorts),
            near_in: FxHashMap::default(),
            zone_of: Store::new(Cell::Zone),
            seeds: FxHashMap::default(),
            new_seeds: Vec::new(),
            topology_version: 0,
            zones: Zones::default(),
            rebound: FxHashSet::default(),
            zone_names: FxHashMap::default(),
            traffic: Traffic::default(),
            datapath_zones: FxHashMap::default(),
            ruled: FxHashMap::default(),
            desired: Desired::default(),
            problems: FxHashMap::default(),
            problems_version: 0,
        }
    }
}

impl Network {
    /// What is wrong with logical flows, by what they say of the northbound rows that they are for; of each one text.
    pub fn problems_by_hint(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let column = LogicalFlow::COLUMN.external_ids.index;
        let mut found: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for (uuid, text) in &self.problems {
            let flow = self.flows.peek(*uuid);
            let Some(hint) = flow.and_then(|row| row.get(column).get_str("stage-hint")) else {
                continue;
            };
            let text: Arc<str> = text.as_str().into();
            // Whatever the order, the same is told.
            match found.get_mut(hint) {
                Some(known) => *known = text.min(known.clone()),
                None => drop(found.insert(hint.into(), text)),
            }
        }
        found
    }

    /// The port with this name, for code that is no unit.
    pub(crate) fn port_named_now(&self, name: &str) -> Option<&Arc<PortBinding>> {
        self.port_by_name(&Reads::untracked(), name)
    }

    /// The port with this name.
    pub(crate) fn port_by_name(&self, reads: &Reads, name: &str) -> Option<&Arc<PortBinding>> {
        let uuid = *self.port_named.get(reads, NameId::of(name))?;
        self.ports
            .get(reads, uuid)
            .filter(|port| &*port.logical_port == name)
    }

    /// The meter with this name. All bands drop, so the lowest decides.
    pub(crate) fn meter(&self, reads: &Reads, name: &str) -> Option<MeterSpec> {
        let meter = self.meters.get(reads, NameId::of(name))?;
        let bands = meter.bands.iter();
        let band = bands
            .filter_map(|uuid| self.meter_bands.get(reads, *uuid))
            .min_by_key(|band| (band.rate, band.burst_size))?;
        let limit = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Some(MeterSpec {
            name: meter.name.clone(),
            is_asked_for: true,
            packets: &*meter.unit == "pktps",
            rate: limit(band.rate),
            burst: limit(band.burst_size),
        })
    }

    /// What this chassis is, for code that is no unit.
    pub(crate) fn own_now(&self) -> Own {
        self.own.peek(()).cloned().unwrap_or_default()
    }

    /// What this chassis is.
    pub(crate) fn own(&self, reads: &Reads) -> &Own {
        static NOBODY: LazyLock<Own> = LazyLock::new(Own::default);
        self.own.get(reads, ()).unwrap_or(&NOBODY)
    }

    /// Where a localnet port of the datapath is attached here, if there is one.
    pub(crate) fn attached_localnet(
        &self,
        reads: &Reads,
        datapath: Uuid,
    ) -> Option<&Arc<PortBinding>> {
        self.attached_localnets(reads, datapath).next()
    }

    /// All of them.
    pub(crate) fn attached_localnets<'a>(
        &'a self,
        reads: &Reads,
        datapath: Uuid,
    ) -> impl Iterator<Item = &'a Arc<PortBinding>> {
        let localnets = self.localnets_of.get(reads, datapath).iter();
        let attached = localnets.filter(|uuid| self.bindings.get(reads, **uuid).is_some());
        attached.filter_map(|uuid| self.ports.get(reads, *uuid))
    }
}

#[cfg(test)]
mod tests;
