//! What the chassis of a router announces at a switch's port to it: `Port_Binding.nat_addresses`.
//!
//! The addresses of the router's port, where one chassis alone works for it: at a gateway port, and on a router that is on one
//! chassis, if the switch leads to a physical network. Also what the port's `options:nat-addresses` lists; outside addresses
//! of NAT rules are said by those.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use ovsdb::Atom;
use relations::{Bucket, Handle, Set, Small};

use super::model::{Announced, PortKind};
use super::{LOCALNET, PORT, PortView, kind, owner};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::unit::Unit;

/// Members of `nat_addresses` of a port of type router.
pub static ANNOUNCED: Set<Handle> = Set::new("announced addresses");
/// The doors of a switch to physical networks: VLAN, or 0, and port.
pub static LOCALNETS: Bucket<Handle, (u32, Handle)> = Bucket::new("localnet ports");

pub(super) static DOORS: Kind = Kind {
    name: "port/doors",
    over: Over::Keys(&LOCALNET),
    reads: &[&PORT],
    says: &[&LOCALNETS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(port), Some(switch)) = (unit.get(&PORT, row), owner(unit, row)) else {
            return;
        };
        if let PortKind::Localnet { tag, .. } = port.kind {
            let door = (tag.unwrap_or_default().into(), row);
            unit.join(&LOCALNETS, switch, door);
        }
    },
};

pub(super) static OWN: Kind = kind!([&LOCALNETS], [&ANNOUNCED], own);

fn own(unit: &mut Unit<'_>, view: &PortView<'_>) {
    let PortKind::Router {
        announced,
        announces_router,
        ..
    } = &view.port.kind
    else {
        return;
    };
    let Some(link) = view.link else {
        return;
    };
    let residence = link.residence.as_ref();
    if link.is_quiet || (residence.is_none() && link.chassis.is_none()) {
        return;
    }
    if let Announced::These(these) = announced {
        let ips: Vec<IpAddr> = these.ips.iter().map(|ip| ip.addr()).collect();
        let text = announcement(these.mac, &ips, residence);
        unit.member(&ANNOUNCED, view.row, Atom::from(text));
    }
    let leads_outside = !unit.members(&LOCALNETS, view.switch).is_empty();
    if *announces_router && (residence.is_some() || leads_outside) {
        let ips = link.addresses.ips.iter().map(|ip| ip.addr());
        let ips: Vec<IpAddr> = ips.filter(IpAddr::is_ipv4).collect();
        if !ips.is_empty() {
            let text = announcement(link.addresses.mac, &ips, residence);
            unit.member(&ANNOUNCED, view.row, Atom::from(text));
        }
    }
}

/// A member of `nat_addresses`: these addresses, announced on the chassis where `residence` is, if there is one to be.
pub fn announcement(mac: Mac, ips: &[IpAddr], residence: Option<&Arc<str>>) -> String {
    let ips = ips.iter().map(ToString::to_string);
    let mut words: Vec<String> = std::iter::once(mac.to_string()).chain(ips).collect();
    words.extend(residence.map(|port| format!("is_chassis_resident(\"{port}\")")));
    words.join(" ")
}
