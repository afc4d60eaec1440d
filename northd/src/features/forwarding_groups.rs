//! Forwarding groups: an address of a switch behind which several ports are, such as those of a gateway to another network.
//!
//! Guarantees that requests for the virtual address (`vip`) are answered with the virtual MAC (`vmac`), to which routers of the
//! switch send, too; and that a packet to that MAC goes to one of the ports (`child_port`), chosen by its flow. With `liveness`,
//! controllers choose from those whose chassis can be reached, as the BFD sessions of gateways tell.
//!
//! A port that is not in the switch is left out, and told; a group without ports is none, and so is one whose addresses are a
//! port's or an earlier group's.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use lflow::action::Action;
use lflow::{Name, m};
use nb_db::tables::{ForwardingGroup, LogicalSwitch, LogicalSwitchPort};
use ovsdb::typed::Table;
use ovsdb::{Atom, Row};
use relations::{Handle, Small};

use super::switch::{DATAPATH, SWITCH};
use super::{matches, ports, segments};
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::problem::Complaints;
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;

/// More ports than these are refused.
const MAX_CHILDREN: usize = 1_024;

const SPREAD: Rule = Rule::new(
    Stage::InLookup,
    50,
    "the MAC of a forwarding group: to one of its ports",
);

const OWNERS: Index = Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.forwarding_groups.index);

const BY_VIP: Index = Index::north::<ForwardingGroup>(ForwardingGroup::COLUMN.vip.index);
const BY_VMAC: Index = Index::north::<ForwardingGroup>(ForwardingGroup::COLUMN.vmac.index);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<ForwardingGroup>(&[
            ForwardingGroup::COLUMN.name.index,
            ForwardingGroup::COLUMN.vip.index,
            ForwardingGroup::COLUMN.vmac.index,
            ForwardingGroup::COLUMN.liveness.index,
            ForwardingGroup::COLUMN.child_port.index,
        ]),
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.forwarding_groups.index]),
        Source::north::<LogicalSwitchPort>(&[LogicalSwitchPort::COLUMN.name.index]),
    ],
    indexes: &[OWNERS, BY_VIP, BY_VMAC, matches::PORTS],
    kinds: &[&GROUP],
    rules: &[SPREAD],
    ..Feature::new("forwarding groups")
};

static GROUP: Kind = Kind {
    name: "forwarding-group",
    over: Over::North(ForwardingGroup::INDEX),
    reads: &[&SWITCH, &DATAPATH, &ports::PORT, &ports::MACS, &ports::IPS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let name: Arc<str> = ForwardingGroup::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<ForwardingGroup>(row, name);
        if let Some(address) = address(columns, &mut complaints) {
            for switch in unit.referrers(OWNERS, row) {
                flows(unit, (row, *switch), columns, address, &mut complaints);
            }
        }
        unit.problems(complaints.into_problems());
    },
};

/// The virtual addresses of a group, if both are some.
fn address(row: &Row, complaints: &mut Complaints) -> Option<(Mac, IpAddr)> {
    let column = ForwardingGroup::COLUMN;
    let (mac_text, ip_text): (Arc<str>, Arc<str>) = (column.vmac.get(row), column.vip.get(row));
    let mac = mac_text.parse::<Mac>().ok();
    let mac = mac.filter(|mac| !mac.is_multicast() && !mac.is_zero());
    if mac.is_none() {
        let why = "it is not the MAC of a host";
        let remedy = "the group is left out: write a unicast MAC";
        complaints.text(column.vmac.name, &mac_text, 0, why, remedy);
    }
    let ip = ip_text.parse::<IpAddr>().ok();
    let ip = ip.filter(|ip| !ip.is_multicast() && !ip.is_unspecified());
    if ip.is_none() {
        let why = "it is not the address of a host";
        let remedy = "the group is left out: write an IP address";
        complaints.text(column.vip.name, &ip_text, 0, why, remedy);
    }
    Some((mac?, ip?))
}

fn flows(
    unit: &mut Unit<'_>,
    (row, switch): (Handle, Handle),
    columns: &Row,
    (mac, ip): (Mac, IpAddr),
    complaints: &mut Complaints,
) {
    let column = ForwardingGroup::COLUMN;
    let (Some(_), Some(datapath)) = (unit.get(&SWITCH, switch), unit.get(&DATAPATH, switch)) else {
        return;
    };
    if !is_free(unit, (row, switch), columns, (mac, ip), complaints) {
        return;
    }
    let children: Vec<Arc<str>> = column.child_port.get(columns);
    if children.len() > MAX_CHILDREN {
        let why = format!("{} ports are more than {MAX_CHILDREN}", children.len());
        let remedy = "those beyond are left out: use several groups";
        complaints.column(column.child_port.name, why, remedy);
    }
    let mut good: Vec<Name> = Vec::new();
    for child in children.into_iter().take(MAX_CHILDREN) {
        let named = unit.having(matches::PORTS, &Atom::String(Arc::clone(&child)));
        let is_here = named.iter().any(|port| {
            unit.get(&ports::PORT, *port).is_some() && ports::owner(unit, *port) == Some(switch)
        });
        if is_here {
            good.push(child);
        } else {
            let why = "there is no such port in the switch";
            let remedy = "it is left out until there is one";
            complaints.text(column.child_port.name, &child, 0, why, remedy);
        }
    }
    if good.is_empty() {
        return;
    }
    let spread = Action::ForwardGroup {
        liveness: column.liveness.get(columns),
        children: good,
    };
    let hint = unit.uuid(row);
    let known = segments::is_asked(datapath.key, ip);
    segments::flows(unit, switch, row).add(segments::KNOWN, &known, segments::answer(mac, false));
    let mut flows = unit.flows(datapath.uuid, Some(hint));
    flows.add(SPREAD, &m::eth_dst(mac), [spread]);
}

/// Whether nobody else in the switch has an address of a group.
fn is_free(
    unit: &Unit<'_>,
    (row, switch): (Handle, Handle),
    columns: &Row,
    (mac, ip): (Mac, IpAddr),
    complaints: &mut Complaints,
) -> bool {
    let column = ForwardingGroup::COLUMN;
    let texts: [Arc<str>; 2] = [column.vmac.get(columns), column.vip.get(columns)];
    let ports = [
        !unit.members(&ports::MACS, (switch, mac)).is_empty(),
        !unit.members(&ports::IPS, (switch, ip)).is_empty(),
    ];
    let places = [
        (column.vmac.name, BY_VMAC, &texts[0], ports[0]),
        (column.vip.name, BY_VIP, &texts[1], ports[1]),
    ];
    let mut is_free = true;
    for (name, index, text, is_of_port) in places {
        let mut others = unit.having(index, &Atom::String(Arc::clone(text))).iter();
        // In the order of their UUIDs.
        let first = others.find(|other| unit.referrers(OWNERS, **other).contains(&switch));
        if is_of_port || first.is_some_and(|first| *first != row) {
            let why = match is_of_port {
                true => "it is the address of a port of the switch",
                false => "another group of the switch has it",
            };
            let remedy = "this group is left out there: write another one";
            complaints.text(name, text, 0, why, remedy);
            is_free = false;
        }
    }
    is_free
}
