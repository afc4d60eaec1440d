//! Router ports: the ends of a router, each with a MAC and addresses in its networks.
//!
//! Guarantees that every port that makes sense and belongs to an enabled router has a `Port_Binding` with a tunnel key that it
//! keeps while it is in its router, and that of two ports of a router with one network or one address the first has it.
//! Other features add their part of a port by [`kind`].

mod addresses;
mod model;

use std::sync::Arc;

use addr::PortKey;
use lflow::{Expr, m};
use nb_db::tables::{LogicalRouter, LogicalRouterPort};
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Row};
use relations::{Handle, Key, Relation, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::{ROUTER, Router};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Conflict, Feature, Index, Kind, Over, Pool, Source};
use crate::compiler::flow::Flows;
use crate::compiler::identity;
use crate::compiler::unit::Unit;
use crate::features::chassis;
use crate::features::ports::BINDINGS_BY_NAME;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

pub use addresses::{
    HOLDERS, IPS, LANS, LENGTHS, NETWORKS, facing, has_ip, has_network, in_whose_network,
};
pub use model::{RouterPort, is_link_local};

/// Router ports that make sense.
pub static PORT: Relation<Handle, Arc<RouterPort>> = Relation::new("router port");
/// The binding of each.
pub static BINDING: Relation<Handle, Identity> = Relation::new("router port binding");

/// The routers that name a port.
const OWNERS: Index = Index::north::<LogicalRouter>(LogicalRouter::COLUMN.ports.index);
/// Ports by name.
const BY_NAME: Index = Index::north::<LogicalRouterPort>(LogicalRouterPort::COLUMN.name.index);

/// The port that has to be on the chassis that works for a router's port, for ports that not all chassis work for. Said by the
/// feature `gateway ports`.
pub static RESIDENCE: Relation<Handle, Arc<str>> = Relation::new("residence");

/// What a port advertises by itself, as keys of `Port_Binding.options`. Said by the feature `router advertisements`.
pub static PERIODIC: Relation<Handle, Vec<(&'static str, String)>> =
    Relation::new("periodic router advertisements");

/// What chassis have to know of a port by which its router exchanges routes with them, as keys of `Port_Binding.options`. Said by
/// the feature `dynamic routing`.
pub static EXCHANGE: Relation<Handle, Vec<(&'static str, Arc<str>)>> =
    Relation::new("exchange of routes by a port");

/// The keys of a router's ports.
pub static KEYS: Pool = Pool::new(
    &BINDING,
    (
        LogicalRouterPort::NAME,
        LogicalRouterPort::COLUMN.options.name,
        Pool::TUNNEL_KEY,
    ),
    Conflict::Another,
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouterPort>(&[
            LogicalRouterPort::COLUMN.name.index,
            LogicalRouterPort::COLUMN.mac.index,
            LogicalRouterPort::COLUMN.networks.index,
            LogicalRouterPort::COLUMN.peer.index,
            LogicalRouterPort::COLUMN.enabled.index,
            LogicalRouterPort::COLUMN.external_ids.index,
        ])
        .keys(&[(
            LogicalRouterPort::COLUMN.options.index,
            &[
                "requested-tnl-key",
                "route_table",
                "gateway_mtu",
                "reside-on-redirect-chassis",
                "redirect-type",
            ],
        )]),
        Source::north::<LogicalRouter>(&[LogicalRouter::COLUMN.ports.index]),
        Source::south::<PortBinding>(&[PortBinding::COLUMN.logical_port.index]),
    ],
    indexes: &[OWNERS, BY_NAME],
    relations: &[
        &PORT,
        &BINDING,
        &RESIDENCE,
        &PERIODIC,
        &EXCHANGE,
        &IPS,
        &NETWORKS,
        &HOLDERS,
        &LANS,
        &LENGTHS,
        &addresses::HAS_LENGTH,
    ],
    pools: &[&KEYS],
    kinds: &[
        &MODEL,
        &WISH,
        &addresses::CLAIMS,
        &addresses::CHECK,
        &addresses::IS_LENGTH,
        &addresses::ALL_LENGTHS,
    ],
    #[cfg(test)]
    operator: &[Change {
        weight: 14,
        run: routers::port,
    }],
    ..Feature::new("router ports")
};

static MODEL: Kind = Kind {
    name: "model/router-port",
    over: Over::North(LogicalRouterPort::INDEX),
    reads: &[],
    says: &[&PORT],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (port, mut problems) = RouterPort::parse(unit.uuid(row), columns);
        if let Some(port) = port {
            if let [first, second, ..] = unit.referrers(OWNERS, row) {
                let (first, second) = (unit.uuid(*first), unit.uuid(*second));
                let why = format!("the port is in two routers, {first} and {second}");
                let remedy = "it is taken to be in the first: remove it from the other";
                let name = Arc::clone(&port.name);
                let mut complaints = unit.complaints::<LogicalRouterPort>(row, name);
                complaints.column("_uuid", why, remedy);
                problems.extend(complaints.into_problems());
            }
            unit.say(&PORT, row, Arc::new(port));
        }
        unit.problems(problems);
    },
};

