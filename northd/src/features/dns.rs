//! DNS: names of guests are answered on their own chassis.
//!
//! Arrives: packets that rules of the sender have let pass. Guarantees that a question (UDP, to port 53) in a switch that has
//! `dns_records` is answered, if they know the name; every other one goes on to the server that it is for. The encoding is
//! the controller's (`dns_lookup`), which finds the names in the southbound's `DNS`, one row for each of the northbound, with
//! the switches that have it and with its names in lower case.
//!
//! The answer comes from the address that was asked. It is the only packet from port 53 that has been turned around
//! (`flags.loopback`), and so passes rules `to-lport`: no other packet does because of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use addr::Cidr;
use lflow::action::{Action, Bare};
use lflow::{Int, Symbol, a, m};
use nb_db::tables::{Dns, LogicalSwitch};
use ovsdb::typed::{ColumnValue, Table, TableDefinition};
use ovsdb::{Atom, Datum};
use relations::{Handle, Set, Small};
use sb_db::tables as sb;

use super::acl;
use super::switch::{DATAPATH, SWITCH};
use crate::compiler::feature::{Feature, Index, Kind, Over, Owned, Source};
use crate::compiler::identity;
use crate::compiler::register::Bits;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, names};

/// The datapaths of the switches that have a row.
static MEMBERS: Set<Handle> = Set::new("switches with DNS records");
/// The datapaths of all switches that have any.
static SERVED: Set<()> = Set::new("switches with names");
const SERVED_NAME: &str = "switches with names";

const IS_ANSWER: Bits = Bits::bit(
    "the packet has become a DNS answer",
    Symbol::Reg0,
    4,
    Stage::InDhcpOptions,
    Stage::InDhcpResponse,
);

const QUESTION: Rule = Rule::new(
    Stage::InDhcpOptions,
    100,
    "a DNS question in a switch with names: make it an answer, if they know it",
);
const ANSWER: Rule = Rule::new(
    Stage::InDhcpResponse,
    100,
    "a DNS answer: back to the asker, from the address that was asked",
);

/// By the northbound row: the value of `external_ids:dns_id`.
const BY_ROW: Index = Index::south::<sb::Dns>(sb::Dns::COLUMN.external_ids.index);
const ID: &str = "dns_id";

static ROWS: Owned = Owned::south::<sb::Dns>(&[
    sb::Dns::COLUMN.records.index,
    sb::Dns::COLUMN.datapaths.index,
    sb::Dns::COLUMN.options.index,
    sb::Dns::COLUMN.external_ids.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<Dns>(&[Dns::COLUMN.records.index])
            .keys(&[(Dns::COLUMN.options.index, &["ovn-owned"])]),
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.dns_records.index]),
    ],
    indexes: &[BY_ROW],
    owns: &[&ROWS],
    kinds: &[&CHECK, &OF_SWITCH, &PAST_RULES, &ROW, &FLOWS],
    rules: &[QUESTION, ANSWER],
    bits: &[IS_ANSWER],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: names::change,
    }],
    ..Feature::new("dns")
};

/// What controllers would not answer with is told. It goes southbound all the same: they pass such questions on.
static CHECK: Kind = Kind {
    name: "model/dns",
    over: Over::North(Dns::INDEX),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let mut complaints = unit.complaints::<Dns>(row, "".into());
        let column = Dns::COLUMN.records;
        for (name, value) in columns.get(column.index).pairs() {
            let (name, value) = (
                name.as_str().unwrap_or_default(),
                value.as_str().unwrap_or_default(),
            );
            if is_record(name, value) {
                continue;
            }
            let why =
                format!("{name} has neither addresses nor, as the name of an address, a name");
            let remedy = "questions for it are not answered: write addresses separated by blanks";
            complaints.text(column.name, value, 0, why, remedy);
        }
        unit.problems(complaints.into_problems());
    },
};

fn is_record(name: &str, value: &str) -> bool {
    let mut words = value
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
        .peekable();
    if name.to_ascii_lowercase().ends_with(".arpa") {
        let only = words.next().filter(|_| words.peek().is_none());
        return only.is_some_and(is_name);
    }
    words.peek().is_some() && words.all(|word| word.parse::<Cidr>().is_ok())
}

/// RFC 1035, section 2.3.4.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| (1..64).contains(&label.len()) && label.is_ascii();
    text.len() < 254 && text.split('.').all(is_label)
}

static OF_SWITCH: Kind = Kind {
    name: "switch",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH],
    says: &[&MEMBERS, &SERVED],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(datapath) = unit.get(&DATAPATH, row).copied() else {
            return;
        };
        let rows = records(unit, row);
        if !rows.is_empty() {
            unit.member(&SERVED, (), datapath.uuid);
        }
        for row in rows {
            unit.member(&MEMBERS, row, datapath.uuid);
        }
    },
};

