//! BFD sessions with the next hops of routes and policies (RFC 5880; `BFD`).
//!
//! ```text
//!   BFD, northbound ── SESSION       what makes sense by itself
//!                        │
//!                      IS_UP         as the southbound row says that the chassis has found it
//!                        │
//!      routes, policies ─┤           a next hop with a session that is not up is not used
//!                        │
//!                      WATCHED       who asks for the session
//!                        │
//!                      the row, the status, the flows
//! ```
//!
//! Guarantees that a session has a row southbound, that its `status` is told northbound, and that packets of one which a route or a
//! policy asks for are brought to the chassis and leave the router as they are: not by routes and policies, and with the hop limit
//! that shows that no router has forwarded them (RFC 5881, section 5). A session that nobody asks for is `admin_down`. One chassis has to
//! have the port, as a gateway or with the router: it runs the session, which without one is `down`.
//!
//! A next hop whose session is `init` is not used, either: it does not hear us.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use addr::Cidr;
use lflow::action::Plain;
use lflow::{Symbol, a, m};
use nb_db::tables::Bfd;
use ovsdb::typed::{ColumnValue, Table, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use relations::{Bucket, Handle, Relation, Small};
use sb_db::tables::{self as sb, PortBinding};
use uuid::Uuid;

use super::ROUTER;
use super::gateways::{self, REDIRECT};
use super::links::{PEER, Peer};
use super::ports::{self, BINDING, PORT, RESIDENCE, View};
use super::routes::{self, Next};
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::problem::{Complaints, Problem};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, routers};

/// Sessions that make sense by themselves.
static SESSION: Relation<Handle, Arc<Session>> = Relation::new("bfd session");
/// Sessions that are up.
static IS_UP: Relation<Handle, ()> = Relation::new("bfd session is up");
/// The rows of routes and policies that ask for a session.
pub static WATCHED: Bucket<Handle, Uuid> = Bucket::new("who asks for a bfd session");
/// What those have to read who call [`lives`].
pub const READS: [&dyn relations::Declared; 2] = [&SESSION, &IS_UP];

/// The port that control packets are for (RFC 5881, section 4).
const UDP_PORT: u32 = 3784;
/// Where source ports begin (RFC 5881, section 4), and how many there are.
const SOURCE_PORTS: (u16, u16) = (49_152, 16_384);
/// What a row says that says nothing.
const DEFAULT_TIME: Duration = Duration::from_millis(1_000);
const DEFAULT_MULTIPLIER: u8 = 5;

const OWN: Rule = Rule::new(
    Stage::RouterInOwn,
    110,
    "a packet of a BFD session of the chassis: next, though it has the router's address",
);
const HEARD: Rule = Rule::new(
    Stage::RouterInInput,
    110,
    "a packet of a BFD session from its neighbour: to the chassis",
);
const OUTWARD: Rule = Rule::new(
    Stage::RouterInInput,
    110,
    "a packet of a BFD session of the chassis: next, though it is to all of Ethernet, as OVN's chassis write it",
);
const SENT: Rule = Rule::new(
    Stage::RouterInRouting,
    10_400,
    "a packet of a BFD session of the chassis: to its neighbour, with the hop limit that it has",
);
const NO_POLICY: Rule = Rule::new(
    Stage::RouterInPolicy,
    65_000,
    "a packet of a BFD session of the chassis: next",
);

static ROWS: Owned = Owned::south::<sb::Bfd>(&[
    sb::Bfd::COLUMN.src_port.index,
    sb::Bfd::COLUMN.disc.index,
    sb::Bfd::COLUMN.logical_port.index,
    sb::Bfd::COLUMN.dst_ip.index,
    sb::Bfd::COLUMN.min_tx.index,
    sb::Bfd::COLUMN.min_rx.index,
    sb::Bfd::COLUMN.detect_mult.index,
    sb::Bfd::COLUMN.status.index,
    sb::Bfd::COLUMN.chassis_name.index,
]);
static STATUS: Owned = Owned::north_columns::<Bfd>(&[Bfd::COLUMN.status.index]);
const RECORDED: Index = Index::south::<sb::Bfd>(sb::Bfd::COLUMN.logical_port.index);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<Bfd>(&[
            Bfd::COLUMN.logical_port.index,
            Bfd::COLUMN.dst_ip.index,
            Bfd::COLUMN.min_tx.index,
            Bfd::COLUMN.min_rx.index,
            Bfd::COLUMN.detect_mult.index,
        ]),
        Source::south::<sb::Bfd>(&[
            sb::Bfd::COLUMN.src_port.index,
            sb::Bfd::COLUMN.disc.index,
            sb::Bfd::COLUMN.status.index,
        ]),
        Source::south::<PortBinding>(&[PortBinding::COLUMN.chassis.index]),
        Source::south::<sb::Chassis>(&[sb::Chassis::COLUMN.name.index]),
    ],
    indexes: &[RECORDED],
    owns: &[&ROWS, &STATUS],
    relations: &[&SESSION, &IS_UP, &WATCHED],
    kinds: &[&MODEL, &LIFE, &ROW],
    rules: &[OWN, HEARD, OUTWARD, SENT, NO_POLICY],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 4,
            run: routers::session,
        },
        Change {
            weight: 4,
            run: routers::session_status,
        },
    ],
    ..Feature::new("bfd")
};

