//! What is local, and what is asked for.

use ovsdb::Uuid;
use sb_db::tables::{DatapathBinding, PortBinding};

use crate::testing::{SWITCH, World, datapath, options, port};

const ROUTERS: [u128; 2] = [2, 3];

fn patch(name: &str, of: Uuid, key: u128, peer: &str) -> PortBinding {
    PortBinding {
        r#type: "patch".into(),
        options: options([("peer", peer)]),
        ..port(name, of, key)
    }
}

fn router(key: i64) -> DatapathBinding {
    DatapathBinding {
        external_ids: options([("logical-router", "r"), ("name", "twin")]),
        ..datapath(key)
    }
}

/// The names that are asked for beside those of this chassis' own ports.
fn asked(world: &mut World) -> Vec<String> {
    world.changes();
    let mut names: Vec<String> = world
        .network
        .unknown_peers()
        .iter()
        .map(ToString::to_string)
        .collect();
    names.sort();
    names
}

/// A switch whose guest is here, and routers behind it that are told of step by step, as by a server with conditions.
#[test]
fn a_network_is_followed_across_patch_ports() {
    let mut world = World::new();
    let is_local = |world: &World, n: u128| world.network.local.peek(Uuid::from_u128(n)).is_some();
    assert_eq!(asked(&mut world), [""; 0]);
    world.set(14, None, Some(&patch("s-r", SWITCH, 4, "r-s")));
    assert_eq!(asked(&mut world), ["r-s"]);
    assert!(!is_local(&world, 2));
    let peer = patch("r-s", Uuid::from_u128(2), 1, "s-r");
    world.set(15, None, Some(&peer));
    assert_eq!(asked(&mut world), [""; 0]);
    assert!(is_local(&world, 2));
    world.set(16, None, Some(&patch("r-t", Uuid::from_u128(2), 2, "t-r")));
    assert_eq!(asked(&mut world), ["t-r"]);
    world.set(17, None, Some(&patch("t-r", Uuid::from_u128(3), 1, "r-t")));
    assert_eq!(asked(&mut world), [""; 0]);
    assert!(is_local(&world, 3));
    // The first router's port goes, and with it the way to both.
    world.set(15, Some(&peer), None);
    assert_eq!(asked(&mut world), ["r-s"]);
    assert!(!is_local(&world, 2) && !is_local(&world, 3) && is_local(&world, 1));
}

#[test]
fn routers_of_one_name_keep_their_zones_until_the_last_is_gone() {
    let mut world = World::new();
    for (n, key) in ROUTERS.into_iter().zip(8..) {
        world.set(n, None, Some(&router(key)));
        let (name, peer) = (format!("s-{n}"), format!("{n}-s"));
        world.set(20 + n, None, Some(&patch(&name, SWITCH, 20 + n, &peer)));
        world.set(
            30 + n,
            None,
            Some(&patch(&peer, Uuid::from_u128(n), 1, &name)),
        );
    }
    world.changes();
    let zones = |world: &World| {
        ["twin_dnat", "twin_snat"].map(|name| world.network.zones.get(name).is_some())
    };
    assert_eq!(zones(&world), [true, true]);
    world.set(22, Some(&patch("s-2", SWITCH, 22, "2-s")), None);
    world.changes();
    assert_eq!(zones(&world), [true, true]);
    world.set(23, Some(&patch("s-3", SWITCH, 23, "3-s")), None);
    world.changes();
    assert_eq!(zones(&world), [false, false]);
}

#[test]
fn a_name_that_passes_to_another_row_stays() {
    use sb_db::tables::AddressSet;
    let mut world = World::new();
    let set = AddressSet {
        name: "set".into(),
        addresses: vec!["10.0.0.1".into()],
        ..AddressSet::default()
    };
    world.set(50, None, Some(&set));
    // The new row is told before the old one goes.
    world.set(51, None, Some(&set));
    world.set(50, Some(&set), None);
    world.changes();
    let id = super::NameId::of("set");
    assert!(world.network.address_sets.peek(id).is_some());
}
