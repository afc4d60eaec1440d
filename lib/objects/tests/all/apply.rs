//! Apply: what an owner has becomes what it declares.

use nb_db::tables::{LogicalRouterPolicy, LogicalSwitchPort};
use objects::{Code, find};

use crate::lab::{Lab, kind_of, refused};

const NET: &str = "
owner: net
objects:
- name: dmz
  logical_switch: {other_config: {subnet: 10.0.0.0/24}}
- name: dmz-vm1
  logical_switch_port:
    logical_switch: dmz
    addresses: ['00:00:00:00:00:01 10.0.0.1']
    dhcpv4_options: dhcp
- name: dhcp
  dhcp_options: {cidr: 10.0.0.0/24, options: {lease_time: '3600'}}
- name: gw
  logical_router: {}
- name: gw-dmz
  logical_router_port:
    logical_router: gw
    mac: '00:00:00:00:ff:01'
    networks: [10.0.0.254/24]
    gateway_chassis: [{chassis_name: hv1, priority: 20}, {chassis_name: hv2, priority: 10}]
- name: default
  static_route: {logical_router: gw, ip_prefix: 0.0.0.0/0, nexthop: 10.0.0.9}
- name: web
  port_group: {ports: [dmz-vm1]}
- name: web-in
  acl:
    port_groups: [web]
    priority: 1000
    direction: to-lport
    match: outport == @web && tcp.dst == 80
    action: allow-related
";

fn net(from: &str, to: &str) -> String {
    assert!(NET.contains(from), "{from}");
    NET.replace(from, to)
}

#[test]
fn what_is_declared_is_made_and_declared_again_changes_nothing() {
    let mut lab = Lab::new();
    let plan = lab.apply("net", NET).unwrap();
    assert_eq!(plan.len(), 8, "{plan:?}");
    assert!(
        plan.iter().all(|change| change.starts_with("+ ")),
        "{plan:?}"
    );
    assert_eq!(lab.apply("net", NET).unwrap(), ["= 8"]);
    let port = lab.get("switch-port", "dmz-vm1").unwrap();
    assert_eq!(port["logical_switch_port"]["dhcpv4_options"], "dhcp");
    assert_eq!(port["logical_switch_port"]["logical_switch"], "dmz");
}

#[test]
fn only_what_differs_is_changed() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    let changed = net("tcp.dst == 80", "tcp.dst == 443").replace("priority: 10}", "priority: 30}");
    assert_eq!(
        lab.apply("net", &changed).unwrap(),
        [
            "~ logical_router_port gw-dmz gateway_chassis",
            "~ acl web-in match",
            "= 6"
        ]
    );
    assert_eq!(lab.count("Gateway_Chassis"), 2);
    assert_eq!(lab.apply("net", &changed).unwrap(), ["= 8"]);
}

#[test]
fn what_is_no_longer_declared_is_deleted() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    let (kept, _) = NET.split_once("- name: gw\n").unwrap();
    let plan = lab.apply("net", kept).unwrap();
    assert_eq!(plan.last().unwrap(), "= 3");
    assert_eq!(plan.len(), 6, "{plan:?}");
    for table in [
        "Logical_Router",
        "Logical_Router_Port",
        "Gateway_Chassis",
        "Logical_Router_Static_Route",
        "Port_Group",
        "ACL",
    ] {
        assert_eq!(lab.count(table), 0, "{table}");
    }
    assert_eq!(lab.apply("net", "objects: []").unwrap().len(), 3);
    assert_eq!(lab.count("Logical_Switch_Port"), 0);
}

