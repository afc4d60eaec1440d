//! The library through which Neutron uses OVN works on our databases: all of ovsdbapp's own functional tests pass.
//!
//! They are an oracle that nobody here wrote. `cargo xtask setup` installs them, at fixed versions; each run has fresh
//! databases with their global rows, and a northd, because the southbound tests wait for ports that it makes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tests::implementation::{Database, Door, Implementation, Side, python, start_northd};
use tests::run::Run;

const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn northbound() {
    passes("ovn_northbound", 363);
}

#[test]
fn southbound() {
    passes("ovn_southbound", 16);
}

/// All `count` tests of that schema run and pass.
fn passes(schema: &str, count: usize) {
    let said = functional_tests(schema).expect("the tests run");
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(last, format!("ran {count} failed 0 skipped 0"), "{said}");
}

fn functional_tests(schema: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let start = |side| Database::start(Implementation::Weft, side, dir.path(), None, None);
    let (northbound, southbound) = (start(Side::Northbound)?, start(Side::Southbound)?);
    for database in [&northbound, &southbound] {
        database
            .tool(Implementation::Ovn, Door::Ovsdb)?
            .arg("init")
            .output()?;
    }
    let [north, south] =
        [&northbound, &southbound].map(|database| database.local_remote(Door::Ovsdb));
    let _northd = start_northd(Implementation::Weft, dir.path(), None, &north, &south)?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/ovsdbapp_functional.py");
    Run::new(python()?)
        .arg(script)
        .args([schema, &north, &south])
        .within(LIMIT)
        .output()
}
