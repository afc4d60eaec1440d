//! Random policies on a real switch: `ofproto/trace` says of each packet that begins a connection what an evaluator of rules says. The
//! policies are some of those that northd's tests hold against the logical interpreter, which write them, with the evaluator's verdicts,
//! into the file read here. `WEFT_CASES=all` sends all of their packets, 2,040, else those of each fifth policy.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::chassis::Chassis;
use tests::implementation::Plan;
use tests::rig::Rig;
use tests::wait::wait_for;

const POLICIES: &str = include_str!("../../data/policies.txt");
const CHASSIS: &str = "hv1";
/// Guests of each of the two switches.
const GUESTS: usize = 5;
/// The members of `$hosts`, as guests.
const HOSTS: [usize; 3] = [0, 3, 7];
const LIMIT: Duration = Duration::from_secs(20);

/// A packet that begins a connection, and what is to become of it.
struct Packet<'t> {
    from: usize,
    to: usize,
    is_ip4: bool,
    proto: u8,
    ports: [&'t str; 2],
    fate: &'t str,
}

impl<'t> Packet<'t> {
    fn parse(line: &'t str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [from, to, family, proto, source, service, fate] = words[..] else {
            anyhow::bail!("a packet is not written so: {line}");
        };
        Ok(Self {
            from: from.parse()?,
            to: to.parse()?,
            is_ip4: family == "ip4",
            proto: proto.parse()?,
            ports: [source, service],
            fate,
        })
    }

    /// As `ofproto/trace` reads it.
    fn flow(&self, in_port: u32) -> String {
        let (from, to) = (
            address(self.from, self.is_ip4),
            address(self.to, self.is_ip4),
        );
        let addresses = match self.is_ip4 {
            true => format!("nw_src={from},nw_dst={to}"),
            false => format!("ipv6_src={from},ipv6_dst={to}"),
        };
        let six = if self.is_ip4 { "" } else { "6" };
        let [source, service] = self.ports;
        let load = match self.proto {
            6 => format!("tcp{six},tcp_src={source},tcp_dst={service}"),
            17 => format!("udp{six},udp_src={source},udp_dst={service}"),
            1 => "icmp,icmp_type=8,icmp_code=0".to_owned(),
            _ => "icmp6,icmpv6_type=128,icmpv6_code=0".to_owned(),
        };
        let (source, destination) = (mac(self.from), mac(self.to));
        format!(
            "in_port={in_port},{load},dl_src={source},dl_dst={destination},{addresses},nw_ttl=64"
        )
    }
}

fn mac(guest: usize) -> String {
    format!("02:00:00:00:00:{:02x}", guest + 1)
}

fn address(guest: usize, is_ip4: bool) -> String {
    match is_ip4 {
        true => format!("10.0.0.{}", guest + 1),
        false => format!("fd00::{}", guest + 1),
    }
}

/// Two switches with five guests each, on one chassis.
struct Network {
    rig: Rig,
    /// By guest: the port number in OpenFlow, and that of the datapath.
    ports: BTreeMap<usize, (u32, u32)>,
}

impl Network {
    fn build() -> Result<Self> {
        let mut rig = Rig::start(Plan::under_test())?;
        rig.add_chassis(CHASSIS)?;
        let chassis = rig.chassis(CHASSIS)?;
        let made = || Ok(chassis.vsctl(&["br-exists", "br-int"]).ok());
        wait_for("the controller to make br-int", LIMIT, made)?;
        let hosts = HOSTS.map(|guest| format!("{:?}", address(guest, true)));
        let hosts = format!("addresses=[{}]", hosts.join(","));
        rig.nb(&["create", "Address_Set", "name=hosts", &hosts])?;
        for switch in 0..2 {
            let name = format!("s{switch}");
            rig.nb(&["ls-add", &name])?;
            for guest in switch * GUESTS..(switch + 1) * GUESTS {
                let port = format!("p{guest}");
                let (ip4, ip6) = (address(guest, true), address(guest, false));
                let addresses = format!("{} {ip4} {ip6}", mac(guest));
                rig.nb(&[
                    "lsp-add",
                    &name,
                    &port,
                    "--",
                    "lsp-set-addresses",
                    &port,
                    &addresses,
                ])?;
                let id = format!("external_ids:iface-id={port}");
                chassis.vsctl(&[
                    "add-port",
                    "br-int",
                    &port,
                    "--",
                    "set",
                    "Interface",
                    &port,
                    "type=internal",
                    &id,
                ])?;
                rig.nb(&["wait-until", "Logical_Switch_Port", &port, "up=true"])?;
            }
        }
        let ports = ports(chassis)?;
        Ok(Self { rig, ports })
    }

