//! What the whole network says of load balancers: `NB_Global.options`.

use addr::Mac;
use nb_db::tables::NbGlobal;
use ovsdb::typed::Table;
use ovsdb::{Atom, Datum};
use relations::{Handle, Relation, Set, Small};

use crate::compiler::feature::{Kind, Over, Owned};
use crate::compiler::options::Options;
use crate::features::{address_sets, matches};

/// The members of the address set `svc_monitor_mac`, by which rules may name where probes come from.
static SERVICE_MACS: Set<()> = Set::new("svc_monitor_mac");

/// What is set, once the row is there.
pub(super) static SETTINGS: Relation<(), Settings> = Relation::new("load balancer settings");

const KEY: &str = matches::SERVICE_MAC_SET;

/// Where nobody has said where probes come from, it is written back.
pub(super) static COLUMNS: Owned = Owned {
    keys: &[(NbGlobal::COLUMN.options.index, &[KEY])],
    ..Owned::north_columns::<NbGlobal>(&[NbGlobal::COLUMN.options.index])
};

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// `install_ls_lb_from_router`: switches have the load balancers of their routers.
    pub(super) follows_routers: bool,
    /// `svc_monitor_mac`: where probes of backends come from; else one that follows from the network's own row.
    pub(super) service_mac: Mac,
    /// `controller_event`: the management system is told of all virtual addresses without backends, as with `Load_Balancer.options:event`.
    pub(super) tells: bool,
}

pub(super) static READ: Kind = Kind {
    name: "load-balancer/settings",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&SETTINGS, &SERVICE_MACS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let mut complaints = unit.complaints::<NbGlobal>(row, "".into());
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let follows_routers = options.truth("install_ls_lb_from_router", false, &mut complaints);
        let tells = options.truth("controller_event", false, &mut complaints);
        let written = options.text(KEY).map(|text| {
            let read = text.parse::<Mac>();
            read.map_err(|error| complaints.address(column.name, text, &error))
        });
        let [a, b, c, d, e, ..] = *unit.uuid(row).as_bytes();
        let own = Mac([2, a, b, c, d, e]);
        if written.is_none() {
            // Whoever compiles the network next probes from there, too.
            let pair = (Atom::from(KEY), Atom::from(own.to_string()));
            unit.columns::<NbGlobal>(&COLUMNS, row, [(column.index, Datum::map([pair]))]);
        }
        let service_mac = written.and_then(Result::ok).unwrap_or(own);
        let settings = Settings {
            follows_routers,
            service_mac,
            tells,
        };
        unit.say(&SETTINGS, (), settings);
        unit.member(&SERVICE_MACS, (), service_mac.to_string().as_str());
        address_sets::say(unit, matches::SERVICE_MAC_SET, SERVICE_MACS.cell(()));
        unit.problems(complaints.into_problems());
    },
};
