//! Network policies as the suite "cyclonus" has them, on real switches: in each case every pod asks every other for every service, over TCP
//! and UDP, and is answered just if the policies say so. The cases, 230 of them, are those that northd's tests have held against the
//! logical interpreter, which writes them into the file read here; SCTP is in the file, and asked for there alone, since the kernel of the
//! machine need not have it. `WEFT_CASES=all` goes through all of them, `WEFT_CASES=101` through one; else each tenth.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::chassis::Chassis;
use tests::guest::Guest;
use tests::implementation::Plan;
use tests::rig::Rig;
use tests::wait::wait_for;

const CASES: &str = include_str!("../../data/cyclonus.txt");
const CHASSIS: [&str; 2] = ["hv1", "hv2"];
/// Every pod that a case may have, with the last byte of its addresses.
const PODS: [(&str, u8); 10] = [
    ("x-a", 1),
    ("x-b", 2),
    ("x-c", 3),
    ("y-a", 4),
    ("y-b", 5),
    ("y-c", 6),
    ("z-a", 7),
    ("z-b", 8),
    ("z-c", 9),
    ("y-d", 20),
];
const PORTS: [u16; 2] = [80, 81];
/// How long at least a pod listens for an answer that must not come, and how long for one that must until it asks again.
const SILENCE: Duration = Duration::from_millis(120);
const PATIENCE: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(20);

/// What there is at one time, and who may ask whom for what.
struct Step<'t> {
    is_ip4: bool,
    pods: Vec<&'t str>,
    /// Sets, groups and rules, as lines.
    rows: Vec<&'t str>,
    /// By asking pod: bits of services, in the order of the pods.
    allowed: BTreeMap<&'t str, Vec<u8>>,
}

fn steps(case: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for line in case.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "step" {
            steps.push(Step {
                is_ip4: rest == "ip4",
                pods: Vec::new(),
                rows: Vec::new(),
                allowed: BTreeMap::new(),
            });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            continue;
        };
        match word {
            "pods" => {
                let names = rest.split(' ').filter_map(|pod| pod.split('=').next());
                step.pods.extend(names);
            }
            "from" => {
                let mut words = rest.split(' ');
                let from = words.next().unwrap_or_default();
                let bits = words.map(|bits| u8::from_str_radix(bits, 16).unwrap_or_default());
                step.allowed.insert(from, bits.collect());
            }
            _ => step.rows.push(line),
        }
    }
    steps
}

fn address(number: u8, is_ip4: bool) -> IpAddr {
    match is_ip4 {
        true => IpAddr::from([10, 0, 0, number]),
        false => {
            // Written as in decimal.
            let last = u16::from_str_radix(&number.to_string(), 16).unwrap_or_default();
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])
        }
    }
}

fn mac(number: u8) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

/// The words of an operator that add a pod's port.
fn port(name: &str, number: u8) -> Vec<String> {
    let (ip4, ip6) = (address(number, true), address(number, false));
    let addresses = format!("{} {ip4} {ip6}", mac(number));
    [
        "lsp-add",
        "cluster",
        name,
        "--",
        "lsp-set-addresses",
        name,
        &addresses,
    ]
    .map(str::to_owned)
    .into()
}

/// What the northbound has by now.
#[derive(Default)]
struct There {
    ports: Vec<String>,
    groups: Vec<String>,
    sets: Vec<String>,
}

struct Cluster {
    pods: BTreeMap<&'static str, (Guest, u8)>,
    rig: Rig,
}

impl Cluster {
    fn build() -> Result<Self> {
        let mut rig = Rig::start(Plan::under_test())?;
        for name in CHASSIS {
            rig.add_chassis(name)?;
        }
        for name in CHASSIS {
            rig.sb(&["wait-until", "Chassis", name])?;
            let chassis = rig.chassis(name)?;
            let made = || Ok(chassis.vsctl(&["br-exists", "br-int"]).ok());
            wait_for("the controller to make br-int", LIMIT, made)?;
        }
        rig.nb(&["ls-add", "cluster"])?;
        rig.nb(&[
            "acl-add",
            "cluster",
            "from-lport",
            "1",
            "ip",
            "allow-related",
        ])?;
        let mut pods = BTreeMap::new();
        for (place, (name, number)) in PODS.into_iter().enumerate() {
            let guest = Guest::new(&rig, name, &mac(number))?;
            let id = format!("external_ids:iface-id={name}");
            let chassis = rig.chassis(CHASSIS[place % CHASSIS.len()])?;
            guest.plug(chassis, "br-int", &[["Interface", &id]])?;
            let namespace = guest.namespace();
            for (is_ip4, length) in [(true, 24), (false, 64)] {
                let own = format!("{}/{length}", address(number, is_ip4));
                let add = ["address", "add", &own, "dev", name];
                match is_ip4 {
                    true => namespace.ip(&add)?,
                    false => namespace.ip(&[&add[..], &["nodad"]].concat())?,
                };
                for (_, other) in PODS.iter().filter(|(_, other)| *other != number) {
                    let (ip, mac) = (address(*other, is_ip4).to_string(), mac(*other));
                    let entry = ["neighbour", "add", &ip, "lladdr", &mac, "dev", name];
                    namespace.ip(&[&entry[..], &["nud", "permanent"]].concat())?;
                }
            }
            pods.insert(name, (guest, number));
        }
        Ok(Self { pods, rig })
    }

