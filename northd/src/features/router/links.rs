//! Links: which port of a router leads to which port of a switch, or to which other router.
//!
//! A switch's port of type `router` names the router's port (`options:router-port`); two router ports name each other
//! (`peer`). Guarantees that both ends agree: of several switch ports that name one router port the one that has it keeps it, and a
//! router port that names another that does not name it back leads nowhere. What does not fit is told.
//!
//! Says for each end what it has of the other, writes the bindings of router ports, and puts routers into the segments of
//! their switches.

use std::sync::Arc;

use addr::{Cidr, Mac};
use nb_db::tables::{LogicalRouterPort, LogicalSwitchPort};
use ovsdb::{Atom, Datum};
use relations::{Bucket, Handle, Key, Relation, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::ROUTER;
use super::ports::{self, EXCHANGE, PERIODIC, PORT, RESIDENCE, View};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
use crate::features::ports::{self as switch_ports, LINK, Link, PortKind};
use crate::features::segments::{ROUTERS, SEGMENT};
use crate::features::switch::DATAPATH;

/// The switch ports that name a router's port.
pub static FACING: Bucket<Handle, Uuid> = Bucket::new("facing");
/// What is at the other end of a router's port.
pub static PEER: Relation<Handle, Peer> = Relation::new("peer");

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]),
        Source::north::<LogicalRouterPort>(&[LogicalRouterPort::COLUMN.name.index]),
        Source::south::<PortBinding>(&[PortBinding::COLUMN.logical_port.index]),
    ],
    relations: &[&FACING, &PEER],
    kinds: &[&NAMES, &SWITCH_END, &ROUTER_END, &ROW, &MEMBER],
    ..Feature::new("router links")
};

/// The other end of a router's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A port of a switch.
    Switch {
        /// The port's name.
        name: Arc<str>,
        /// The northbound row of the switch.
        switch: Handle,
        /// The switch's key, which is the segment's.
        segment: u32,
    },
    /// A port of another router.
    Router {
        /// The port's name.
        name: Arc<str>,
        /// Its MAC.
        mac: Mac,
        /// Its addresses.
        ips: Vec<Cidr>,
    },
}

impl Peer {
    /// The port's name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Switch { name, .. } | Self::Router { name, .. } => name,
        }
    }

    /// The segment where next hops are looked for; none between two routers.
    pub fn segment(&self) -> u32 {
        match self {
            Self::Switch { segment, .. } => *segment,
            Self::Router { .. } => 0,
        }
    }
}

static NAMES: Kind = Kind {
    name: "router-link/names",
    over: Over::Keys(&switch_ports::TO_ROUTER),
    reads: &[&switch_ports::PORT, &PORT, &ROUTER],
    says: &[&FACING],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        if let Some((peer, _)) = named_by(unit, row) {
            let uuid = unit.uuid(row);
            unit.join(&FACING, peer, uuid);
        }
    },
};

static SWITCH_END: Kind = Kind {
    name: "router-link",
    over: Over::Keys(&switch_ports::TO_ROUTER),
    reads: &[&switch_ports::PORT, &PORT, &ROUTER, &RESIDENCE, &FACING],
    says: &[&LINK],
    wants: &[],
    run: switch_end,
};

static ROUTER_END: Kind = Kind {
    name: "router-port/peer",
    over: Over::Keys(&PORT),
    reads: &[&ROUTER, &FACING, &switch_ports::PORT, &DATAPATH],
    says: &[&PEER],
    wants: &[],
    run: router_end,
};

static ROW: Kind = ports::kind!([&PEER, &PERIODIC, &EXCHANGE], [], |unit, view| {
    let advertised = unit.get(&PERIODIC, view.row).map_or(&[][..], Vec::as_slice);
    let dynamic = unit.get(&EXCHANGE, view.row).map_or(&[][..], Vec::as_slice);
    let columns = columns(view, unit.get(&PEER, view.row), advertised, dynamic);
    unit.row::<PortBinding>(view.binding.uuid, columns);
});

static MEMBER: Kind = ports::kind!([&PEER], [&SEGMENT, &ROUTERS], |unit, view| {
    if let Some(Peer::Switch { switch, .. }) = unit.get(&PEER, view.row) {
        unit.member(&SEGMENT, *switch, view.datapath.uuid);
        unit.member(&ROUTERS, *switch, view.datapath.uuid);
    }
});

/// The router port that a switch's port names, and its router.
fn named_by(unit: &Unit<'_>, row: Handle) -> Option<(Handle, Handle)> {
    let port = unit.get(&switch_ports::PORT, row)?;
    switch_ports::owner(unit, row)?;
    match &port.kind {
        PortKind::Router {
            peer: Some(peer), ..
        } => ports::named(unit, peer),
        _ => None,
    }
}

