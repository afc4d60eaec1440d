//! Flows of load balancers for clients that are their own backends, in a small world.

use ovsdb::Uuid;
use sb_db::tables::{ChassisTemplateVar, LoadBalancer, LogicalDpGroup, PortBinding};

use crate::layout;
use crate::testing::{SWITCH, World, options, port};

const GROUP: u128 = 40;
const BALANCER: u128 = 0xabcd_ef01 << 96;

/// The world with addresses, and a group of datapaths with its switch.
fn world() -> World {
    let mut world = World::new();
    for (key, name, mac) in [
        (1, "here", "02:00:00:00:00:01 10.0.0.1 fd00::1"),
        (2, "there", "02:00:00:00:00:02 10.0.0.2"),
    ] {
        let addressed = PortBinding {
            mac: vec![mac.into()],
            ..port(name, SWITCH, key)
        };
        world.set(10 + key, Some(&port(name, SWITCH, key)), Some(&addressed));
    }
    let group = LogicalDpGroup {
        datapaths: vec![SWITCH],
        ..LogicalDpGroup::default()
    };
    world.set(GROUP, None, Some(&group));
    world.changes();
    world
}

fn balancer<const N: usize>(vips: [(&str, &str); N]) -> LoadBalancer {
    LoadBalancer {
        name: "lb".into(),
        vips: options(vips),
        ls_datapath_group: Some(Uuid::from_u128(GROUP)),
        ..LoadBalancer::default()
    }
}

fn changes(world: &mut World) -> String {
    world.changes_in(|table| (layout::CHECK_HAIRPIN..=layout::CT_SNAT_HAIRPIN).contains(&table))
}

/// What changes, without what is learned.
fn brief(world: &mut World) -> Vec<String> {
    let lines = changes(world);
    let lines = lines
        .lines()
        .map(|line| line.split_once(" -> ").unwrap_or_default().0.to_owned());
    lines.collect()
}

#[test]
fn backends_that_may_be_clients_here_have_flows() {
    let mut world = world();
    let row = balancer([
        (
            "172.30.0.10:80",
            "10.0.0.1:8080,10.0.0.2:8080,10.0.0.9:8080",
        ),
        ("[fd00::10]:80", "[fd00::1]:8080"),
    ]);
    world.set(BALANCER, None, Some(&row));
    let flows = changes(&mut world);
    // The second backend is a guest elsewhere; nobody knows where the third is.
    assert_eq!(flows.lines().count(), 5, "{flows}");
    assert!(!flows.contains("nw_src=10.0.0.2"), "{flows}");
    for expected in [
        "+ 68 100 tcp,ct_state=+trk+dnat,nw_src=10.0.0.1,nw_dst=10.0.0.1,ct_nw_proto=6,ct_nw_dst=172.30.0.10,\
         ct_tp_dst=80,tcp_dst=8080 -> set_field:0x80/0x80->reg10,learn(table=69,",
        "delete_learned,metadata[0..23],dl_type=0x800,nw_src[],nw_dst=172.30.0.10,nw_proto=6,tcp_src[]=tcp_dst[],\
         load:0x1->reg10[7])",
        "+ 68 100 tcp6,ct_state=+trk+dnat,ipv6_src=fd00::1,ipv6_dst=fd00::1,ct_nw_proto=6,ct_ipv6_dst=fd00::10,",
        "+ 70 100 tcp,ct_state=+trk+dnat,ct_nw_proto=6,ct_nw_dst=172.30.0.10,ct_tp_dst=80 -> \
         ct(commit,zone=reg12[0..15],nat(src=172.30.0.10))",
        "+ 70 100 tcp6,",
    ] {
        assert!(flows.contains(expected), "{expected}: {flows}");
    }
}

#[test]
fn a_backend_that_comes_or_goes_is_one_flow() {
    let mut world = world();
    let backends = |n: u8| -> String {
        let all = (0..n).map(|n| format!("10.1.0.{n}:80"));
        all.collect::<Vec<_>>().join(",")
    };
    let rows = [250, 251, 249].map(|n| balancer([("172.30.0.10:80", &*backends(n))]));
    world.set(BALANCER, None, Some(&rows[0]));
    assert_eq!(brief(&mut world).len(), 251);
    world.set(BALANCER, Some(&rows[0]), Some(&rows[1]));
    assert_eq!(brief(&mut world).len(), 1);
    world.set(BALANCER, Some(&rows[1]), Some(&rows[2]));
    assert_eq!(brief(&mut world).len(), 2);
    world.set(BALANCER, Some(&rows[2]), None);
    assert_eq!(brief(&mut world).len(), 250);
}