    /// Has the northbound say what a step says, and waits until the switches do. Calls are few: each costs a process.
    fn describe(&self, step: &Step<'_>, there: &mut There) -> Result<()> {
        let mut lines: Vec<Vec<String>> = Vec::new();
        let mut add = |words: &[&str]| lines.push(words.iter().map(|w| (*w).to_owned()).collect());
        for group in there.groups.drain(..) {
            add(&["pg-del", &group]);
        }
        for set in there.sets.drain(..) {
            add(&["destroy", "Address_Set", &set]);
        }
        there.ports.retain(|name| {
            let stays = step.pods.contains(&name.as_str());
            if !stays {
                add(&["lsp-del", name]);
            }
            stays
        });
        // Ports come before the groups that they are in.
        let known = there.ports.len();
        for (name, number) in PODS {
            if step.pods.contains(&name) && !there.ports.iter().any(|known| known == name) {
                there.ports.push(name.to_owned());
                let words = port(name, number);
                add(&words.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
        for row in &step.rows {
            let (word, rest) = row.split_once(' ').context("a row")?;
            let (name, rest) = rest.split_once(' ').context("a name")?;
            match word {
                "set" => {
                    let addresses = rest.split(',').filter(|text| !text.is_empty());
                    let quoted: Vec<String> = addresses.map(|text| format!("{text:?}")).collect();
                    let column = format!("addresses=[{}]", quoted.join(","));
                    there.sets.push(name.to_owned());
                    add(&["create", "Address_Set", &format!("name={name}"), &column]);
                }
                "group" => {
                    let ports = rest.split(',').filter(|text| !text.is_empty());
                    let words: Vec<&str> = ["pg-add", name].into_iter().chain(ports).collect();
                    there.groups.push(name.to_owned());
                    add(&words);
                }
                _ => {
                    let mut words = rest.splitn(4, ' ');
                    let mut next = || words.next().context("a rule");
                    let (direction, priority, action, text) = (next()?, next()?, next()?, next()?);
                    let after: &[&str] = match direction {
                        "from-lport" => &["--apply-after-lb"],
                        _ => &[],
                    };
                    let of = [
                        "--type=port-group",
                        "acl-add",
                        name,
                        direction,
                        priority,
                        text,
                        action,
                    ];
                    add(&[after, &of].concat());
                }
            }
        }
        let mut words = vec!["--wait=hv"];
        for (number, line) in lines.iter().enumerate() {
            words.extend((number > 0).then_some("--"));
            words.extend(line.iter().map(String::as_str));
        }
        if lines.is_empty() {
            words.push("sync");
        }
        self.rig.nb(&words)?;
        let come = &there.ports[known..];
        if !come.is_empty() {
            // Flows of a port are there when it is up.
            let waits = come.iter().flat_map(|name| {
                let wait = ["wait-until", "Logical_Switch_Port", name, "up=true"];
                ["--"].into_iter().chain(wait)
            });
            let waits: Vec<&str> = waits.skip(1).collect();
            self.rig.nb(&waits)?;
            self.rig.nb(&["--wait=hv", "sync"])?;
        }
        // Else the switch may go by what it knew for half a second.
        let mut chassis = self.rig.chassis.iter();
        chassis.try_for_each(Chassis::forget_cached_flows)
    }

    /// Every pod asks every other; how many questions that were.
    fn probe(&self, step: &Step<'_>) -> Result<usize> {
        let counts = std::thread::scope(|scope| {
            let asking = step.pods.iter().map(|from| {
                scope.spawn(|| {
                    let (guest, _) = &self.pods[from];
                    guest.namespace().inside(|| self.ask(step, from))
                })
            });
            let asking: Vec<_> = asking.collect();
            let counts = asking
                .into_iter()
                .map(|of| of.join().expect("asking does not panic"));
            counts.collect::<Result<Vec<usize>>>()
        })?;
        Ok(counts.iter().sum())
    }

    /// A pod asks all others at once: first for what must be answered, which tells how long an answer takes, then for what must not.
    fn ask(&self, step: &Step<'_>, from: &str) -> Result<usize> {
        let mut questions: [Vec<Question<'_>>; 2] = [Vec::new(), Vec::new()];
        for (to, bits) in step.pods.iter().zip(&step.allowed[from]) {
            let (_, number) = self.pods[to];
            let services = [(true, 0), (true, 1), (false, 0), (false, 1)];
            for (bit, (is_tcp, port)) in services.into_iter().enumerate() {
                let end = SocketAddr::from((address(number, step.is_ip4), PORTS[port]));
                let is_allowed = bits >> bit & 1 == 1;
                if *to != from {
                    questions[usize::from(is_allowed)].push(Question { to, is_tcp, end });
                }
            }
        }
        let [denied, allowed] = questions;
        let slowest = together(&allowed, |question| {
            let start = Instant::now();
            while start.elapsed() < LIMIT {
                let asked = Instant::now();
                if question.is_answered(PATIENCE)? {
                    return Ok(asked.elapsed());
                }
            }
            bail!("{from} is not answered by {}", question.what())
        })?;
        let silence = slowest.into_iter().max().unwrap_or_default() * 3;
        together(&denied, |question| {
            ensure!(
                !question.is_answered(silence.max(SILENCE))?,
                "{from} is answered by {}",
                question.what()
            );
            Ok(())
        })?;
        Ok(denied.len() + allowed.len())
    }
}

/// A service that is asked for.
struct Question<'t> {
    to: &'t str,
    is_tcp: bool,
    end: SocketAddr,
}

impl Question<'_> {
    fn what(&self) -> String {
        let kind = if self.is_tcp { "TCP" } else { "UDP" };
        format!("{}, {kind} {}", self.to, self.end)
    }

    fn is_answered(&self, within: Duration) -> Result<bool> {
        answers(self.is_tcp, self.end, within)
    }
}

/// Does the same with all at once.
fn together<'t, T: Send>(
    questions: &'t [Question<'t>],
    what: impl Fn(&'t Question<'t>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = questions
            .iter()
            .map(|question| scope.spawn(|| what(question)))
            .collect();
        let ends = asked.into_iter();
        ends.map(|of| of.join().expect("asking does not panic"))
            .collect()
    })
}