/// A session that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    port: Arc<str>,
    neighbour: IpAddr,
    min_tx: Duration,
    min_rx: Duration,
    detect_mult: u8,
}

static MODEL: Kind = Kind {
    name: "model/bfd",
    over: Over::North(Bfd::INDEX),
    reads: &[],
    says: &[&SESSION],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (session, problems) = Session::parse(unit.uuid(row), columns);
        if let Some(session) = session {
            unit.say(&SESSION, row, Arc::new(session));
        }
        unit.problems(problems);
    },
};

static LIFE: Kind = Kind {
    name: "bfd/life",
    over: Over::Keys(&SESSION),
    reads: &[&ROUTER, &DATAPATH, &PORT, &BINDING, &RESIDENCE, &REDIRECT],
    says: &[&IS_UP],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(session) = unit.get(&SESSION, row) else {
            return;
        };
        let status = status(unit, identity_of(unit, row, session));
        // What was said by a chassis that has lost the port is not so any more.
        if status.as_deref() == Some("up") && is_hosted(unit, session) {
            unit.say(&IS_UP, row, ());
        }
    },
};

static ROW: Kind = Kind {
    name: "bfd",
    over: Over::North(Bfd::INDEX),
    reads: &[
        &SESSION,
        &WATCHED,
        &ROUTER,
        &DATAPATH,
        &PORT,
        &BINDING,
        &RESIDENCE,
        &REDIRECT,
        &PEER,
        &ports::NETWORKS,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let status = say(unit, row).unwrap_or_else(|| Arc::from("admin_down"));
        let status = Some(status).to_datum();
        unit.columns::<Bfd>(&STATUS, row, [(Bfd::COLUMN.status.index, status)]);
    },
};

/// Whether a next hop may be used as far as this session is concerned; who asks has to go on asking for it. One with another
/// neighbour, or that makes no sense, says nothing of the next hop.
pub fn lives(unit: &mut Unit<'_>, session: Uuid, hop: IpAddr, who: Uuid) -> Option<bool> {
    let row = unit.find_north::<Bfd>(session)?;
    unit.get(&SESSION, row)
        .filter(|session| session.neighbour == hop)?;
    unit.join(&WATCHED, row, who);
    Some(unit.get(&IS_UP, row).is_some())
}

/// The row of a session, its flows if somebody asks for it, and its status.
fn say(unit: &mut Unit<'_>, row: Handle) -> Option<Arc<str>> {
    let session = unit.get(&SESSION, row)?;
    let uuid = identity_of(unit, row, session);
    let is_watched = !unit.members(&WATCHED, row).is_empty();
    let runs = is_watched.then(|| runs(unit, row, session)).flatten();
    let status = match &runs {
        // Who waits for a session that no chassis runs reads that it is down.
        None if is_watched => Arc::from("down"),
        None => Arc::from("admin_down"),
        Some(_) => {
            let is_hosted = is_hosted(unit, session);
            let status = status(unit, uuid).filter(|status| is_hosted && &**status != "admin_down");
            status.unwrap_or_else(|| Arc::from("down"))
        }
    };
    let chassis = runs.as_ref().map(|(chassis, ..)| Arc::clone(chassis));
    let columns = columns(unit, uuid, session, &chassis.unwrap_or_default(), &status);
    unit.row::<sb::Bfd>(uuid, columns);
    if let Some((_, view, source)) = runs {
        flows(unit, row, &view, session.neighbour, source);
    }
    Some(status)
}

