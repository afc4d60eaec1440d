//! Collectors hear of the packets of a rule: of what opens a connection, of what follows, and of the answers, by IPFIX; and of what is dropped, whatever drops it.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab, MEMBERS};
use tests::story::story;
use tests::wait::wait_until;

/// Where a collector listens, on each chassis.
const PORT: u16 = 4739;
/// The numbers of kinds of samples, and the observation points of the rule.
const NEW: (u32, u32) = (21, 100);
const ESTABLISHED: (u32, u32) = (22, 101);

/// A collector on the chassis, at which its switch's set 7 of collectors is.
fn collector(lab: &Lab, chassis: &str) -> Result<UdpSocket> {
    let chassis = lab.rig.chassis(chassis)?;
    chassis.namespace().ip(&["link", "set", "lo", "up"])?;
    let target = format!("targets=\"127.0.0.1:{PORT}\"");
    chassis.vsctl(&[
        "--",
        "--id=@ipfix",
        "create",
        "IPFIX",
        &target,
        "--",
        "--id=@bridge",
        "get",
        "Bridge",
        "br-int",
        "--",
        "create",
        "Flow_Sample_Collector_Set",
        "id=7",
        "bridge=@bridge",
        "ipfix=@ipfix",
    ])?;
    chassis.namespace().inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(socket)
    })
}

/// The observation domain of a message of IPFIX (RFC 7011, section 3), and the observation points of its records: what Open vSwitch's
/// records begin with.
fn observed(message: &[u8]) -> Option<(u32, Vec<u32>)> {
    const HEADER: usize = 16;
    /// Sets with lower numbers have templates.
    const FIRST_DATA_SET: u16 = 256;
    let word = |at: usize| {
        Some(u32::from_be_bytes(
            message.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let half = |at: usize| {
        Some(u16::from_be_bytes(
            message.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    (half(0)? == 10).then_some(())?;
    let mut points = Vec::new();
    let mut at = HEADER;
    while let (Some(set), Some(length)) = (half(at), half(at + 2)) {
        if set >= FIRST_DATA_SET {
            points.extend(word(at + 4));
        }
        at += usize::from(length.max(4));
    }
    Some((word(12)?, points))
}

/// Waits until the collector hears of a point, with the datapath in the domain.
fn hears(lab: &Lab, socket: &UdpSocket, (app, point): (u32, u32)) -> Result<()> {
    let domain = app << 24 | lab.datapath_key()?;
    let mut message = [0; 4096];
    wait_until(
        &format!("a sample of point {point}"),
        Duration::from_secs(30),
        || {
            let Ok(length) = socket.recv(&mut message) else {
                return Ok(false);
            };
            let found = observed(&message[..length]);
            Ok(found.is_some_and(|(of, points)| of == domain && points.contains(&point)))
        },
    )
}

#[test]
fn a_collector_hears_of_the_packets_of_a_rule() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let socket = collector(lab, CHASSIS[0])?;
        let create = |words: &[&str]| -> Result<String> {
            let row = lab.rig.nb(&[&["create"], words].concat())?;
            Ok(row.trim().to_owned())
        };
        let collector = create(&[
            "Sample_Collector",
            "id=1",
            "name=here",
            "probability=65535",
            "set_id=7",
        ])?;
        for (kind, (app, _)) in [("acl-new", NEW), ("acl-est", ESTABLISHED)] {
            let (kind, app) = (format!("type={kind}"), format!("id={app}"));
            create(&["Sampling_App", &kind, &app])?;
        }
        let collectors = format!("collectors={collector}");
        let matches = format!("inport == \"{}\" && ip4", MEMBERS[0].port);
        let [new, established] = [NEW.1, ESTABLISHED.1].map(|point| format!("metadata={point}"));
        lab.rig.nb(&[
            "--",
            "--id=@new",
            "create",
            "Sample",
            &new,
            &collectors,
            "--",
            "--id=@established",
            "create",
            "Sample",
            &established,
            &collectors,
            "--",
            "--id=@acl",
            "create",
            "ACL",
            "priority=100",
            "direction=from-lport",
            &format!("match={matches:?}"),
            "action=allow-related",
            "sample_new=@new",
            "sample_est=@established",
            "--",
            "add",
            "Logical_Switch",
            "dmz",
            "acls",
            "@acl",
        ])?;
        lab.sync()?;
        let vm1 = lab.guest(&MEMBERS[0]);
        vm1.ping(MEMBERS[1].address)?;
        hears(lab, &socket, NEW)?;
        // Every ping opens a connection; its answer is of one that there is.
        vm1.ping(MEMBERS[1].address)?;
        hears(lab, &socket, ESTABLISHED)
    });
}

#[test]
fn a_collector_hears_of_what_is_dropped() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let socket = collector(lab, CHASSIS[0])?;
        let options = [
            "options:debug_drop_collector_set=7",
            "options:debug_drop_domain_id=33",
        ];
        lab.rig
            .nb(&[&["set", "NB_Global", "."], &options[..]].concat())?;
        let matches = format!("inport == \"{}\" && icmp4", MEMBERS[0].port);
        let rule = ["acl-add", "dmz", "from-lport", "100", &matches, "drop"];
        lab.rig.nb(&rule)?;
        lab.sync()?;
        let _silent = lab.guest(&MEMBERS[0]).ping(MEMBERS[1].address);
        // What drops is the verdict, which all rules share; the point is the flow's cookie.
        let words = ["--bare", "--columns=_uuid", "find", "Logical_Flow"];
        let stage = ["pipeline=ingress", "priority=1000", "match=\"reg8[17]\""];
        let found = lab.rig.sb(&[&words[..], &stage].concat())?;
        let start = found.trim().get(..8).context("there is such a flow")?;
        hears(lab, &socket, (33, u32::from_str_radix(start, 16)?))
    });
}