/// The switch's port that has the link to a router's port. Of several that name it the one that has had it, as the southbound says,
/// so that nobody loses a link to a port that is added by mistake; else the first.
fn holder(unit: &Unit<'_>, peer: Handle) -> Option<Uuid> {
    let facing = unit.members(&FACING, peer);
    if facing.len() < 2 {
        return facing.first().copied();
    }
    let binding = unit
        .get(&PORT, peer)
        .and_then(|port| switch_ports::recorded(unit, &port.name));
    let options = binding.map(|(_, row)| row.get(PortBinding::COLUMN.options.index));
    let held = options.and_then(|options| options.get_str("peer"));
    let name = |uuid: Uuid| {
        let row = unit.find_north::<LogicalSwitchPort>(uuid)?;
        Some(&*unit.get(&switch_ports::PORT, row)?.name)
    };
    let holds = |uuid: &&Uuid| held.is_some() && name(**uuid) == held;
    facing
        .iter()
        .find(holds)
        .or_else(|| facing.first())
        .copied()
}

fn switch_end(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(port) = unit.get(&switch_ports::PORT, row) else {
        return;
    };
    let PortKind::Router {
        peer: Some(peer),
        takes_addresses,
        ..
    } = &port.kind
    else {
        return;
    };
    let mut complaints = unit.complaints::<LogicalSwitchPort>(row, Arc::clone(&port.name));
    let column = LogicalSwitchPort::COLUMN.options.name;
    let named = named_by(unit, row);
    let holder = named.and_then(|(peer, _)| holder(unit, peer));
    match (named, holder) {
        (None, _) => {
            let why = "there is no port of this name in an enabled router";
            complaints.text(column, peer, 0, why, "add it, or correct the name");
        }
        (Some(_), Some(holder)) if holder != unit.uuid(row) => {
            let why = format!("port {holder} leads to this port of the router already");
            let remedy = "the link stays there: give this one a router port of its own";
            complaints.text(column, peer, 0, why, remedy);
        }
        (Some((peer, router)), _) => {
            if let Some(other) = unit.get(&PORT, peer) {
                let link = Link {
                    peer: Arc::clone(&other.name),
                    addresses: other.addresses(),
                    gives_macs: *takes_addresses,
                    chassis: unit.get(&ROUTER, router).and_then(|of| of.chassis.clone()),
                    is_quiet: unit.get(&ROUTER, router).is_some_and(|of| of.is_quiet),
                    residence: unit.get(&RESIDENCE, peer).cloned(),
                };
                unit.say(&LINK, row, link);
            }
        }
    }
    unit.problems(complaints.into_problems());
}

fn router_end(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(port) = unit.get(&PORT, row) else {
        return;
    };
    let mut complaints = unit.complaints::<LogicalRouterPort>(row, Arc::clone(&port.name));
    let peer = match holder(unit, row) {
        Some(facing) => {
            if let Some(peer) = &port.peer {
                let why = "the port leads to a switch already";
                let remedy = "the peer is ignored: remove it, or the switch's port";
                let column = LogicalRouterPort::COLUMN.peer.name;
                complaints.text(column, peer, 0, why, remedy);
            }
            switch_of(unit, facing)
        }
        None => router_of(unit, row, &mut complaints),
    };
    if let Some(peer) = peer {
        unit.say(&PEER, row, peer);
    }
    unit.problems(complaints.into_problems());
}

fn switch_of(unit: &Unit<'_>, facing: Uuid) -> Option<Peer> {
    let row = unit.find_north::<LogicalSwitchPort>(facing)?;
    let port = unit.get(&switch_ports::PORT, row)?;
    let switch = switch_ports::owner(unit, row)?;
    Some(Peer::Switch {
        name: Arc::clone(&port.name),
        switch,
        segment: unit.get(&DATAPATH, switch)?.key,
    })
}

