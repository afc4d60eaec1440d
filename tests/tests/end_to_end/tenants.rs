//! Tenants with the same addresses and the same MACs on the same chassis: each guest reaches all of its own tenant, across switches
//! and chassis, over IPv4 and IPv6, sees its router on the way, and never gets a frame of another tenant's, not even while northd and
//! the controllers are restarted.
//!
//! ```text
//!   near 10.0.0.0/24  …1 on the first chassis, …2 on the second ──┐
//!                                                                 router
//!   far  10.0.1.0/24  …3 on the second chassis ───────────────────┘
//! ```

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::capture::Capture;
use tests::guest::Guest;
use tests::implementation::{Door, Implementation, Plan};
use tests::lab::{CHASSIS, Lab};
use tests::story::story;
use tests::wait::wait_until;

/// Four letters each: what their packets carry.
const TENANTS: [&str; 2] = ["blue", "teal"];
/// Of each tenant's guests: the switch, the last part of the MAC, the last parts of both addresses, and the chassis.
const GUESTS: [(&str, u8, [u8; 2], usize); 3] = [
    ("near", 1, [0, 11], 0),
    ("near", 2, [0, 12], 1),
    ("far", 3, [1, 11], 1),
];
/// Where the far end of a talk answers.
const PORT: u16 = 7778;
const INTERVAL: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(30);
/// So many answers show that a talk goes on.
const ENOUGH: usize = 50;

#[test]
fn tenants_of_the_same_addresses_stay_apart() {
    stay_apart(Plan::under_test(), false);
}

#[test]
fn tenants_of_the_same_addresses_stay_apart_over_vxlan() {
    stay_apart(Plan::under_test(), true);
}

#[test]
fn tenants_of_the_same_addresses_stay_apart_by_ovns_northd() {
    stay_apart(
        Plan {
            northd: Implementation::Ovn,
            door: Door::Ovsdb,
            ..Plan::weft()
        },
        false,
    );
}

#[test]
fn tenants_of_the_same_addresses_stay_apart_by_ovns_controllers() {
    stay_apart(
        Plan {
            controller: Implementation::Ovn,
            door: Door::Ovsdb,
            ..Plan::weft()
        },
        false,
    );
}

fn stay_apart(plan: Plan, is_vxlan: bool) {
    story(plan, |lab| {
        if is_vxlan {
            for chassis in &lab.rig.chassis {
                let kind = "external_ids:ovn-encap-type=vxlan";
                chassis.vsctl(&["set", "Open_vSwitch", ".", kind])?;
            }
        }
        let tenants = [build(lab, TENANTS[0])?, build(lab, TENANTS[1])?];
        lab.sync()?;
        tenants.iter().try_for_each(reach)?;
        tenants.iter().try_for_each(see_the_router)?;
        never_mix(lab, &tenants)
    });
}

/// Each guest reaches the others of its tenant, and the router at each of its addresses.
fn reach(guests: &[Guest; 3]) -> Result<()> {
    for (from, (.., own, _)) in guests.iter().zip(GUESTS) {
        let others = GUESTS.iter().map(|(.., place, _)| *place);
        let all = others.chain([[0, 1], [1, 1]]).filter(|place| *place != own);
        for place in all {
            for target in addresses(place) {
                from.ping(target)?;
            }
        }
    }
    Ok(())
}

/// The first router on the way is that of the guest's switch, and there is no second.
fn see_the_router(guests: &[Guest; 3]) -> Result<()> {
    let ([router, router6], [target, target6]) = (addresses([0, 1]), addresses([1, 11]));
    for (program, router, target) in [
        ("traceroute", router, target),
        ("traceroute6", router6, target6),
    ] {
        let run = guests[0].namespace().run("busybox");
        let target = target.to_string();
        let run = run.args([program, "-n", "-q", "1", "-w", "5", "-m", "3", &target]);
        let told = run.output()?;
        // `1  10.0.0.1  0.512 ms`, below a line that names the target.
        let hops = told.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.parse::<u8>().ok()?;
            words.next()
        });
        let hops: Vec<&str> = hops.collect();
        ensure!(hops == [&router.to_string(), &target], "{told}");
    }
    Ok(())
}

