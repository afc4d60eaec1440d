//! A real switch does with random packets what the logical interpreter does, with flows of datapath groups shared and not.
//!
//! A random network of three switches, whose flows are partly those of datapath groups, is made flows by the controller's
//! network and loaded into the integration bridge of an `ovs-vswitchd` with dummy devices. `ofproto/trace` tells where a packet
//! leaves; the interpreter tells where it should. Every seed is loaded twice, with and without shared flows.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use controller::network::{Engine, LocalInterface, LocalPorts, Network, Own};
use lflow::action::Query;
use lflow::expr::Lookup;
use lflow::interp::{self, Effect, State};
use lflow::{Actions, Base, Expr, Int, Pipeline};
use openflow::action::Actions as OfActions;
use ovsdb::typed::{Table, TableDefinition};
use ovsdb::{RowChange, Uuid};
use sb_db::tables::{
    AddressSet, DatapathBinding, LogicalDpGroup, LogicalFlow, MulticastGroup, PortBinding,
    PortGroup,
};

const SWITCHES: u32 = 3;
const PORTS: u32 = 3;
const INGRESS_STAGES: u8 = 4;
const EGRESS_STAGES: u8 = 3;
const SEEDS: u64 = 16;
const PACKETS: usize = 25;
const FLOOD: u32 = 32_768;
/// Port groups, with their members' keys on each switch.
const GROUPS: [(&str, [u32; 2]); 2] = [("group", [1, 3]), ("other", [2, 3])];
/// Address sets. The last cannot be looked up by prefixes.
const SETS: [(&str, &[&str]); 3] = [
    ("set", &["10.0.0.9", "10.0.1.0/24", "fd00::/8"]),
    ("nets", &["10.0.0.0/30", "10.0.0.2", "10.0.1.1", "nonsense"]),
    ("odd", &["10.0.0.1/255.0.255.255"]),
];

/// A reproducible stream of choices (xorshift, Marsaglia 2003).
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Where a logical flow applies.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// All switches.
    All,
    /// The first two.
    Two,
    /// One.
    One(u32),
}

impl Whose {
    fn includes(self, switch: u32) -> bool {
        match self {
            Whose::All => true,
            Whose::Two => switch < 3,
            Whose::One(key) => key == switch,
        }
    }
}

/// A logical flow of the random network.
#[derive(Clone, Debug)]
struct Flow {
    whose: Whose,
    pipeline: Pipeline,
    table: u8,
    priority: u16,
    matches: String,
    actions: String,
}

fn port_name(switch: u32, port: u32) -> String {
    format!("p{switch}{port}")
}

fn random_flows(choices: &mut Choices) -> Vec<Flow> {
    let matches = [
        "1",
        "ip4",
        "arp",
        "eth.mcast",
        "eth.dst[40]",
        "tcp",
        "tcp.dst == {80, 443}",
        "udp && ip4.src == 10.0.0.0/24",
        "ip4.dst == $set",
        "ip4.dst != $set && tcp",
        "ip4.src == $nets && ip4.dst == $set",
        "ip4.src == {$nets, $set} && tcp.dst == {80, 443}",
        "ip4.src != $nets",
        "ip4.dst == $odd",
        "ip4.src != {$nets, $odd, 10.0.0.9}",
        "inport == @other && ip4.src == $nets",
        "outport == @other",
        "inport == {\"p11\", @group} && ip4",
        "outport == {@other, \"p21\"} && ip4.dst != $set",
        "ip4.src == {10.0.0.1, 10.0.0.2, 10.0.1.1} && tcp.dst == {80, 443, 8080}",
        "inport == \"p11\"",
        "outport == \"p12\"",
        "inport == @group",
        "outport == @group && ip4",
        "reg0[0..3] == 3",
        "reg0[0] == 1 && ip",
        "eth.dst == 02:00:00:00:00:02",
        "ip.ttl == 40",
        "flags.loopback == 1",
    ];
    let ingress = [
        "next;",
        "next;",
        "reg0[0..3] = 3; next;",
        "ip.ttl--; next;",
        "outport = \"p12\"; next;",
        "outport = \"p13\"; output;",
        "outport = \"_MC_flood\"; output;",
        "outport = \"_MC_flood\"; next;",
        "flags.loopback = 1; outport = inport; output;",
        "flags.loopback = 1; inport = \"p12\"; next;",
        "ip4.src = 10.0.1.1; next;",
        "ip4.src <-> ip4.dst; next;",
        "flags.loopback = 1; outport = \"p12\"; next(pipeline=egress, table=0);",
        "outport = inport; flags.loopback = 1; next(pipeline=egress, table=1);",
        "eth.dst <-> eth.src; next;",
        "drop;",
    ];
    let egress = ["next;", "output;", "output;", "reg0[0] = 1; next;", "drop;"];
    let whose = [
        Whose::All,
        Whose::All,
        Whose::All,
        Whose::Two,
        Whose::Two,
        Whose::One(1),
        Whose::One(2),
        Whose::One(3),
    ];
    let mut flows = Vec::new();
    for (pipeline, stages) in [
        (Pipeline::Ingress, INGRESS_STAGES),
        (Pipeline::Egress, EGRESS_STAGES),
    ] {
        for table in 0..stages {
            let is_last = table + 1 == stages;
            // No two flows of a table have one priority, so that it is said which applies.
            for priority in 1..9 {
                let actions = match pipeline {
                    Pipeline::Ingress => choices.of(&ingress),
                    Pipeline::Egress => choices.of(&egress),
                };
                let actions = match (is_last, pipeline) {
                    (true, Pipeline::Ingress) => actions.replace("next;", "output;"),
                    (true, Pipeline::Egress) => actions.replace("next;", "output;"),
                    _ => (*actions).to_owned(),
                };
                flows.push(Flow {
                    whose: *choices.of(&whose),
                    pipeline,
                    table,
                    priority,
                    matches: (*choices.of(&matches)).to_owned(),
                    actions,
                });
            }
            let on = if is_last { "output;" } else { "next;" };
            flows.push(Flow {
                whose: Whose::All,
                pipeline,
                table,
                priority: 0,
                matches: "1".to_owned(),
                actions: on.to_owned(),
            });
        }
    }
    flows
}