/// The chassis that runs a session, its port, and the address from which that speaks; or else a problem that says why none does.
fn runs<'a>(
    unit: &mut Unit<'a>,
    row: Handle,
    session: &Session,
) -> Option<(Arc<str>, View<'a>, IpAddr)> {
    let mut complaints = unit.complaints::<Bfd>(row, Arc::from(""));
    let view = ports::named(unit, &session.port).and_then(|(port, _)| ports::view_of(unit, port));
    let column = Bfd::COLUMN.logical_port.name;
    let Some(view) = view.filter(|view| view.port.is_enabled) else {
        let why = "there is no enabled port of this name in an enabled router";
        let remedy = "there is no session until it is added, or the name corrected";
        complaints.text(column, &session.port, 0, why, remedy);
        unit.problems(complaints.into_problems());
        return None;
    };
    let Some(source) = view.port.source_towards(session.neighbour) else {
        let why = format!(
            "the port has no address to speak to {} from",
            session.neighbour
        );
        let remedy = "there is no session until it has one of that family";
        complaints.text(column, &session.port, 0, why, remedy);
        unit.problems(complaints.into_problems());
        return None;
    };
    let chassis = match view.of.chassis.clone() {
        None if view.is_gateway() => gateways::host(unit, view.row).unwrap_or_default(),
        None => {
            let why = "the port is on all chassis, so that none of them runs a session";
            let remedy =
                "there is no session until it is a gateway port, or its router has options:chassis";
            complaints.text(column, &session.port, 0, why, remedy);
            unit.problems(complaints.into_problems());
            return None;
        }
        Some(chassis) => chassis,
    };
    Some((chassis, view, source))
}

/// The southbound row of a session: the one that is there, or one of its own.
fn identity_of(unit: &Unit<'_>, row: Handle, session: &Session) -> Uuid {
    let column = sb::Bfd::COLUMN;
    let neighbour = session.neighbour.to_string();
    unit.recorded(RECORDED, &Atom::String(Arc::clone(&session.port)))
        .find(|(_, known)| *column.dst_ip.get(known) == *neighbour)
        .map_or_else(
            || identity::derive(&[b"bfd", unit.uuid(row).as_bytes()]),
            |(uuid, _)| uuid,
        )
}

/// What the chassis says of a session.
fn status(unit: &Unit<'_>, uuid: Uuid) -> Option<Arc<str>> {
    let row = unit.south(unit.find_south::<sb::Bfd>(uuid)?)?;
    Some(sb::Bfd::COLUMN.status.get(row))
}

fn columns(
    unit: &Unit<'_>,
    uuid: Uuid,
    session: &Session,
    chassis: &Arc<str>,
    status: &Arc<str>,
) -> [(usize, Datum); 9] {
    let column = sb::Bfd::COLUMN;
    let (disc, port, _, _) = uuid.as_fields();
    // The numbers of a session stay while it is there, whoever gave them: its neighbour knows it by them.
    let known = unit
        .find_south::<sb::Bfd>(uuid)
        .and_then(|known| unit.south(known));
    let known = known.map(|known| (column.disc.get(known), column.src_port.get(known)));
    let (first, count) = SOURCE_PORTS;
    let (disc, port) = known.unwrap_or((i64::from(disc | 1), i64::from(first + port % count)));
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    [
        column.src_port.to(&port),
        column.disc.to(&disc),
        (
            column.logical_port.index,
            Datum::One(Atom::String(Arc::clone(&session.port))),
        ),
        (
            column.dst_ip.index,
            Datum::from(session.neighbour.to_string()),
        ),
        column.min_tx.to(&milliseconds(session.min_tx)),
        column.min_rx.to(&milliseconds(session.min_rx)),
        column.detect_mult.to(&i64::from(session.detect_mult)),
        (
            column.status.index,
            Datum::One(Atom::String(Arc::clone(status))),
        ),
        (
            column.chassis_name.index,
            Datum::One(Atom::String(Arc::clone(chassis))),
        ),
    ]
}

