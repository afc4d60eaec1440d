//! Containers live and move with their host.
//!
//! A container's logical port has no interface of its own: it is the VLAN of its host's. So when the host's port is
//! deleted, the containers are down; when it is there again, they are up, without anybody having touched them; and
//! when the host appears on another chassis, all of them are there.

use tests::guest::{DhcpClient, Guest};
use tests::implementation::Plan;
use tests::lab::{CHASSIS, CONTAINER_HOST, MEMBERS, Member, SWITCH};
use tests::story::story;

#[test]
fn containers_go_down_with_their_host_and_come_back_with_it() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;
        let host = MEMBERS
            .iter()
            .find(|member| member.port == CONTAINER_HOST)
            .expect("the host is a member");
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);

        lab.rig.nb(&["lsp-del", CONTAINER_HOST])?;
        for container in containers() {
            lab.wait_down(container.port)?;
        }
        lab.sync()?;
        for container in containers() {
            assert!(
                !lab.guest(container).reaches(vm1.address)?,
                "{} reaches vm1",
                container.port
            );
            assert!(
                !lab.guest(vm2).reaches(container.address)?,
                "vm2 reaches {}",
                container.port
            );
        }
        lab.guest(vm1).ping(vm2.address)?;

        lab.add_port(host, &mut ())?;
        lab.wait_all_up()?;
        lab.ping_all()?;
        Ok(())
    });
}

#[test]
fn a_host_that_moves_takes_its_containers_along() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        lab.ping_all()?;

        let chassis = lab.move_host()?;
        lab.wait_all_up()?;
        for member in MEMBERS.iter().filter(|member| member.is_behind_host()) {
            assert_eq!(lab.bound_to(member.port)?, chassis, "{}", member.port);
            assert_eq!(
                lab.guest(member).lease(DhcpClient::Dhclient)?,
                member.expected_lease()
            );
        }
        lab.ping_all()?;
        Ok(())
    });
}

#[test]
fn a_container_without_a_tag_is_given_one() {
    story(Plan::under_test(), |lab| {
        let (port, mac) = ("dmz-c53", "02:ac:10:ff:01:36");
        lab.rig
            .nb(&["lsp-add", SWITCH, port, CONTAINER_HOST, "0"])?;
        lab.rig
            .nb(&["lsp-set-addresses", port, &format!("{mac} 172.16.255.136")])?;
        lab.rig.nb(&["--wait=sb", "sync"])?;
        let tag: u16 = lab.rig.nb(&["lsp-get-tag", port])?.trim().parse()?;
        assert!(![0, 51, 52].contains(&tag), "the tag {tag} was chosen");

        let guest = Guest::new(&lab.rig, "c53", mac)?;
        guest.plug(
            lab.rig.chassis(CHASSIS[0])?,
            "br-vm5",
            &[["Port", &format!("tag={tag}")]],
        )?;
        guest
            .namespace()
            .ip(&["address", "add", "172.16.255.136/26", "dev", "c53"])?;
        lab.rig
            .nb(&["wait-until", "Logical_Switch_Port", port, "up=true"])?;
        lab.address_all()?;
        guest.ping(MEMBERS[1].address).map(drop)
    });
}

fn containers() -> impl Iterator<Item = &'static Member> {
    MEMBERS.iter().filter(|member| member.tag.is_some())
}
