//! What ports that are no guests' are attached to, and the flows that follow.

use ovsdb::Uuid;
use sb_db::tables::{Chassis, HaChassis, HaChassisGroup, PortBinding};

use crate::layout;
use crate::network::ACTIVATED;
use crate::testing::{SWITCH, World, options, port};

const OWN: u128 = 30;

/// The world, in which this chassis has a row and a name.
fn world() -> World {
    let mut world = World::new();
    world.change_own(|own| {
        own.chassis = Some(Uuid::from_u128(OWN));
        own.name = "c1".into();
    });
    world
}

fn is_bound(world: &World, uuid: u128) -> bool {
    world.network.bindings.peek(Uuid::from_u128(uuid)).is_some()
}

#[test]
fn a_gateway_of_layer_2_is_at_the_patch_of_its_chassis() {
    let mut world = world();
    let row = PortBinding {
        r#type: "l2gateway".into(),
        tag: Some(7),
        options: options([("network_name", "phys"), ("l2gateway-chassis", "c1")]),
        ..port("gw", SWITCH, 3)
    };
    world.set(13, None, Some(&row));
    let flows = world.changes_in(|table| {
        [layout::PHYSICAL_TO_LOGICAL, layout::LOGICAL_TO_PHYSICAL].contains(&table)
    });
    assert!(is_bound(&world, 13));
    assert_eq!(flows, "", "there is no patch yet");
    world.change_ports(|ports| {
        ports.patches.insert("patch-br-int-to-gw".into(), 9);
    });
    let flows = world.changes_in(|table| {
        [layout::PHYSICAL_TO_LOGICAL, layout::LOGICAL_TO_PHYSICAL].contains(&table)
    });
    assert!(is_bound(&world, 13));
    assert!(
        flows.contains("+ 0 150 in_port=9,dl_vlan=7")
            || flows.contains("+ 0 150 in_port=9,vlan_vid=0x1007"),
        "{flows}"
    );
    assert!(flows.contains("output:9"), "{flows}");
    let other = PortBinding {
        options: options([("network_name", "phys"), ("l2gateway-chassis", "c2")]),
        ..row.clone()
    };
    world.set(13, Some(&row), Some(&other));
    world.changes();
    assert!(!is_bound(&world, 13), "it is another chassis'");
}

#[test]
fn a_virtual_port_is_where_the_guest_is_that_has_it() {
    let mut world = world();
    let row = |parent: Option<&str>| PortBinding {
        r#type: "virtual".into(),
        virtual_parent: parent.map(Into::into),
        options: options([("virtual-parents", "there, here")]),
        ..port("vip", SWITCH, 3)
    };
    world.set(13, None, Some(&row(None)));
    world.changes();
    assert!(!is_bound(&world, 13), "nobody has it");
    world.set(13, Some(&row(None)), Some(&row(Some("here"))));
    let flows = world
        .changes_in(|table| table == layout::PHYSICAL_TO_LOGICAL || table >= layout::REMOTE_OUTPUT);
    assert!(is_bound(&world, 13));
    assert_eq!(flows, "", "no packet goes there");
    world.set(13, Some(&row(Some("here"))), Some(&row(Some("there"))));
    world.changes();
    assert!(!is_bound(&world, 13), "a guest of another chassis has it");
    world.set(13, Some(&row(Some("there"))), Some(&row(Some("here"))));
    world.changes();
    assert!(is_bound(&world, 13));
    let taken = PortBinding {
        options: options([("virtual-parents", "there")]),
        ..row(Some("here"))
    };
    world.set(13, Some(&row(Some("here"))), Some(&taken));
    world.changes();
    assert!(!is_bound(&world, 13), "the guest may not have it any more");
    world.set(13, Some(&taken), Some(&row(Some("here"))));
    world.changes();
    assert!(is_bound(&world, 13));
    world.change_ports(|ports| {
        ports.interfaces.remove("here");
    });
    world.changes();
    assert!(!is_bound(&world, 13), "the guest has left");
}

