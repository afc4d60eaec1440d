//! What names in a logical flow mean, in one datapath, here.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use lflow::action::Resources;
use lflow::expr::{Lookup, Term};
use lflow::{Base, Constant, Field, Int, Symbol};
use openflow::message::Group;
use ovsdb::Uuid;
use packet::dhcp4::option::OptionType;
use packet::dhcp6;
use sb_db::tables::PortGroup;

use crate::flow::{GroupSpec, MeterSpec, Need, Resource};
use crate::layout;
use crate::network::{Membership, NameId, Network, Reads, integers};

/// Where names have a meaning.
enum Scope {
    /// In a datapath, with its key.
    One(Uuid, u32),
    /// In several datapaths at once. What means something else in each has no meaning.
    Several(Arc<[Uuid]>),
}

/// The names of a datapath, or of several. What is asked is noted as read.
pub(crate) struct Names<'a> {
    network: &'a Network,
    reads: &'a Reads,
    scope: Scope,
    /// The field in which packets here have only ports that are here: that of the pipeline's own side.
    near_side: Option<Symbol>,
    /// The lookups of the stage.
    lookups: u8,
    /// Something was asked that only one datapath can answer.
    is_specific: Cell<bool>,
    /// Bits are wanted that tell of addresses.
    asks_for_addresses: Cell<bool>,
    /// Whose actions are encoded.
    flow: Uuid,
    /// For whom their groups choose.
    chooser: u64,
    /// What the actions' numbers stand for.
    needs: RefCell<Vec<Need>>,
    /// The first of these numbers.
    first_number: u32,
}

impl<'a> Names<'a> {
    /// The names of the datapath with this row and key.
    pub fn new(network: &'a Network, reads: &'a Reads, datapath: Uuid, key: u32) -> Self {
        Names::of(network, reads, Scope::One(datapath, key))
    }

    /// The names that mean the same in all of these datapaths.
    pub fn common(network: &'a Network, reads: &'a Reads, datapaths: Arc<[Uuid]>) -> Self {
        Names::of(network, reads, Scope::Several(datapaths))
    }

    /// The same for a match of the pipeline of whose side this field is (`inport` for ingress, `outport` for egress), in a stage
    /// that makes these lookups (1: source, 2: destination).
    #[must_use]
    pub fn on_side(self, near_side: Symbol, lookups: u8) -> Self {
        Names {
            near_side: Some(near_side),
            lookups,
            ..self
        }
    }

    /// Whether something was asked that has another answer in each datapath: then all answers are worth nothing.
    pub fn is_specific(&self) -> bool {
        self.is_specific.get()
    }

    /// Whether packets need bits that tell of their addresses.
    pub fn asks_for_addresses(&self) -> bool {
        self.asks_for_addresses.get()
    }

    /// Whether packets of the ingress pipeline have bits that tell of their input port.
    pub fn has_port_bits(&self) -> bool {
        self.network.has_group_bits.get(self.reads, ()).is_some()
    }

    fn of(network: &'a Network, reads: &'a Reads, scope: Scope) -> Self {
        Names {
            network,
            reads,
            scope,
            near_side: None,
            lookups: 0,
            is_specific: Cell::new(false),
            asks_for_addresses: Cell::new(false),
            flow: Uuid::default(),
            chooser: 0,
            needs: RefCell::default(),
            first_number: 1,
        }
    }

    /// The same for the actions of a logical flow, whose groups choose for `chooser`, and whose numbers for groups and meters begin
    /// with `first_number`.
    #[must_use]
    pub fn for_actions_of(self, flow: Uuid, chooser: u64, first_number: u32) -> Self {
        Names {
            flow,
            chooser,
            first_number,
            ..self
        }
    }

    /// Whether connections that are not translated are kept apart from those that are.
    pub fn keeps_apart(&self) -> bool {
        let plainly = &self.network.commits_plainly;
        plainly.get(self.reads, ()).is_none()
    }

    /// The number of a meter.
    pub fn meter(&self, meter: MeterSpec) -> u32 {
        self.need(Resource::Meter(meter))
    }

    /// What the numbers stand for that were given out.
    pub fn into_needs(self) -> Vec<Need> {
        self.needs.into_inner()
    }

