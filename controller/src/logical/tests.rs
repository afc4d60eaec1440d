//! Logical flows of a small southbound, as flows of the switch: what is installed, and what changes when rows change.

use ovsdb::Uuid;
use sb_db::tables::{
    AddressSet, Chassis, ChassisTemplateVar, LogicalFlow, Meter, MeterBand, PortBinding, PortGroup,
};

use super::*;
use crate::testing::{SWITCH, World, port};

fn logical(pipeline: &str, table: i64, matches: &str, actions: &str) -> LogicalFlow {
    LogicalFlow {
        logical_datapath: Some(SWITCH),
        pipeline: pipeline.into(),
        table_id: table,
        priority: 50,
        r#match: matches.into(),
        actions: actions.into(),
        ..LogicalFlow::default()
    }
}

#[test]
fn flows_are_translated() {
    let mut world = World::new();
    for (row, expected) in [
        (
            logical(
                "ingress",
                0,
                "inport == \"here\" && eth.src == 02:00:00:00:00:01",
                "next;",
            ),
            "+ 8 50 metadata=0x5/0xffffff,reg14=0x1,dl_src=02:00:00:00:00:01 -> resubmit(,9)\n",
        ),
        (
            logical(
                "ingress",
                22,
                "eth.mcast",
                "outport = \"_MC_flood\"; output;",
            ),
            "+ 30 50 metadata=0x5/0xffffff,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 -> set_field:0x8000->reg15,resubmit(,44)\n",
        ),
        (
            logical("egress", 9, "1", "output;"),
            "+ 57 50 metadata=0x5/0xffffff -> resubmit(,64)\n",
        ),
        (logical("ingress", 0, "inport == \"nowhere\"", "next;"), ""),
        (
            logical("ingress", 0, "is_chassis_resident(\"there\")", "next;"),
            "",
        ),
        (
            logical("ingress", 0, "is_chassis_resident(\"here\")", "drop;"),
            "+ 8 50 metadata=0x5/0xffffff -> drop\n",
        ),
        (
            logical("ingress", 0, "ip", "next;"),
            "+ 8 50 ip,metadata=0x5/0xffffff -> resubmit(,9)\n+ 8 50 ipv6,metadata=0x5/0xffffff -> resubmit(,9)\n",
        ),
        (
            logical(
                "ingress",
                0,
                "1",
                "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, router = 10.0.0.1); next;",
            ),
            "+ 8 50 metadata=0x5/0xffffff -> controller(reason=action,max_len=65535,id=0,userdata=\
             00.00.00.02.00.00.00.00.00.01.00.04.00.00.00.03.0a.00.00.02.03.00.04.0a.00.00.01,pause,meter_id=2576266334),resubmit(,9)\n",
        ),
        (
            // Nobody can send more there than the meter lets pass, whatever the database says of meters.
            logical("ingress", 0, "1", "handle_svc_check(inport);"),
            "+ 8 50 metadata=0x5/0xffffff -> controller(reason=action,max_len=65535,id=0,userdata=00.00.00.12.00.00.00.00,meter_id=2576266334)\n",
        ),
        (
            logical("ingress", 0, "ip4.src == $nobody", "next;"),
            "match: there is no address set $nobody",
        ),
        (
            logical("ingress", 0, "ip4.sorce == 1", "next;"),
            "match: unknown field \"ip4.sorce\"; perhaps ip4.src is meant\n  ip4.sorce == 1\n  ^^^^^^^^^",
        ),
        (
            logical("ingress", 0, "1", "nxet;"),
            "actions: unknown action \"nxet\"\n  nxet;\n  ^^^^",
        ),
        (
            logical("ingress", 33, "1", "next;"),
            "actions: there is no table 34 in the ingress pipeline, which has 34",
        ),
    ] {
        assert_eq!(
            world.flows_of(&row),
            expected,
            "{} -> {}",
            row.r#match,
            row.actions
        );
    }
}