#[test]
fn an_external_port_is_answered_by_the_first_of_its_group() {
    let mut world = world();
    let chassis = |name: &str| Chassis {
        name: name.into(),
        ..Chassis::default()
    };
    let rank = |chassis, priority| HaChassis {
        chassis: Some(Uuid::from_u128(chassis)),
        priority,
        ..HaChassis::default()
    };
    world.set(OWN, None, Some(&chassis("c1")));
    world.set(31, None, Some(&chassis("c2")));
    world.set(40, None, Some(&rank(OWN, 20)));
    world.set(41, None, Some(&rank(31, 10)));
    let group = HaChassisGroup {
        name: "group".into(),
        ha_chassis: [40, 41].map(Uuid::from_u128).into(),
        ..HaChassisGroup::default()
    };
    world.set(42, None, Some(&group));
    world.change_ports(|ports| {
        ports.sessions.insert("c2".into(), true);
    });
    let row = PortBinding {
        r#type: "external".into(),
        ha_chassis_group: Some(Uuid::from_u128(42)),
        ..port("sriov", SWITCH, 3)
    };
    world.set(13, None, Some(&row));
    world.changes();
    assert!(is_bound(&world, 13));
    world.set(41, Some(&rank(31, 10)), Some(&rank(31, 30)));
    world.changes();
    assert!(!is_bound(&world, 13), "the other is better");
    world.change_ports(|ports| {
        ports.sessions.insert("c2".into(), false);
        ports.sessions.insert("user".into(), true);
    });
    world.changes();
    assert!(is_bound(&world, 13), "the other is dead");
}

#[test]
fn a_guest_that_moves_here_is_silent_until_it_speaks() {
    let mut world = world();
    let row = |additional: bool, options: &[(&str, &str)]| PortBinding {
        chassis: Some(Uuid::from_u128(31)),
        requested_additional_chassis: match additional {
            true => vec![Uuid::from_u128(OWN)],
            false => Vec::new(),
        },
        options: options
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        ..port("here", SWITCH, 1)
    };
    let waits = [("activation-strategy", "rarp,na,what")];
    let tables = [layout::PHYSICAL_TO_LOGICAL, layout::LOGICAL_TO_PHYSICAL];
    let blocking = |world: &mut World| -> Vec<String> {
        let flows = world.changes_in(|table| tables.contains(&table));
        let blocking = flows.lines().filter(|line| {
            let priority = line.split(' ').nth(2);
            matches!(priority, Some("1000" | "1010"))
        });
        blocking.map(str::to_owned).collect()
    };
    let plain = port("here", SWITCH, 1);
    world.set(11, Some(&plain), Some(&row(true, &waits)));
    let flows = blocking(&mut world);
    assert_eq!(flows.len(), 4, "{flows:#?}");
    for flow in &flows {
        let speaks = flow.contains(" 1010 ");
        assert!(flow.starts_with("+ "), "{flow}");
        assert_eq!(flow.contains("controller("), speaks, "{flow}");
        assert_eq!(flow.ends_with("resubmit(,8)"), speaks, "{flow}");
    }
    world.engine.input(&mut world.network, |network, changes| {
        network.activate(changes, Uuid::from_u128(11));
    });
    let flows = blocking(&mut world);
    assert!(
        flows.len() == 4 && flows.iter().all(|flow| flow.starts_with("- ")),
        "{flows:#?}"
    );
    // No row says so yet: whoever computes everything anew has to be told.
    let mut anew = World::new();
    anew.set(11, Some(&plain), Some(&row(true, &waits)));
    anew.engine.input(&mut anew.network, |network, changes| {
        network.recall(changes, &world.network);
    });
    assert_eq!(blocking(&mut anew), [] as [&str; 0]);
    // The port is not here in addition any more, and later it is again.
    world.set(11, Some(&row(true, &waits)), Some(&row(false, &waits)));
    world.set(11, Some(&row(false, &waits)), Some(&row(true, &waits)));
    assert_eq!(blocking(&mut world).len(), 4, "it counts once");
    let known = [waits[0], (ACTIVATED, "c0,c1")];
    world.set(11, Some(&row(true, &waits)), Some(&row(true, &known)));
    assert_eq!(
        blocking(&mut world),
        [] as [&str; 0],
        "of an earlier migration, before the port is claimed"
    );
    let claimed = |options| PortBinding {
        additional_chassis: vec![Uuid::from_u128(OWN)],
        ..row(true, options)
    };
    world.set(11, Some(&row(true, &known)), Some(&claimed(&known)));
    assert_eq!(blocking(&mut world).len(), 4, "the southbound says so");
    world.set(11, Some(&claimed(&known)), Some(&claimed(&[])));
    assert_eq!(blocking(&mut world), [] as [&str; 0], "nothing is awaited");
}