#[test]
fn a_port_moves_to_another_switch() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    let moved = net(
        "- name: dmz\n",
        "- name: inside\n  logical_switch: {}\n- name: dmz\n",
    )
    .replace("logical_switch: dmz", "logical_switch: inside");
    assert_eq!(
        lab.apply("net", &moved).unwrap(),
        [
            "+ logical_switch inside",
            "~ logical_switch_port dmz-vm1 logical_switch",
            "= 7"
        ]
    );
    // The switch that it was in can go now, and the port does not.
    let without = moved.replace(
        "- name: dmz\n  logical_switch: {other_config: {subnet: 10.0.0.0/24}}\n",
        "",
    );
    assert_eq!(
        lab.apply("net", &without).unwrap(),
        ["- logical_switch dmz", "= 8"]
    );
    assert_eq!(lab.count("Logical_Switch_Port"), 1);
}

#[test]
fn others_keep_what_is_theirs() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    let other = "- name: dmz\n  logical_switch: {}";
    refused(
        lab.apply("other", other),
        Code::Conflict,
        &["belongs to \\\"net\\\"", "objects[0].name"],
    );
    refused(
        lab.apply_with("other", other, true),
        Code::Conflict,
        &["belongs to"],
    );
    // A port of another in a switch of this one: the switch cannot be pruned.
    let port = "- name: dmz-vm2\n  logical_switch_port: {logical_switch: dmz}";
    assert_eq!(
        lab.apply("other", port).unwrap(),
        ["+ logical_switch_port dmz-vm2"]
    );
    refused(
        lab.apply("net", "objects: []"),
        Code::Conflict,
        &["no longer declared", "dmz-vm2", "belongs to", "other"],
    );
    assert_eq!(lab.apply("net", NET).unwrap(), ["= 8"]);
}

#[test]
fn what_nobody_owns_is_taken_when_that_is_asked_for() {
    let mut lab = Lab::new();
    let switch = "name: dmz\nlogical_switch: {external_ids: {a: b}}";
    lab.create(switch).unwrap();
    refused(
        lab.apply("net", switch),
        Code::Conflict,
        &["nobody owns it", "adopt"],
    );
    assert_eq!(
        lab.apply_with("net", switch, true).unwrap(),
        ["~ logical_switch dmz owner"]
    );
    assert_eq!(lab.apply("net", switch).unwrap(), ["= 1"]);
    assert_eq!(
        lab.apply("net", "objects: []").unwrap(),
        ["- logical_switch dmz"]
    );
}

#[test]
fn nothing_is_half_applied() {
    let mut lab = Lab::new();
    for (from, to, words) in [
        (
            "logical_switch: dmz\n",
            "logical_switch: none\n",
            [
                "objects[1].logical_switch_port.logical_switch",
                "there is no",
            ],
        ),
        (
            "match: outport == @web",
            "match: outport = @web",
            ["objects[7].acl.match", "write an expression"],
        ),
        (
            "10.0.0.254/24",
            "10.0.0.254/33",
            ["objects[4].logical_router_port.networks", "10.0.0.254/33"],
        ),
        (
            "action: allow-related",
            "action: permit",
            ["objects[7].acl.action", "allow-stateless"],
        ),
        (
            "priority: 1000",
            "priority: 40000",
            ["objects[7].acl.priority", "32767"],
        ),
        ("- name: gw-dmz", "- name: ''", ["name", "1 to 255 bytes"]),
        (
            "port_groups: [web]",
            "log: true",
            ["objects[7].acl.logical_switches", "port_groups"],
        ),
        (
            "- name: gw\n  logical_router",
            "- name: dmz\n  logical_switch",
            ["objects[3].name", "declared twice"],
        ),
        (
            "{subnet: 10.0.0.0/24}}",
            "{}, external_ids: {weft-owner: me}}",
            ["objects[0].logical_switch.external_ids", "reserved"],
        ),
    ] {
        let code = match to.contains("none") {
            true => Code::Conflict,
            false => Code::Invalid,
        };
        refused(lab.apply("net", &net(from, to)), code, &words[1..]);
        let result = lab.apply("net", &net(from, to));
        let text = format!("{:?}", result.unwrap_err().violations);
        assert!(text.contains(words[0]), "{text}");
    }
    assert_eq!(lab.count("Logical_Switch"), 0);
}

