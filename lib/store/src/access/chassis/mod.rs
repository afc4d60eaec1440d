//! Which rows are a chassis' own.
//!
//! | table | whose row it is |
//! | --- | --- |
//! | `Chassis`, `Chassis_Private` | the chassis' of that `name` |
//! | `Encap` | that of `chassis_name` |
//! | `Port_Binding` | see [`binding`]: who may claim the port, or has it |
//! | `MAC_Binding`, `Learned_Route` | of every chassis to which the datapath is local ([`locality`]), if the router port is there and is bound to no other chassis |
//! | `FDB` | of the chassis that has the port; at a `localnet` port, of every chassis to which the datapath is local |
//! | `IGMP_Group`, `Controller_Event` | that of `chassis`, or of `chassis_name` |
//! | `Service_Monitor`, `BFD` | that of `chassis_name`; where OVN's older northd left it empty, of who has the port |
//!
//! A row is looked at twice: before an operation touches it, as it was before the transaction, and at the end, as all
//! operations left it. So the order of operations does not matter, and an operation that changes nothing is denied
//! like any other.

mod binding;
mod columns;
mod locality;

use ovsdb::schema::DatabaseSchema;
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};
use table::Database;

use self::columns::Tables;

/// The rules.
#[derive(Debug)]
pub struct Chassis {
    tables: Tables,
}

/// Why a row may not become what it would.
#[derive(Debug)]
pub struct Denied {
    /// The column, if it is about one.
    pub column: Option<&'static str>,
    /// In words.
    pub why: String,
}

impl Denied {
    fn row(why: impl Into<String>) -> Self {
        Self {
            column: None,
            why: why.into(),
        }
    }

    fn column(column: &'static str, why: impl Into<String>) -> Self {
        Self {
            column: Some(column),
            why: why.into(),
        }
    }
}

/// What is done to a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Touch {
    /// It is to be changed.
    Update,
    /// It is to be deleted.
    Delete,
    /// It has been made, or changed, to be what it is.
    Have,
}

/// The chassis that asks.
#[derive(Clone, Copy)]
struct Asker<'a> {
    database: &'a Database,
    tables: &'a Tables,
    /// The name that its certificate vouches for.
    name: &'a str,
    /// Its row, if it is registered.
    row: Option<Uuid>,
}

impl Chassis {
    /// The rules for a schema; `None` if it is not the southbound's.
    pub fn new(schema: &DatabaseSchema) -> Option<Self> {
        let tables = Tables::find(schema)?;
        Some(Self { tables })
    }

    /// Sees to it that what the rules ask about is found quickly: soon, for a client that has just come.
    pub fn foresee(&self, database: &mut Database) {
        for (table, columns) in self.lookups() {
            database.want_lookup(table, &columns);
        }
    }

    /// Sees to it that what the rules ask about is found quickly, now.
    pub fn prepare(&self, database: &mut Database) {
        for (table, columns) in self.lookups() {
            database.add_lookup(table, &columns);
        }
    }

    fn lookups(&self) -> [(usize, Vec<usize>); 5] {
        let (ports, members) = (&self.tables.port_binding, &self.tables.ha_chassis);
        [
            (ports.table, vec![ports.chassis]),
            (ports.table, vec![ports.additional_chassis]),
            (ports.table, vec![ports.ha_chassis_group]),
            (ports.table, vec![ports.datapath, ports.type_]),
            (members.table, vec![members.chassis]),
        ]
    }