fn router_of(unit: &Unit<'_>, row: Handle, complaints: &mut Complaints) -> Option<Peer> {
    let port = unit.get(&PORT, row)?;
    let peer = port.peer.as_ref()?;
    let column = LogicalRouterPort::COLUMN.peer.name;
    let found = ports::named(unit, peer).and_then(|(other, _)| {
        let is_other = other != row;
        unit.get(&PORT, other)
            .filter(|_| is_other)
            .map(|port| (other, port))
    });
    match found {
        None => {
            let why = "there is no other port of this name in an enabled router";
            complaints.text(column, peer, 0, why, "add it, or correct the name");
            None
        }
        Some((_, other)) if other.peer.as_ref() != Some(&port.name) => {
            let why = "that port does not name this one as its peer";
            let remedy = "set the peer there, too: both ends have to agree";
            complaints.text(column, peer, 0, why, remedy);
            None
        }
        Some((row, other)) if !unit.members(&FACING, row).is_empty() => {
            let why = format!("port {} leads to a switch", other.name);
            complaints.text(
                column,
                peer,
                0,
                why,
                "remove the peer, or the switch's port",
            );
            None
        }
        Some((_, other)) => Some(Peer::Router {
            name: Arc::clone(&other.name),
            mac: other.mac,
            ips: other.ips().map(Cidr::host).collect(),
        }),
    }
}

fn columns(
    view: &View<'_>,
    peer: Option<&Peer>,
    advertised: &[(&'static str, String)],
    dynamic: &[(&'static str, Arc<str>)],
) -> Vec<(usize, Datum)> {
    let column = PortBinding::COLUMN;
    let chassis = view.of.chassis.as_ref();
    let kind = chassis.map_or("patch", |_| "l3gateway");
    let chassis = chassis.map(|chassis| ("l3gateway-chassis", chassis));
    let peer = peer.map(|peer| ("peer", peer.name()));
    let redirect = view.residence.filter(|_| view.is_gateway());
    let redirect = redirect.map(|name| ("chassis-redirect-port", name));
    let options = peer.into_iter().chain(chassis).chain(redirect);
    let options = options.map(|(key, value)| (Atom::from(key), Atom::String(Arc::clone(value))));
    let advertised = advertised.iter();
    let advertised = advertised.map(|(key, value)| (Atom::from(*key), Atom::from(value.as_str())));
    let dynamic = dynamic.iter();
    let dynamic = dynamic.map(|(key, value)| (Atom::from(*key), Atom::String(value.clone())));
    let options = options.chain(advertised).chain(dynamic);
    vec![
        (
            column.logical_port.index,
            Datum::One(Atom::String(Arc::clone(&view.port.name))),
        ),
        (column.r#type.index, Datum::from(kind)),
        (column.options.index, Datum::map(options)),
        (
            column.datapath.index,
            Datum::One(Atom::Uuid(view.datapath.uuid)),
        ),
        column.tunnel_key.to(&i64::from(view.binding.key)),
        (
            column.mac.index,
            Datum::One(Atom::from(view.port.mac_text())),
        ),
        (column.external_ids.index, view.port.external_ids.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use nb_db::tables::{LogicalRouter, LogicalSwitch};
    use ovsdb::operation::Operation;
    use ovsdb::typed::Table;

    use super::*;
    use crate::testing::{World, insert};

    #[test]
    fn a_port_that_is_added_by_mistake_takes_no_link_away() {
        let uuid = Uuid::from_u128;
        let mut world = World::new();
        let facing = |name: &str| LogicalSwitchPort {
            name: name.into(),
            r#type: "router".into(),
            addresses: vec!["router".into()],
            options: [("router-port".into(), "rp".into())].into(),
            ..Default::default()
        };
        let switch = |name: &str, port| LogicalSwitch {
            name: name.into(),
            ports: vec![port],
            ..Default::default()
        };
        let port = LogicalRouterPort {
            name: "rp".into(),
            mac: "02:00:00:00:00:01".into(),
            networks: vec!["10.0.0.1/24".into()],
            ..Default::default()
        };
        let router = LogicalRouter {
            name: "r".into(),
            ports: vec![uuid(1)],
            ..Default::default()
        };
        let peer = |world: &World| {
            let bindings = world.sb::<PortBinding>().into_iter();
            let (_, binding) = bindings
                .into_iter()
                .find(|(_, binding)| &*binding.logical_port == "rp")
                .expect("a binding");
            binding.options.get("peer").map(ToString::to_string)
        };
        world.north(vec![
            insert(uuid(1), &port),
            insert(uuid(2), &router),
            insert(uuid(9), &facing("old")),
            insert(uuid(8), &switch("s1", uuid(9))),
        ]);
        assert_eq!(peer(&world).as_deref(), Some("old"));
        // Its UUID comes first, and so does its switch's.
        world.north(vec![
            insert(uuid(4), &facing("new")),
            insert(uuid(3), &switch("s0", uuid(4))),
        ]);
        assert_eq!(peer(&world).as_deref(), Some("old"));
        let delete = Operation::delete_row(LogicalSwitch::INDEX, uuid(8));
        world.north(vec![delete]);
        assert_eq!(peer(&world).as_deref(), Some("new"));
    }
}