#[test]
fn documents_that_make_no_sense_say_where() {
    let mut lab = Lab::new();
    for (yaml, words) in [
        (
            "name: a\nlogical_switch: {other_confg: {}}",
            &["logical_switch.other_confg", "other_config"][..],
        ),
        ("name: a\nlogical_switch: {}\nacl: {}", &["several kinds"]),
        ("name: a", &["no kind"]),
        (
            "name: 3\nlogical_switch: {}",
            &["name", "it is a number", "in quotation marks"],
        ),
        (
            "name: a\nacl: {priority: high}",
            &["acl.priority", "a number of 32 bits"],
        ),
        (
            "name: a\nport_group: {ports: p}",
            &["port_group.ports", "a list"],
        ),
        ("owner: 3\nobjects: []", &["owner", "no text"]),
        ("objects: {}", &["objects", "no list"]),
        (
            "objects: []\nobject: 3",
            &["object", "there is no such field"],
        ),
        ("a: [", &["document 1"]),
        (
            "owner: a\nobjects: []\n---\nowner: b\nobjects: []",
            &["document[1].owner"],
        ),
    ] {
        refused(lab.apply("net", yaml), Code::Invalid, words);
    }
    refused(lab.apply("", "objects: []"), Code::Invalid, &["owner"]);
    let long = format!("name: {}\nlogical_switch: {{}}", "a".repeat(65_536));
    refused(
        lab.apply("net", &long),
        Code::Invalid,
        &["65536 bytes", "1 to 255"],
    );
}

#[test]
fn thousands_of_ports_are_one_transaction() {
    let mut lab = Lab::new();
    let mut yaml = "- name: s\n  logical_switch: {}\n".to_owned();
    for port in 0..3000 {
        yaml.push_str(&format!(
            "- name: p{port}\n  logical_switch_port: {{logical_switch: s}}\n"
        ));
    }
    assert_eq!(lab.apply("net", &yaml).unwrap().len(), 3001);
    assert_eq!(lab.apply("net", &yaml).unwrap(), ["= 3001"]);
}

#[test]
fn a_file_of_nothing_deletes_nothing() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    for nothing in ["", "---\n", "# nothing\n", "null\n---\nnull\n"] {
        refused(
            lab.apply("net", nothing),
            Code::Invalid,
            &["nothing is declared", "objects: []"],
        );
    }
    assert_eq!(lab.apply("net", NET).unwrap(), ["= 8"]);
    assert_eq!(lab.apply("net", "[]").unwrap().len(), 8);
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let mut lab = Lab::new();
    let twice = "name: a\nload_balancer:\n  vips: {'10.0.0.1:80': '10.0.0.2:80', '10.0.0.1:80': '10.0.0.3:80'}";
    refused(
        lab.apply("net", twice),
        Code::Invalid,
        &["document 1", "duplicate"],
    );
    let json =
        objects::document::read_json(br#"{"name": "a", "acl": {"log": true, "log": false}}"#);
    assert!(json.unwrap_err().contains("\"log\" is there twice"));
    let parts = net("chassis_name: hv2", "chassis_name: hv1");
    refused(
        lab.apply("net", &parts),
        Code::Invalid,
        &["gateway_chassis[1]", "twice"],
    );
}

#[test]
fn a_version_that_is_given_must_be_there() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    let version = lab.version("router-port", "gw-dmz");
    let with = |version: &str| {
        net(
            "- name: gw-dmz\n",
            &format!("- name: gw-dmz\n  version: {version}\n"),
        )
    };
    assert_eq!(lab.apply("net", &with(&version)).unwrap(), ["= 8"]);
    // The rank of a chassis is part of the port.
    lab.apply("net", &net("priority: 10}", "priority: 11}"))
        .unwrap();
    refused(
        lab.apply("net", &with(&version)),
        Code::Stale,
        &["objects[4].version"],
    );
    lab.delete("route", "default", "").unwrap();
    let gone = net("- name: default\n", "- name: default\n  version: x\n");
    refused(
        lab.apply("net", &gone),
        Code::Stale,
        &["objects[5].version", "gone"],
    );
}

