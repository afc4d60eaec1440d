//! Verbs over the engine of a server: what they make of it, and why they are refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::sync::Arc;

use nb_db::tables::{LogicalRouter, LogicalSwitch, LogicalSwitchPort, Qos};
use northbound::find::find;
use northbound::indexes::indexed_snapshot;
use northbound::port::{Nesting, TagRequest};
use northbound::qos::{Dscp, NewQos, QosFilter};
use northbound::route::{NewRoute, NextHop, RouteFilter};
use northbound::values::{Direction, Existing, Priority};
use northbound::{
    Draft, Refusal, RefusalKind, Rows, Snapshot, address, datapath, port, qos, route, router_port,
};
use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, Table, Transaction, Uuid};
use table::{Context, Database, Execution};

type Verb = fn(&mut Draft<'_>) -> Result<(), Box<dyn Refusal>>;

/// Turns what a verb gives into what is compared here.
macro_rules! verb {
    (|$draft:ident| $body:expr) => {
        |$draft: &mut Draft<'_>| match $body {
            Ok(_) => Ok(()),
            Err(error) => Err(Box::new(error) as Box<dyn Refusal>),
        }
    };
}

/// A copy that has an index for whatever a verb looks for, or else it fails.
#[derive(Debug)]
struct Indexed(Snapshot);

impl Rows for Indexed {
    fn schema(&self) -> &Arc<DatabaseSchema> {
        self.0.schema()
    }

    fn row(&self, table: usize, uuid: Uuid) -> Option<&Arc<Row>> {
        self.0.row(table, uuid)
    }

    fn rows(&self, table: usize) -> Box<dyn Iterator<Item = (Uuid, &Arc<Row>)> + '_> {
        self.0.rows(table)
    }

    fn holding(&self, table: usize, column: usize, datum: &Datum) -> Option<Vec<Uuid>> {
        let found = self.0.holding(table, column, datum);
        assert!(found.is_some(), "no index of contents: {table}, {column}");
        found
    }

    fn containing(&self, table: usize, column: usize, atom: &Atom) -> Option<Vec<Uuid>> {
        let found = self.0.containing(table, column, atom);
        assert!(found.is_some(), "no index of elements: {table}, {column}");
        found
    }
}

/// A server's database and a copy of it, to which verbs are done one after the other, each in a transaction of its own.
struct Server(Database, Indexed);

impl Server {
    fn new() -> Self {
        let mut database = Database::new(Arc::clone(nb_db::schema()));
        let names = LogicalSwitch::COLUMN.name.index;
        database.add_lookup(LogicalSwitch::INDEX, &[names]);
        Self(database, Indexed(indexed_snapshot()))
    }

    /// Does the verb over the engine and over the copy; they must agree.
    fn run(&mut self, verb: Verb) -> Result<(), Box<dyn Refusal>> {
        let mut draft = Draft::new(&self.0);
        let outcome = verb(&mut draft);
        let mut over_copy = Draft::new(&self.1);
        let kind = |outcome: &Result<(), Box<dyn Refusal>>| {
            outcome.as_ref().err().map(|error| error.kind())
        };
        assert_eq!(kind(&outcome), kind(&verb(&mut over_copy)));
        outcome?;
        let operations = draft.operations();
        assert_eq!(operations.len(), over_copy.operations().len());
        let transaction = Transaction {
            asked: operations.len(),
            operations,
            error: None,
        };
        match self.0.execute(&transaction, &Context::default()) {
            Execution::Done(done) => {
                assert!(done.outcome.is_ok(), "{:?}", done.outcome);
                for change in done.delta {
                    self.1.0.apply(change);
                }
            }
            Execution::Blocked { .. } => panic!("nothing waits"),
        }
        Ok(())
    }

    fn only<T: Table>(&self) -> T {
        let mut rows = self.0.rows(T::INDEX);
        let (uuid, row) = rows.next().unwrap();
        assert!(rows.next().is_none());
        T::from_row(uuid, row)
    }
}

fn switch(draft: &Draft<'_>) -> Uuid {
    find::<LogicalSwitch>(draft, "s").unwrap()
}

fn port_of(draft: &Draft<'_>, name: &str) -> Uuid {
    find::<LogicalSwitchPort>(draft, name).unwrap()
}

fn rule(matches: &str) -> NewQos<'_> {
    NewQos {
        direction: Direction::FromPort,
        priority: Priority::new(5).unwrap(),
        matches,
        rate_kbps: None,
        burst_kbit: None,
        dscp: Dscp::new(10),
        mark: 0,
    }
}

fn a_route(prefix: &str, hop: &str) -> NewRoute<'static> {
    NewRoute {
        prefix: prefix.parse().unwrap(),
        policy: None,
        next_hop: NextHop::Ip(hop.parse().unwrap()),
        output_port: None,
        table: "",
        watch: None,
        is_ecmp: false,
        is_symmetric: false,
    }
}