fn flows(unit: &mut Unit<'_>, row: Handle, view: &View<'_>, neighbour: IpAddr, source: IpAddr) {
    let hint = unit.uuid(row);
    let segment = unit.get(&PEER, view.row).map_or(0, Peer::segment);
    // OVN's controllers send from the first address, whatever the network.
    let own: Vec<IpAddr> = view
        .port
        .ips()
        .filter(|ip| ip.is_ipv4() == neighbour.is_ipv4())
        .collect();
    let here = || m::inport(view.port.name.clone());
    let control = || m::eq(Symbol::UdpDst, UDP_PORT);
    let from = m::ip_src_in(Cidr::host(neighbour));
    let to_me = m::one_of(m::ip_dst_field(neighbour), own.clone());
    let mut heard = here() & from & to_me & control();
    if view.port.reaches(neighbour) || ports::is_link_local(neighbour) {
        // Nobody has forwarded it (RFC 5881, section 5).
        heard = heard & m::eq(Symbol::IpTtl, 255u32);
    }
    let from_me = m::one_of(m::ip_src_field(neighbour), own);
    let sent = here() & from_me & m::ip_dst(neighbour) & control();
    let mut flows = unit.flows(view.datapath.uuid, Some(hint));
    flows.add(OWN, &sent, [a::next()]);
    flows.add(OUTWARD, &sent, [a::next()]);
    flows.add(HEARD, &heard, [a::plain(Plain::HandleBfdMsg)]);
    // It is the next hop of those who ask for the session, and so beyond no router.
    let mut then = routes::towards(view.port, segment, Next::Hop(neighbour), source);
    then.push(a::next());
    flows.add(SENT, &sent, then);
    flows.add(NO_POLICY, &sent, [a::next()]);
    routes::ask(&mut flows, neighbour);
}

/// Whether a chassis has the port of a session, and can say how it is.
fn is_hosted(unit: &Unit<'_>, session: &Session) -> bool {
    let port = ports::named(unit, &session.port).and_then(|(port, _)| ports::view_of(unit, port));
    let Some(view) = port else {
        return false;
    };
    let binding = match view.is_gateway() {
        true => unit.get(&REDIRECT, view.row).copied(),
        false => Some(view.binding),
    };
    let row = binding.and_then(|binding| unit.find_south::<PortBinding>(binding.uuid));
    let chassis = row.and_then(|row| unit.south(row));
    chassis.is_some_and(|row| !row.get(PortBinding::COLUMN.chassis.index).is_empty())
}

impl Session {
    fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let mut complaints = Complaints::about(Bfd::NAME, uuid, Arc::from(""));
        let session = Self::parse_with(row, &mut complaints);
        (session, complaints.into_problems())
    }

    fn parse_with(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = Bfd::COLUMN;
        let text: Arc<str> = column.dst_ip.get(row);
        let neighbour = match text.parse::<Cidr>() {
            Ok(ip) if ip.is_host() && !text.contains('/') => ip.addr(),
            Ok(_) => {
                let why = "a network is no neighbour";
                complaints.text(column.dst_ip.name, &text, 0, why, "write one address");
                return None;
            }
            Err(error) => {
                complaints.address(column.dst_ip.name, &text, &error);
                return None;
            }
        };
        let time = |name: &'static str, value: Option<i64>, complaints: &mut Complaints| {
            let Some(value) = value else {
                return DEFAULT_TIME;
            };
            // On the wire it is microseconds in 32 bits.
            match u32::try_from(value)
                .ok()
                .filter(|ms| *ms <= u32::MAX / 1_000)
            {
                Some(ms) => Duration::from_millis(ms.into()),
                None => {
                    let why = format!("{value} is no number of milliseconds up to 4294967");
                    complaints.column(name, why, "it is taken to be 1000");
                    DEFAULT_TIME
                }
            }
        };
        let min_tx = time(column.min_tx.name, column.min_tx.get(row), complaints);
        let min_rx = time(column.min_rx.name, column.min_rx.get(row), complaints);
        let multiplier: Option<i64> = column.detect_mult.get(row);
        let detect_mult = match multiplier.map(u8::try_from) {
            None => DEFAULT_MULTIPLIER,
            Some(Ok(multiplier)) if multiplier > 0 => multiplier,
            Some(_) => {
                let why = "a multiplier is a number from 1 to 255";
                complaints.column(column.detect_mult.name, why, "it is taken to be 5");
                DEFAULT_MULTIPLIER
            }
        };
        Some(Self {
            port: column.logical_port.get(row),
            neighbour,
            min_tx,
            min_rx,
            detect_mult,
        })
    }
}

#[cfg(test)]
mod tests {
    use nb_db::tables::{LogicalRouter, LogicalRouterPort, LogicalRouterStaticRoute};
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::{World, insert};