/// A packet: how the switch is told of it, and how the interpreter.
fn random_packet(choices: &mut Choices) -> (String, State) {
    let dst = *choices.of(&[
        0xffff_ffff_ffff_u64,
        0x0200_0000_0002,
        0x0200_0000_0003,
        0x0100_5e00_0001,
    ]);
    let mac = |n: u64| {
        let bytes = n.to_be_bytes();
        let text: Vec<String> = bytes[2..].iter().map(|b| format!("{b:02x}")).collect();
        text.join(":")
    };
    let src = 0x0200_0000_0001_u64;
    let mut text = format!("dl_src={},dl_dst={}", mac(src), mac(dst));
    let mut state = State::default()
        .with(Base::EthSrc, src)
        .with(Base::EthDst, dst);
    let ip = |n: u32| std::net::Ipv4Addr::from_bits(n);
    let from = *choices.of(&[0x0a00_0001_u32, 0x0a00_0101, 0x0a00_0002]);
    let to = *choices.of(&[0x0a00_0001_u32, 0x0a00_0102, 0x0a00_0009]);
    if choices.below(4) == 0 {
        write!(
            text,
            ",arp,arp_op=1,arp_spa={},arp_tpa={}",
            ip(from),
            ip(to)
        )
        .unwrap();
        state.set(Base::EthType, 0x0806);
        state.set(Base::ArpOp, 1);
        state.set(Base::ArpSpa, from.into());
        state.set(Base::ArpTpa, to.into());
        return (text, state);
    }
    let (name, number, base) = *choices.of(&[
        ("tcp", 6_u8, Base::TcpDst),
        ("tcp", 6, Base::TcpDst),
        ("udp", 17, Base::UdpDst),
    ]);
    let port = *choices.of(&[80_u16, 443, 8080, 1]);
    let ttl = *choices.of(&[64_u8, 40]);
    write!(
        text,
        ",{name},nw_src={},nw_dst={},nw_ttl={ttl},{name}_src=9,{name}_dst={port}",
        ip(from),
        ip(to)
    )
    .unwrap();
    for (base, value) in [
        (Base::EthType, 0x0800),
        (Base::IpProto, u128::from(number)),
        (Base::IpTtl, u128::from(ttl)),
        (Base::Ip4Src, u128::from(from)),
        (Base::Ip4Dst, u128::from(to)),
        (base, u128::from(port)),
    ] {
        state.set(base, value);
    }
    let source = if number == 6 {
        Base::TcpSrc
    } else {
        Base::UdpSrc
    };
    state.set(source, 9);
    (text, state)
}

fn uuid<T: Table>(n: u32) -> Uuid {
    Uuid::from_u128((T::INDEX as u128 + 1) << 64 | u128::from(n))
}

fn ofport(switch: u32, port: u32) -> u32 {
    (switch - 1) * PORTS + port
}