#[test]
fn flows_about_absent_guests_are_skipped() {
    let mut world = World::new();
    let ingress = |name: &str| {
        logical(
            "ingress",
            0,
            &format!("inport == \"{name}\" && ip4"),
            "next;",
        )
    };
    let egress = |name: &str| logical("egress", 0, &format!("outport == \"{name}\""), "next;");
    let tagged = |name: &str| {
        let mut row = logical("ingress", 0, "ip4", "next;");
        row.tags.insert("in_out_port".into(), name.into());
        row
    };
    for (rows, expected) in [
        (
            ingress as fn(&str) -> LogicalFlow,
            "+ 8 50 ip,metadata=0x5/0xffffff,reg14=0x1 -> resubmit(,9)\n",
        ),
        (
            egress,
            "+ 48 50 metadata=0x5/0xffffff,reg15=0x1 -> resubmit(,49)\n",
        ),
        (tagged, "+ 8 50 ip,metadata=0x5/0xffffff -> resubmit(,9)\n"),
    ] {
        assert_eq!(world.flows_of(&rows("there")), "");
        assert_eq!(world.flows_of(&rows("here")), expected);
    }
    // A packet on its way to a guest elsewhere does pass through the ingress pipeline here.
    let towards = logical("ingress", 0, "outport == \"there\"", "next;");
    assert_eq!(
        world.flows_of(&towards),
        "+ 8 50 metadata=0x5/0xffffff,reg15=0x2 -> resubmit(,9)\n"
    );
}

#[test]
fn a_tag_asks_connections_for_their_ports() {
    let mut world = World::new();
    let mut row = logical("ingress", 0, "ip4 && udp.dst == 53", "next;");
    assert_eq!(
        world.flows_of(&row),
        "+ 8 50 udp,metadata=0x5/0xffffff,udp_dst=53 -> resubmit(,9)\n"
    );
    row.tags.insert("acl_ct_translation".into(), "true".into());
    assert_eq!(
        world.flows_of(&row),
        "+ 8 50 ip,metadata=0x5/0xffffff,ct_state=+trk,ct_nw_proto=17,ct_tp_dst=53 -> resubmit(,9)\n"
    );
}

#[test]
fn what_a_flow_names_changes_it() {
    let mut world = World::new();
    let row = logical("ingress", 0, "inport == @pg && ip4.src == $as", "next;");
    world.set(1000, None, Some(&row));
    assert_eq!(world.changes(), "");
    let set = |addresses: &[&str]| AddressSet {
        name: "as".into(),
        addresses: addresses.iter().map(|a| (*a).into()).collect(),
        ..AddressSet::default()
    };
    let group = |name: &str, ports: &[&str]| PortGroup {
        name: name.into(),
        ports: ports.iter().map(|p| (*p).into()).collect(),
        ..PortGroup::default()
    };
    let first = set(&["10.0.0.1"]);
    world.set(30, None, Some(&first));
    world.set(31, None, Some(&group("5_pg", &["here"])));
    let line = |ip: &str| format!("8 50 ip,metadata=0x5/0xffffff,reg14=0x1,nw_src={ip} -> ");
    assert_eq!(
        world.changes(),
        format!("+ {}resubmit(,9)\n", line("10.0.0.1"))
    );
    let second = set(&["10.0.0.1", "10.1.2.3/16", "nonsense", "fd00::1"]);
    world.set(30, Some(&first), Some(&second));
    assert_eq!(
        world.changes(),
        format!("+ {}resubmit(,9)\n", line("10.1.0.0/16"))
    );
    world.set(30, Some(&second), None);
    let gone = format!(
        "- {}drop\n- {}drop\n",
        line("10.0.0.1"),
        line("10.1.0.0/16")
    );
    assert_eq!(world.changes(), gone);
}

#[test]
fn products_become_conjunctions() {
    let mut world = World::new();
    let row = logical(
        "ingress",
        0,
        "ip4.src == {10.0.0.1, 10.0.0.2, 10.0.0.3} && tcp.dst == {1, 2, 3}",
        "next;",
    );
    let flows = world.flows_of(&row);
    let lines: Vec<_> = flows.lines().collect();
    assert_eq!(lines.len(), 7, "{flows}");
    let clauses = lines
        .iter()
        .filter(|line| line.contains("conjunction("))
        .count();
    assert_eq!(clauses, 6, "{flows}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("metadata=0x5/0xffffff") && line.contains("tcp,")),
        "{flows}"
    );
}

