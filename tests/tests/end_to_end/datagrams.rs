//! A UDP service answers from its virtual address; one whose address and backends are variables of the chassis is where they say, also
//! when they come to say something else.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use tests::implementation::Plan;
use tests::lab::{CHASSIS, Lab, MEMBERS, Member};
use tests::story::story;
use tests::traffic::Traffic;
use tests::wait::wait_until;

const VIP: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 180);
/// The port of [`Traffic`].
const PORT: u16 = 7777;

/// Datagrams to the virtual address come to this guest, and are answered from there.
fn reaches(lab: &Lab, backend: &Member) -> Result<()> {
    // Nobody answers for the address in a switch without a router.
    lab.guest(&MEMBERS[0]).know_neighbour(VIP, backend.mac)?;
    let [from, to] = [&MEMBERS[0], backend].map(|member| lab.guest(member).namespace());
    let traffic = Traffic::start(from, to, VIP, Duration::from_millis(20))?;
    let what = format!("{} to answer as {VIP}", backend.port);
    wait_until(
        &what,
        Duration::from_secs(20),
        || Ok(traffic.answered() > 5),
    )
}

fn at(member: &Member) -> String {
    format!("{}:{PORT}", member.address)
}

#[test]
fn a_datagram_service_answers_from_its_virtual_address() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let vip = format!("{VIP}:{PORT}");
        lab.rig
            .nb(&["lb-add", "echo", &vip, &at(&MEMBERS[1]), "udp"])?;
        lab.rig.nb(&["ls-lb-add", "dmz", "echo"])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[1])
    });
}

#[test]
fn variables_of_the_chassis_say_where_a_service_is() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let backends = |member: &Member| {
            let backend = at(member);
            format!("variables:backends=\"{backend}\"")
        };
        let chassis = format!("chassis={}", CHASSIS[0]);
        let vip = format!("variables:vip={VIP}");
        lab.rig.nb(&[
            "create",
            "Chassis_Template_Var",
            &chassis,
            &vip,
            &backends(&MEMBERS[1]),
        ])?;
        let vip = format!("^vip:{PORT}");
        lab.rig.nb(&[
            "--template",
            "lb-add",
            "echo",
            &vip,
            "^backends",
            "udp",
            "ipv4",
        ])?;
        lab.rig.nb(&["ls-lb-add", "dmz", "echo"])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[1])?;
        let row = ["--bare", "--columns=_uuid", "list", "Chassis_Template_Var"];
        let row = lab.rig.nb(&row)?;
        let set = backends(&MEMBERS[2]);
        lab.rig
            .nb(&["set", "Chassis_Template_Var", row.trim(), &set])?;
        lab.sync()?;
        reaches(lab, &MEMBERS[2])
    });
}