/// The switch's flows of the random network, as `ovs-ofctl` reads them.
fn translate(flows: &[Flow], shares_flows: bool) -> String {
    let (mut network, mut engine) = (Network::default(), Engine::new());
    let mut rows: Vec<RowChange> = Vec::new();
    let mut put = |table, uuid, row: ovsdb::Row| {
        rows.push(RowChange {
            table,
            uuid,
            old: None,
            new: Some(Arc::new(row)),
        });
    };
    let mut ports = LocalPorts::default();
    for switch in 1..=SWITCHES {
        let datapath = DatapathBinding {
            tunnel_key: switch.into(),
            ..DatapathBinding::default()
        };
        put(
            DatapathBinding::INDEX,
            uuid::<DatapathBinding>(switch),
            datapath.to_row(),
        );
        for port in 1..=PORTS {
            let name: Arc<str> = port_name(switch, port).into();
            let binding = PortBinding {
                logical_port: name.clone(),
                datapath: uuid::<DatapathBinding>(switch),
                tunnel_key: port.into(),
                ..PortBinding::default()
            };
            let number = ofport(switch, port);
            put(
                PortBinding::INDEX,
                uuid::<PortBinding>(number),
                binding.to_row(),
            );
            let interface = LocalInterface {
                uuid: Uuid::from_u128(number.into()),
                ofport: number,
                version: None,
            };
            ports.interfaces.insert(name, [interface].into());
        }
        let flood = MulticastGroup {
            name: "_MC_flood".into(),
            datapath: uuid::<DatapathBinding>(switch),
            tunnel_key: FLOOD.into(),
            ports: (1..=PORTS)
                .map(|port| uuid::<PortBinding>(ofport(switch, port)))
                .collect(),
            ..MulticastGroup::default()
        };
        put(
            MulticastGroup::INDEX,
            uuid::<MulticastGroup>(switch),
            flood.to_row(),
        );
        for (n, (name, members)) in (0..).zip(GROUPS) {
            let group = PortGroup {
                name: format!("{switch}_{name}").into(),
                ports: members.map(|port| port_name(switch, port).into()).into(),
                ..PortGroup::default()
            };
            put(
                PortGroup::INDEX,
                uuid::<PortGroup>(switch * 10 + n),
                group.to_row(),
            );
        }
    }
    for (n, (name, addresses)) in (1..).zip(SETS) {
        let set = AddressSet {
            name: name.into(),
            addresses: addresses.iter().map(|text| (*text).into()).collect(),
            ..AddressSet::default()
        };
        put(AddressSet::INDEX, uuid::<AddressSet>(n), set.to_row());
    }
    for (n, switches) in [(1, 1..=SWITCHES), (2, 1..=2)] {
        let group = LogicalDpGroup {
            datapaths: switches.map(uuid::<DatapathBinding>).collect(),
            ..LogicalDpGroup::default()
        };
        put(
            LogicalDpGroup::INDEX,
            uuid::<LogicalDpGroup>(n),
            group.to_row(),
        );
    }
    for (n, flow) in (1..).zip(flows) {
        let (one, group) = match flow.whose {
            Whose::All => (None, Some(1)),
            Whose::Two => (None, Some(2)),
            Whose::One(key) => (Some(key), None),
        };
        let row = LogicalFlow {
            logical_datapath: one.map(uuid::<DatapathBinding>),
            logical_dp_group: group.map(uuid::<LogicalDpGroup>),
            pipeline: flow.pipeline.name().into(),
            table_id: flow.table.into(),
            priority: flow.priority.into(),
            r#match: flow.matches.as_str().into(),
            actions: flow.actions.as_str().into(),
            ..LogicalFlow::default()
        };
        put(LogicalFlow::INDEX, uuid::<LogicalFlow>(n), row.to_row());
    }
    engine.input(&mut network, |network, changes| {
        let own = Own {
            shares_flows,
            ..Own::default()
        };
        network.set_own(changes, own);
        network.set_local_ports(changes, &LocalPorts::default(), &ports);
        rows.iter().for_each(|row| network.apply(changes, row));
    });
    engine.step(&mut network, usize::MAX);
    let mut text = String::new();
    for (key, flow) in network.desired.changes().flows {
        let (table, priority) = (key.table, key.priority);
        let comma = if key.matches.is_empty() { "" } else { "," };
        let actions = OfActions(&flow.actions).to_string();
        writeln!(
            text,
            "table={table},priority={priority}{comma}{},actions={actions}",
            key.matches
        )
        .unwrap();
    }
    text
}

