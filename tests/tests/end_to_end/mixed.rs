//! Weft's daemons stand in for OVN's one at a time, and OVN's for Weft's: the lab on each mixture.
//!
//! The databases are the seam: whoever reads what another has written must understand it. OVN's schemas are older than
//! ours here and lack tables and columns of ours, so ours must also live with less than it knows.

use tests::implementation::Implementation::{Ovn, Weft};
use tests::implementation::{Door, Plan};
use tests::story::story;

#[test]
fn northd_and_controller_on_ovns_database_server() {
    the_lab_works_on(Plan {
        databases: Ovn,
        ..weft()
    });
}

#[test]
fn ovns_controller_fed_by_northd_and_southbound() {
    the_lab_works_on(Plan {
        controller: Ovn,
        ..weft()
    });
}

#[test]
fn controller_fed_by_ovns_northd() {
    the_lab_works_on(Plan {
        northd: Ovn,
        ..weft()
    });
}

#[test]
fn ovns_tools_drive_the_lab() {
    the_lab_works_on(Plan {
        tools: Ovn,
        ..weft()
    });
}

#[test]
fn ovns_daemons_on_our_databases() {
    the_lab_works_on(Plan {
        databases: Weft,
        ..Plan::ovn()
    });
}

/// The tools that are not Weft's speak OVSDB, and so shall everything here.
fn weft() -> Plan {
    Plan {
        door: Door::Ovsdb,
        ..Plan::weft()
    }
}

fn the_lab_works_on(plan: Plan) {
    story(plan, |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        Ok(())
    });
}