    /// Has the northbound say this policy and no other.
    fn describe(&self, lines: &[&str], drops: bool) -> Result<()> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |command: &[&str]| {
            if !words.is_empty() {
                words.push("--".to_owned());
            }
            words.extend(command.iter().map(|word| (*word).to_owned()));
        };
        add(&["acl-del", "s0"]);
        add(&["acl-del", "s1"]);
        let drops = format!("options:default_acl_drop={drops}");
        add(&["set", "NB_Global", ".", &drops]);
        for group in ["g0", "g1"] {
            add(&["--if-exists", "destroy", "Port_Group", group]);
        }
        for line in lines {
            let (word, rest) = line.split_once(' ').context("a line")?;
            if word == "group" {
                let (name, members) = rest.split_once(' ').context("members")?;
                let members = members.split(',').filter(|member| !member.is_empty());
                let command: Vec<&str> = ["pg-add", name].into_iter().chain(members).collect();
                add(&command);
            } else if word == "rule" {
                let words: Vec<&str> = rest.splitn(8, ' ').collect();
                let [kind, of, direction, tier, priority, action, when, text] = words[..] else {
                    anyhow::bail!("a rule is not written so: {line}");
                };
                let owner = format!("{kind}{of}");
                let tier = format!("--tier={tier}");
                let mut command = vec![tier.as_str()];
                if when == "after" {
                    command.push("--apply-after-lb");
                }
                command.extend(["acl-add", &owner, direction, priority, text, action]);
                add(&command);
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.rig.nb(&words)?;
        self.rig.nb(&["--wait=hv", "sync"]).map(drop)
    }

    /// What becomes of a packet.
    fn trace(&self, packet: &Packet<'_>) -> Result<(&'static str, String)> {
        let (in_port, _) = self.ports[&packet.from];
        let flow = packet.flow(in_port);
        let chassis = self.rig.chassis(CHASSIS)?;
        let told = chassis.appctl(&["ofproto/trace", "br-int", &flow])?;
        let mut lines = told.lines().rev();
        let last = lines.find_map(|line| line.strip_prefix("Datapath actions: "));
        let last = last.with_context(|| format!("no actions in {told}"))?;
        let outputs: Vec<u32> = top_level(last)
            .filter_map(|action| action.parse().ok())
            .collect();
        let fate = match outputs[..] {
            [] if last.contains("userspace(") => "rejected",
            [] => "dropped",
            [port] if port == self.ports[&packet.to].1 => "heard",
            _ => "heard by others",
        };
        Ok((fate, told))
    }
}

/// What `dpif/show` says of the guests' ports: `p3 4/5: (tap)`.
fn ports(chassis: &Chassis) -> Result<BTreeMap<usize, (u32, u32)>> {
    let told = chassis.appctl(&["dpif/show"])?;
    let ports = told.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix('p')?.split_once(' ')?;
        let (numbers, _) = rest.split_once(':')?;
        let (of, dp) = numbers.split_once('/')?;
        Some((name.parse().ok()?, (of.parse().ok()?, dp.parse().ok()?)))
    });
    let ports: BTreeMap<usize, (u32, u32)> = ports.collect();
    ensure!(ports.len() == 2 * GUESTS, "{ports:?} in {told}");
    Ok(ports)
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

#[test]
fn a_real_switch_does_what_an_evaluator_of_random_policies_says() {
    let every = match std::env::var("WEFT_CASES").as_deref() {
        Ok("all") => 1,
        _ => 5,
    };
    let (network, start) = (Network::build().expect("the network"), Instant::now());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let policies = POLICIES
        .split("policy ")
        .filter(|policy| !policy.is_empty());
    for policy in policies.step_by(every) {
        let lines: Vec<&str> = policy.lines().collect();
        let (head, lines) = lines.split_first().expect("a policy");
        let (packets, rows): (Vec<&str>, Vec<&str>) =
            lines.iter().partition(|line| line.starts_with("packet "));
        network
            .describe(&rows, head.ends_with("drops"))
            .expect("the policy is taken");
        for line in packets {
            let packet = Packet::parse(&line["packet ".len()..]).expect("a packet");
            let (fate, told) = network.trace(&packet).expect("a trace");
            assert_eq!(
                fate, packet.fate,
                "{line} under policy {head}: {rows:#?}\n{told}"
            );
            *counts.entry(packet.fate).or_default() += 1;
        }
    }
    println!("{counts:?} in {:?}", start.elapsed());
    assert!(counts.len() == 3, "each fate is met: {counts:?}");
}