/// Rules of the switch do not keep answers from guests.
static PAST_RULES: Kind = Kind {
    name: "switch/dns",
    over: Over::Keys(&SWITCH),
    reads: &[&DATAPATH, &acl::HAS_RULES],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(datapath), Some(())) = (
            unit.get(&DATAPATH, row).copied(),
            unit.get(&acl::HAS_RULES, row),
        ) else {
            return;
        };
        if records(unit, row).is_empty() {
            return;
        }
        let answer = m::eq(Symbol::FlagsLoopback, Int::new(1)) & m::udp_src(PORT);
        let hint = unit.uuid(row);
        unit.flows(datapath.uuid, Some(hint))
            .add(acl::ANSWER, &answer, acl::pass_answer());
    },
};

/// The rows of a switch that are there.
fn records(unit: &Unit<'_>, switch: Handle) -> Vec<Handle> {
    let Some(columns) = unit.north(switch) else {
        return Vec::new();
    };
    let rows = columns.get(LogicalSwitch::COLUMN.dns_records.index).atoms();
    let uuids = rows.iter().filter_map(Atom::as_uuid);
    uuids
        .filter_map(|uuid| unit.find_north::<Dns>(uuid))
        .collect()
}

static ROW: Kind = Kind {
    name: "dns",
    over: Over::Keys(&MEMBERS),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let uuid = unit.uuid(row).hyphenated().to_string();
        let column = sb::Dns::COLUMN;
        let known = unit.recorded(BY_ROW, &Atom::from(uuid.as_str())).next();
        let derived = || identity::named(sb::Dns::NAME, unit.uuid(row), "");
        let known = known.map_or_else(derived, |(known, _)| known);
        // Of names that differ in nothing but case, the first counts.
        let mut records: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for (name, value) in columns.get(Dns::COLUMN.records.index).pairs() {
            if let (Some(name), Some(value)) = (name.as_str(), value.as_arc_str()) {
                let name = Arc::from(name.to_ascii_lowercase());
                records.entry(name).or_insert_with(|| Arc::clone(value));
            }
        }
        let id = (Atom::from(ID), Atom::from(uuid));
        let said = [
            (column.records.index, records.to_datum()),
            (
                column.options.index,
                columns.get(Dns::COLUMN.options.index).clone(),
            ),
            (column.external_ids.index, Datum::map([id])),
        ];
        let sets = Box::new([(column.datapaths.index, MEMBERS.cell(row))]);
        unit.row_of_sets::<sb::Dns>(known, said, sets);
    },
};

static FLOWS: Kind = Kind {
    name: "switches/dns",
    over: Over::Shared(&SERVED),
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| {
        let question = m::udp_dst(PORT);
        let mut flows = unit.shared_flows(&SERVED, (), SERVED_NAME, None);
        let look = a::ask(IS_ANSWER.field(), Bare::DnsLookup);
        flows.add(QUESTION, &question, [look, a::next()]);
        let answer = IS_ANSWER.is_set() & question;
        for (family, source, destination) in [
            (m::ip4(), Symbol::Ip4Src, Symbol::Ip4Dst),
            (m::ip6(), Symbol::Ip6Src, Symbol::Ip6Dst),
        ] {
            let when = answer.clone() & family;
            flows.add(ANSWER, &when, turn_around(source, destination));
        }
    },
};

fn turn_around(source: Symbol, destination: Symbol) -> [Action; 7] {
    [
        a::exchange(Symbol::EthDst, Symbol::EthSrc),
        a::exchange(source, destination),
        a::copy(Symbol::UdpDst, Symbol::UdpSrc),
        a::set(Symbol::UdpSrc, Int::new(PORT.into())),
        a::copy(Symbol::Outport, Symbol::Inport),
        a::loopback(),
        a::output(),
    ]
}

const PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_addresses_or_names() {
        for (name, value, is) in [
            ("vm1.ovn.org", "10.0.0.4 fd00::4", true),
            ("vm1.ovn.org", "10.0.0.4,10.0.0.5", true),
            ("vm1.ovn.org", "10.0.0", false),
            ("vm1.ovn.org", "", false),
            ("4.0.0.10.in-addr.arpa", "vm1.ovn.org", true),
            ("4.0.0.10.IN-ADDR.arpa", " ", false),
            ("4.0.0.10.in-addr.arpa", "vm1 vm2", false),
            ("4.0.0.10.in-addr.arpa", "vm1..org", false),
        ] {
            assert_eq!(is_record(name, value), is, "{name} {value}");
        }
    }
}