    /// Whether an operation of the chassis may be about a row, which is given with its table's index.
    pub fn may_touch(
        &self,
        database: &Database,
        name: &str,
        (table, row): (usize, &Row),
        touch: Touch,
    ) -> Result<(), String> {
        let asker = self.asker(database, name)?;
        let t = &self.tables;
        if table == t.chassis.table {
            asker.named(row.get(t.chassis.name))
        } else if table == t.chassis_private.table {
            asker.named(row.get(t.chassis_private.name))
        } else if table == t.encap.table {
            asker.named(row.get(t.encap.chassis_name))
        } else if table == t.port_binding.table {
            binding::may_touch(asker, row)
        } else if table == t.mac_binding.table {
            let place = (row.get(t.mac_binding.logical_port), t.mac_binding.datapath);
            match asker.port_named(place.0) {
                Some(port) => asker.learns_at(port, row.get(place.1)),
                // Whoever forgets what was learned at a port that is gone does no harm.
                None if touch == Touch::Delete => asker.has_local(row.get(place.1)),
                None => Err("there is no such logical port".to_owned()),
            }
        } else if table == t.learned_route.table {
            let port = row.get(t.learned_route.logical_port);
            let port = asker.port(port).ok_or("there is no such logical port")?;
            asker.learns_at(port, row.get(t.learned_route.datapath))
        } else if table == t.fdb.table {
            match touch {
                // An address moves: the row is taken over by who has the port behind which it is now.
                Touch::Update => asker.has_local_key(row.get(t.fdb.dp_key)),
                Touch::Delete => asker.forwards(row, true),
                Touch::Have => asker.forwards(row, false),
            }
        } else if table == t.igmp_group.table {
            let columns = &t.igmp_group;
            asker.owned(
                row.get(columns.chassis),
                Some(row.get(columns.chassis_name)),
            )
        } else if table == t.controller_event.table {
            asker.owned(row.get(t.controller_event.chassis), None)
        } else if table == t.service_monitor.table {
            let columns = &t.service_monitor;
            asker.assigned(row.get(columns.chassis_name), || {
                let port = asker.port_named(row.get(columns.logical_port));
                asker.holds(port.ok_or("there is no such logical port")?)
            })
        } else if table == t.bfd.table {
            let columns = &t.bfd;
            asker.assigned(row.get(columns.chassis_name), || {
                let port = asker.port_named(row.get(columns.logical_port));
                let port = port.ok_or("there is no such logical port")?;
                asker.learns_at(port, port.get(t.port_binding.datapath))
            })
        } else {
            Err("no row of this table is a chassis' own".to_owned())
        }
    }

    /// Whether a row may become what the chassis made of it.
    pub fn may_become(
        &self,
        database: &Database,
        name: &str,
        change: &RowChange,
    ) -> Result<(), Denied> {
        // What a row was, was looked at when it was touched.
        let Some(new) = &change.new else {
            return Ok(());
        };
        let asker = self.asker(database, name).map_err(Denied::row)?;
        let t = &self.tables;
        if change.table == t.port_binding.table {
            let old = change.old.as_ref();
            let old = old.ok_or_else(|| Denied::row("only northd makes ports"))?;
            return binding::may_become(asker, old, new);
        }
        if change.table == t.chassis.table {
            asker.names_own_encaps(change.old.as_deref(), new)?;
        }
        if change.table == t.chassis_private.table {
            let chassis = new.get(t.chassis_private.chassis);
            if !chassis.is_empty() && !asker.is_own(chassis) {
                return Err(Denied::column("chassis", "it is another chassis'"));
            }
        }
        if change.table == t.igmp_group.table {
            let columns = &t.igmp_group;
            asker
                .has_local(new.get(columns.datapath))
                .map_err(|why| Denied::column("datapath", why))?;
            asker
                .are_of(new.get(columns.ports), new.get(columns.datapath))
                .map_err(|why| Denied::column("ports", why))?;
        }
        self.may_touch(database, name, (change.table, new), Touch::Have)
            .map_err(Denied::row)
    }

    fn asker<'a>(&'a self, database: &'a Database, name: &'a str) -> Result<Asker<'a>, String> {
        if name.is_empty() {
            return Err(
                "a chassis is known by the common name of its certificate, and this \
                        client has none"
                    .to_owned(),
            );
        }
        let chassis = &self.tables.chassis;
        let rows = database.rows_with(chassis.table, chassis.name, &Datum::from(name));
        Ok(Asker {
            database,
            tables: &self.tables,
            name,
            row: rows.first().map(|(uuid, _)| *uuid),
        })
    }
}

impl<'a> Asker<'a> {
    /// Whether a column has the chassis' name.
    fn named(self, column: &Datum) -> Result<(), String> {
        if *column == Datum::from(self.name) {
            return Ok(());
        }
        Err(format!("the row is that of chassis {column}"))
    }

    /// Whether a reference to a chassis is to this one.
    fn is_own(self, reference: &Datum) -> bool {
        self.row.is_some() && self.row == uuid(reference)
    }

    /// Whether a row that refers to a chassis, and may name one, is this one's.
    fn owned(self, reference: &Datum, name: Option<&Datum>) -> Result<(), String> {
        let name = name.filter(|name| **name != Datum::from(""));
        let names_other = name.is_some_and(|name| *name != Datum::from(self.name));
        let refers = !reference.is_empty();
        if names_other || (refers && !self.is_own(reference)) {
            return Err("the row is that of another chassis".to_owned());
        }
        if refers || name.is_some() {
            return Ok(());
        }
        Err("the row does not say whose it is".to_owned())
    }

    /// Whether a row that northd made for a chassis is for this one; `otherwise` decides where it names none.
    fn assigned(
        self,
        name: &Datum,
        otherwise: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        if *name == Datum::from("") {
            return otherwise();
        }
        self.named(name)
    }

