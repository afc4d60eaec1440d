//! `weft why drops` names the rule, the rate or the table for each of many drops, made one by one by real packets; and
//! asking changes nothing in the switch.

mod frame;

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::flows::Flows;
use tests::guest::Guest;
use tests::implementation::{Plan, weft_binary};
use tests::lab::{CHASSIS, Lab, Member};
use tests::run::Run;
use tests::story::story;
use tests::wait::wait_for;

use frame::{Frame, Load};

const LIMIT: Duration = Duration::from_secs(20);

const ANN: Member = member("ann", "02:ac:11:00:00:01", 1, 1, 0);
const BEN: Member = member("ben", "02:ac:11:00:00:02", 1, 2, 1);
const CAT: Member = member("cat", "02:ac:11:00:00:03", 2, 1, 0);
const DAN: Member = member("dan", "02:ac:11:00:00:04", 1, 4, 0);
const ROUTER: &str = "02:ac:11:00:00:fe";

const fn member(
    name: &'static str,
    mac: &'static str,
    network: u8,
    last: u8,
    chassis: usize,
) -> Member {
    Member {
        port: name,
        device: name,
        mac,
        address: Ipv4Addr::new(10, 17, network, last),
        tag: None,
        chassis,
    }
}

/// A switch of three guests and one of another, with a router between them, and one rule for each drop.
const NETWORK: &[&str] = &[
    "ls-add near -- ls-add far -- lr-add router",
    "lrp-add router to-near 02:ac:11:00:00:fe 10.17.1.254/24",
    "lrp-add router to-far 02:ac:11:00:00:fd 10.17.2.254/24",
    "lsp-add near near-r -- lsp-set-type near-r router -- lsp-set-addresses near-r router \
     -- lsp-set-options near-r router-port=to-near",
    "lsp-add far far-r -- lsp-set-type far-r router -- lsp-set-addresses far-r router \
     -- lsp-set-options far-r router-port=to-far",
    // Each tier has its rule, and so has each way.
    "--tier=0 acl-add near from-lport 100 udp.dst==1000 drop",
    "--tier=1 acl-add near from-lport 100 udp.dst==1001 drop",
    "--tier=2 acl-add near from-lport 100 udp.dst==1002 drop",
    "--tier=3 acl-add near from-lport 100 udp.dst==1003 drop",
    "acl-add near to-lport 100 udp.dst==1004 drop",
    "--apply-after-lb acl-add near from-lport 100 udp.dst==1005 drop",
    "acl-add near from-lport 99 udp.dst==1006 reject",
    "--tier=3 acl-add near from-lport 1 ip4 allow-related",
    "lr-route-add router 203.0.113.0/24 discard",
    "lr-policy-add router 10 ip4.dst==10.17.2.66 drop",
    "set Logical_Router_Port to-far options:gateway_mtu=600",
    "create Load_Balancer name=empty protocol=udp vips:\"198.51.100.9:53\"=\"\"",
    "ls-lb-add near empty",
    "qos-add near from-lport 10 udp.dst==1007 rate=100 burst=100",
];

/// A drop: what it is, how its frame differs from a good one, how often that is sent, on which chassis it is dropped, and
/// words of the line that has to tell of it.
struct Staged {
    what: &'static str,
    sender: Member,
    spoil: fn(&mut Frame),
    count: usize,
    chassis: usize,
    told: &'static [&'static str],
}

const fn staged(
    what: &'static str,
    spoil: fn(&mut Frame),
    told: &'static [&'static str],
) -> Staged {
    Staged {
        what,
        sender: ANN,
        spoil,
        count: 1,
        chassis: 0,
        told,
    }
}

/// By the router.
fn routed(frame: &mut Frame, last: [u8; 4]) {
    frame.to = ROUTER;
    frame.destination = last.into();
}