#[test]
fn what_is_wrong_in_one_datapath_is_left_out_of_that_one_alone() {
    use crate::testing::{datapath, options, port};
    use sb_db::tables::{DatapathBinding, LogicalDpGroup};
    let mut world = World::new();
    let mut switch = datapath(3);
    switch.external_ids = options([("name", "second")]);
    let members = vec![SWITCH, Uuid::from_u128(2)];
    world.set::<DatapathBinding>(2, None, Some(&switch));
    world.set(16, None, Some(&port("also-here", Uuid::from_u128(2), 1)));
    world.plug("also-here", 9);
    let group = LogicalDpGroup {
        datapaths: members,
        ..LogicalDpGroup::default()
    };
    world.set(60, None, Some(&group));
    let set = PortGroup {
        name: "3_pg".into(),
        ports: vec!["also-here".into()],
        ..PortGroup::default()
    };
    world.set(61, None, Some(&set));
    world.changes();
    let mut row = logical("ingress", 0, "inport == @pg", "next;");
    row.logical_datapath = None;
    row.logical_dp_group = Some(Uuid::from_u128(60));
    world.set(1000, None, Some(&row));
    let flows = world.changes();
    assert_eq!(
        flows,
        "+ 8 50 metadata=0x3/0xffffff,reg14=0x1 -> resubmit(,9)\n"
    );
    assert!(world.network.problems.contains_key(&Uuid::from_u128(1000)));
}

#[test]
fn what_goes_to_the_controller_is_metered() {
    let mut world = World::new();
    let band = MeterBand {
        action: "drop".into(),
        rate: 30,
        burst_size: 5,
        ..MeterBand::default()
    };
    let meter = Meter {
        name: "arp".into(),
        unit: "pktps".into(),
        bands: vec![Uuid::from_u128(71)],
        ..Meter::default()
    };
    world.set(70, None, Some(&meter));
    world.set(71, None, Some(&band));
    let mut row = logical("ingress", 0, "1", "put_fdb(inport, eth.src);");
    row.controller_meter = Some("arp".into());
    world.set(1000, None, Some(&row));
    world.engine.step(&mut world.network, 10_000);
    let changes = world.network.desired.changes();
    let rates = changes.meters.iter().map(|m| m.meter.rate);
    let mut rates: Vec<u32> = rates.collect();
    rates.sort_unstable();
    // The flow's own is there for when the switch refuses the one that is named.
    let own = default_meter(Uuid::from_u128(1000)).rate;
    assert_eq!(rates, [30, own]);
    let made = changes.meters.iter().find(|m| m.meter.rate == 30);
    let made = made.expect("it is one of the two").meter;
    assert_eq!((made.packets, made.burst), (true, 5));
    let Action::Controller(sent) = &changes.flows[0].1.actions[0] else {
        panic!("{changes:?}")
    };
    assert_eq!(sent.meter_id, Some(made.id));
    let slower = MeterBand {
        rate: 10,
        ..band.clone()
    };
    world.set(71, Some(&band), Some(&slower));
    world.engine.step(&mut world.network, 10_000);
    let changes = world.network.desired.changes();
    assert_eq!(changes.meters[0].meter.rate, 10);
    world.set(71, Some(&slower), None);
    world.engine.step(&mut world.network, 10_000);
    let changes = world.network.desired.changes();
    assert_eq!((changes.meters.len(), changes.meters_gone.len()), (0, 1));
}

