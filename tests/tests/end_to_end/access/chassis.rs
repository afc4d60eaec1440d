//! A chassis with its certificate against `weft-sb`: OVN's controller, Weft's, and somebody who pretends.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use tests::chassis::start_switch_database;
use tests::implementation::{Implementation, place, start_controller};
use tests::process::{Daemon, control_socket, log_file};
use tests::run::Run;
use tests::wait::wait_until;

use super::rig::{Database, PATIENCE, Pki};

/// A port of a logical switch, as northd would make it.
const NETWORK: &str = r#"["OVN_Southbound",
    {"op": "insert", "table": "Datapath_Binding", "uuid-name": "d", "row": {"tunnel_key": 1,
        "external_ids": ["map", [["name", "sw0"], ["logical-switch", "f9b6b2f5-5bd0-4c5f-9b7c-0a6c2f3d1e00"]]]}},
    {"op": "insert", "table": "Port_Binding", "row": {"logical_port": "p1", "datapath": ["named-uuid", "d"],
        "tunnel_key": 1, "mac": "02:00:00:00:00:01", "up": false}},
    {"op": "insert", "table": "Port_Binding", "row": {"logical_port": "p2", "datapath": ["named-uuid", "d"],
        "tunnel_key": 2, "mac": "02:00:00:00:00:02", "options": ["map", [["requested-chassis", "hv1"]]]}},
    {"op": "insert", "table": "Logical_Flow", "row": {"logical_datapath": ["named-uuid", "d"], "pipeline": "ingress",
        "table_id": 0, "priority": 100, "match": "1", "actions": "next;"}}]"#;

#[test]
fn ovns_controller_is_such_a_client() -> Result<()> {
    comes_up_and_nobody_else_can_touch_it(Implementation::Ovn)
}

#[test]
fn wefts_controller_is_such_a_client() -> Result<()> {
    comes_up_and_nobody_else_can_touch_it(Implementation::Weft)
}

fn comes_up_and_nobody_else_can_touch_it(implementation: Implementation) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let pki = Pki::new(&dir.path().join("pki"))?;
    pki.run(&["member", "sb"])?;
    pki.run(&["chassis", "hv1", "hv2"])?;
    let mut flags = vec!["--listen=role=ovn-controller pssl:0:127.0.0.1".to_owned()];
    flags.extend(pki.flags("sb"));
    let sb = Database::start("sb", dir.path(), &flags)?;
    let port = sb.wait_for_tls(None)?;
    let admin = format!("unix:{}", dir.path().join("admin.sock").display());
    Run::new("ovsdb-client")
        .args(["transact", &admin, NETWORK])
        .output()?;

    let place = dir.path().join("hv1");
    fs::create_dir(&place)?;
    let _switch = switch(&place, &pki, port)?;
    let remote = format!("unix:{}", place.join("db.sock").display());
    let _controller = start_controller(implementation, &place, None, &remote)?;
    let column =
        |row: &str, column: &str| sb.admin(&["--bare", "get", "port_binding", row, column]);
    let log = log_file(&place, "controller");
    let up = wait_until("the port to be up", PATIENCE, || {
        Ok(column("p1", "up")?.trim() == "true")
    });
    up.map_err(|error| error.context(fs::read_to_string(&log).unwrap_or_default()))?;
    let own = sb.admin(&["--bare", "--columns=_uuid", "find", "chassis", "name=hv1"])?;
    ensure!(column("p1", "chassis")?.trim() == own.trim());
    let said = fs::read_to_string(&log)?;
    ensure!(
        !said.contains("permission error") && !said.contains("transaction error"),
        "{said}"
    );

    // Another chassis' certificate is good for nothing of that.
    let other = |args: &[&str]| sb.client(port, &pki, "hv2", args).complaint();
    for attempt in [
        &["set", "chassis", "hv1", "hostname=evil"][..],
        &["destroy", "chassis", "hv1"],
        &["set", "encap", ".", "ip=192.0.2.1"],
        &["set", "chassis_private", "hv1", "nb_cfg=7"],
        &["clear", "port_binding", "p1", "chassis"],
        &["set", "port_binding", "p1", "up=false"],
        &["set", "port_binding", "p2", "up=true"],
        &["set", "port_binding", "p1", "tag=7"],
        &["set", "sb_global", ".", "ipsec=true"],
        &[
            "create",
            "fdb",
            "mac=\"02:00:00:00:00:01\"",
            "dp_key=1",
            "port_key=1",
        ],
    ] {
        let complaint = other(attempt)?;
        ensure!(
            complaint.contains("permission error"),
            "{attempt:?}: {complaint}"
        );
        ensure!(
            complaint.contains("role ovn-controller, may not"),
            "{complaint}"
        );
    }
    // And its own is.
    let own = |args: &[&str]| sb.client(port, &pki, "hv1", args).output();
    own(&["set", "chassis", "hv1", "external_ids:a=b"])?;
    own(&[
        "create",
        "fdb",
        "mac=\"02:00:00:00:00:01\"",
        "dp_key=1",
        "port_key=1",
    ])?;
    Ok(())
}

/// An Open vSwitch without a data path, that has the interface of `p1` and the chassis' certificate.
fn switch(dir: &Path, pki: &Pki, port: u16) -> Result<(Daemon, Daemon)> {
    let database = start_switch_database(dir, None)?;
    let remote = format!("unix:{}", dir.join("db.sock").display());
    let run = Run::new("ovs-vswitchd")
        .arg(&remote)
        .args(["--disable-system", "--enable-dummy=override"]);
    let run = place(run, dir, "switch", None);
    let daemon = Daemon::start("switch", dir, run, control_socket(dir, "switch"), None)?;
    let [key, certificate, ca] = pki.files("hv1");
    let southbound = format!("external_ids:ovn-remote=ssl:127.0.0.1:{port}");
    Run::new("ovs-vsctl")
        .arg(format!("--db={remote}"))
        .args(["--timeout=30", "set-ssl", &key, &certificate, &ca])
        .args([
            "--",
            "set",
            "open",
            ".",
            "external_ids:system-id=hv1",
            &southbound,
        ])
        .args([
            "external_ids:ovn-encap-type=geneve",
            "external_ids:ovn-encap-ip=127.0.0.1",
            "external_ids:ovn-bridge-datapath-type=dummy",
        ])
        .args([
            "--",
            "add-br",
            "br-int",
            "--",
            "set",
            "bridge",
            "br-int",
            "fail-mode=secure",
            "datapath-type=dummy",
        ])
        .args(["--", "add-port", "br-int", "p1"])
        .args(["--", "set", "interface", "p1", "external_ids:iface-id=p1"])
        .output()?;
    Ok((daemon, database))
}