/// Whether a service answers within a time.
fn answers(is_tcp: bool, end: SocketAddr, within: Duration) -> Result<bool> {
    if is_tcp {
        return Ok(TcpStream::connect_timeout(&end, within).is_ok());
    }
    let any: IpAddr = if end.is_ipv4() {
        [0; 4].into()
    } else {
        [0_u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(within))?;
    socket.connect(end)?;
    socket.send(b"?")?;
    Ok(socket.recv(&mut [0; 8]).is_ok())
}

/// Serves all ports of a pod until it is to stop.
fn serve(guest: &Guest, stop: &AtomicBool) -> Result<()> {
    let any = IpAddr::from([0_u16; 8]);
    guest.namespace().inside(|| {
        let mut listeners = Vec::new();
        for port in PORTS {
            let (tcp, udp) = (
                TcpListener::bind((any, port))?,
                UdpSocket::bind((any, port))?,
            );
            tcp.set_nonblocking(true)?;
            udp.set_nonblocking(true)?;
            listeners.push((tcp, udp));
        }
        let mut packet = [0; 16];
        while !stop.load(Ordering::Relaxed) {
            let mut is_idle = true;
            for (tcp, udp) in &listeners {
                is_idle &= tcp.accept().is_err();
                if let Ok((size, from)) = udp.recv_from(&mut packet) {
                    is_idle = false;
                    let _gone = udp.send_to(&packet[..size], from);
                }
            }
            if is_idle {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    })
}

#[test]
fn pods_reach_each_other_as_network_policies_say() {
    let cases: Vec<&str> = CASES
        .split("case ")
        .filter(|case| !case.is_empty())
        .collect();
    assert_eq!(cases.len(), 230);
    let chosen = std::env::var("WEFT_CASES");
    let every = if chosen.as_deref() == Ok("all") {
        1
    } else {
        10
    };
    let only: Option<usize> = chosen.ok().and_then(|text| text.parse().ok());
    let is_asked = |number: usize| only.map_or(number.is_multiple_of(every), |only| only == number);
    let cluster = Cluster::build().expect("the cluster is built");
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let told = std::thread::scope(|scope| {
        let serving: Vec<_> = cluster
            .pods
            .values()
            .map(|(guest, _)| scope.spawn(|| serve(guest, &stop)))
            .collect();
        let told = (|| -> Result<(usize, usize)> {
            let (mut there, mut counts) = (There::default(), (0, 0));
            for (_, case) in cases
                .iter()
                .enumerate()
                .filter(|(number, _)| is_asked(*number))
            {
                let (name, rest) = case.split_once('\n').context("a name")?;
                for step in steps(rest) {
                    cluster
                        .describe(&step, &mut there)
                        .with_context(|| name.to_owned())?;
                    counts.1 += cluster
                        .probe(&step)
                        .with_context(|| format!("{name}: {:#?}", step.rows))?;
                }
                counts.0 += 1;
            }
            Ok(counts)
        })();
        stop.store(true, Ordering::Relaxed);
        for thread in serving {
            thread
                .join()
                .expect("serving does not panic")
                .expect("its ports are free");
        }
        told
    });
    match told {
        Ok((cases, asked)) => println!("{cases} cases, {asked} questions in {:?}", start.elapsed()),
        Err(error) => panic!("{error:#}"),
    }
}
