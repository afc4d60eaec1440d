//! What makes no sense is refused or reported by name, and stops nothing else.
//!
//! Three doors through which it can come: a value that the schema forbids is refused where it is given; a value that
//! the schema allows and that means nothing is told in northd's log, and the rest of the network is compiled all the
//! same; and bytes that are no protocol cost their sender the connection, and nobody else anything.

use std::io::Write;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;
use tests::implementation::{Implementation, Plan};
use tests::lab::{MEMBERS, NEWCOMER, SWITCH};
use tests::ovsdb::Client;
use tests::process::log_file;
use tests::story::story;
use tests::wait::wait_until;

/// Rows that the schema allows and that mean nothing: the operator's words, and what must be named in northd's log.
const SENSELESS: &[(&[&str], &str)] = &[
    (
        &[
            "--",
            "set",
            "Logical_Switch_Port",
            "bad-address",
            "addresses=\"no address at all\"",
        ],
        "bad-address",
    ),
    (
        &[
            "--",
            "set",
            "Logical_Switch_Port",
            "bad-mac",
            "addresses=\"02:ac:10:ff:01:zz 172.16.255.150\"",
        ],
        "bad-mac",
    ),
    (
        &[
            "--",
            "set",
            "Logical_Switch_Port",
            "bad-security",
            "port_security=\"02:ac:10 172.16.255.300\"",
        ],
        "bad-security",
    ),
    (
        &[
            "--",
            "set",
            "Logical_Switch_Port",
            "bad-type",
            "type=nonsense",
        ],
        "bad-type",
    ),
    (
        &[
            "--",
            "set",
            "Logical_Switch_Port",
            "bad-parent",
            "parent_name=nobody",
            "tag_request=7",
        ],
        "bad-parent",
    ),
];

#[test]
fn senseless_rows_are_named_and_the_rest_is_compiled() {
    story(Plan::under_test(), |lab| {
        for (words, port) in SENSELESS {
            let add = ["lsp-add", SWITCH, port];
            lab.rig.nb(&[&add[..], words].concat())?;
        }
        // A range, a server and a lease that are none.
        let create = [
            "create",
            "DHCP_Options",
            "cidr=\"172.16.0.0/99\"",
            "options:server_id=nobody",
        ];
        lab.rig.nb(&create)?;

        lab.address_all()?;
        lab.ping_all()?;
        lab.welcome(&NEWCOMER)?;

        if lab.rig.plan().northd != Implementation::Weft {
            return Ok(());
        }
        let log = log_file(lab.rig.dir(), "northd");
        for (_, name) in SENSELESS {
            wait_until(
                &format!("northd to name {name}"),
                Duration::from_secs(10),
                || Ok(std::fs::read_to_string(&log)?.contains(name)),
            )?;
        }
        Ok(())
    });
}

#[test]
fn a_malformed_logical_flow_costs_only_itself() {
    story(Plan::weft(), |lab| {
        lab.address_all()?;
        // Paused, northd does not tidy up what it has not made.
        lab.rig.northd.control(&["pause"])?;
        let datapath = lab
            .rig
            .sb(&["--bare", "--columns=_uuid", "find", "Datapath_Binding"])?;
        let datapath = format!("logical_datapath={}", datapath.trim());
        for (match_, actions) in [
            ("ip4.src == 1.2.3", "next;"),
            ("ip4 && (tcp", "next;"),
            ("1", "no_such_action();"),
        ] {
            let (match_, actions) = (
                format!("match=\"{match_}\""),
                format!("actions=\"{actions}\""),
            );
            let flow = [
                "create",
                "Logical_Flow",
                &datapath,
                "pipeline=ingress",
                "table_id=0",
                "priority=9",
            ];
            lab.rig.sb(&[&flow[..], &[&match_, &actions]].concat())?;
        }
        // The controller works on: a guest that goes and comes back is plugged in again.
        let vm2 = &MEMBERS[1];
        let chassis = lab.rig.chassis("ubuntu3")?;
        chassis.vsctl(&[
            "remove",
            "Interface",
            vm2.device,
            "external_ids",
            "iface-id",
        ])?;
        lab.rig
            .sb(&["wait-until", "Port_Binding", vm2.port, "up=false"])?;
        chassis.vsctl(&[
            "set",
            "Interface",
            vm2.device,
            &format!("external_ids:iface-id={}", vm2.port),
        ])?;
        lab.rig
            .sb(&["wait-until", "Port_Binding", vm2.port, "up=true"])?;
        lab.ping_all()?;
        let log = std::fs::read_to_string(log_file(chassis.dir(), "controller"))?;
        ensure!(
            log.contains("no_such_action"),
            "the controller does not name the flow that it cannot read"
        );
        lab.rig.northd.control(&["resume"])?;
        lab.sync()
    });
}

