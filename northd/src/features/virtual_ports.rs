//! Virtual ports: an address that moves between guests.
//!
//! A port of type `virtual` has an address (`options:virtual-ip`) that belongs to whichever of several guests
//! (`options:virtual-parents`) has announced it last, by ARP or neighbour discovery. Arrives: what these guests announce, at the
//! stage where requests are answered. Guarantees that the chassis of the guest hears of it (`bind_vport`) and the packet goes
//! on, and that routers send packets for the address to the MAC of the guest that has it. While nobody has it, routers ask,
//! whatever they have learned before: that was somebody who has it no longer.
//!
//! Controllers say who has it (`Port_Binding.virtual_parent`, `chassis`). Requests for it are not answered by the switch: the
//! guest does that.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use lflow::action::Action;
use lflow::{Expr, Symbol, m};
use nb_db::tables::LogicalSwitchPort;
use ovsdb::Atom;
use relations::Handle;
use sb_db::tables::PortBinding;

use super::neighbours::solicited_node;
use super::ports::{self, ASSIGNED, BY_NAME, IPS, PORT, PortKind, PortView, is_first};
use super::segments;
use crate::compiler::feature::{Feature, Kind, Source};
use crate::compiler::stage::{Rule, Stage};
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::{Change, doors};

const ANNOUNCED: Rule = Rule::new(
    Stage::InAnswer,
    230,
    "a guest announces an address that it may have: tell the controller, then next",
);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[Source::south::<PortBinding>(&[
        PortBinding::COLUMN.chassis.index,
        PortBinding::COLUMN.virtual_parent.index,
    ])],
    kinds: &[&OF_PORT],
    rules: &[ANNOUNCED],
    #[cfg(test)]
    operator: &[Change {
        weight: 3,
        run: doors::take_virtual,
    }],
    ..Feature::new("virtual ports")
};

static OF_PORT: Kind = ports::kind!([&IPS, &PORT], [], |unit, view| {
    let PortKind::Virtual {
        ip: Some(ip),
        parents,
    } = &view.port.kind
    else {
        return;
    };
    let mut complaints =
        unit.complaints::<LogicalSwitchPort>(view.row, Arc::clone(&view.port.name));
    let claims = unit.members(&IPS, (view.switch, *ip));
    let is_own = is_first(unit, view, claims, ip, &mut complaints);
    let here: Vec<&Arc<str>> = parents
        .iter()
        .filter(|name| {
            let is_here = in_switch(unit, view, name).is_some();
            if !is_here {
                let why = "there is no such port in the switch";
                let remedy = "it cannot have the address until there is one: correct the name";
                let column = LogicalSwitchPort::COLUMN.options.name;
                complaints.text(column, name, 0, why, remedy);
            }
            is_here
        })
        .collect();
    unit.problems(complaints.into_problems());
    if !view.port.is_enabled || !is_own {
        return;
    }
    let mac = holder(unit, view, parents).unwrap_or(Mac::ZERO);
    segments::router_flows(unit, view.switch, view.row).add(
        segments::KNOWN,
        &segments::is_asked(view.datapath.key, *ip),
        segments::answer(mac, false),
    );
    let mut flows = view.flows(unit);
    for parent in here {
        let announces = m::inport(Arc::clone(parent)) & announces(*ip);
        let bind = Action::BindVport {
            vport: Arc::clone(&view.port.name),
            parent: Symbol::Inport.into(),
        };
        flows.add(ANNOUNCED, &announces, [bind, lflow::a::next()]);
    }
});

/// The port of this name in the virtual port's switch.
fn in_switch(unit: &Unit<'_>, view: &PortView<'_>, name: &Arc<str>) -> Option<Handle> {
    let named = unit.having(BY_NAME, &Atom::String(Arc::clone(name)));
    let mut named = named.iter().copied();
    named.find(|row| {
        unit.get(&PORT, *row).is_some() && ports::owner(unit, *row) == Some(view.switch)
    })
}

/// The MAC of the guest that has the address now.
fn holder(unit: &Unit<'_>, view: &PortView<'_>, parents: &BTreeSet<Arc<str>>) -> Option<Mac> {
    let found = unit.find_south::<PortBinding>(view.binding.uuid)?;
    let row = unit.south(found)?;
    let column = PortBinding::COLUMN;
    if row.get(column.chassis.index).is_empty() {
        return None;
    }
    let parent = column.virtual_parent.get(row);
    let parent = parent.filter(|parent| parents.contains(parent))?;
    let parent = in_switch(unit, view, &parent)?;
    let port = unit.get(&PORT, parent).filter(|port| port.is_enabled)?;
    let written = port.addresses.first().map(|entry| entry.mac);
    written.or_else(|| Some(unit.get(&ASSIGNED, parent)?.mac))
}

/// An announcement of an address: gratuitous ARP, an ARP reply, a solicitation for the sender's own address, or an
/// advertisement.
fn announces(ip: IpAddr) -> Expr {
    match ip {
        IpAddr::V4(ip) => {
            let gratuitous = m::arp_op(1) & m::arp_spa(ip) & m::arp_tpa(ip);
            gratuitous | (m::arp_op(2) & m::arp_spa(ip))
        }
        IpAddr::V6(ip) => {
            let to = [ip, solicited_node(ip)];
            let asked = m::nd_ns() & m::one_of(Symbol::Ip6Dst, to) & m::nd_target(ip);
            asked | (m::nd_na() & m::nd_target(ip))
        }
    }
}