#[test]
fn verbs_are_done_or_refused() {
    use RefusalKind::{AlreadyExists, Conflict, Invalid, NotFound};
    let verbs: &[(&str, Verb, Option<RefusalKind>)] = &[
        (
            "a switch",
            verb!(|draft| datapath::add_switch(draft, Some("s"), Existing::Refuse)),
            None,
        ),
        (
            "a switch that is there",
            verb!(|draft| datapath::add_switch(draft, Some("s"), Existing::Refuse)),
            Some(AlreadyExists),
        ),
        (
            "a switch that is there and may be",
            verb!(|draft| datapath::add_switch(draft, Some("s"), Existing::Accept)),
            None,
        ),
        (
            "a switch that nobody knows",
            verb!(|draft| find::<LogicalSwitch>(draft, "t")),
            Some(NotFound),
        ),
        (
            "a port",
            verb!(|draft| port::add_port(draft, switch(draft), "p", None, false)),
            None,
        ),
        (
            "a port that is no container, as a container",
            verb!(|draft| {
                let nesting = Nesting {
                    parent: "q".into(),
                    tag: TagRequest::new(5).unwrap(),
                };
                port::add_port(draft, switch(draft), "p", Some(&nesting), true)
            }),
            Some(AlreadyExists),
        ),
        (
            "another port with addresses",
            verb!(|draft| {
                let made = port::add_port(draft, switch(draft), "q", None, false).unwrap();
                let address = "00:00:00:00:00:01 10.0.0.1".parse().unwrap();
                address::set_addresses(draft, made.uuid, &[address])
            }),
            None,
        ),
        (
            "an address that another port has",
            verb!(|draft| {
                let address = "00:00:00:00:00:02 10.0.0.1".parse().unwrap();
                address::set_addresses(draft, port_of(draft, "p"), &[address])
            }),
            Some(Conflict),
        ),
        (
            "a rule",
            verb!(|draft| qos::add_qos(draft, switch(draft), &rule("ip4"), false)),
            None,
        ),
        (
            "a rule that does nothing",
            verb!(|draft| {
                let new = NewQos {
                    dscp: None,
                    ..rule("ip6")
                };
                qos::add_qos(draft, switch(draft), &new, false)
            }),
            Some(Invalid),
        ),
        (
            "a router",
            verb!(|draft| datapath::add_router(draft, Some("r"), Existing::Refuse)),
            None,
        ),
        (
            "a route",
            verb!(|draft| {
                let router = find::<LogicalRouter>(draft, "r").unwrap();
                route::add_route(draft, router, &a_route("10.0.0.1/8", "10.0.0.9"), false)
            }),
            None,
        ),
        (
            "a route for the same prefix",
            verb!(|draft| {
                let router = find::<LogicalRouter>(draft, "r").unwrap();
                route::add_route(draft, router, &a_route("10.9.0.0/8", "10.0.0.8"), false)
            }),
            Some(AlreadyExists),
        ),
        (
            "routes of another table, none",
            verb!(|draft| {
                let router = find::<LogicalRouter>(draft, "r").unwrap();
                let filter = RouteFilter {
                    table: Some("other"),
                    ..RouteFilter::default()
                };
                let count = route::delete_routes(draft, router, &filter);
                assert_eq!(count, Ok(0));
                count
            }),
            None,
        ),
        (
            "a route with a next hop of another family",
            verb!(|draft| {
                let router = find::<LogicalRouter>(draft, "r").unwrap();
                route::add_route(draft, router, &a_route("10.0.0.0/8", "fd00::1"), false)
            }),
            Some(Invalid),
        ),
        (
            "a chassis that may not host a port",
            verb!(|draft| router_port::delete_gateway_chassis(draft, Uuid::nil(), "c")),
            Some(NotFound),
        ),
        (
            "no rules any more",
            verb!(|draft| qos::delete_qos(draft, switch(draft), QosFilter::All)),
            None,
        ),
        (
            "no port any more",
            verb!(|draft| port::delete_port(draft, port_of(draft, "p"))),
            None,
        ),
    ];
    let mut server = Server::new();
    for (what, verb, expected) in verbs {
        let refused = server.run(*verb).err();
        let kind = refused.as_ref().map(|error| error.kind());
        assert_eq!(kind, *expected, "{what}: {refused:?}");
    }
    assert_eq!(server.0.row_count(Qos::INDEX), 0);
    let port = server.only::<LogicalSwitchPort>();
    assert_eq!(&*port.name, "q");
    assert_eq!(server.only::<LogicalSwitch>().ports, [port.uuid]);
}