    /// A number for something, for as long as the actions of one flow are encoded.
    fn need(&self, resource: Resource) -> u32 {
        let mut needs = self.needs.borrow_mut();
        if let Some(known) = needs.iter().find(|need| need.resource == resource) {
            return known.placeholder;
        }
        let placeholder = (self.first_number..)
            .nth(needs.len())
            .expect("a flow needs fewer things than there are numbers");
        needs.push(Need {
            placeholder,
            resource,
            is_spare: false,
        });
        placeholder
    }

    /// The key of a port or multicast group.
    fn key_of(&self, name: &str) -> Option<u32> {
        let port = self.network.port_by_name(self.reads, name);
        match &self.scope {
            Scope::One(datapath, _) => port
                .filter(|port| port.datapath == *datapath)
                .and_then(|port| u32::try_from(port.tunnel_key).ok())
                .or_else(|| self.group_key(*datapath, name)),
            Scope::Several(datapaths) => {
                // A port is one datapath's; a group mostly has the same key in all.
                let mut keys = datapaths.iter().map(|uuid| self.group_key(*uuid, name));
                let first = keys.next().flatten();
                if port.is_some() || keys.any(|key| key != first) {
                    self.is_specific.set(true);
                    return None;
                }
                first
            }
        }
    }

    /// The key of a datapath's multicast group.
    fn group_key(&self, datapath: Uuid, name: &str) -> Option<u32> {
        let named = &self.network.group_named;
        let uuid = *named.get(self.reads, (datapath, NameId::of(name)))?;
        let group = self.network.groups.get(self.reads, uuid)?;
        (&*group.name == name)
            .then(|| u32::try_from(group.tunnel_key).ok())
            .flatten()
    }
}

impl Lookup for Names<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        self.key_of(name)
    }

    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        let sets = &self.network.address_sets;
        let set = sets.get(self.reads, NameId::of(name))?;
        (&*set.name == name).then(|| integers(&set.row))
    }

    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        let part = self.part(name)?;
        let group = self
            .network
            .port_groups
            .get(self.reads, NameId::of(&part))?;
        let ports = PortGroup::COLUMN.ports.index;
        let ports = group.row.get(ports).atoms().iter();
        let keys = ports.filter_map(|port| self.key_of(port.as_str()?));
        Some(keys.collect())
    }

    /// A guest elsewhere sends nothing through the ingress pipeline here, and gets nothing through the egress pipeline: of a group
    /// of thousands, the few that are here have flows, and the others are not looked at.
    fn port_group_in(&self, name: &str, field: Symbol) -> Option<Arc<[u32]>> {
        let Scope::One(datapath, _) = self.scope else {
            self.is_specific.set(true);
            return Some(Arc::default());
        };
        if self.near_side != Some(field) {
            return self.port_group(name);
        }
        let part = self.part(name)?;
        let near = self.network.near_ports.get(self.reads, datapath).iter();
        let near = near.filter_map(|uuid| self.network.ports.get(self.reads, *uuid));
        let members = near.filter(|port| {
            self.network
                .is_in_port_group(self.reads, &part, &port.logical_port)
        });
        let keys = members.filter_map(|port| u32::try_from(port.tunnel_key).ok());
        Some(keys.collect())
    }

    fn member_bit(&self, of: &Constant, field: Field) -> Option<Term> {
        let near_side = self.near_side?;
        match of {
            Constant::PortGroup(name) => {
                if field.symbol() != near_side {
                    return None;
                }
                let bit = self
                    .network
                    .member_bit(self.reads, Membership::Group, name)?;
                match &self.scope {
                    Scope::One(..) => drop(self.part(name)?),
                    // Where a datapath has no part, the flow means nothing there.
                    Scope::Several(datapaths) => {
                        if !datapaths.iter().all(|uuid| self.has_part(*uuid, name)) {
                            self.is_specific.set(true);
                            return None;
                        }
                    }
                }
                let bit = 1 << (layout::FIRST_PORT_GROUP_BIT + bit);
                Some(Term {
                    base: Base::Metadata,
                    mask: bit,
                    value: bit,
                })
            }
            Constant::AddressSet(name) => {
                let of = addresses_in(near_side == Symbol::Outport, field)?;
                (self.lookups >> of.direction()? & 1 == 1).then_some(())?;
                let bit = self.network.member_bit(self.reads, of, name)?;
                self.asks_for_addresses.set(true);
                let base = match bit < 16 {
                    true => Base::Reg11,
                    false => Base::Reg12,
                };
                let bit = 1 << (16 + bit % 16);
                Some(Term {
                    base,
                    mask: bit,
                    value: bit,
                })
            }
            _ => None,
        }
    }

    fn is_resident(&self, port: &str) -> bool {
        let Some(port) = self.network.port_by_name(self.reads, port) else {
            return false;
        };
        let own = self.network.own(self.reads).chassis;
        self.network.bindings.get(self.reads, port.uuid).is_some()
            || own.is_some() && port.chassis == own
    }
}