/// While everything that computes is restarted, each hears its own tenant, and no port has a frame of the other's.
fn never_mix(lab: &mut Lab, tenants: &[[Guest; 3]; 2]) -> Result<()> {
    let mut talks = Vec::new();
    let mut foreign = Vec::new();
    for ((guests, name), other) in tenants.iter().zip(TENANTS).zip([TENANTS[1], TENANTS[0]]) {
        let letters = <[u8; 4]>::try_from(other.as_bytes()).context("four letters")?;
        let carried = format!("udp[8:4] = {:#x}", u32::from_be_bytes(letters));
        for guest in guests {
            foreign.push(guest.listen(&carried)?);
        }
        for (to, (.., place, _)) in guests.iter().zip(GUESTS).skip(1) {
            talks.push(Talk::start(&guests[0], to, place, name)?);
        }
    }
    go_on(&talks)?;
    lab.rig.northd.kill()?;
    for chassis in &mut lab.rig.chassis {
        chassis.controller().context("a controller")?.kill()?;
    }
    go_on(&talks)?;
    lab.rig.northd.start_again()?;
    for chassis in &mut lab.rig.chassis {
        chassis.start_controller()?;
    }
    lab.sync()?;
    go_on(&talks)?;
    for talk in talks {
        talk.stop()?;
    }
    for (wire, other) in foreign.iter().zip([1, 1, 1, 0, 0, 0]) {
        let heard = wire.heard()?;
        ensure!(
            heard.is_empty(),
            "packets of {}: {heard:#?}",
            TENANTS[other]
        );
    }
    drop(foreign);
    // The same capture would have heard them.
    let [blue, _] = tenants;
    let letters = u32::from_be_bytes(*b"blue");
    let own: Capture = blue[1].listen(&format!("udp[8:4] = {letters:#x}"))?;
    let talk = Talk::start(&blue[0], &blue[1], GUESTS[1].2, TENANTS[0])?;
    own.wait_for(&[&format!(".{PORT}")])?;
    talk.stop()
}

fn go_on(talks: &[Talk]) -> Result<()> {
    let before: Vec<usize> = talks.iter().map(Talk::answers).collect();
    wait_until("all talks to go on", LIMIT, || {
        let mut all = talks.iter().zip(&before);
        Ok(all.all(|(talk, before)| talk.answers() >= before + ENOUGH))
    })
}

