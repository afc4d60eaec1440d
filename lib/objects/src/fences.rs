//! Names that lead to what is another's. A client that is for some owners' objects may refer to those alone; but some texts are
//! references, too, though the database does not know it (a port of a router by its name, a physical network), and some rows
//! belong to no owner (groups of chassis and of load balancers). What they name must be the client's own, or must stand there
//! already, put there by somebody who may. And a name that another's row has is nobody else's to take: it may be there when its
//! object is gone.

use std::collections::HashSet;

use nb_db::tables::{
    Acl, AddressSet, LoadBalancer, LogicalRouter, LogicalRouterPolicy, LogicalRouterPort,
    LogicalSwitch, LogicalSwitchPort, Mirror, Nat, PortGroup, Qos,
};
use northbound::{Rows, Snapshot, matches};
use ovsdb::{Atom, Datum, Row, Table, TableDefinition, Uuid};

use crate::catalog::{Field, Kind, Place, catalog};
use crate::declared::{self, Content, Declared, Resolver, Wrongs};
use crate::error::{Code, Violation};
use crate::find::{find_if_any, owner_of, with_pair};

/// Where a name leads.
#[derive(Clone, Copy, Debug)]
enum Leads {
    /// To a port of this table, by its very name.
    To(usize),
    /// Out of the logical network, where nobody owns anything.
    Out,
    /// Out of it, unless it is this.
    OutBut(&'static str),
    /// Out of it, if the port is one of a physical network.
    OutIfPhysical,
}

/// Where in a column names stand.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// It is one.
    Whole,
    /// The value of a key.
    Key(&'static str),
    /// The value of a key: several, with commas between them.
    List(&'static str),
    /// All values, up to the colon in front of an address.
    Values,
}

/// A text that names something: the table, the column, and where it leads.
type Named = (usize, &'static str, Part, Leads);

const SWITCH_PORT: usize = LogicalSwitchPort::INDEX;
const ROUTER_PORT: usize = LogicalRouterPort::INDEX;

const NAMED: [Named; 19] = [
    (
        SWITCH_PORT,
        "options",
        Part::Key("router-port"),
        Leads::To(ROUTER_PORT),
    ),
    (
        SWITCH_PORT,
        "options",
        Part::List("virtual-parents"),
        Leads::To(SWITCH_PORT),
    ),
    (
        SWITCH_PORT,
        "options",
        Part::Key("network_name"),
        Leads::Out,
    ),
    (
        SWITCH_PORT,
        "options",
        Part::Key("vtep-physical-switch"),
        Leads::Out,
    ),
    (
        SWITCH_PORT,
        "parent_name",
        Part::Whole,
        Leads::To(SWITCH_PORT),
    ),
    (SWITCH_PORT, "peer", Part::Whole, Leads::To(SWITCH_PORT)),
    (SWITCH_PORT, "type", Part::Whole, Leads::OutIfPhysical),
    (SWITCH_PORT, "tag", Part::Whole, Leads::OutIfPhysical),
    (
        SWITCH_PORT,
        "tag_request",
        Part::Whole,
        Leads::OutIfPhysical,
    ),
    (ROUTER_PORT, "peer", Part::Whole, Leads::To(ROUTER_PORT)),
    (
        ROUTER_PORT,
        "options",
        Part::Key("routing-protocol-redirect"),
        Leads::To(SWITCH_PORT),
    ),
    (
        LogicalRouter::INDEX,
        "options",
        Part::Key("dynamic-routing-vrf-id"),
        Leads::Out,
    ),
    (
        LogicalRouter::INDEX,
        "options",
        Part::Key("dynamic-routing-vrf-name"),
        Leads::Out,
    ),
    (
        LogicalRouter::INDEX,
        "options",
        Part::Key("snat-ct-zone"),
        Leads::Out,
    ),
    // Whoever has a key that another asks for is given another one.
    (
        LogicalSwitch::INDEX,
        "other_config",
        Part::Key("requested-tnl-key"),
        Leads::Out,
    ),
    (
        LogicalRouter::INDEX,
        "options",
        Part::Key("requested-tnl-key"),
        Leads::Out,
    ),
    (
        LoadBalancer::INDEX,
        "ip_port_mappings",
        Part::Values,
        Leads::To(SWITCH_PORT),
    ),
    (
        Nat::INDEX,
        "logical_port",
        Part::Whole,
        Leads::To(SWITCH_PORT),
    ),
    // A sink that is a port has its name; the others are addresses of the underlay, or interfaces of chassis.
    (Mirror::INDEX, "type", Part::Whole, Leads::OutBut("lport")),
];

/// Where matches stand, which name sets of addresses and groups of ports.
const MATCHES: [(usize, &str); 4] = [
    (Acl::INDEX, "match"),
    (Qos::INDEX, "match"),
    (LogicalRouterPolicy::INDEX, "match"),
    (Nat::INDEX, "match"),
];

/// What is named as `sink` of a mirror to a port.
const SINK: Named = (Mirror::INDEX, "sink", Part::Whole, Leads::To(SWITCH_PORT));

/// [`declared::contents`], and no name in them that leads beyond the owners that the client is for.
///
/// # Errors
/// All that is wrong.
pub fn contents(
    resolver: &Resolver<'_>,
    declared: &Declared,
    is_wanted: &dyn Fn(&Field) -> bool,
    keeps: bool,
) -> Result<Vec<(&'static Field, Content)>, Wrongs> {
    let contents = declared::contents(resolver, declared, is_wanted, keeps)?;
    if resolver.owners.is_none() {
        return Ok(contents);
    }
    let kind = declared.kind;
    let found = find_if_any(resolver.rows, kind, &declared.name);
    let uuid = found.ok().flatten();
    let row = uuid.and_then(|uuid| resolver.rows.row(kind.table, uuid));
    let is_physical = || {
        let column = kind.schema.column_index("type");
        let wanted = contents.iter().find_map(|(field, content)| match content {
            Content::Column(_, datum) if field.name == "type" => Some(datum),
            _ => None,
        });
        let now = column.and_then(|column| Some(Row::get(row?, column)));
        let is_one = |datum: &Datum| {
            let text = datum.scalar().and_then(Atom::as_str);
            matches!(text, Some("localnet" | "l2gateway" | "vtep"))
        };
        wanted.is_some_and(is_one) || now.is_some_and(is_one)
    };
    let mut wrongs = Wrongs::new();
    for (field, content) in &contents {
        let Content::Column(column, datum) = content else {
            continue;
        };
        let now = row.map(|row| Row::get(row, *column));
        for wrong in check(resolver, kind, field, (datum, now), &is_physical) {
            let place = format!("{}.{}", kind.label(), field.name);
            wrongs.push((Code::Denied, wrong.within(&place)));
        }
    }
    // Whoever names it already would be led into what is not its own.
    let is_named = || match kind.table {
        SWITCH_PORT | ROUTER_PORT => is_named_by_others(resolver, kind.table, &declared.name),
        AddressSet::INDEX | PortGroup::INDEX => {
            is_matched_by_others(resolver, kind.table, &declared.name)
        }
        _ => false,
    };
    if row.is_none() && is_named() {
        let why = format!("an object of another owner names {:?}", declared.name);
        let remedy = "choose another name, or have that object name something else";
        wrongs.push((Code::Denied, Violation::new("name", why, remedy)));
    }
    match wrongs.is_empty() {
        true => Ok(contents),
        false => Err(wrongs),
    }
}

/// Gives a copy of the northbound the indexes by which this file finds who names something.
pub fn index(snapshot: &mut Snapshot) {
    for (table, column, part, leads) in NAMED.iter().chain([&SINK]) {
        let (Leads::To(_), Some((_, column))) = (leads, place(*table, column)) else {
            continue;
        };
        match part {
            Part::Whole => snapshot.index_elements(*table, column),
            Part::Key(key) => snapshot.index_pairs(*table, column, key),
            Part::List(_) | Part::Values => {}
        }
    }
}

/// The kind of a table, and the number of a column of it.
fn place(table: usize, column: &str) -> Option<(&'static Kind, usize)> {
    let kind = catalog().of_table(table)?;
    Some((kind, kind.schema.column_index(column)?))
}

/// Whether a row of another owner names a port by a text: a name may be there when its object is gone, or has never been.
fn is_named_by_others(resolver: &Resolver<'_>, target: usize, name: &str) -> bool {
    let rows = resolver.rows;
    let is_in_column = |(table, column, part, leads): &Named| {
        let Some((kind, column)) = place(*table, column) else {
            return false;
        };
        let found = match (leads, part) {
            (Leads::To(to), Part::Whole) if *to == target => {
                holding_element(rows, *table, column, name)
            }
            (Leads::To(to), Part::Key(key)) if *to == target => {
                with_pair(rows, *table, column, key, name)
            }
            _ => Vec::new(),
        };
        let mut found = found.iter().filter_map(|uuid| rows.row(*table, *uuid));
        found.any(|row| !is_of_owners(resolver, kind, row))
    };
    NAMED.iter().chain([&SINK]).any(is_in_column)
        || listed_by_others(resolver).contains(&(target, name.to_owned()))
}

/// The rows that have this text in a column.
fn holding_element(rows: &dyn Rows, table: usize, column: usize, text: &str) -> Vec<Uuid> {
    let atom = Atom::String(text.into());
    rows.containing(table, column, &atom).unwrap_or_else(|| {
        let all = rows.rows(table);
        let found = all.filter(|(_, row)| row.get(column).contains(&atom));
        found.map(|(uuid, _)| uuid).collect()
    })
}

/// What rows of other owners name among other things of one text, for which there is no index.
fn listed_by_others<'r>(resolver: &'r Resolver<'_>) -> &'r HashSet<(usize, String)> {
    resolver.listed.get_or_init(|| {
        let mut named = HashSet::new();
        for (table, column, part, leads) in NAMED {
            let (Leads::To(target), Part::List(_) | Part::Values, Some((kind, column))) =
                (leads, part, place(table, column))
            else {
                continue;
            };
            for row in of_others(resolver, kind) {
                let names = names(row.get(column), part).into_iter();
                named.extend(names.map(|name| (target, name)));
            }
        }
        named
    })
}

/// Whether a match of another owner names a set of addresses or a group of ports so.
///
/// Most requests ask once: then only matches with the name in their text are read. Who asks more often has all of them read, once.
fn is_matched_by_others(resolver: &Resolver<'_>, table: usize, name: &str) -> bool {
    if resolver.asked.replace(true) {
        let all = resolver.matched.get_or_init(|| matched(resolver, ""));
        all.contains(&(table, name.to_owned()))
    } else {
        matched(resolver, name).contains(&(table, name.to_owned()))
    }
}

/// The sets of addresses and groups of ports that matches of other owners name, of matches with this in their text.
fn matched(resolver: &Resolver<'_>, part: &str) -> HashSet<(usize, String)> {
    let mut named = HashSet::new();
    for (table, column) in MATCHES {
        let Some((kind, column)) = place(table, column) else {
            continue;
        };
        for row in of_others(resolver, kind) {
            let texts = row.get(column).atoms().iter().filter_map(Atom::as_str);
            let texts = texts.filter(|text| text.contains(part));
            // What cannot be read names nothing.
            for when in texts.filter_map(|text| matches::read(text).ok()) {
                let rows = matches::rows_named(&when).into_iter();
                named.extend(rows.filter_map(|(table, name)| match table {
                    AddressSet::NAME => Some((AddressSet::INDEX, name.to_string())),
                    PortGroup::NAME => Some((PortGroup::INDEX, name.to_string())),
                    _ => None,
                }));
            }
        }
    }
    named
}

/// The rows of a kind that are not of the owners that the client is for.
fn of_others<'r>(resolver: &'r Resolver<'_>, kind: &'r Kind) -> impl Iterator<Item = &'r Row> {
    let rows = resolver.rows.rows(kind.table).map(|(_, row)| &**row);
    rows.filter(move |row| !is_of_owners(resolver, kind, row))
}

/// Whether a row is of the owners that the client is for.
fn is_of_owners(resolver: &Resolver<'_>, kind: &Kind, row: &Row) -> bool {
    let own = resolver.owners;
    own.is_some_and(|own| own.contains(owner_of(kind, row)))
}

/// What is wrong with a column that somebody wants to be so, and that is otherwise now.
fn check(
    resolver: &Resolver<'_>,
    kind: &Kind,
    field: &Field,
    (wanted, now): (&Datum, Option<&Datum>),
    is_physical: &dyn Fn() -> bool,
) -> Vec<Violation> {
    let mut wrongs = Vec::new();
    if let Place::References(_, table) = &field.place
        && catalog().of_table(*table).is_none()
    {
        let is_there = |atom| now.is_some_and(|now| now.contains(atom));
        if !wanted.atoms().iter().all(is_there) {
            wrongs.push(denied("what it names has no owner"));
        }
    }
    let named = NAMED.iter().chain([&SINK]);
    let named = named.filter(|(table, name, ..)| *table == kind.table && *name == field.name);
    for (_, _, part, leads) in named {
        let known: Vec<String> = now.map(|now| names(now, *part)).unwrap_or_default();
        let new = names(wanted, *part).into_iter();
        let refused = new.filter(|name| !known.contains(name)).find_map(|name| {
            let why = |why: &str| Some(denied(&format!("{name:?} {why}")));
            match leads {
                Leads::To(table) if is_own(resolver, *table, &name) => None,
                Leads::To(_) => why("is no port of the owners that the token is for"),
                Leads::OutBut(but) if name == *but => None,
                Leads::OutIfPhysical if !is_physical() => None,
                Leads::Out | Leads::OutBut(_) | Leads::OutIfPhysical => {
                    why("leads out of the logical network")
                }
            }
        });
        wrongs.extend(refused);
    }
    wrongs
}

/// Whether there is a port of this very name that the client may refer to. A UUID is a name like any other here.
fn is_own(resolver: &Resolver<'_>, table: usize, name: &str) -> bool {
    let Ok(uuid) = resolver.resolve(table, name) else {
        return false;
    };
    if resolver.new.get(&(table, name.to_owned())) == Some(&uuid) {
        return true;
    }
    let column = crate::catalog::schema().tables[table].column_index("name");
    let row = resolver.rows.row(table, uuid);
    let called = row
        .zip(column)
        .and_then(|(row, column)| Row::get(row, column).scalar()?.as_str());
    called == Some(name)
}

/// The names in a column. They are as they stand there: blanks are part of them.
fn names(datum: &Datum, part: Part) -> Vec<String> {
    let texts: Vec<String> = match part {
        Part::Whole => {
            let atoms = datum.atoms();
            let texts = atoms.iter().map(|atom| match atom.as_str() {
                Some(text) => text.to_owned(),
                None => atom.to_string(),
            });
            texts.collect()
        }
        Part::Key(key) => datum.get_str(key).into_iter().map(str::to_owned).collect(),
        Part::List(key) => {
            let text = datum.get_str(key).unwrap_or_default();
            text.split(',').map(|name| name.trim().to_owned()).collect()
        }
        Part::Values => {
            let values = datum.pairs().iter().filter_map(|(_, value)| value.as_str());
            // As northd reads them: a name may have colons, and an address of IPv6 is in brackets.
            let names = values.map(|value| match value.ends_with(']') {
                true => value.rsplit_once(":["),
                false => value.rsplit_once(':'),
            });
            let names = names.map(|parts| parts.map_or("", |(name, _)| name));
            names.map(str::to_owned).collect()
        }
    };
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

/// A refusal with its remedy.
fn denied(why: &str) -> Violation {
    let remedy = "refer to objects of the owners that the token is for, or have somebody set it whose token is for all";
    Violation::new("", why.to_owned(), remedy)
}