/// The random network as the interpreter sees it.
struct Logical {
    /// By switch, pipeline and table; the highest priority first.
    flows: BTreeMap<(u32, bool, u8), Vec<interp::LogicalFlow>>,
    lookups: BTreeMap<u32, Names>,
    members: Vec<u32>,
}

struct Names(u32);

impl Lookup for Names {
    fn port(&self, name: &str) -> Option<u32> {
        if name == "_MC_flood" {
            return Some(FLOOD);
        }
        (1..=PORTS).find(|port| port_name(self.0, *port) == name)
    }

    fn address_set(&self, name: &str) -> Option<Arc<[Int]>> {
        let (_, texts) = SETS.iter().find(|(known, _)| *known == name)?;
        let all = texts
            .iter()
            .filter_map(|text| Int::parse_address(text).ok());
        Some(all.collect())
    }

    fn port_group(&self, name: &str) -> Option<Arc<[u32]>> {
        let (_, members) = GROUPS.iter().find(|(known, _)| *known == name)?;
        Some(Arc::from(*members))
    }

    fn is_resident(&self, _: &str) -> bool {
        true
    }
}

impl Logical {
    fn new(flows: &[Flow]) -> Self {
        let mut by_table: BTreeMap<(u32, bool, u8), Vec<interp::LogicalFlow>> = BTreeMap::new();
        for switch in 1..=SWITCHES {
            for flow in flows.iter().filter(|flow| flow.whose.includes(switch)) {
                let is_ingress = flow.pipeline == Pipeline::Ingress;
                by_table
                    .entry((switch, is_ingress, flow.table))
                    .or_default()
                    .push(interp::LogicalFlow::new(
                        flow.priority,
                        Expr::parse(&flow.matches).unwrap(),
                        Actions::parse(&flow.actions).unwrap(),
                    ));
            }
        }
        for flows in by_table.values_mut() {
            flows.sort_by_key(|flow| std::cmp::Reverse(flow.priority));
        }
        Logical {
            flows: by_table,
            lookups: (1..=SWITCHES).map(|key| (key, Names(key))).collect(),
            members: (1..=PORTS).collect(),
        }
    }

    /// The ports of the switch by which a packet leaves.
    fn outputs(&self, switch: u32, port: u32, packet: &State) -> Vec<u32> {
        let outcome = interp::run(self, switch, port, packet);
        assert!(!outcome.endless && outcome.errors.is_empty());
        let mut outputs: Vec<u32> = outcome
            .effects
            .iter()
            .filter_map(|effect| match effect {
                // A port that the switch does not have has no key, and is nowhere.
                Effect::Output { datapath, port, .. } if *port != 0 => {
                    Some(ofport(*datapath, *port))
                }
                _ => None,
            })
            .collect();
        outputs.sort_unstable();
        outputs
    }
}

impl interp::Network for Logical {
    fn flows(&self, datapath: u32, pipeline: Pipeline, table: u8) -> &[interp::LogicalFlow] {
        let key = (datapath, pipeline == Pipeline::Ingress, table);
        self.flows.get(&key).map_or(&[], |flows| flows)
    }

    fn lookup(&self, datapath: u32) -> &dyn Lookup {
        &self.lookups[&datapath]
    }

    fn members(&self, _: u32, key: u32) -> Option<&[u32]> {
        (key == FLOOD).then_some(&self.members)
    }

    fn peer(&self, _: u32, _: u32) -> Option<(u32, u32)> {
        None
    }

    fn query(&self, _: u32, _: &State, _: &Query, _: &[u128]) -> u128 {
        0
    }

    fn neighbour(&self, _: u32, _: u32, _: u128) -> u128 {
        0
    }

    fn track(&self, _: u32, _: &mut State, _: &lflow::Action) {}
}

/// An Open vSwitch of its own, without devices.
struct OpenVSwitch {
    dir: PathBuf,
    daemons: Vec<Child>,
    /// The datapath's port numbers to those of the bridge.
    ofports: BTreeMap<u32, u32>,
}

