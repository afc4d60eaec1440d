//! Who has which address in a switch. Of several ports that declare one, that with the lowest tunnel key has it: it was there
//! first. The others have a problem.

use std::fmt::Display;
use std::net::IpAddr;

use addr::Mac;
use nb_db::tables::LogicalSwitchPort;
use relations::{Bucket, Handle};

use super::{PortKind, PortView, kind};
use crate::compiler::feature::Kind;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;

/// The ports of a switch that have a MAC: tunnel key and row.
pub static MACS: Bucket<(Handle, Mac), (u32, Handle)> = Bucket::new("mac");
/// The ports of a switch that have an IP address: tunnel key and row.
pub static IPS: Bucket<(Handle, IpAddr), (u32, Handle)> = Bucket::new("ip");

pub(super) static CLAIMS: Kind = Kind {
    name: "port/addresses",
    ..kind!([], [&MACS, &IPS], |unit, view| {
        let claim = (view.binding.key, view.row);
        for entry in view.addresses() {
            unit.join(&MACS, (view.switch, entry.mac), claim);
        }
        for (_, ip) in view.neighbours() {
            unit.join(&IPS, (view.switch, ip.addr()), claim);
        }
        if let PortKind::Virtual { ip: Some(ip), .. } = view.port.kind {
            unit.join(&IPS, (view.switch, ip), claim);
        }
    })
};

/// Whether a port is the one that has an address, given everybody who claims it. If not, it is a problem.
pub fn is_first(
    unit: &Unit<'_>,
    view: &PortView<'_>,
    claims: &[(u32, Handle)],
    address: &dyn Display,
    complaints: &mut Complaints,
) -> bool {
    match claims.first() {
        Some((_, first)) if *first != view.row => {
            let why = format!(
                "{address} is already the address of port {}, which is in the same switch",
                unit.uuid(*first)
            );
            complaints.column(
                LogicalSwitchPort::COLUMN.addresses.name,
                why,
                "it stays there: remove it from one of them",
            );
            false
        }
        _ => true,
    }
}
