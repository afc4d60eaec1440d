//! `ovn-detrace` and ours on the same input; `weft why` and `weft debug` on a network whose rules are known.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::trace::{World, run};

/// What a filter makes of an input. The datapaths of a flow may come in any order.
fn filtered(program: &Path, world: &World, input: &str) -> Vec<String> {
    let mut child = Command::new(program)
        .args([
            format!("--ovnsb={}", world.remote()),
            format!("--ovnnb={}", world.remote()),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_datapath = |line: &String| line.starts_with("  *     \"");
    for part in lines.chunk_by_mut(|a, b| is_datapath(a) && is_datapath(b)) {
        part.sort();
    }
    lines
}

fn rows(world: &World, table: &str) -> Vec<String> {
    let remote = format!("--db={}", world.remote());
    let text =
        run(Command::new("ovn-sbctl").args([&remote, "--bare", "--columns=_uuid", "list", table]));
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn ovn_and_we_say_what_cookies_are() {
    let world = World::new(Path::new("ovn-northd"));
    let ours = world.ours("ovn-detrace");
    let mut input = String::from("Flow: tcp,in_port=1\n\nbridge(\"br-int\")\n----------------\n");
    let tables = [
        "Logical_Flow",
        "Port_Binding",
        "Multicast_Group",
        "Chassis",
        "Load_Balancer",
    ];
    for table in tables {
        for (index, uuid) in rows(&world, table).iter().enumerate() {
            // Some blocks have two.
            let cookie = u32::from_str_radix(&uuid[..8], 16).unwrap();
            let number = if index % 5 == 4 { "    " } else { " 8. " };
            input.push_str(&format!(
                "{number}reg14=0x1, priority 50, cookie {cookie:#x}\n    resubmit(,9)\n"
            ));
        }
    }
    input.push_str(" 9. priority 0, cookie 0x0\n    drop\n\nFinal flow: unchanged\n");
    assert!(input.lines().count() > 500);
    let (theirs, ours) = (
        filtered(Path::new("ovn-detrace"), &world, &input),
        filtered(&ours, &world, &input),
    );
    for (line, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(ours, theirs, "line {line}");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// A packet, and what must be said of it: the northbound table of the rule, and words.
const REASONS: [(&str, &[&str]); 6] = [
    (
        "inport == \"web1\" && eth.src == 02:00:00:00:0c:11 && eth.dst == 02:00:00:00:0c:12 && ip4.src == 172.31.0.11 && \
         ip4.dst == 172.31.0.12 && ip.ttl == 64 && tcp.dst == 5432",
        &[
            "The packet is dropped",
            "(tcp_reset) is delivered to \"web1\"",
            "5432), reject",
        ],
    ),
    (
        "inport == \"dmz-vm1\" && eth.src == 02:de:ad:00:00:01 && eth.dst == 02:ac:10:ff:01:31",
        &["dropped", "ls_in_apply_port_sec"],
    ),
    (
        "inport == \"dmz-vm1\" && eth.src == 02:ac:10:ff:01:30 && eth.dst == 02:ac:10:ff:01:29 && ip4.src == \
         172.16.255.130 && ip4.dst == 172.31.0.11 && ip.ttl == 64 && udp.dst == 99",
        &["dropped", "ls_out_acl", "ACL ", "to-lport, priority=1001"],
    ),
    (
        "inport == \"inside-vm4\" && eth.src == 02:ac:10:ff:01:95 && eth.dst == 02:ac:10:ff:01:93 && ip4.src == \
         172.16.255.195 && ip4.dst == 10.9.1.1 && ip.ttl == 64 && udp.dst == 99",
        &[
            "dropped",
            "lr_in_policy",
            "Logical_Router_Policy ",
            "action drop",
        ],
    ),
    (
        "inport == \"ext-host\" && eth.src == 02:00:00:00:0b:01 && eth.dst == 02:00:00:00:0a:03 && ip6.src == fd09::9 && \
         ip6.dst == fd77::1 && ip.ttl == 64 && udp.dst == 99",
        &["dropped", "lr_in_ip_routing"],
    ),
    (
        "inport == \"dmz-vm1\" && eth.src == 02:ac:10:ff:01:30 && eth.dst == 02:ac:10:ff:01:31 && ip4.src == \
         172.16.255.130 && ip4.dst == 172.16.255.131 && ip.ttl == 64 && udp.dst == 99",
        &[
            "delivered to \"dmz-vm2\"",
            "Logical_Switch_Port ",
            "(dmz-vm2)",
        ],
    ),
];

#[test]
fn the_rule_that_decides_is_named() {
    let world = World::new(Path::new("ovn-northd"));
    let weft = |words: &[&str]| {
        run(Command::new(env!("CARGO_BIN_EXE_weft"))
            .args(words)
            .env("OVN_SB_DB", world.remote())
            .env("OVN_NB_DB", world.remote()))
    };
    for (microflow, said) in REASONS {
        let text = weft(&["why", "--ct=new", "--ct=new", microflow]);
        for words in said {
            assert!(
                text.contains(words),
                "{microflow}: no \"{words}\" in:\n{text}"
            );
        }
    }
    let table = weft(&["debug", "lflow-stage-to-ltable", "ls_out_apply_port_sec"]);
    let oftable = weft(&["debug", "lflow-stage-to-oftable", "ls_out_apply_port_sec"]);
    let number = |text: &str| text.trim_end().parse::<u32>().unwrap();
    assert_eq!(number(&oftable), number(&table) + 48);
    let cookie = weft(&[
        "debug",
        "uuid-to-cookie",
        "0123abcd-89ab-cdef-0123-456789abcdef",
    ]);
    assert_eq!(cookie, "0x123abcd\n");
}

/// A later fragment has no ports; with `acl_ct_translation`, rules ask its connection for them.
#[test]
fn a_later_fragment_goes_by_the_ports_of_its_connection_where_rules_ask_that() {
    let northd = Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name("weft-northd");
    assert!(
        northd.exists(),
        "{} is missing: run `cargo build --package northd`",
        northd.display()
    );
    let world = World::new(&northd);
    let weft = |words: &[&str]| {
        run(Command::new(env!("CARGO_BIN_EXE_weft"))
            .args(words)
            .env("OVN_SB_DB", world.remote())
            .env("OVN_NB_DB", world.remote()))
    };
    let rule = |priority, matches, verdict| {
        let line = ["nb", "--wait=sb", "acl-add", "inside", "to-lport"];
        weft(&[&line[..], &[priority, matches, verdict]].concat());
    };
    rule(
        "1500",
        "outport == \"inside-vm4\" && udp.dst == 53",
        "allow-related",
    );
    rule("1400", "outport == \"inside-vm4\" && udp", "drop");
    let why = |port: u16| {
        let microflow = format!(
            "inport == \"inside-vm3\" && eth.src == 02:ac:10:ff:01:94 && eth.dst == 02:ac:10:ff:01:95 && \
             ip4.src == 172.16.255.194 && ip4.dst == 172.16.255.195 && ip.ttl == 64 && ip.frag == 3 && udp.dst == {port}"
        );
        weft(&["why", "--ct=new", "--ct=new", &microflow])
    };
    let told = |port: u16, what: &str| {
        let text = why(port);
        assert!(text.contains(what), "{port}: no \"{what}\" in:\n{text}");
    };
    told(53, "priority=1400");
    let setting = "options:acl_ct_translation=true";
    weft(&["nb", "--wait=sb", "set", "NB_Global", ".", setting]);
    told(53, "delivered to \"inside-vm4\"");
    told(53, "priority=1500");
    told(54, "priority=1400");
}
