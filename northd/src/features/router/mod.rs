//! Logical routers: each a datapath southbound, and what it does with packets.
//!
//! ```text
//!        datapath   this file                     a router, its key, the set for which shared flows are
//!           ▲
//!         ports     addresses, binding            its ends, as `ports` are those of a switch
//!           ▲
//!         links     which end leads where         to a port of a switch, or to another router
//!           ▲
//!   admission → learning → own → input → advertisements → routes → policies → neighbours → lengths → delivery
//! ```
//!
//! Guarantees that every enabled router has a `Datapath_Binding` with a tunnel key that it keeps for life, and that all of
//! them are in the set for which shared flows are. A disabled router has none: its ports lead nowhere.

pub mod admission;
pub mod advertisements;
pub mod ageing;
pub mod bfd;
pub mod delivery;
pub mod dhcp_relay;
pub mod dynamic;
pub mod family;
pub mod force_snat;
pub mod gateways;
pub mod input;
pub mod learning;
pub mod lengths;
pub mod links;
pub mod multicast;
pub mod nat;
pub mod neighbour_routes;
pub mod neighbours;
pub mod next_hops;
pub mod own;
pub mod policies;
pub mod ports;
pub mod protocols;
pub mod routes;
pub mod static_routes;
pub mod symmetric;

use std::sync::Arc;

use addr::{Ages, DatapathKey};
use nb_db::tables::LogicalRouter;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Handle, Key, Relation, Set, Small};
use sb_db::tables::DatapathBinding;
use uuid::Uuid;

use super::chassis;
use super::switch::{self, DATAPATH};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Routers that make sense and are enabled.
pub static ROUTER: Relation<Handle, Arc<Router>> = Relation::new("router");
/// What chassis have to know of a router that exchanges routes with them, as keys of `Datapath_Binding.external_ids`. Said by the
/// feature `dynamic routing`.
pub static EXCHANGE: Relation<Handle, Vec<(&'static str, Arc<str>)>> =
    Relation::new("exchange of routes");
/// The datapaths of all routers.
pub static ROUTERS: Set<()> = Set::new("routers");
/// The set of all routers in the identity of its group.
pub const ROUTERS_NAME: &str = "routers";

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalRouter>(&[
            LogicalRouter::COLUMN.name.index,
            LogicalRouter::COLUMN.enabled.index,
            LogicalRouter::COLUMN.ports.index,
        ])
        .keys(&[(
            LogicalRouter::COLUMN.options.index,
            &[
                "requested-tnl-key",
                "chassis",
                "always_learn_from_arp_request",
                "mac_binding_age_threshold",
                "disable_garp_rarp",
                "dynamic_neigh_routers",
                "snat-ct-zone",
            ],
        )]),
        Source::south::<DatapathBinding>(&[DatapathBinding::COLUMN.tunnel_key.index]),
    ],
    relations: &[&ROUTER, &EXCHANGE],
    kinds: &[&MODEL, &WISH, &BINDING],
    #[cfg(test)]
    operator: &[Change {
        weight: 6,
        run: routers::router,
    }],
    ..Feature::new("router")
};

static MODEL: Kind = Kind {
    name: "model/router",
    over: Over::North(LogicalRouter::INDEX),
    reads: &[],
    says: &[&ROUTER],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (router, problems) = Router::parse(unit.uuid(row), columns);
        if let Some(router) = router {
            unit.say(&ROUTER, row, Arc::new(router));
        }
        unit.problems(problems);
    },
};

static WISH: Kind = Kind {
    name: "alloc/router",
    over: Over::Keys(&ROUTER),
    reads: &[&chassis::IS_VXLAN],
    says: &[],
    wants: &[&switch::KEYS],
    run: wish,
};

static BINDING: Kind = Kind {
    name: "router",
    over: Over::Keys(&ROUTER),
    reads: &[&DATAPATH, &EXCHANGE],
    says: &[&ROUTERS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(router), Some(datapath)) = (unit.get(&ROUTER, row), unit.get(&DATAPATH, row))
        else {
            return;
        };
        let dynamic = unit.get(&EXCHANGE, row).map_or(&[][..], Vec::as_slice);
        let columns = columns(unit.uuid(row), router, *datapath, dynamic);
        unit.row::<DatapathBinding>(datapath.uuid, columns);
        unit.member(&ROUTERS, (), datapath.uuid);
    },
};

fn wish(unit: &mut Unit<'_>, key: Key) {
    let row = Handle::unpack(key);
    let Some(router) = unit.get(&ROUTER, row) else {
        return;
    };
    let name = Arc::clone(&router.name);
    let place = (LogicalRouter::NAME, LogicalRouter::COLUMN.options.name);
    let requested = router.requested_key;
    unit.want(Want {
        place: Some(place),
        ..switch::wanted(unit, row, "logical-router", name, requested)
    });
}

