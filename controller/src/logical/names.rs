//! What names in a logical flow mean, in one datapath, here.

use std::cell::RefCell;
use std::sync::Arc;

use lflow::Int;
use lflow::action::Resources;
use lflow::expr::Lookup;
use openflow::message::Group;
use ovsdb::Uuid;
use packet::dhcp4::option::OptionType;

use crate::flow::{MeterSpec, Need, Resource};
use crate::network::{NameId, Network, Reads};

/// The names of a datapath. What is asked is noted as read.
pub(crate) struct Names<'a> {
    network: &'a Network,
    reads: &'a Reads,
    datapath: Uuid,
    key: u32,
    /// Whose actions are encoded.
    flow: Uuid,
    /// What the actions' numbers stand for.
    needs: RefCell<Vec<Need>>,
    /// The first of these numbers.
    first_number: u32,
}

impl<'a> Names<'a> {
    /// The names of the datapath with this row and key.
    pub fn new(network: &'a Network, reads: &'a Reads, datapath: Uuid, key: u32) -> Self {
        Names {
            network,
            reads,
            datapath,
            key,
            flow: Uuid::default(),
            needs: RefCell::default(),
            first_number: 1,
        }
    }

    /// The same for the actions of a logical flow, whose numbers for groups and meters begin with `first_number`.
    #[must_use]
    pub fn for_actions_of(self, flow: Uuid, first_number: u32) -> Self {
        Names {
            flow,
            first_number,
            ..self
        }
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
        });
        placeholder
    }

    /// The key of a port or multicast group of the datapath.
    fn key_of(&self, name: &str) -> Option<u32> {
        let of_port = || {
            let port = self.network.port_by_name(self.reads, name)?;
            (port.datapath == self.datapath).then_some(port.tunnel_key)
        };
        let of_group = || {
            let group = *self
                .network
                .group_named
                .get(self.reads, (self.datapath, NameId::of(name)))?;
            let group = self.network.groups.get(self.reads, group)?;
            (&*group.name == name).then_some(group.tunnel_key)
        };
        u32::try_from(of_port().or_else(of_group)?).ok()
    }
}

impl Lookup for Names<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        self.key_of(name)
    }

    /// Members that are no addresses are left out; northd has told of them.
    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        let set = self
            .network
            .address_sets
            .get(self.reads, NameId::of(name))?;
        if &*set.name != name {
            return None;
        }
        Some(
            set.addresses
                .iter()
                .filter_map(|text| Int::parse_address(text).ok())
                .collect(),
        )
    }

    /// northd splits port groups by datapath, and names the parts `KEY_NAME`; a group under its own name is taken too.
    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        let get = |name: &str| {
            let group = self.network.port_groups.get(self.reads, NameId::of(name));
            group.filter(|group| &*group.name == name)
        };
        let group = get(&format!("{}_{name}", self.key)).or_else(|| get(name))?;
        Some(
            group
                .ports
                .iter()
                .filter_map(|port| self.key_of(port))
                .collect(),
        )
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

impl Resources for Names<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        match name {
            // The name of no port, in `outport = "none"`.
            "none" => Some(0),
            _ => self.key_of(name),
        }
    }

    fn group(&self, group: &Group) -> Option<u32> {
        Some(self.need(Resource::Group(Arc::new(group.clone()))))
    }

    /// Each logical flow has a meter of its own: two limits that happen to be equal do not share it.
    fn rate_meter(&self, rate: u32, burst: Option<u32>) -> Option<u32> {
        Some(self.need(Resource::Meter(MeterSpec {
            name: self.flow.to_string().into(),
            packets: false,
            rate,
            burst: burst.unwrap_or_default(),
        })))
    }

    fn named_meter(&self, name: &str) -> Option<u32> {
        let meter = self.network.meter(self.reads, name)?;
        Some(self.need(Resource::Meter(meter)))
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        let codes = self.network.dhcp.get(self.reads, ())?;
        let (code, kind) = codes.v4.get(name)?;
        Some((*code, OptionType::from_name(kind)?))
    }
}