const DROPS: &[Staged] = &[
    staged(
        "another MAC address (port security)",
        |frame| frame.from = "02:ac:11:00:00:77",
        &["ls_in_apply_port_sec"],
    ),
    staged(
        "another IP address (port security)",
        |frame| frame.source = Ipv4Addr::new(10, 17, 1, 77),
        &["ls_in_apply_port_sec"],
    ),
    staged(
        "ARP for another's address (port security)",
        |frame| {
            frame.to = "ff:ff:ff:ff:ff:ff";
            frame.source = BEN.address;
            frame.load = Load::Arp;
        },
        &["ls_in_apply_port_sec"],
    ),
    staged(
        "a VLAN tag",
        |frame| frame.vlan = Some(7),
        &["ls_in_check_port_sec", "vlan.present"],
    ),
    staged(
        "from a group address",
        |frame| frame.from = "03:ac:11:00:00:01",
        &["ls_in_check_port_sec", "eth.src[40]"],
    ),
    Staged {
        sender: DAN,
        ..staged(
            "from a disabled port",
            |_| (),
            &["ls_in_check_port_sec", "\"dan\""],
        )
    },
    staged(
        "to a disabled port",
        |frame| {
            frame.to = DAN.mac;
            frame.destination = DAN.address;
        },
        &["ls_in_l2_lkup", DAN.mac],
    ),
    staged(
        "tier 0",
        |frame| frame.load = Load::Udp(1000),
        &["ls_in_acl_eval", "udp.dst == 1000"],
    ),
    staged(
        "tier 1",
        |frame| frame.load = Load::Udp(1001),
        &["ls_in_acl_eval", "udp.dst == 1001"],
    ),
    staged(
        "tier 2",
        |frame| frame.load = Load::Udp(1002),
        &["ls_in_acl_eval", "udp.dst == 1002"],
    ),
    staged(
        "tier 3",
        |frame| frame.load = Load::Udp(1003),
        &["ls_in_acl_eval", "udp.dst == 1003"],
    ),
    Staged {
        chassis: 1,
        ..staged(
            "a rule at the destination",
            |frame| frame.load = Load::Udp(1004),
            &["ls_out_acl_eval", "udp.dst == 1004"],
        )
    },
    staged(
        "a rule behind load balancers",
        |frame| frame.load = Load::Udp(1005),
        &["ls_in_acl_after_lb_eval", "udp.dst == 1005"],
    ),
    staged(
        "a rule that rejects",
        |frame| frame.load = Load::Udp(1006),
        &["answered with an error", "udp.dst == 1006"],
    ),
    staged(
        "part of no valid connection",
        |frame| {
            frame.load = Load::Tcp {
                to: 80,
                is_broken: true,
            };
        },
        &["ls_in_acl_eval", "ct.inv"],
    ),
    staged(
        "a balancer without backends",
        |frame| {
            routed(frame, [198, 51, 100, 9]);
            frame.load = Load::Udp(53);
        },
        &["ls_in_lb", "198.51.100.9"],
    ),
    staged(
        "to a MAC address of nobody",
        |frame| frame.to = "02:ac:11:00:00:99",
        &["ls_in_l2_unknown"],
    ),
    staged(
        "no route",
        |frame| routed(frame, [192, 0, 2, 1]),
        &["lr_in_ip_routing", "no flow there matches"],
    ),
    staged(
        "a route that discards",
        |frame| routed(frame, [203, 0, 113, 1]),
        &["lr_in_ip_routing", "203.0.113.0/24"],
    ),
    staged(
        "a policy",
        |frame| routed(frame, [10, 17, 2, 66]),
        &["lr_in_policy", "10.17.2.66"],
    ),
    staged(
        "the last hop",
        |frame| {
            routed(frame, [10, 17, 2, 1]);
            frame.ttl = 1;
        },
        &["answered with an error", "lr_in_ip_input", "ip.ttl"],
    ),
    staged(
        "larger than the next link",
        |frame| {
            routed(frame, [10, 17, 2, 1]);
            frame.size = 1000;
        },
        &["answered with an error", "lr_in_larger_pkts"],
    ),
    staged(
        "an address that no host has",
        |frame| routed(frame, [127, 0, 0, 1]),
        &["lr_in_ip_input", "127.0.0.0/8"],
    ),
    Staged {
        count: 400,
        ..staged(
            "above a rate",
            |frame| {
                frame.load = Load::Udp(1007);
                frame.size = 1200;
            },
            &["above the rate of meter", "ls_in_qos", "udp.dst == 1007"],
        )
    },
    Staged {
        chassis: 1,
        ..staged(
            "an address that the guest does not have (port security)",
            |frame| frame.destination = Ipv4Addr::new(10, 17, 1, 88),
            &["ls_out_apply_port_sec"],
        )
    },
];

#[test]
fn each_drop_is_told_with_its_rule() {
    story(Plan::weft(), |lab| {
        let guests = network(lab)?;
        let before = Flows::of(lab.rig.chassis(CHASSIS[0])?)?;
        for staged in DROPS {
            let guest = guests
                .iter()
                .find(|guest| guest.device() == staged.sender.device);
            let guest = guest.context("each member has a guest")?;
            let mut frame = good(&staged.sender);
            (staged.spoil)(&mut frame);
            told(lab, staged.what, staged.chassis, staged.told, || {
                frame.send(guest, staged.count)
            })?;
        }
        // Neither the drops nor the questions have changed a flow.
        let after = Flows::of(lab.rig.chassis(CHASSIS[0])?)?;
        before.check_untouched(&after)?;
        nowhere(lab, &guests[0])?;
        by_nobody(lab)
    });
}