#[test]
fn a_backend_has_flows_while_it_is_here() {
    let mut world = world();
    let row = balancer([("172.30.0.10:80", "10.0.0.2:8080")]);
    world.set(BALANCER, None, Some(&row));
    assert_eq!(brief(&mut world).len(), 1);
    world.plug("there", 8);
    let come = brief(&mut world);
    assert_eq!(come.len(), 1);
    assert!(come[0].starts_with("+ 68 100 "), "{come:?}");
    world.change_ports(|ports| {
        ports.interfaces.remove("there");
    });
    let gone = brief(&mut world);
    assert_eq!(gone.len(), 1);
    assert!(gone[0].starts_with("- 68 100 "), "{gone:?}");
}

#[test]
fn another_address_for_the_client_to_see_is_for_each_switch() {
    let mut world = world();
    let row = LoadBalancer {
        options: options([("hairpin_snat_ip", "169.254.0.5 fd69::5")]),
        ..balancer([("172.30.0.10", "10.0.0.1")])
    };
    world.set(BALANCER, None, Some(&row));
    let flows = changes(&mut world);
    for expected in [
        "+ 68 200 ip,metadata=0x5/0xffffff,",
        "+ 70 190 ip,metadata=0x5/0xffffff,",
        "nat(src=169.254.0.5)",
        "nw_src[],nw_dst=169.254.0.5",
    ] {
        assert!(flows.contains(expected), "{expected}: {flows}");
    }
}

#[test]
fn a_switch_has_a_zone_for_it_while_a_load_balancer_acts_on_it() {
    let mut world = world();
    let zoned = |world: &mut World| {
        let flows = world.changes_in(|table| table == layout::PHYSICAL_TO_LOGICAL);
        (!flows.is_empty()).then(|| flows.contains("->reg12"))
    };
    zoned(&mut world);
    let row = balancer([("172.30.0.10:80", "10.0.0.1:80")]);
    world.set(BALANCER, None, Some(&row));
    assert_eq!(zoned(&mut world), Some(true));
    world.set(BALANCER, Some(&row), None);
    assert_eq!(zoned(&mut world), Some(false));
    // Also if the switch joins the group later.
    let group = LogicalDpGroup {
        datapaths: vec![SWITCH],
        ..LogicalDpGroup::default()
    };
    world.set(GROUP, Some(&group), Some(&LogicalDpGroup::default()));
    world.set(BALANCER, None, Some(&row));
    assert_eq!(zoned(&mut world), None);
    world.set(GROUP, Some(&LogicalDpGroup::default()), Some(&group));
    assert_eq!(zoned(&mut world), Some(true));
}

#[test]
fn variables_have_this_chassis_values() {
    let mut world = world();
    let row = balancer([("^vip:80", "^backends")]);
    world.set(BALANCER, None, Some(&row));
    assert_eq!(brief(&mut world).len(), 0);
    let problem = |world: &World| {
        world
            .network
            .problems
            .get(&Uuid::from_u128(BALANCER))
            .cloned()
    };
    let told = problem(&world).expect("a problem");
    assert!(told.contains("^vip"), "{told}");
    let variables = |backends: &str| ChassisTemplateVar {
        chassis: "us".into(),
        variables: options([("vip", "172.30.0.10"), ("backends", backends)]),
        ..ChassisTemplateVar::default()
    };
    let values = ["10.0.0.1:80", "10.0.0.1:80,10.0.0.9:80"].map(variables);
    world.set(50, None, Some(&values[0]));
    assert_eq!(brief(&mut world).len(), 2);
    assert_eq!(problem(&world), None);
    world.set(50, Some(&values[0]), Some(&values[1]));
    assert_eq!(brief(&mut world).len(), 1);
    world.set(50, Some(&values[1]), None);
    assert_eq!(brief(&mut world).len(), 3);
}