    fn port(self, reference: &Datum) -> Option<&'a Row> {
        let row = self
            .database
            .row(self.tables.port_binding.table, uuid(reference)?)?;
        Some(row)
    }

    fn port_named(self, name: &Datum) -> Option<&'a Row> {
        let columns = &self.tables.port_binding;
        let rows = self
            .database
            .rows_with(columns.table, columns.logical_port, name);
        rows.first().map(|(_, row)| &***row)
    }

    /// Whether the port is bound to this chassis.
    fn holds(self, port: &Row) -> Result<(), String> {
        let columns = &self.tables.port_binding;
        let own = self.row.is_some_and(|own| {
            self.is_own(port.get(columns.chassis))
                || port
                    .get(columns.additional_chassis)
                    .contains(&Atom::Uuid(own))
        });
        if own {
            return Ok(());
        }
        Err(format!(
            "logical port {} is not bound to this chassis",
            port.get(columns.logical_port)
        ))
    }

    /// Whether something about a router port may be learned here.
    fn learns_at(self, port: &Row, datapath: &Datum) -> Result<(), String> {
        let columns = &self.tables.port_binding;
        let name = port.get(columns.logical_port);
        if port.get(columns.datapath) != datapath {
            return Err(format!("logical port {name} is not of that datapath"));
        }
        if !port.get(columns.chassis).is_empty() {
            return self.holds(port);
        }
        self.has_local(datapath)
    }

    /// The datapath with this key.
    fn datapath(self, key: &Datum) -> Option<Datum> {
        let columns = &self.tables.datapath_binding;
        let rows = self
            .database
            .rows_with(columns.table, columns.tunnel_key, key);
        rows.first().map(|(uuid, _)| Datum::from(Atom::Uuid(*uuid)))
    }

    fn has_local_key(self, key: &Datum) -> Result<(), String> {
        let datapath = self.datapath(key);
        self.has_local(&datapath.ok_or("there is no datapath with that key")?)
    }

    /// Whether an address may be learned behind the port that a row of `FDB` names.
    fn forwards(self, row: &Row, deletes: bool) -> Result<(), String> {
        let (ports, fdb) = (&self.tables.port_binding, &self.tables.fdb);
        let Some(datapath) = self.datapath(row.get(fdb.dp_key)) else {
            let gone = "there is no datapath with that key".to_owned();
            return if deletes { Ok(()) } else { Err(gone) };
        };
        let place = [
            ovsdb::Clause::equals(ports.datapath, datapath.clone()),
            ovsdb::Clause::equals(ports.tunnel_key, row.get(fdb.port_key).clone()),
        ];
        let found = self.database.matching(ports.table, &place);
        let port = found
            .first()
            .and_then(|uuid| self.database.row(ports.table, *uuid));
        match port {
            Some(port) if *port.get(ports.type_) == Datum::from("localnet") => {
                self.has_local(&datapath)
            }
            Some(port) => self.holds(port),
            None if deletes => self.has_local(&datapath),
            None => Err("there is no port with that key".to_owned()),
        }
    }

    /// Whether all tunnel endpoints of a chassis' row are its own.
    fn names_own_encaps(self, old: Option<&Row>, new: &Row) -> Result<(), Denied> {
        let column = self.tables.chassis.encaps;
        let encaps = new.get(column);
        if old.is_some_and(|old| old.get(column) == encaps) {
            return Ok(());
        }
        let foreign = encaps.atoms().iter().filter_map(Atom::as_uuid);
        if foreign.into_iter().all(|encap| self.is_own_encap(encap)) {
            return Ok(());
        }
        Err(Denied::column("encaps", "one is of another chassis"))
    }

    fn is_own_encap(self, encap: Uuid) -> bool {
        let columns = &self.tables.encap;
        let row = self.database.row(columns.table, encap);
        row.is_some_and(|row| self.named(row.get(columns.chassis_name)).is_ok())
    }

    /// Whether all these ports are of the datapath.
    fn are_of(self, ports: &Datum, datapath: &Datum) -> Result<(), String> {
        let columns = &self.tables.port_binding;
        let mut ports = ports.atoms().iter().filter_map(Atom::as_uuid);
        let elsewhere = ports.find(|port| {
            let row = self.database.row(columns.table, *port);
            row.is_some_and(|row| row.get(columns.datapath) != datapath)
        });
        match elsewhere {
            Some(port) => Err(format!("port {port} is not of that datapath")),
            None => Ok(()),
        }
    }
}

/// The row to which a column refers, if it refers to one.
fn uuid(reference: &Datum) -> Option<Uuid> {
    reference.scalar().and_then(Atom::as_uuid)
}