static WISH: Kind = Kind {
    name: "alloc/router-port",
    over: Over::Keys(&PORT),
    reads: &[&ROUTER, &DATAPATH, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: wish,
};

/// A router's port with its place, as features see it.
pub struct View<'a> {
    /// The northbound row.
    pub row: Handle,
    /// The port.
    pub port: &'a Arc<RouterPort>,
    /// The northbound row of its router.
    pub router: Handle,
    /// The router.
    pub of: &'a Arc<Router>,
    /// The router's datapath.
    pub datapath: Identity,
    /// The port's binding.
    pub binding: Identity,
    /// The port that has to be on the chassis that works for this one, if not all do.
    pub residence: Option<&'a Arc<str>>,
}

impl View<'_> {
    /// Whether it is a gateway port, which has a port `cr-NAME` of its own.
    pub fn is_gateway(&self) -> bool {
        let redirect = self.residence.and_then(|name| name.strip_prefix("cr-"));
        redirect == Some(&*self.port.name)
    }

    /// The same, and the chassis is one that works for the port.
    pub fn at_home(&self, when: Expr) -> Expr {
        match self.residence {
            Some(port) => when & m::resident(Arc::clone(port)),
            None => when,
        }
    }

    /// Where the port's flows go.
    pub fn flows<'u>(&self, unit: &'u mut Unit<'_>) -> Flows<'u> {
        let hint = unit.uuid(self.row);
        unit.flows(self.datapath.uuid, Some(hint))
    }
}

/// The enabled router that a port belongs to. Of several that name it, the first has it.
pub fn owner(unit: &Unit<'_>, port: Handle) -> Option<Handle> {
    let owner = unit.referrers(OWNERS, port).first().copied()?;
    unit.get(&ROUTER, owner).map(|_| owner)
}

/// The port of this name that makes sense and belongs to an enabled router.
pub fn named(unit: &Unit<'_>, name: &Arc<str>) -> Option<(Handle, Handle)> {
    let rows = unit.having(BY_NAME, &Atom::String(Arc::clone(name)));
    let row = rows.iter().find(|row| unit.get(&PORT, **row).is_some())?;
    Some((*row, owner(unit, *row)?))
}

/// The port of a unit that is about one, when it has a place.
pub fn view<'a>(unit: &Unit<'a>, key: Key) -> Option<View<'a>> {
    view_of(unit, Handle::unpack(key))
}

/// A port, when it has a place.
pub fn view_of<'a>(unit: &Unit<'a>, row: Handle) -> Option<View<'a>> {
    let port = unit.get(&PORT, row)?;
    let router = owner(unit, row)?;
    Some(View {
        row,
        port,
        router,
        of: unit.get(&ROUTER, router)?,
        datapath: *unit.get(&DATAPATH, router)?,
        binding: *unit.get(&BINDING, row)?,
        residence: unit.get(&RESIDENCE, row),
    })
}

/// A feature's part of a router's port: a kind of units that runs for every port that has a place, together with all the
/// others'. What it reads beside the port and its place, what it says, and what it does.
macro_rules! kind {
    ([$($read:expr),*], [$($said:expr),*], $run:expr) => {
        $crate::compiler::feature::Kind {
            name: "router-port",
            over: $crate::compiler::feature::Over::Keys(&$crate::features::router::ports::PORT),
            reads: &[
                &$crate::features::router::ports::BINDING,
                &$crate::features::router::ports::RESIDENCE,
                &$crate::features::router::ROUTER,
                &$crate::features::switch::DATAPATH,
                $($read),*
            ],
            says: &[$($said),*],
            wants: &[],
            run: |unit, key| {
                let run: fn(
                    &mut $crate::compiler::unit::Unit<'_>,
                    &$crate::features::router::ports::View<'_>,
                ) = $run;
                if let Some(view) = $crate::features::router::ports::view(unit, key) {
                    run(unit, &view);
                }
            },
        }
    };
}
pub(crate) use kind;

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let (Some(port), Some(router)) = (unit.get(&PORT, row), owner(unit, row)) else {
        return;
    };
    let Some(datapath) = unit.get(&DATAPATH, router) else {
        return;
    };
    let name = &port.name;
    let requested = port.requested_key.map(u32::from);
    unit.want(wanted(unit, (row, router), name, *datapath, requested));
}

/// The wish for a key and a binding of this name, in a router. The owner is a port's row.
pub fn wanted(
    unit: &Unit<'_>,
    (row, router): (Handle, Handle),
    name: &Arc<str>,
    datapath: Identity,
    requested: Option<u32>,
) -> Want {
    let column = PortBinding::COLUMN;
    let recorded: Option<(Uuid, &Row)> = unit
        .recorded(BINDINGS_BY_NAME, &Atom::String(Arc::clone(name)))
        .find(|(_, row)| column.datapath.get(row) == datapath.uuid);
    let max = match unit.get(&chassis::IS_VXLAN, ()) {
        Some(()) => PortKey::MAX_VXLAN_PORT,
        None => PortKey::MAX_PORT,
    };
    let uuid = unit.uuid(row);
    let derived = identity::binding(datapath.uuid, uuid);
    Want {
        pool: &KEYS,
        owner: row.pack(),
        row: uuid,
        about: None,
        name: Arc::clone(name),
        place: None,
        among: router.pack(),
        derived,
        identity: recorded.map_or(derived, |(known, _)| known),
        recorded: recorded.and_then(|(_, row)| u32::try_from(column.tunnel_key.get(row)).ok()),
        requested,
        preferred: None,
        max: (max.into(), max.into()),
    }
}