#[test]
fn a_forwarding_group_leaves_out_ports_of_chassis_that_are_not_reached() {
    let mut world = World::new();
    let chassis = Chassis {
        name: "other".into(),
        ..Chassis::default()
    };
    world.set(30, None, Some(&chassis));
    let there = PortBinding {
        chassis: Some(Uuid::from_u128(30)),
        ..port("there", SWITCH, 2)
    };
    world.set(12, Some(&port("there", SWITCH, 2)), Some(&there));
    let spread = "fwd_group(liveness=true, childports=\"here\", \"there\");";
    world.set(1000, None, Some(&logical("ingress", 0, "ip4", spread)));
    let mut ports = |session: Option<bool>| {
        world.change_ports(|ports| {
            ports.sessions = session
                .map(|is_up| ("other".into(), is_up))
                .into_iter()
                .collect();
        });
        world.engine.step(&mut world.network, 10_000);
        let changes = world.network.desired.changes();
        let groups = changes.groups.iter().map(|group| group.group.buckets.len());
        groups.collect::<Vec<_>>()
    };
    assert_eq!(ports(None), [2], "nobody knows better");
    assert_eq!(ports(Some(false)), [1]);
    assert_eq!(ports(Some(true)), [2]);
}

#[test]
fn connections_are_remembered_as_the_switch_can_take_it() {
    let mut world = World::new();
    let row = logical(
        "egress",
        0,
        "ip4",
        "ct_commit { ct_mark.blocked = 0; }; next;",
    );
    let flows = world.flows_of(&row);
    assert!(flows.contains("nat(src)"), "{flows}");
    world.change_own(|own| own.keeps_apart = false);
    let flows = world.flows_of(&row);
    assert!(
        flows.contains("commit") && !flows.contains("nat"),
        "{flows}"
    );
    world.set(1000, None, Some(&row));
    world.changes();
    world.change_own(|own| own.keeps_apart = true);
    let changed = world.changes();
    assert!(changed.contains("nat(src)"), "{changed}");
}

#[test]
fn choices_are_groups() {
    let mut world = World::new();
    let row = logical("ingress", 0, "ip4", "reg8[16..31] = select(1=20, 2=30);");
    world.set(1000, None, Some(&row));
    world.engine.step(&mut world.network, 10_000);
    let changes = world.network.desired.changes();
    let [group] = &changes.groups[..] else {
        panic!("{changes:?}")
    };
    let weights: Vec<_> = group.group.buckets.iter().map(|b| b.weight).collect();
    assert_eq!(weights, [Some(20), Some(30)]);
    let actions = &changes.flows[0].1.actions;
    assert_eq!(actions[..], [Action::Group(group.group.id)]);
}

