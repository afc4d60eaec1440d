//! A container that sends with another tag, another MAC address or another IP address is not heard by anyone.
//!
//! The container `c51` tries each fraud by the means that root in a guest has, and sends to everybody at once and to
//! each alone. Then it sends as it should. The frauds were sent first and on the same way, so when everybody has heard
//! the honest packet and nobody has heard another, nobody will.

use anyhow::{Result, ensure};
use std::net::Ipv4Addr;
use tests::capture::Capture;
use tests::implementation::Plan;
use tests::lab::{BROADCAST, Lab, MEMBERS, Member};
use tests::story::story;

/// How large the pings of a fraud are, and those of the honest: by that they are told apart.
const FRAUD_SIZE: u16 = 100;
const HONEST_SIZE: u16 = 200;
/// What ICMP adds to the size of a ping.
const ICMP_HEADER: u16 = 8;

/// What counts as heard. The container host's interface is a trunk of its own bridge, where its containers' packets
/// pass with their VLAN before the logical network sees them; to the host itself the logical network speaks untagged.
const HEARD: &str = "icmp[icmptype] == icmp-echo and not vlan";

#[test]
fn a_container_that_pretends_to_be_another_is_not_heard() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        let c51 = member("dmz-c51");
        let everybody: Vec<&Member> = MEMBERS
            .iter()
            .filter(|member| member.port != c51.port)
            .collect();

        nobody_hears(lab, &everybody, "another MAC address", || {
            lab.guest(c51).set_mac("02:ac:10:ff:01:77")?;
            shout_at_all(lab, c51, c51.address, &everybody)?;
            lab.guest(c51).set_mac(c51.mac)
        })?;
        nobody_hears(lab, &everybody, "the MAC address of another guest", || {
            lab.guest(c51).set_mac(member("dmz-vm1").mac)?;
            shout_at_all(lab, c51, c51.address, &everybody)?;
            lab.guest(c51).set_mac(c51.mac)
        })?;
        nobody_hears(lab, &everybody, "another IP address", || {
            let wrong = Ipv4Addr::new(172, 16, 255, 140);
            let assigned = format!("{wrong}/26");
            lab.guest(c51)
                .namespace()
                .ip(&["address", "add", &assigned, "dev", c51.device])?;
            shout_at_all(lab, c51, wrong, &everybody)?;
            lab.guest(c51)
                .namespace()
                .ip(&["address", "del", &assigned, "dev", c51.device])
                .map(drop)
        })?;
        nobody_hears(lab, &everybody, "a tag that nobody has", || {
            lab.set_tag(c51, 53)?;
            shout_at_all(lab, c51, c51.address, &everybody)?;
            lab.set_tag(c51, 51)
        })?;
        // With c52's tag, c52 hears it on the container host's own bridge, before the logical network sees it.
        let but_c52: Vec<&Member> = everybody
            .into_iter()
            .filter(|member| member.port != "dmz-c52")
            .collect();
        nobody_hears(lab, &but_c52, "the tag of another container", || {
            lab.set_tag(c51, 52)?;
            shout_at_all(lab, c51, c51.address, &but_c52)?;
            lab.set_tag(c51, 51)
        })
    });
}

/// Fails if one of `listeners` hears something of `fraud`.
fn nobody_hears(
    lab: &Lab,
    listeners: &[&Member],
    what: &str,
    fraud: impl Fn() -> Result<()>,
) -> Result<()> {
    let c51 = member("dmz-c51");
    let captures: Vec<(&Member, Capture)> = listeners
        .iter()
        .map(|member| Ok((*member, lab.guest(member).listen(HEARD)?)))
        .collect::<Result<_>>()?;
    fraud()?;
    lab.guest(c51).shout(c51.address, BROADCAST, HONEST_SIZE)?;
    for (member, capture) in &captures {
        let honest = format!("length {}", HONEST_SIZE + ICMP_HEADER);
        let source = format!("{} > {BROADCAST}", c51.address);
        capture.wait_for(&[&source, &honest])?;
        let length = format!("length {}", FRAUD_SIZE + ICMP_HEADER);
        let heard: Vec<String> = capture
            .heard()?
            .into_iter()
            .filter(|packet| packet.contains(&length))
            .collect();
        ensure!(heard.is_empty(), "{} heard {what}: {heard:#?}", member.port);
    }
    Ok(())
}

/// Sends to everybody at once and to each alone.
fn shout_at_all(lab: &Lab, from: &Member, source: Ipv4Addr, listeners: &[&Member]) -> Result<()> {
    let guest = lab.guest(from);
    guest.shout(source, BROADCAST, FRAUD_SIZE)?;
    for listener in listeners {
        // Who pretends gets no answer when it asks for an address.
        guest.know_neighbour(listener.address, listener.mac)?;
        guest.shout(source, listener.address, FRAUD_SIZE)?;
    }
    Ok(())
}

fn member(port: &str) -> &'static Member {
    MEMBERS
        .iter()
        .find(|member| member.port == port)
        .expect("a member of the lab")
}
