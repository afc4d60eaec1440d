//! `ovn-trace` and ours, asked the same about random packets, on southbounds written by OVN's northd and by Weft's.
//!
//! What is compared is the minimal form: every change of a header, every assumption, every packet that comes out, in order.
//! Not compared are packets of which OVN's answer is left to chance (`select`), and those for which ovn-trace is known to
//! be wrong or to die: it does not turn the packet of `nd_ns` into a solicitation, and it aborts where a router answers one.
//! Their share is limited.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::against_ovn::words;

/// The labs in small, in commands.
pub(crate) const NETWORK: &str = include_str!("../trace-network.txt");
const SCHEMAS: &str = "/usr/share/ovn";
const PORTS: [&str; 9] = [
    "dmz-vm1",
    "dmz-vm2",
    "inside-vm3",
    "inside-vm4",
    "dmz-any",
    "web1",
    "web2",
    "web3",
    "ext-host",
];

/// Databases, a northd, and the network.
pub(crate) struct World {
    directory: tempfile::TempDir,
}

/// A tracer that runs as a daemon.
struct Tracer {
    stream: UnixStream,
    control: PathBuf,
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl World {
    pub(crate) fn new(northd: &Path) -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for (name, schema) in [("nb.db", "ovn-nb.ovsschema"), ("sb.db", "ovn-sb.ovsschema")] {
            run(Command::new("ovsdb-tool")
                .arg("create")
                .arg(world.file(name))
                .arg(Path::new(SCHEMAS).join(schema)));
        }
        run(Command::new("ovsdb-server")
            .args(["--detach", "--no-chdir", "-vconsole:off"])
            .arg(format!(
                "--remote=punix:{}",
                world.file("db.sock").display()
            ))
            .arg(format!("--pidfile={}", world.file("server.pid").display()))
            .arg(format!("--unixctl={}", world.file("server.ctl").display()))
            .args([world.file("nb.db"), world.file("sb.db")]));
        let remote = world.remote();
        run(Command::new(northd)
            .args(["--detach", "--no-chdir", "-vconsole:off"])
            .args([
                format!("--ovnnb-db={remote}"),
                format!("--ovnsb-db={remote}"),
            ])
            .arg(format!("--pidfile={}", world.file("northd.pid").display()))
            .arg(format!("--unixctl={}", world.file("northd.ctl").display())));
        world.build();
        world
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn remote(&self) -> String {
        format!("unix:{}", self.file("db.sock").display())
    }

    fn ask(&self, tool: &str, arguments: &[&str]) {
        run(Command::new(tool)
            .arg(format!("--db={}", self.remote()))
            .args(["--timeout=30", "--wait=sb"].iter().take(match tool {
                "ovn-nbctl" => 2,
                _ => 1,
            }))
            .args(arguments));
    }

    fn build(&self) {
        self.ask("ovn-nbctl", &["init"]);
        self.ask("ovn-sbctl", &["chassis-add", "ch1", "geneve", "127.0.0.1"]);
        let can = [
            "other_config:ct-no-masked-label=true",
            "other_config:port-up-notif=true",
        ];
        self.ask("ovn-sbctl", &["set", "Chassis", "ch1", can[0], can[1]]);
        let mut line = Vec::new();
        for command in NETWORK.lines().filter(|line| !line.starts_with('#')) {
            line.push("--".to_owned());
            line.extend(words(command));
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        self.ask("ovn-nbctl", &line);
        for port in PORTS.iter().chain(&["cr-tenant1-public"]) {
            self.ask("ovn-sbctl", &["lsp-bind", port, "ch1"]);
        }
        self.ask("ovn-nbctl", &["sync"]);
    }

    fn tracer(&self, program: &Path, name: &str) -> Tracer {
        let control = self.file(name);
        let _ = std::fs::remove_file(&control);
        run(Command::new(program)
            .arg(format!("--db={}", self.remote()))
            .args(["--detach", "--no-chdir", "-vconsole:off"])
            .arg(format!("--unixctl={}", control.display())));
        Tracer {
            stream: UnixStream::connect(&control).unwrap(),
            control,
        }
    }

    /// Ours under the name of a tool of OVN's.
    pub(crate) fn ours(&self, name: &str) -> PathBuf {
        let link = self.file(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_weft"), &link).unwrap();
        }
        link
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for control in ["northd.ctl", "server.ctl"] {
            exit(&self.file(control));
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        exit(&self.control);
    }
}

pub(crate) fn exit(control: &Path) {
    let _ = Command::new("ovs-appctl")
        .args(["-t", &control.to_string_lossy(), "exit"])
        .output();
}

impl Tracer {
    /// What it says of a packet; nothing if it dies of it.
    fn trace(&mut self, form: &str, microflow: &str) -> Option<String> {
        let request = json!({"id": 1, "method": "trace", "params": [form, microflow]});
        self.stream.write_all(request.to_string().as_bytes()).ok()?;
        let mut reply = Vec::new();
        let mut buffer = [0; 1 << 16];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => reply.extend_from_slice(&buffer[..count]),
            }
            if let Ok(reply) = serde_json::from_slice::<Value>(&reply) {
                return Some(reply["result"].as_str().unwrap().to_owned());
            }
        }
    }
}

/// A small generator of the same numbers each time (Vigna's splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % limit as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A port with its addresses and the MAC of its router.
type Guest = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const GUESTS: [Guest; 9] = [
    (
        "dmz-vm1",
        "02:ac:10:ff:01:30",
        "172.16.255.130",
        "fd01::30",
        "02:ac:10:ff:01:29",
    ),
    (
        "dmz-vm2",
        "02:ac:10:ff:01:31",
        "172.16.255.131",
        "fd01::31",
        "02:ac:10:ff:01:29",
    ),
    (
        "dmz-any",
        "02:ac:10:ff:01:77",
        "172.16.255.150",
        "fd01::77",
        "02:ac:10:ff:01:29",
    ),
    (
        "inside-vm3",
        "02:ac:10:ff:01:94",
        "172.16.255.194",
        "fd02::94",
        "02:ac:10:ff:01:93",
    ),
    (
        "inside-vm4",
        "02:ac:10:ff:01:95",
        "172.16.255.195",
        "fd02::95",
        "02:ac:10:ff:01:93",
    ),
    (
        "web1",
        "02:00:00:00:0c:11",
        "172.31.0.11",
        "fd03::11",
        "02:00:00:00:0c:01",
    ),
    (
        "web2",
        "02:00:00:00:0c:12",
        "172.31.0.12",
        "fd03::12",
        "02:00:00:00:0c:01",
    ),
    (
        "ext-host",
        "02:00:00:00:0b:01",
        "198.51.100.9",
        "fd09::9",
        "02:00:00:00:0a:03",
    ),
    (
        "ln",
        "02:00:00:00:0d:01",
        "203.0.113.100",
        "2001:db8:f::100",
        "02:00:cb:00:71:0a",
    ),
];
const MACS: [&str; 6] = [
    "02:ac:10:ff:01:50",
    "02:de:ad:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:05",
    "33:33:00:00:00:01",
    "02:00:00:00:0a:01",
];
const IP4: [&str; 18] = [
    "172.16.255.129",
    "172.16.255.193",
    "203.0.113.10",
    "203.0.113.50",
    "203.0.113.51",
    "10.9.1.1",
    "10.9.2.2",
    "10.8.1.1",
    "198.51.100.2",
    "198.51.100.60",
    "192.0.2.7",
    "172.30.0.10",
    "172.30.0.11",
    "8.8.8.8",
    "224.0.0.5",
    "255.255.255.255",
    "172.31.0.1",
    "0.0.0.0",
];
const IP6: [&str; 7] = [
    "fd01::1",
    "fd02::1",
    "fd03::1",
    "2001:db8:f::10",
    "ff02::1",
    "2001:4860::8888",
    "fe80::1",
];

fn mac(random: &mut Random) -> &'static str {
    match random.one_in(3) {
        true => random.pick(&MACS),
        false => random.pick(&GUESTS).1,
    }
}