#[test]
fn of_a_port_group_those_have_flows_that_are_here() {
    let mut world = World::new();
    let group = PortGroup {
        name: "5_pg".into(),
        ports: ["here", "nobody", "there"].map(Into::into).into(),
        ..PortGroup::default()
    };
    world.set(31, None, Some(&group));
    for (row, keys) in [
        (
            logical("ingress", 0, "inport == @pg", "next;"),
            vec!["reg14=0x1"],
        ),
        (
            logical("egress", 0, "outport == @pg", "next;"),
            vec!["reg15=0x1"],
        ),
        (
            logical("ingress", 0, "outport == @pg", "next;"),
            vec!["reg15=0x1", "reg15=0x2"],
        ),
    ] {
        let flows = world.flows_of(&row);
        let found: Vec<&str> = flows
            .lines()
            .filter_map(|line| line.split([',', ' ']).find(|part| part.starts_with("reg1")))
            .collect();
        assert_eq!(found, keys, "{}: {flows}", row.r#match);
    }
    // A member that comes here has flows from then on.
    let row = logical("ingress", 0, "inport == @pg", "next;");
    world.set(1000, None, Some(&row));
    world.changes();
    world.plug("there", 9);
    let flows = world.changes();
    assert!(
        flows.contains("+ 8 50 metadata=0x5/0xffffff,reg14=0x2"),
        "{flows}"
    );
}

/// A world with a set and a group, and flows that name them, in a switch and in all of a datapath group.
fn with_members() -> (World, AddressSet, PortGroup) {
    let mut world = World::new();
    world.change_own(|own| own.shares_flows = true);
    let set = AddressSet {
        name: "as".into(),
        addresses: ["10.0.0.1", "10.0.1.0/24"].map(Into::into).into(),
        ..AddressSet::default()
    };
    let group = PortGroup {
        name: "5_pg".into(),
        ports: ["there", "nobody"].map(Into::into).into(),
        ..PortGroup::default()
    };
    world.set(30, None, Some(&set));
    world.set(31, None, Some(&group));
    for (n, table) in [(1000, 3), (1001, 3), (1002, 4)] {
        let row = logical("ingress", table, "inport == @pg && ip4.dst == $as", "next;");
        world.set(n, None, Some(&row));
    }
    world.changes_in(|_| true);
    (world, set, group)
}

#[test]
fn an_address_that_comes_or_goes_is_one_flow() {
    let (mut world, before, _) = with_members();
    let mut after = before.clone();
    after.addresses.push("10.0.0.2".into());
    world.set(30, Some(&before), Some(&after));
    assert_eq!(
        world.changes_in(|_| true),
        "+ 91 33 ip,nw_dst=10.0.0.2 -> set_field:0x10000/0x10000->reg11\n"
    );
    world.set(30, Some(&after), Some(&before));
    assert_eq!(
        world.changes_in(|_| true),
        "- 91 33 ip,nw_dst=10.0.0.2 -> drop\n"
    );
    // Without bits there are flows for each address, and no tables between.
    world.change_own(|own| own.shares_flows = false);
    let flows = world.changes_in(|table| table >= layout::ADDRESS_SETS);
    assert!(flows.lines().all(|line| line.starts_with('-')), "{flows}");
    let (mut others, ..) = with_members();
    others.change_own(|own| own.shares_flows = false);
    others.change_own(|own| own.shares_flows = true);
    assert_eq!(others.changes_in(|_| true), "", "it is all as before");
}

#[test]
fn a_port_that_joins_a_group_changes_its_own_flows() {
    let (mut world, _, before) = with_members();
    let mut after = before.clone();
    after.ports.push("elsewhere".into());
    world.set(31, Some(&before), Some(&after));
    assert_eq!(world.changes_in(|_| true), "", "it is not here");
    let before = after.clone();
    after.ports.push("here".into());
    world.set(31, Some(&before), Some(&after));
    let flows = world.changes_in(|_| true);
    let changed: Vec<&str> = flows
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(changed, ["0", "46", "46", "94", "96"], "{flows}");
    assert!(
        flows.contains("set_field:0x1000000000005->metadata"),
        "{flows}"
    );
    assert_eq!(
        world.network.bits().names.len(),
        2,
        "{:?}",
        world.network.bits()
    );
}

#[test]
fn sets_with_most_flows_and_members_have_the_bits() {
    let mut world = World::new();
    world.change_own(|own| own.shares_flows = true);
    let set = |world: &mut World, n: u32, addresses: u32| {
        let name = format!("as{n}");
        let set = AddressSet {
            name: name.as_str().into(),
            addresses: (0..addresses)
                .map(|low| format!("10.{n}.0.{low}").into())
                .collect(),
            ..AddressSet::default()
        };
        world.set(u128::from(3000 + n), None, Some(&set));
        let row = logical("ingress", 3, &format!("ip4.dst == ${name}"), "next;");
        world.set(u128::from(4000 + n), None, Some(&row));
        world.changes();
        let bits = world.network.bits().names;
        bits.into_keys().any(|(_, holder)| *holder == *name)
    };
    let few = u32::from(layout::ADDRESS_SET_BITS);
    assert!((0..few).all(|n| set(&mut world, n, 2)));
    assert!(!set(&mut world, few, 4), "no more than twice");
    assert!(set(&mut world, few + 1, 8));
    let names = world.network.bits().names;
    assert_eq!(names.len(), usize::from(layout::ADDRESS_SET_BITS));
}

#[test]
fn template_variables_have_their_values() {
    let mut world = World::new();
    let row = logical(
        "ingress",
        0,
        "ip4.dst == ^node_ip && tcp.dst == ^p.1",
        "reg0 = ^mark; next;",
    );
    world.set(1000, None, Some(&row));
    assert_eq!(world.changes(), "");
    let problem = world.network.problems.get(&Uuid::from_u128(1000));
    assert!(
        problem.is_some_and(|text| text.contains("node_ip")),
        "{problem:?}"
    );
    let values = |ip: &str| ChassisTemplateVar {
        chassis: "c".into(),
        variables: crate::testing::options([("node_ip", ip), ("p.1", "{80, 443}"), ("mark", "7")]),
        ..ChassisTemplateVar::default()
    };
    world.set(40, None, Some(&values("10.0.0.1")));
    let flows = world.changes();
    assert_eq!(flows.lines().count(), 2, "{flows}");
    assert!(
        flows.contains("nw_dst=10.0.0.1,tcp_dst=443 -> set_field:0x7->reg0,resubmit(,9)"),
        "{flows}"
    );
    world.set(40, Some(&values("10.0.0.1")), Some(&values("10.0.0.2")));
    assert!(world.changes().contains("nw_dst=10.0.0.2,tcp_dst=80"));
    world.set(40, Some(&values("10.0.0.2")), None);
    let flows = world.changes();
    assert!(flows.lines().all(|line| line.starts_with('-')), "{flows}");
}

#[test]
fn ports_that_flows_name_have_their_bits() {
    let (mut world, _, before) = with_members();
    let external = PortBinding {
        r#type: "external".into(),
        ..port("sriov", SWITCH, 9)
    };
    world.set(70, None, Some(&external));
    let mut after = before.clone();
    after.ports.push("sriov".into());
    world.set(31, Some(&before), Some(&after));
    let flows = world.changes_in(|table| table >= layout::ADDRESS_SETS);
    for field in ["reg14=0x9 ", "reg15=0x9 "] {
        assert!(flows.contains(field), "{flows}");
    }
    // Who writes a port, or goes on in the other pipeline, looks its bits up.
    for (pipeline, actions, calls) in [
        ("ingress", "inport = \"sriov\"; next;", "resubmit(,94),"),
        (
            "ingress",
            "next(pipeline=egress, table=2);",
            "resubmit(,96),resubmit(,50)",
        ),
        (
            "egress",
            "next(pipeline=ingress, table=2);",
            "resubmit(,94),resubmit(,10)",
        ),
        (
            "egress",
            "inport = \"sriov\"; next;",
            "set_field:0x9->reg14,resubmit(,50)",
        ),
    ] {
        let flows = world.flows_of(&logical(pipeline, 1, "ip4", actions));
        assert!(flows.contains(calls), "{actions}: {flows}");
    }
}

#[test]
fn sets_with_and_without_a_bit_may_be_excluded_together() {
    let (mut world, ..) = with_members();
    let others: Vec<String> = (0..60).map(|n| format!("fd00::{n}:1")).collect();
    let matches = format!("ip6.src != {{$as, {}}}", others.join(", "));
    let row = logical("ingress", 3, &matches, "next;");
    let flows = world.flows_of(&row);
    assert!(flows.starts_with("+ "), "{flows}");
}

#[test]
fn a_group_without_a_part_in_a_datapath_is_told_with_bits_and_without() {
    let (mut world, ..) = with_members();
    let switch = crate::testing::datapath(6);
    world.set(2, None, Some(&switch));
    world.set(71, None, Some(&port("second", Uuid::from_u128(2), 1)));
    world.plug("second", 12);
    let group = sb_db::tables::LogicalDpGroup {
        datapaths: vec![SWITCH, Uuid::from_u128(2)],
        ..sb_db::tables::LogicalDpGroup::default()
    };
    world.set(72, None, Some(&group));
    let mut row = logical("ingress", 7, "inport == @pg && ip4", "next;");
    row.logical_datapath = None;
    row.logical_dp_group = Some(Uuid::from_u128(72));
    world.changes_in(|_| true);
    world.set(1000, None, Some(&row));
    for on in [true, false, true] {
        world.change_own(|own| own.shares_flows = on);
        world.changes_in(|_| true);
        let problem = world.network.problems.get(&Uuid::from_u128(1000));
        assert!(
            problem.is_some_and(|text| text.contains("@pg")),
            "{on}: {problem:?}"
        );
    }
}

#[test]
fn few_stages_ask_for_address_sets() {
    let (mut world, ..) = with_members();
    let flows = world.flows_of(&logical("ingress", 5, "ip4.dst == $as", "next;"));
    assert_eq!(flows.lines().count(), 2, "a flow for each address: {flows}");
    assert!(
        flows.lines().all(|line| line.starts_with("+ 13 ")),
        "{flows}"
    );
}

#[test]
fn a_set_that_grows_gets_a_bit() {
    let mut world = World::new();
    world.change_own(|own| own.shares_flows = true);
    let set = |n: u32, addresses: u32| AddressSet {
        name: format!("as{n:02}").into(),
        addresses: (0..addresses)
            .map(|low| format!("10.{n}.0.{low}").into())
            .collect(),
        ..AddressSet::default()
    };
    let last = u32::from(layout::ADDRESS_SET_BITS);
    for n in 0..=last {
        world.set(u128::from(3000 + n), None, Some(&set(n, 1)));
        let row = logical("ingress", 3, &format!("ip4.dst == $as{n:02}"), "next;");
        world.set(u128::from(4000 + n), None, Some(&row));
    }
    world.changes();
    let has_bit = |world: &World, n: u32| {
        let mut names = world.network.bits().names.into_keys();
        names.any(|(_, holder)| *holder == *format!("as{n:02}"))
    };
    assert!(!has_bit(&world, last));
    world.set(
        u128::from(3000 + last),
        Some(&set(last, 1)),
        Some(&set(last, 9)),
    );
    world.changes();
    assert!(has_bit(&world, last));
    assert!(
        !has_bit(&world, 0),
        "the first by name of those that weigh the least"
    );
}

/// An address of 10.0.0.0/8.
fn of_ten(n: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).to_string()
}