#[test]
fn what_others_refer_to_is_not_pruned() {
    let mut lab = Lab::new();
    lab.apply("net", NET).unwrap();
    lab.apply("other", "- name: mine\n  port_group: {ports: [dmz-vm1]}")
        .unwrap();
    refused(
        lab.apply("net", "objects: []"),
        Code::Conflict,
        &["dmz-vm1", "\\\"mine\\\"", "refers to it"],
    );
    lab.apply("other", "objects: []").unwrap();
    assert_eq!(lab.apply("net", "objects: []").unwrap().len(), 8);
}

#[test]
fn circles_are_refused() {
    let mut lab = Lab::new();
    let port = |name: &str, parent: &str| {
        format!(
            "- name: {name}\n  logical_switch_port: {{logical_switch: s, parent_name: {parent}, tag_request: 1}}\n"
        )
    };
    let switch = "- name: s\n  logical_switch: {}\n";
    let within = |ports: &str| format!("{switch}{ports}");
    refused(
        lab.apply("net", &within(&port("a", "a"))),
        Code::Conflict,
        &[
            "objects[1].logical_switch_port.parent_name",
            "a in a",
            "the port of the guest",
        ],
    );
    let three = [
        port("a", "b"),
        port("b", "c"),
        port("c", "a"),
        port("d", "a"),
    ]
    .concat();
    let told = lab.apply("net", &within(&three)).unwrap_err();
    let fields: Vec<&str> = told.violations.iter().map(|wrong| &*wrong.field).collect();
    let expected = [1, 2, 3].map(|n| format!("objects[{n}].logical_switch_port.parent_name"));
    assert_eq!(fields, expected);
    // One that waits for its guest's port closes no circle, until somebody makes that port a container of its own.
    lab.apply("net", &within(&port("a", "b"))).unwrap();
    let other = "name: b\nlogical_switch_port: {logical_switch: s, parent_name: a, tag_request: 1}";
    refused(
        lab.create(other),
        Code::Conflict,
        &["logical_switch_port.parent_name", "b in a in b"],
    );
    lab.create("name: b\nlogical_switch_port: {logical_switch: s}")
        .unwrap();
    refused(
        lab.update(other, &["parent_name", "tag_request"], ""),
        Code::Conflict,
        &["logical_switch_port.parent_name"],
    );

    let policy = |name: &str, chain: &str, to: &str| {
        let chain = if chain.is_empty() {
            String::new()
        } else {
            format!("chain: {chain}, ")
        };
        format!(
            "- name: p{name}\n  policy: {{logical_router: r, priority: 1, match: ip4, action: jump, {chain}jump_chain: {to}}}\n"
        )
    };
    let router =
        |policies: &[String]| format!("- name: r\n  logical_router: {{}}\n{}", policies.concat());
    let tree = [
        policy("1", "", "a"),
        policy("2", "a", "b"),
        policy("3", "a", "c"),
        policy("4", "b", "c"),
    ];
    lab.apply("chains", &router(&tree)).unwrap();
    let circle = [&tree[..], &[policy("5", "c", "a")]].concat();
    refused(
        lab.apply("chains", &router(&circle)),
        Code::Conflict,
        &[
            "objects[5].policy.jump_chain",
            "from the chain \\\"a\\\" packets would come back to \\\"c\\\"",
        ],
    );
    let to_itself = [policy("1", "a", "a")];
    refused(
        lab.apply("chains", &router(&to_itself)),
        Code::Conflict,
        &["objects[1].policy.jump_chain"],
    );
    // On another router, chains of the same names are others.
    let elsewhere = format!(
        "- name: r2\n  logical_router: {{}}\n{}",
        policy("5", "c", "a").replace(": r,", ": r2,")
    );
    lab.apply("elsewhere", &elsewhere).unwrap();
}

