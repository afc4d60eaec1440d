//! Declares a network over `weft-api`, lists it, follows its changes across a pause, and takes it away again, with the crate
//! `client`.
//!
//! usage: `network unix:PATH|http://HOST:PORT [TOKEN]`
//!
//! Prints a line for each thing that it has done.

use anyhow::{Context, Result};
use client::{Client, v1};
use v1::object::Spec;

const OWNER: &str = "rust";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let remote = words.next().context("where is weft-api?")?;
    let mut client = Client::connect(&remote)?;
    if let Some(token) = words.next() {
        client = client.with_token(&token)?;
    }
    println!(
        "applied {}",
        client.apply(OWNER, network("")).await?.changes.len()
    );
    println!(
        "applied again {}",
        client.apply(OWNER, network("")).await?.changes.len()
    );
    let ports = client.list(v1::Kind::LogicalSwitchPort, OWNER).await?;
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    println!("listed {}", names.join(" "));

    let mut watch = client.watch(vec![v1::Kind::LogicalSwitchPort], OWNER);
    let first = watch.next().await?;
    println!("watched {} {}", first.reset, first.changed.len());
    // Another watch, or another process, goes on where this one was.
    let version = watch.version().to_owned();
    drop(watch);
    let address = "02:00:00:00:00:02 192.0.2.2";
    client.apply(OWNER, network(address)).await?;
    let watch = client.watch(vec![v1::Kind::LogicalSwitchPort], OWNER);
    let resumed = watch.from_version(&version).next().await?;
    println!("resumed {} {}", resumed.reset, resumed.changed.len());

    let mut port = client.get(v1::Kind::LogicalSwitchPort, "rust-vm1").await?;
    let stale = v1::Object {
        version: "00000000-0000-0000-0000-000000000000".to_owned(),
        ..port.clone()
    };
    if let Err(client::Error::Refused(status)) = client.update(stale, &["addresses"]).await {
        println!("refused {:?}", status.code());
    }
    if let Some(Spec::LogicalSwitchPort(port)) = &mut port.spec {
        port.addresses = vec!["unknown".to_owned()];
    }
    client.update(port, &["addresses"]).await?;
    println!("deleted {}", client.clear(OWNER).await?.changes.len());
    Ok(())
}

/// A switch with a port.
fn network(address: &str) -> Vec<v1::Object> {
    let addresses = (!address.is_empty()).then(|| address.to_owned());
    let port = v1::LogicalSwitchPort {
        logical_switch: "rust".to_owned(),
        addresses: addresses.into_iter().collect(),
        ..Default::default()
    };
    let object = |name: &str, spec| v1::Object {
        name: name.to_owned(),
        spec: Some(spec),
        ..Default::default()
    };
    vec![
        object("rust", Spec::LogicalSwitch(v1::LogicalSwitch::default())),
        object("rust-vm1", Spec::LogicalSwitchPort(port)),
    ]
}
