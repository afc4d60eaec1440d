//! A set of 10,000 addresses changes all the time: while one comes and another goes, whoever is allowed by it connects, each time, and who
//! is not, never.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::implementation::Plan;
use tests::lab::{Lab, MEMBERS};
use tests::ovsdb::Client;
use tests::service::{Connection, Service};
use tests::story::story;
use tests::wait::wait_for;

/// How many addresses the set has, beside that of the guest.
const ADDRESSES: u32 = 10_000;
/// How often one comes and another goes.
const CHANGES: u32 = 60;
const PORT: u16 = 22;
/// How long somebody tries who must not be let in.
const SILENCE: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(20);

/// Addresses of nobody here.
fn address(number: u32) -> String {
    Ipv4Addr::from_bits(0x0a00_0000 + number).to_string()
}

fn transact(client: &mut Client, operation: Value) -> Result<()> {
    client.transact("OVN_Northbound", vec![operation]).map(drop)
}

/// Rules by which only members of the set reach the second guest.
fn rules(lab: &Lab) -> Result<()> {
    for (priority, text, action) in [
        ("100", "ip4.src == $admins", "allow-related"),
        ("1", "ip4", "drop"),
    ] {
        let text = format!("outport == \"{}\" && {text} && tcp", MEMBERS[1].port);
        lab.rig
            .nb(&["acl-add", "dmz", "to-lport", priority, &text, action])?;
    }
    lab.sync()
}

#[test]
fn a_set_that_changes_disturbs_nobody() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        let mut client = Client::connect(&lab.rig.northbound.socket())?;
        client.set_patience(LIMIT)?;
        let own = MEMBERS[0].address.to_string();
        let all: Vec<String> = (0..ADDRESSES).map(address).chain([own]).collect();
        let row = json!({"name": "admins", "addresses": ["set", all]});
        transact(
            &mut client,
            json!({"op": "insert", "table": "Address_Set", "row": row}),
        )?;
        rules(lab)?;
        let _service = Service::start(lab.guest(&MEMBERS[1]), PORT)?;
        let to = SocketAddr::from((MEMBERS[1].address, PORT));
        let (allowed, denied) = (lab.guest(&MEMBERS[0]), lab.guest(&MEMBERS[2]));
        let mut held = wait_for("the allowed guest to connect", LIMIT, || {
            Connection::open(allowed, to).map(Some)
        })?;
        for change in 0..CHANGES {
            transact(
                &mut client,
                json!({
                    "op": "mutate",
                    "table": "Address_Set",
                    "where": [["name", "==", "admins"]],
                    "mutations": [
                        ["addresses", "insert", address(ADDRESSES + change)],
                        ["addresses", "delete", address(change)],
                    ],
                }),
            )?;
            Connection::open(allowed, to)?.lives()?;
            held.lives()?;
            ensure!(
                Connection::open_within(denied, to, SILENCE).is_err(),
                "change {change} lets in who is in no set"
            );
        }
        lab.sync()?;
        held.lives()
    });
}