fn ip4(random: &mut Random) -> &'static str {
    match random.one_in(2) {
        true => random.pick(&IP4),
        false => random.pick(&GUESTS).2,
    }
}

fn ip6(random: &mut Random) -> &'static str {
    match random.one_in(2) {
        true => random.pick(&IP6),
        false => random.pick(&GUESTS).3,
    }
}

/// A packet that a guest or the outside may send.
fn packet(random: &mut Random) -> String {
    let (port, own, own4, own6, router) = random.pick(&GUESTS);
    let or = |random: &mut Random, own, other: fn(&mut Random) -> &'static str| match random
        .one_in(10)
    {
        true => other(random),
        false => own,
    };
    let source = or(random, own, mac);
    let destination = match random.one_in(2) {
        true => router,
        false => mac(random),
    };
    let mut parts = vec![format!("inport == \"{port}\" && eth.src == {source}")];
    let (from4, from6) = (or(random, own4, ip4), or(random, own6, ip6));
    let kind = random.below(20);
    let to = match kind {
        0 | 1 => random.pick(&["ff:ff:ff:ff:ff:ff", destination]),
        _ => destination,
    };
    parts.push(format!("eth.dst == {to}"));
    match kind {
        0 | 1 => {
            let (op, target) = (random.pick(&[1, 1, 2]), ip4(random));
            parts.push(format!(
                "arp.op == {op} && arp.spa == {from4} && arp.tpa == {target} && arp.sha == {source}"
            ));
        }
        2 => {
            let (target, to) = (ip6(random), ip6(random));
            parts.push(format!(
                "nd_na && nd.target == {target} && nd.tll == {source} && ip6.src == {from6} && ip6.dst == {to}"
            ));
        }
        3 => {
            let target = ip6(random);
            parts.push(format!(
                "nd_ns && nd.target == {target} && nd.sll == {source} && ip6.src == {from6} && ip6.dst == ff02::1:ff00:1"
            ));
        }
        4 => parts.push("eth.type == 0x88b5".to_owned()),
        5 => parts.push(
            "ip4.src == 0.0.0.0 && ip4.dst == 255.255.255.255 && udp.src == 68 && udp.dst == 67 && ip.ttl == 64"
                .to_owned(),
        ),
        _ => {
            let is_ip6 = random.one_in(4);
            parts.push(match is_ip6 {
                true => format!("ip6.src == {from6} && ip6.dst == {}", ip6(random)),
                false => format!("ip4.src == {from4} && ip4.dst == {}", ip4(random)),
            });
            parts.push(format!("ip.ttl == {}", random.pick(&[64, 64, 64, 1, 2, 0])));
            parts.push(transport(random, is_ip6));
        }
    }
    if random.one_in(30) {
        parts.push("vlan.present".to_owned());
    }
    parts.join(" && ")
}