#[test]
fn rules_that_name_a_large_set_share_its_addresses() {
    const ADDRESSES: u32 = 100_000;
    let mut world = World::new();
    world.change_own(|own| own.shares_flows = true);
    let set = |addresses: u32| AddressSet {
        name: "many".into(),
        addresses: (0..addresses).map(|n| of_ten(n).into()).collect(),
        ..AddressSet::default()
    };
    let before = world.network.desired.len();
    let many = set(ADDRESSES);
    world.set(3000, None, Some(&many));
    for n in 0..10 {
        let row = logical(
            "ingress",
            3,
            &format!("ip4.dst == $many && tcp.dst == {n}"),
            "next;",
        );
        world.set(4000 + n, None, Some(&row));
    }
    while !world.engine.step(&mut world.network, 10_000).done {}
    let made = world.network.desired.len() - before;
    assert!(made < ADDRESSES as usize + 20, "{made} flows");
    world.network.desired.changes();
    world.set(3000, Some(&many), Some(&set(ADDRESSES + 1)));
    while !world.engine.step(&mut world.network, 10_000).done {}
    let changes = world.network.desired.changes();
    assert_eq!(changes.flows.len(), 1, "one address more is one flow");
}

#[test]
fn what_a_group_cannot_hold_is_told_to_the_row_that_asks_for_it() {
    let mut world = World::new();
    let backends: Vec<String> = (0..5_000).map(|n| format!("{}:80", of_ten(n))).collect();
    let actions = format!("ct_lb_mark(backends={});", backends.join(","));
    let mut row = logical(
        "ingress",
        0,
        "ct.new && ip4.dst == 172.30.0.1 && tcp.dst == 80",
        &actions,
    );
    row.external_ids = crate::testing::options([("stage-hint", "abcd1234")]);
    world.set(1000, None, Some(&row));
    assert_eq!(world.changes(), "");
    let told = world.network.problems_by_hint();
    let why = told.get("abcd1234").expect("it is told");
    assert!(
        why.contains("has 5000 to choose from, more than fit"),
        "{why}"
    );
    world.set(1000, Some(&row), None);
    world.changes();
    assert!(world.network.problems_by_hint().is_empty());
}