#[test]
fn a_circle_that_others_made_is_in_nobodys_way() {
    let mut lab = Lab::new();
    let port = |name: &str, more: &str| {
        format!(
            "- name: {name}\n  logical_switch_port: {{logical_switch: s, tag_request: 1{more}}}\n"
        )
    };
    let policy = |name: &str, chain: &str, to: &str, of: &str| {
        format!(
            "- name: {name}\n  policy: {{logical_router: r, priority: 1, match: {of}, action: jump, chain: {chain}, jump_chain: {to}}}\n"
        )
    };
    let network = |ports: &[String]| {
        let rest = "- name: s\n  logical_switch: {}\n- name: r\n  logical_router: {}\n";
        format!("{rest}{}", ports.concat())
    };
    let there = [
        port("a", ", parent_name: b"),
        port("b", ""),
        policy("p", "x", "y", "ip4"),
        policy("q", "y", "z", "ip4"),
    ];
    lab.apply("net", &network(&there)).unwrap();
    // As ovn-nbctl makes it.
    lab.change(|draft| {
        let ports = LogicalSwitchPort::COLUMN;
        let b = find::find(draft.before(), kind_of("logical_switch_port"), "b")?;
        let parent: Option<std::sync::Arc<str>> = Some("a".into());
        let set = draft.set::<LogicalSwitchPort, _>(b, ports.parent_name, &parent);
        set.unwrap();
        let policies = LogicalRouterPolicy::COLUMN;
        let q = find::find(draft.before(), kind_of("policy"), "q")?;
        let chain: Option<std::sync::Arc<str>> = Some("x".into());
        let set = draft.set::<LogicalRouterPolicy, _>(q, policies.jump_chain, &chain);
        set.unwrap();
        Ok(())
    })
    .unwrap();
    let changed = [
        port("a", ", parent_name: b, addresses: [unknown]"),
        port("b", ", parent_name: a, addresses: [unknown]"),
        policy("p", "x", "y", "ip6"),
        policy("q", "y", "x", "ip6"),
    ];
    assert_eq!(
        lab.apply("net", &network(&changed)).unwrap(),
        [
            "~ logical_switch_port a addresses",
            "~ logical_switch_port b addresses",
            "~ policy p match",
            "~ policy q match",
            "= 2"
        ]
    );
    let described = "name: a\nlogical_switch_port: {addresses: [], parent_name: b}";
    lab.update(described, &["addresses", "parent_name"], "")
        .unwrap();
    // Nobody closes it anew, or another.
    lab.apply("net", &network(&there)).unwrap();
    refused(
        lab.apply("net", &network(&changed)),
        Code::Conflict,
        &[
            "objects[3].logical_switch_port.parent_name",
            "policy.jump_chain",
        ],
    );
}

#[test]
fn what_only_makes_sense_together_is_asked_for_together() {
    let mut lab = Lab::new();
    let nat = |more: &str| {
        let fields =
            "logical_router: r, type: snat, external_ip: 192.0.2.1, logical_ip: 10.0.0.0/24";
        format!("- name: r\n  logical_router: {{}}\n- name: n\n  nat: {{{fields}{more}}}\n")
    };
    let refusal = ["objects[1].nat.priority", "give `match`"];
    refused(
        lab.apply("net", &nat(", priority: 5")),
        Code::Invalid,
        &refusal,
    );
    lab.apply("net", &nat(", priority: 5, match: ip4.dst == 198.51.100.1"))
        .unwrap();
    refused(
        lab.update("name: n\nnat: {match: ''}", &["match"], ""),
        Code::Invalid,
        &["nat.priority"],
    );
    lab.apply("net", &nat("")).unwrap();
}