impl Names<'_> {
    /// Whether a port group has a part in a datapath.
    fn has_part(&self, datapath: Uuid, name: &str) -> bool {
        let datapath = self.network.datapaths.get(self.reads, datapath);
        let part =
            datapath.and_then(|known| self.network.part_of_port_group(self.reads, known.key, name));
        part.is_some()
    }

    /// The name of a port group's part in the datapath, if there is one.
    fn part(&self, name: &str) -> Option<String> {
        match self.scope {
            Scope::One(_, key) => self.network.part_of_port_group(self.reads, key, name),
            Scope::Several(_) => None,
        }
    }
}

/// What is told of packets whose field is compared with an address set, if that can be told.
pub(super) fn addresses_in(egress: bool, field: Field) -> Option<Membership> {
    let destination = match field.symbol() {
        Symbol::Ip4Src | Symbol::Ip6Src => false,
        Symbol::Ip4Dst | Symbol::Ip6Dst => true,
        _ => return None,
    };
    field.is_whole().then_some(Membership::Address {
        egress,
        destination,
    })
}

impl Resources for Names<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        match name {
            // The name of no port, in `outport = "none"`.
            "none" => Some(0),
            _ => self.key_of(name),
        }
    }

    fn group(&self, group: &Group) -> Option<u32> {
        let group = Arc::new(group.clone());
        // One flow may have several groups, each of which is for something else.
        let place = {
            let needs = self.needs.borrow();
            let others = needs.iter().filter_map(|need| match &need.resource {
                Resource::Group(spec) => Some(&spec.group),
                _ => None,
            });
            others.take_while(|other| **other != group).count()
        };
        Some(self.need(Resource::Group(GroupSpec {
            chooser: self.chooser.wrapping_add(place as u64),
            group,
        })))
    }

    /// Each logical flow has a meter of its own: two limits that happen to be equal do not share it.
    fn rate_meter(&self, rate: u32, burst: Option<u32>) -> Option<u32> {
        Some(self.need(Resource::Meter(MeterSpec {
            name: self.flow.to_string().into(),
            is_asked_for: true,
            packets: false,
            rate,
            burst: burst.unwrap_or_default(),
        })))
    }

    fn named_meter(&self, name: &str) -> Option<u32> {
        let meter = self.network.meter(self.reads, name)?;
        Some(self.need(Resource::Meter(meter)))
    }

    fn datapath(&self) -> u32 {
        match &self.scope {
            Scope::One(_, key) => *key,
            Scope::Several(_) => {
                self.is_specific.set(true);
                0
            }
        }
    }

    fn is_resident(&self, port: &str) -> bool {
        Lookup::is_resident(self, port)
    }

    fn is_reachable(&self, port: &str) -> bool {
        let port = self.network.port_by_name(self.reads, port);
        let chassis = port.and_then(|port| port.chassis);
        let own = self.network.own(self.reads).chassis;
        let chassis = chassis.filter(|chassis| own != Some(*chassis));
        let chassis = chassis.and_then(|uuid| self.network.chassis.get(self.reads, uuid));
        // Without a session nobody knows better.
        chassis.is_none_or(|chassis| {
            let session = NameId::of(&chassis.name);
            self.network.sessions.get(self.reads, session) != Some(&false)
        })
    }

    fn has_new_registers(&self) -> bool {
        self.network.new_registers.get(self.reads, ()).is_some()
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        let codes = self.network.dhcp.get(self.reads, ())?;
        let (code, kind) = codes.v4.get(name)?;
        Some((*code, OptionType::from_name(kind)?))
    }

    fn dhcp6_option(&self, name: &str) -> Option<(u16, dhcp6::option::OptionType)> {
        let codes = self.network.dhcp.get(self.reads, ())?;
        let (code, kind) = codes.v6.get(name)?;
        let kind = dhcp6::option::OptionType::from_name(kind)?;
        Some((u16::from(*code), kind))
    }
}
