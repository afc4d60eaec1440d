//! Names that lead to what is another's. A client that is for some owners' objects may refer to those alone; but some texts are
//! references, too, though the database does not know it (a port of a router by its name, a physical network), and some rows
//! belong to no owner (groups of chassis and of load balancers). What they name must be the client's own, or must stand there
//! already, put there by somebody who may. And a name that another's row has is nobody else's to take: it may be there when its
//! object is gone.

use std::collections::HashSet;

use nb_db::tables::{
    LoadBalancer, LogicalRouter, LogicalRouterPort, LogicalSwitchPort, Mirror, Nat,
};
use ovsdb::{Atom, Datum, Row, Table};

use crate::catalog::{Field, Kind, Place, catalog};
use crate::declared::{self, Content, Declared, Resolver, Wrongs};
use crate::error::{Code, Violation};
use crate::find::{find_if_any, owner_of};

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

const NAMED: [Named; 17] = [
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
    let can_be_named = matches!(kind.table, SWITCH_PORT | ROUTER_PORT);
    if row.is_none()
        && can_be_named
        && named_by_others(resolver).contains(&(kind.table, declared.name.clone()))
    {
        let why = format!("an object of another owner names {:?}", declared.name);
        let remedy = "choose another name, or have that object name something else";
        wrongs.push((Code::Denied, Violation::new("name", why, remedy)));
    }
    match wrongs.is_empty() {
        true => Ok(contents),
        false => Err(wrongs),
    }
}

/// What rows of other owners name by texts: a name may be there when its object is gone, or has never been.
fn named_by_others<'r>(resolver: &'r Resolver<'_>) -> &'r HashSet<(usize, String)> {
    resolver.named.get_or_init(|| {
        let mut named = HashSet::new();
        for (table, column, part, leads) in NAMED.iter().chain([&SINK]) {
            let (Leads::To(target), Some(kind)) = (leads, catalog().of_table(*table)) else {
                continue;
            };
            let Some(column) = kind.schema.column_index(column) else {
                continue;
            };
            let is_own = |row: &Row| {
                resolver
                    .owners
                    .is_some_and(|own| own.contains(owner_of(kind, row)))
            };
            for (_, row) in resolver.rows.rows(*table).filter(|(_, row)| !is_own(row)) {
                let names = names(row.get(column), *part).into_iter();
                named.extend(names.map(|name| (*target, name)));
            }
        }
        named
    })
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