    /// The actions for packets to the prefix.
    fn followed(world: &World) -> Vec<String> {
        let flows = world.sb::<sb::LogicalFlow>().into_iter();
        let flows = flows.filter(|(_, flow)| flow.r#match.contains("10.7.0.0/16"));
        flows.map(|(_, flow)| flow.actions.to_string()).collect()
    }

    #[test]
    fn a_route_is_followed_while_its_session_is_up() {
        let uuid = Uuid::from_u128;
        let mut world = World::new();
        let session = Bfd {
            logical_port: "p".into(),
            dst_ip: "10.0.0.9".into(),
            min_tx: Some(100),
            ..Default::default()
        };
        let port = LogicalRouterPort {
            name: "p".into(),
            mac: "02:00:00:00:00:01".into(),
            networks: vec!["10.0.0.1/24".into()],
            ..Default::default()
        };
        let route = |hop: &str, bfd| LogicalRouterStaticRoute {
            ip_prefix: "10.7.0.0/16".into(),
            nexthop: hop.into(),
            bfd,
            ..Default::default()
        };
        let mut router = LogicalRouter {
            name: "r".into(),
            ports: vec![uuid(2)],
            static_routes: vec![uuid(4), uuid(5)],
            ..Default::default()
        };
        router.options.insert("chassis".into(), "c0".into());
        world.north(vec![
            insert(uuid(1), &session),
            insert(uuid(2), &port),
            insert(uuid(3), &router),
            insert(uuid(4), &route("10.0.0.9", Some(uuid(1)))),
            insert(uuid(5), &route("10.0.0.8", None)),
        ]);
        let northbound = |world: &World| world.nb::<Bfd>()[0].1.status.clone();
        let rows = world.sb::<sb::Bfd>();
        let [(row, first)] = rows.as_slice() else {
            panic!("{rows:?}");
        };
        assert_eq!(
            (first.min_tx, first.min_rx, first.detect_mult),
            (100, 1_000, 5)
        );
        assert_eq!((&*first.status, &*first.chassis_name), ("down", "c0"));
        assert_eq!(northbound(&world).as_deref(), Some("down"));
        assert_eq!(followed(&world).len(), 1, "by the other hop");

        let host = |world: &mut World, chassis: Option<Uuid>| {
            let bindings = world.sb::<PortBinding>();
            let column = PortBinding::COLUMN.chassis;
            let columns = vec![column.to(&chassis)];
            let update = Operation::update_row(PortBinding::INDEX, bindings[0].0, columns);
            world.south(vec![update]);
        };
        let encap = sb::Encap {
            r#type: "geneve".into(),
            ip: "192.0.2.1".into(),
            chassis_name: "c0".into(),
            ..Default::default()
        };
        let chassis = sb::Chassis {
            name: "c0".into(),
            encaps: vec![uuid(21)],
            ..Default::default()
        };
        world.south(vec![insert(uuid(21), &encap), insert(uuid(20), &chassis)]);
        host(&mut world, Some(uuid(20)));

        let say = |world: &mut World, status: &str| {
            let columns = vec![sb::Bfd::COLUMN.status.to(&Arc::from(status))];
            world.south(vec![Operation::update_row(sb::Bfd::INDEX, *row, columns)]);
        };
        for (status, flows) in [("init", 1), ("up", 3), ("down", 1), ("up", 3)] {
            say(&mut world, status);
            assert_eq!(followed(&world).len(), flows, "{status}");
            assert_eq!(northbound(&world).as_deref(), Some(status));
        }
        // Nobody has the port, and nobody can say that the session is up.
        host(&mut world, None);
        assert_eq!(followed(&world).len(), 1);
        assert_eq!(northbound(&world).as_deref(), Some("down"));
        host(&mut world, Some(uuid(20)));
        assert_eq!(followed(&world).len(), 1, "it has to be said again");

        let (_, last) = &world.sb::<sb::Bfd>()[0];
        assert_eq!((last.disc, last.src_port), (first.disc, first.src_port));

        // Nobody asks for it any more.
        let columns = vec![LogicalRouter::COLUMN.static_routes.to(&vec![uuid(5)])];
        world.north(vec![Operation::update_row(
            LogicalRouter::INDEX,
            uuid(3),
            columns,
        )]);
        let (_, idle) = &world.sb::<sb::Bfd>()[0];
        assert_eq!((&*idle.status, idle.disc), ("admin_down", first.disc));
        assert_eq!(northbound(&world).as_deref(), Some("admin_down"));
    }
}