fn transport(random: &mut Random, is_ip6: bool) -> String {
    match random.below(10) {
        0..4 => format!(
            "tcp.src == {} && tcp.dst == {}",
            random.pick(&[1024, 80]),
            random.pick(&[80, 443, 22, 5432, 8080])
        ),
        4..7 => format!(
            "udp.src == {} && udp.dst == {}",
            random.pick(&[1024, 53]),
            random.pick(&[53, 67, 4789])
        ),
        7 | 8 if is_ip6 => format!("icmp6.type == {}", random.pick(&[128, 129, 1])),
        7 | 8 => format!("icmp4.type == {}", random.pick(&[8, 0, 3])),
        _ => "ip.proto == 47".to_owned(),
    }
}

/// Why OVN's answer is none to compare with.
fn is_left_out(ovns: &str) -> bool {
    ovns.contains("Randomly selected") || ovns.contains("nd_ns {") || ovns.contains("nd_ns;")
}

/// So many packets, if `WEFT_PACKETS` does not say otherwise.
const PACKETS: usize = 1_200;

/// Both tracers say the same of many packets on what `northd` writes.
fn compare(northd: &Path, seed: u64) {
    let count = std::env::var("WEFT_PACKETS").ok();
    let count: usize = count.map_or(PACKETS, |text| text.parse().unwrap());
    let world = World::new(northd);
    let (theirs, ours) = (PathBuf::from("ovn-trace"), world.ours("ovn-trace"));
    let mut their = world.tracer(&theirs, "their.ctl");
    let mut our = world.tracer(&ours, "our.ctl");
    let mut random = Random(seed);
    let (mut left_out, mut delivered) = (0, 0);
    let (mut different, mut died_of) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let microflow = packet(&mut random);
        let ours = our.trace("--minimal", &microflow).unwrap();
        let Some(theirs) = their.trace("--minimal", &microflow) else {
            left_out += 1;
            died_of.push(microflow);
            // Whoever goes ends who answers on its socket: the next one has its own.
            their = world.tracer(&theirs, &format!("their{left_out}.ctl"));
            continue;
        };
        if is_left_out(&theirs) {
            left_out += 1;
            continue;
        }
        delivered += usize::from(theirs.contains("output("));
        // A letter is missing there.
        let theirs = theirs.replace("natin_czone", "nat_in_czone");
        if ours != theirs {
            different.push(format!("{microflow}\nOVN:\n{theirs}Weft:\n{ours}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {count} differ, the first:\n{}",
        different.len(),
        different[0]
    );
    follows_the_database(&world, &mut our);
    println!(
        "{count} packets, {delivered} arrive, {left_out} are left out, of {} ovn-trace died",
        died_of.len()
    );
    assert!(
        left_out < count / 8,
        "{left_out} of {count} were left out; ovn-trace died of {died_of:#?}"
    );
    assert!(delivered > count / 4, "only {delivered} of {count} arrive");
}

/// What changes under a daemon is seen: a flow of a group of datapaths, and a set whose name goes to another row.
fn follows_the_database(world: &World, our: &mut Tracer) {
    let probe = "inport == \"dmz-vm1\" && eth.src == 02:ac:10:ff:01:30 && eth.dst == 02:ac:10:ff:01:31 && ip4.src == \
                 172.16.255.130 && ip4.dst == 172.16.255.131 && ip.ttl == 64 && udp.dst == 9";
    let mut is_through = |expected: bool, what: &str| {
        // The daemon hears of it as the tools do, but not before them.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let text = our.trace("--minimal", probe).unwrap();
            if text.contains("output(") == expected {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {text}");
            std::thread::yield_now();
        }
    };
    is_through(true, "before");
    let group = ["pg-add", "both", "dmz-vm1", "inside-vm3"];
    let from = "inport == @both && ip4.src == $those";
    let rule = ["acl-add", "both", "from-lport", "2000", from, "drop"];
    let set = [
        "create",
        "Address_Set",
        "name=those",
        "addresses=172.16.255.130",
    ];
    let line: Vec<&str> = [&group[..], &["--"], &set, &["--"], &rule].concat();
    world.ask("ovn-nbctl", &line);
    is_through(false, "a rule on two switches");
    for round in 0..4 {
        let again: Vec<&str> = [&["destroy", "Address_Set", "those", "--"], &set[..]].concat();
        world.ask("ovn-nbctl", &again);
        is_through(false, &format!("the set made anew, {round}"));
    }
    world.ask("ovn-nbctl", &["acl-del", "both"]);
    is_through(true, "without the rule");
}

#[test]
fn ovn_and_we_trace_alike_on_what_ovns_northd_writes() {
    compare(Path::new("ovn-northd"), 1);
}

#[test]
fn ovn_and_we_trace_alike_on_what_our_northd_writes() {
    let northd = Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name("weft-northd");
    let name = northd.display();
    assert!(
        northd.exists(),
        "{name} is missing: run `cargo build --package northd`"
    );
    compare(&northd, 2);
}

/// Options, all three forms, and what is wrong, as OVN's program prints them.
#[test]
fn ovn_and_we_print_alike() {
    let world = World::new(Path::new("ovn-northd"));
    let ours = world.ours("ovn-trace");
    let ping = "inport == \"dmz-vm1\" && eth.src == 02:ac:10:ff:01:30 && eth.dst == 02:ac:10:ff:01:29 && \
                ip4.src == 172.16.255.130 && ip4.dst == 172.16.255.194 && ip.ttl == 64 && icmp4.type == 8";
    let web = "inport == \"web1\" && eth.src == 02:00:00:00:0c:11 && eth.dst == 02:00:00:00:0c:12 && \
               ip4.src == 172.31.0.11 && ip4.dst == 172.31.0.12 && ip.ttl == 64 && tcp.dst == 443";
    let vip = "inport == \"web2\" && eth.src == 02:00:00:00:0c:12 && eth.dst == 02:00:00:00:0c:01 && \
               ip4.src == 172.31.0.12 && ip4.dst == 172.30.0.10 && ip.ttl == 64 && tcp.dst == 80";
    let ecmp = "inport == \"dmz-vm1\" && eth.src == 02:ac:10:ff:01:30 && eth.dst == 02:ac:10:ff:01:29 && \
                ip4.src == 172.16.255.130 && ip4.dst == 10.8.1.1 && ip.ttl == 64 && udp.dst == 9";
    let reject = "inport == \"web1\" && eth.src == 02:00:00:00:0c:11 && eth.dst == 02:00:00:00:0c:12 && \
                  ip4.src == 172.31.0.11 && ip4.dst == 172.31.0.12 && ip.ttl == 64 && tcp.dst == 5432";
    let lines: &[&[&str]] = &[
        &["--all", ping],
        &["--summary", "--minimal", ping],
        &["dmz", ping],
        &["--no-friendly-names", ping],
        &["--ct=new", "--ct", "trk,new", web],
        &["--ct=inv", web],
        &["--ct=est,rpl", "--summary", web],
        &["--ct=new", "--lb-dst=172.31.0.11:8080", vip],
        &["--select-id=2", "--minimal", ecmp],
        &["--all", "--ct=new", "--ct=new", reject],
        &["nowhere", ping],
        &["inport == \"nobody\""],
        &["inport == \"dmz-vm1\" && ip4 && ip6"],
        &["eth.src == 02:ac:10:ff:01:30"],
        &["inport == \"dmz-vm1\" || inport == \"dmz-vm2\""],
        &["inport == \"dmz-vm1\" && sctp && ip4 && ct.est && reg0 == 4 && ct_mark == 3"],
        &["inport == \"dmz-vm1\" && vlan.vid == 5 && vlan.present"],
        &["inport == \"dmz-vm1\" && ip4 && ip.proto == 2"],
        &["inport == v1"],
        &["inport == \"dmz-vm1\" && eth.src == 00:00"],
        &["inport == \"dmz-vm1\" eth.src == 00:00:00:00:00:01"],
        &["inport == \"dmz-vm1\" && foo == 1"],
        &["inport == \"dmz-vm1"],
    ];
    let mistakes: &[&[&str]] = &[
        &["--ct=new,foo", ping],
        &["--lb-dst=nonsense", ping],
        &["--select-id=x", ping],
        &["--select-id=0", ping],
        &["--select-id=70000", "--minimal", ecmp],
        &["--nope", ping],
        &["--nope=3", ping],
        &["-x", ping],
        &["--minimal=3", ping],
        &[ping, ping, ping],
    ];
    for line in mistakes {
        let [theirs, ours] = [Path::new("ovn-trace"), &ours].map(|program| {
            let output = Command::new(program)
                .arg(format!("--db={}", world.remote()))
                .args(*line)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            // Its log tells the same once more.
            let lines = text.lines().filter(|line| line.starts_with("ovn-trace: "));
            let lines: Vec<String> = lines.map(str::to_owned).collect();
            (output.status.code(), lines)
        });
        assert_eq!(ours, theirs, "{line:?}");
    }
    for line in lines {
        let [theirs, ours] = [Path::new("ovn-trace"), &ours].map(|program| {
            let output = Command::new(program)
                .arg(format!("--db={}", world.remote()))
                .args(*line)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            (output.status.code(), text)
        });
        assert_eq!(ours, theirs, "{line:?}");
    }
}