impl OpenVSwitch {
    fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("weft-oracle-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut switch = OpenVSwitch {
            dir,
            daemons: Vec::new(),
            ofports: BTreeMap::new(),
        };
        let socket = format!("unix:{}", switch.path("db.sock").display());
        let database = switch.path("conf.db").display().to_string();
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        switch.run("ovsdb-tool", &["create", &database, schema]);
        let remote = format!("--remote=p{socket}");
        switch.daemon("ovsdb-server", &[&remote, &database]);
        let db = format!("--db={socket}");
        switch.run("ovs-vsctl", &[&db, "--retry", "--no-wait", "init"]);
        switch.daemon(
            "ovs-vswitchd",
            &["--enable-dummy=override", "--disable-system", &socket],
        );
        let bridge = "add-br br-int -- set bridge br-int datapath-type=dummy fail-mode=secure \
                      protocols=OpenFlow10,OpenFlow15";
        let mut command: Vec<String> = [db].into_iter().collect();
        command.extend(bridge.split_whitespace().map(str::to_owned));
        for number in 1..=SWITCHES * PORTS {
            let port = format!(
                "-- add-port br-int v{number} -- set interface v{number} type=dummy ofport_request={number}"
            );
            command.extend(port.split_whitespace().map(str::to_owned));
        }
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        switch.run("ovs-vsctl", &command);
        let shown = switch.appctl(&["dpif/show"]);
        for line in shown.lines() {
            // `    v1 1/2: (dummy)`: port 1 of the bridge, port 2 of the datapath.
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, numbers, ..] = words[..] else {
                continue;
            };
            let numbers = numbers.trim_end_matches(':').split_once('/');
            if let Some((of, dp)) = numbers.filter(|_| name.starts_with('v')) {
                switch
                    .ofports
                    .insert(dp.parse().unwrap(), of.parse().unwrap());
            }
        }
        assert_eq!(switch.ofports.len(), 9, "{shown}");
        switch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(&self.dir)
            .stderr(Stdio::piped());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.dir);
        }
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program, args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn daemon(&mut self, program: &str, args: &[&str]) {
        let mut command = self.command(program, args);
        command.arg(format!(
            "--unixctl={}",
            self.path(&format!("{program}.ctl")).display()
        ));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.daemons.push(command.spawn().unwrap());
    }

    fn appctl(&self, args: &[&str]) -> String {
        let target = self.path("ovs-vswitchd.ctl").display().to_string();
        let args: Vec<&str> = ["-t", &target].iter().chain(args).copied().collect();
        self.run("ovs-appctl", &args)
    }

    fn load(&self, flows: &str) {
        std::fs::write(self.path("flows"), flows).unwrap();
        let socket = format!("unix:{}", self.path("br-int.mgmt").display());
        self.run(
            "ovs-ofctl",
            &["-O", "OpenFlow15", "replace-flows", &socket, "flows"],
        );
    }

    /// The ports by which a packet leaves.
    fn outputs(&self, in_port: u32, packet: &str) -> Vec<u32> {
        let flow = format!("in_port={in_port},{packet}");
        let trace = self.appctl(&["ofproto/trace", "br-int", &flow]);
        let last = trace.lines().rev();
        let mut last = last.filter_map(|line| line.strip_prefix("Datapath actions: "));
        let actions = last
            .next()
            .unwrap_or_else(|| panic!("no actions in {trace}"));
        let mut outputs: Vec<u32> = top_level(actions)
            .filter_map(|action| action.parse().ok())
            .map(|number: u32| self.ofports[&number])
            .collect();
        outputs.sort_unstable();
        outputs
    }
}

/// The actions that stand in no parentheses.
fn top_level(actions: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    actions.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
}

impl Drop for OpenVSwitch {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // It may have ended by itself; there is nothing to be done about either.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_switch_does_what_the_logical_flows_say() {
    if !Path::new("/usr/share/openvswitch/vswitch.ovsschema").exists() {
        panic!("Open vSwitch is not installed");
    }
    let switch = OpenVSwitch::start();
    let (mut shared_flows, mut single_flows) = (0, 0);
    for seed in 1..=SEEDS {
        let mut choices = Choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let flows = random_flows(&mut choices);
        let logical = Logical::new(&flows);
        let packets: Vec<(u32, u32, String, State)> = (0..PACKETS)
            .map(|_| {
                let at = u32::try_from(choices.below(9)).unwrap();
                let (text, state) = random_packet(&mut choices);
                (at / PORTS + 1, at % PORTS + 1, text, state)
            })
            .collect();
        for shares in [true, false] {
            let translated = translate(&flows, shares);
            let count = translated.lines().count();
            match shares {
                true => shared_flows += count,
                false => single_flows += count,
            }
            switch.load(&translated);
            for (at, port, text, state) in &packets {
                let got = switch.outputs(ofport(*at, *port), text);
                let expected = logical.outputs(*at, *port, state);
                assert_eq!(
                    got, expected,
                    "seed {seed}, shared: {shares}, in by port {port} of switch {at}: {text}\n{flows:#?}"
                );
            }
        }
    }
    assert!(
        shared_flows * 10 < single_flows * 9,
        "sharing saves flows: {shared_flows} against {single_flows}"
    );
}