/// Where packets have no way at all: to a guest that is unplugged, and to one whose chassis is gone.
fn nowhere(lab: &mut Lab, ann: &Guest) -> Result<()> {
    let what = &["OpenFlow table 46", "no tunnel leads to it"];
    let away = ["remove", "Interface", "ben", "external_ids", "iface-id"];
    lab.rig.chassis(CHASSIS[1])?.vsctl(&away)?;
    lab.rig
        .nb(&["wait-until", "Logical_Switch_Port", "ben", "up=false"])?;
    lab.sync()?;
    let send = || good(&ANN).send(ann, 1);
    told(lab, "an unplugged guest", 0, what, send)?;

    let back = ["set", "Interface", "ben", "external_ids:iface-id=ben"];
    lab.rig.chassis(CHASSIS[1])?.vsctl(&back)?;
    lab.rig
        .nb(&["wait-until", "Logical_Switch_Port", "ben", "up=true"])?;
    lab.sync()?;
    let mut others = lab.rig.chassis.iter();
    let far = others.position(|chassis| chassis.name() == CHASSIS[1]);
    let far = far.context("there are two")?;
    let controller = lab.rig.chassis[far].controller();
    controller.context("it runs")?.kill()?;
    lab.rig.sb(&["chassis-del", CHASSIS[1]])?;
    // Nobody waits for it any more.
    lab.rig
        .sb(&["--if-exists", "destroy", "Chassis_Private", CHASSIS[1]])?;
    lab.rig
        .nb(&["wait-until", "Logical_Switch_Port", "ben", "up=false"])?;
    lab.sync()?;
    told(lab, "a chassis without a tunnel", 0, what, send)
}

/// An interface that is no logical port speaks.
fn by_nobody(lab: &Lab) -> Result<()> {
    let stranger = Guest::new(&lab.rig, "stranger", "02:ac:11:00:00:66")?;
    stranger.plug(lab.rig.chassis(CHASSIS[0])?, "br-int", &[])?;
    let what = &["OpenFlow table 0", "no logical port's"];
    told(lab, "an interface of nobody", 0, what, || {
        good(&ANN).send(&stranger, 1)
    })
}

/// A frame from a guest to `ben`, with which nothing is wrong.
fn good(from: &Member) -> Frame {
    Frame {
        to: BEN.mac,
        from: from.mac,
        vlan: None,
        source: from.address,
        destination: BEN.address,
        ttl: 64,
        load: Load::Udp(9),
        size: 20,
    }
}

fn network(lab: &Lab) -> Result<Vec<Guest>> {
    for line in NETWORK {
        let words: Vec<&str> = line.split_whitespace().collect();
        lab.rig.nb(&words)?;
    }
    let members = [ANN, BEN, CAT, DAN];
    for member in &members {
        let switch = if member.port == "cat" { "far" } else { "near" };
        let addresses = format!("{} {}", member.mac, member.address);
        lab.rig.nb(&["lsp-add", switch, member.port])?;
        lab.rig
            .nb(&["lsp-set-addresses", member.port, &addresses])?;
        lab.rig
            .nb(&["lsp-set-port-security", member.port, &addresses])?;
    }
    let guests = members.iter().map(|member| {
        let guest = lab.add_guest(member)?;
        // It says only what the test has it say.
        let quiet = format!("net.ipv6.conf.{}.disable_ipv6=1", member.device);
        guest
            .namespace()
            .run("sysctl")
            .args(["-q", "-w", &quiet])
            .output()?;
        lab.wait_up(member)?;
        Ok(guest)
    });
    let guests: Vec<Guest> = guests.collect::<Result<_>>()?;
    // The chassis know the way to each other before anything is to be dropped there.
    for (guest, member) in guests.iter().zip([ANN, BEN]) {
        let address = format!("{}/24", member.address);
        let inside = guest.namespace();
        inside.ip(&["address", "add", &address, "dev", member.device])?;
    }
    lab.sync()?;
    guests[0].ping(BEN.address)?;
    lab.rig.nb(&["lsp-set-enabled", "dan", "disabled"])?;
    lab.sync()?;
    Ok(guests)
}

/// Does something, and waits until more packets are told of in a line with all of these words.
fn told(
    lab: &Lab,
    what: &str,
    chassis: usize,
    words: &[&str],
    send: impl Fn() -> Result<()>,
) -> Result<()> {
    let count = || counted(&drops(lab, CHASSIS[chassis])?, words);
    let before = count()?;
    send().with_context(|| what.to_owned())?;
    let more = wait_for(&format!("{what} to be told with {words:?}"), LIMIT, || {
        let now = count()?;
        Ok((now > before).then_some(now))
    });
    let told = more.with_context(|| drops(lab, CHASSIS[chassis]).unwrap_or_default());
    told.map(drop)
}

/// What `weft why drops` says of a chassis.
fn drops(lab: &Lab, chassis: &str) -> Result<String> {
    let door = lab.rig.plan().door;
    let socket = lab.rig.chassis(chassis)?.dir().join("br-int.mgmt");
    Run::new(weft_binary("weft")?)
        .args(["why", "drops"])
        .arg(format!("--switch=unix:{}", socket.display()))
        .arg(format!("--ovnsb={}", lab.rig.southbound.local_remote(door)))
        .arg(format!("--ovnnb={}", lab.rig.northbound.local_remote(door)))
        .output()
}

/// How many packets the lines with all of these words tell of.
fn counted(text: &str, words: &[&str]) -> Result<u64> {
    let lines = text.lines().filter(|line| !line.starts_with(' '));
    let found = lines.filter(|line| words.iter().all(|word| line.contains(word)));
    let counts = found.map(|line| {
        let count = line.split(' ').next().unwrap_or_default();
        count.parse::<u64>().with_context(|| line.to_owned())
    });
    counts.sum()
}