/// A guest says its tenant's name to another one again and again, which says it back.
struct Talk {
    stops: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    /// What somebody else has said.
    wrong: Arc<Mutex<Vec<Vec<u8>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Talk {
    fn start(from: &Guest, to: &Guest, place: [u8; 2], name: &'static str) -> Result<Self> {
        let [address, _] = addresses(place);
        let open = |guest: &Guest, port: u16| {
            let socket = guest
                .namespace()
                .inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?))?;
            socket.set_read_timeout(Some(INTERVAL))?;
            anyhow::Ok(socket)
        };
        let (near, far) = (open(from, 0)?, open(to, PORT)?);
        near.connect((address, PORT))?;
        let mut talk = Self {
            stops: Arc::default(),
            answers: Arc::default(),
            wrong: Arc::default(),
            threads: Vec::new(),
        };
        let (stops, wrong) = (talk.stops.clone(), talk.wrong.clone());
        talk.threads.push(std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while !stops.load(Ordering::Relaxed) {
                // Nothing came for a while.
                let Ok((length, sender)) = far.recv_from(&mut buffer) else {
                    continue;
                };
                keep(&wrong, &buffer[..length], name);
                // An answer that cannot be sent is a lost one.
                let _lost = far.send_to(&buffer[..length], sender);
            }
        }));
        let (stops, wrong, answers) =
            (talk.stops.clone(), talk.wrong.clone(), talk.answers.clone());
        talk.threads.push(std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while !stops.load(Ordering::Relaxed) {
                // A packet that cannot be sent, or is not answered in time, is a lost one.
                let _lost = near.send(name.as_bytes());
                if let Ok(length) = near.recv(&mut buffer) {
                    keep(&wrong, &buffer[..length], name);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
        Ok(talk)
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    fn stop(mut self) -> Result<()> {
        self.stops.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("talking does not panic");
        }
        let wrong = self.wrong.lock().expect("nobody panicked");
        ensure!(wrong.is_empty(), "somebody else has said {wrong:?}");
        Ok(())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

fn keep(wrong: &Mutex<Vec<Vec<u8>>>, said: &[u8], name: &str) {
    if said != name.as_bytes() {
        wrong.lock().expect("nobody panicked").push(said.to_vec());
    }
}

/// The addresses of a place, which are the same with all tenants.
fn addresses([network, host]: [u8; 2]) -> [IpAddr; 2] {
    let v6 = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, network.into(), 0, 0, 0, host.into());
    [Ipv4Addr::new(10, 0, network, host).into(), v6.into()]
}

fn build(lab: &Lab, tenant: &str) -> Result<[Guest; 3]> {
    nb(lab, &format!("lr-add {tenant}"))?;
    for (number, switch) in ["near", "far"].into_iter().enumerate() {
        nb(
            lab,
            &format!(
                "ls-add {tenant}-{switch} \
                 -- lrp-add {tenant} {tenant}-to-{switch} 02:00:00:0b:00:0{number} 10.0.{number}.1/24 2001:db8:0:{number}::1/64 \
                 -- lsp-add {tenant}-{switch} {switch}-to-{tenant} -- lsp-set-type {switch}-to-{tenant} router \
                 -- lsp-set-addresses {switch}-to-{tenant} router \
                 -- lsp-set-options {switch}-to-{tenant} router-port={tenant}-to-{switch}"
            ),
        )?;
    }
    let mut guests = Vec::new();
    for (switch, number, place, chassis) in GUESTS {
        let (name, mac) = (
            format!("{tenant}{number}"),
            format!("02:ac:0b:00:00:0{number}"),
        );
        let ([v4, v6], [router4, router6]) = (addresses(place), addresses([place[0], 1]));
        let known = format!("{mac} {v4} {v6}");
        let port = format!("{tenant}-{switch}");
        lab.rig.nb(&["lsp-add", &port, &name])?;
        lab.rig.nb(&["lsp-set-addresses", &name, &known])?;
        lab.rig.nb(&["lsp-set-port-security", &name, &known])?;
        let guest = Guest::new(&lab.rig, &name, &mac)?;
        let id = format!("external_ids:iface-id={name}");
        guest.plug(
            lab.rig.chassis(CHASSIS[chassis])?,
            "br-int",
            &[["Interface", &id]],
        )?;
        let ip = |words: &str| guest.namespace().ip(&words.split(' ').collect::<Vec<_>>());
        ip(&format!("address add {v4}/24 dev {name}"))?;
        ip(&format!("route add default via {router4}"))?;
        ip(&format!("-6 address add {v6}/64 dev {name} nodad"))?;
        ip(&format!("-6 route add default via {router6}"))?;
        guests.push(guest);
    }
    for (_, number, ..) in GUESTS {
        let name = format!("{tenant}{number}");
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", &name, "up=true"])?;
    }
    Ok(guests.try_into().expect("as many as there are places"))
}

/// Commands as one would type them.
fn nb(lab: &Lab, commands: &str) -> Result<()> {
    let words: Vec<&str> = commands.split_whitespace().collect();
    lab.rig.nb(&words).map(drop)
}