fn columns(
    row: Uuid,
    router: &Router,
    datapath: Identity,
    dynamic: &[(&'static str, Arc<str>)],
) -> [(usize, Datum); 4] {
    let column = DatapathBinding::COLUMN;
    let uuid = row.hyphenated().to_string();
    let mut external_ids = vec![
        (Atom::from("logical-router"), Atom::from(uuid)),
        (Atom::from("name"), Atom::from(router.name.clone())),
    ];
    if let Some(name) = &router.display_name {
        external_ids.push((Atom::from("name2"), Atom::from(name.clone())));
    }
    if !router.always_learns {
        external_ids.push((
            Atom::from("always_learn_from_arp_request"),
            Atom::from("false"),
        ));
    }
    if router.is_quiet {
        external_ids.push((Atom::from("disable_garp_rarp"), Atom::from("true")));
    }
    if let Some(zone) = router.snat_zone {
        let zone = Atom::from(zone.to_string());
        external_ids.push((Atom::from("snat-ct-zone"), zone));
    }
    let dynamic = dynamic.iter();
    external_ids.extend(dynamic.map(|(key, text)| (Atom::from(*key), Atom::String(text.clone()))));
    if let Some((_, ages)) = &router.ages {
        external_ids.push((
            Atom::from("mac_binding_age_threshold"),
            Atom::String(Arc::clone(ages)),
        ));
    }
    [
        column.tunnel_key.to(&i64::from(datapath.key)),
        (column.r#type.index, Datum::from("logical-router")),
        (column.nb_uuid.index, Datum::One(Atom::Uuid(row))),
        (column.external_ids.index, Datum::map(external_ids)),
    ]
}

/// A logical router that makes sense. Which ports it has is not part of it: that is an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// `name`, which need not be unique.
    pub name: Arc<str>,
    /// A name for people, from `external_ids:neutron:router_name`.
    pub display_name: Option<Arc<str>>,
    /// `options:requested-tnl-key`.
    pub requested_key: Option<u32>,
    /// `options:chassis`: the chassis that has the router alone, a gateway router.
    pub chassis: Option<Arc<str>>,
    /// Whether whoever asks for any address is learned (`options:always_learn_from_arp_request`), and not only those who ask
    /// for the router's or are known already.
    pub always_learns: bool,
    /// Whether its addresses are never announced outside (`options:disable_garp_rarp`).
    pub is_quiet: bool,
    /// The zone of connection tracking for its translations of sources (`options:snat-ct-zone`).
    pub snat_zone: Option<u16>,
    /// After how long neighbours are forgotten of which nobody has heard (`options:mac_binding_age_threshold`), with the text.
    pub ages: Option<(Ages, Arc<str>)>,
}

impl Router {
    /// Reads a row. Nothing comes of one that is disabled.
    pub fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let column = LogicalRouter::COLUMN;
        if column.enabled.get(row) == Some(false) {
            return (None, Vec::new());
        }
        let name: Arc<str> = column.name.get(row);
        let mut complaints = Complaints::about(LogicalRouter::NAME, uuid, Arc::clone(&name));
        let options = Options::read(column.options.name, row.get(column.options.index));
        let external_ids = row.get(column.external_ids.index);
        let router = Self {
            name,
            display_name: external_ids.get_str("neutron:router_name").map(Arc::from),
            requested_key: options.number(
                "requested-tnl-key",
                1..=DatapathKey::MAX,
                &mut complaints,
            ),
            chassis: options
                .text("chassis")
                .filter(|name| !name.is_empty())
                .map(Arc::from),
            always_learns: options.truth("always_learn_from_arp_request", true, &mut complaints),
            is_quiet: options.truth("disable_garp_rarp", false, &mut complaints),
            snat_zone: options.number("snat-ct-zone", 0..=u16::MAX, &mut complaints),
            ages: ages(&options, &mut complaints),
        };
        // It is for a northd whose flows of neighbours are many; here all routers of a switch have one flow for each.
        options.truth("dynamic_neigh_routers", false, &mut complaints);
        (Some(router), complaints.into_problems())
    }
}

fn ages(options: &Options<'_>, complaints: &mut Complaints) -> Option<(Ages, Arc<str>)> {
    let text = options.text("mac_binding_age_threshold")?;
    match text.parse::<Ages>() {
        Ok(ages) => Some((ages, Arc::from(text))),
        Err(error) => {
            let column = LogicalRouter::COLUMN.options.name;
            let remedy = "nothing is forgotten: write seconds, or NETWORK:SECONDS, separated by ;";
            complaints.invalid(column, text, error.at, error.why, remedy);
            None
        }
    }
}