#[test]
fn what_the_schema_forbids_is_refused_by_name() {
    story(Plan::under_test(), |lab| {
        let northbound = |words: &[&str]| -> Result<String> {
            lab.rig
                .northbound
                .tool(lab.rig.plan().tools, lab.rig.plan().door)?
                .args(words)
                .complaint()
        };
        for (words, named) in [
            (
                vec!["set", "Logical_Switch_Port", "dmz-vm1", "tag_request=5000"],
                "5000",
            ),
            (
                vec!["set", "Logical_Switch_Port", "dmz-vm1", "no_such_column=1"],
                "no_such_column",
            ),
            (
                vec!["create", "Logical_Sandwich", "name=x"],
                "Logical_Sandwich",
            ),
            (vec!["lsp-add", "no-such-switch", "x"], "no-such-switch"),
            (vec!["lsp-add", SWITCH, "dmz-vm1"], "dmz-vm1"),
            (
                vec!["lsp-set-addresses", "dmz-vm1", "02:ac:10:ff:01"],
                "02:ac:10:ff:01",
            ),
            (
                vec!["lsp-set-dhcpv4-options", "dmz-vm1", "no-such-options"],
                "no-such-options",
            ),
            (vec!["no-such-command"], "no-such-command"),
        ] {
            let complaint = northbound(&words)?;
            ensure!(
                complaint.contains(named),
                "{words:?} is refused without naming {named}: {complaint}"
            );
        }
        Ok(())
    });
}

#[test]
fn broken_bytes_hurt_nobody_else() {
    story(Plan::under_test(), |lab| {
        let socket = lab.rig.northbound.socket();
        let mut honest = Client::connect(&socket)?;
        honest.monitor("OVN_Northbound", "NB_Global", &["nb_cfg"])?;
        let nested = "[".repeat(100_000);
        let frames: [&[u8]; 6] = [
            b"{\"id\":1,\"method\":\"transact\",\"params\":[\"OVN_Nor",
            b"}}}} this is not JSON",
            b"\x00\xff\xfe\x80",
            nested.as_bytes(),
            b"{\"id\":1,\"method\":\"transact\",\"params\":\"not an array\"}",
            b"{\"id\":1}{\"method\":5}[]null",
        ];
        // Half-open for now: they vanish all at once, after the honest one was served beside them.
        let mut broken = Vec::new();
        for frame in frames {
            let mut stream = UnixStream::connect(&socket).context("the server is gone")?;
            // The server may have closed it before all is written.
            let _closed = stream.write_all(frame);
            broken.push(stream);
        }
        check_served(&mut honest)?;
        drop(broken);
        check_served(&mut honest)?;
        check_served(&mut Client::connect(&socket)?)?;

        // A transaction that makes no sense is refused, and the connection goes on.
        let senseless = honest.transact("OVN_Northbound", vec![json!({"op": "dance"})]);
        ensure!(senseless.is_err(), "the operation `dance` was accepted");
        check_served(&mut honest)?;
        lab.sync()
    });
}

fn check_served(client: &mut Client) -> Result<()> {
    let select = json!({"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg"]});
    let results = client.transact("OVN_Northbound", vec![select])?;
    ensure!(
        results[0]["rows"]
            .as_array()
            .is_some_and(|rows| rows.len() == 1),
        "an odd answer: {results:?}"
    );
    Ok(())
}
