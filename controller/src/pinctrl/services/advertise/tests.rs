//! Solicitations become advertisements, and ports advertise by themselves.

use std::sync::Arc;

use etherparse::PacketBuilder;
use openflow::Field;
use ovsdb::RowChange;
use packet::userdata::ResultBit;

use super::*;
use crate::pinctrl::fields::value;
use crate::pinctrl::tests::{World, handle, now, packet_in};

fn solicitation(kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 2])
        .ipv6([0xfe; 16], [0xff; 16], 255)
        .icmpv6_raw(kind, 0, [0; 4])
        .write(&mut bytes, &[])
        .expect("writes");
    bytes
}

#[test]
fn a_solicitation_goes_on_as_the_advertisement() {
    let arguments = AdvertisementArguments {
        result: ResultBit {
            oxm_header: 0x0001_0004,
            bit: 5,
        },
        message: vec![134, 0, 0, 0, 255, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    let mut userdata = Opcode::PutRouterAdvertisement.header().to_vec();
    userdata.extend(arguments.encode());
    for (kind, is_answered) in [(133, true), (128, false)] {
        let effects = handle(packet_in(1, userdata.clone(), solicitation(kind)));
        let Some(Effect::Resume(resumed)) = effects.last() else {
            panic!("{effects:?}")
        };
        let bit = value(&resumed.metadata, Field::Reg0) >> 5 & 1;
        assert_eq!(bit == 1, is_answered);
        let is_advertisement = resumed.packet.get(54) == Some(&134);
        assert_eq!(is_advertisement, is_answered);
    }
}

const OPTIONS: [(&str, &str); 9] = [
    ("peer", "p2"),
    ("ipv6_ra_send_periodic", "true"),
    ("ipv6_ra_src_eth", "02:00:00:00:00:fe"),
    ("ipv6_ra_src_addr", "fe80::ff:fe00:fe"),
    ("ipv6_ra_address_mode", "slaac"),
    ("ipv6_ra_prefixes", "fd00:1::/64 fd00:2::/64 "),
    ("ipv6_ra_max_interval", "20"),
    ("ipv6_ra_min_interval", "5"),
    ("ipv6_ra_prf", "HIGH"),
];

/// A world in which port 1 is a router's with these options.
fn world(options: &[(&str, &str)]) -> World {
    let mut world = World::default();
    let mut port = PortBinding::clone(&world.ports[0]);
    port.r#type = "patch".into();
    port.options = options
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    world.ports[0] = Arc::new(port);
    world
}

fn tell(service: &mut Advertise, now: Now, world: &World) -> Vec<Effect> {
    let change = RowChange {
        table: PortBinding::INDEX,
        uuid: Uuid::from_u128(1),
        old: None,
        new: None,
    };
    let mut effects = Vec::new();
    service.changed(now, Change::Row(&change), world, &mut effects);
    effects
}

#[test]
fn a_port_advertises_by_itself_again_and_again() {
    let (mut service, start) = (Advertise::default(), now());
    let world = world(&OPTIONS);
    assert_eq!(tell(&mut service, start, &world), []);
    let mut last = start.at;
    for _ in 0..20 {
        let due = service.deadline().expect("there is a next one");
        let pause = due - last;
        assert!((5..=20).contains(&pause.as_secs()), "{pause:?}");
        let now = Now { at: due, ..start };
        let mut effects = Vec::new();
        service.tick(now, &world, &mut effects);
        let [Effect::PacketOut(out)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(value(&out.metadata, Field::Reg14), 2, "from the peer");
        let stays = Action::set_masked(layout::FLAGS, flag::LOCAL_ONLY, flag::LOCAL_ONLY);
        assert_eq!(out.actions[0], stays);
        assert_eq!(out.packet[54..56], [134, 0]);
        assert_eq!(out.packet[59], 0x08);
        last = due;
    }
    // The same again changes nothing; another message begins anew; and so does none.
    let next = service.deadline();
    tell(&mut service, start, &world);
    assert_eq!(service.deadline(), next);
    tell(&mut service, start, &self::world(&[]));
    assert_eq!(service.deadline(), None);
}

#[test]
fn a_gateway_router_advertises_wherever_its_link_is() {
    let (mut service, start) = (Advertise::default(), now());
    let mut world = world(&OPTIONS);
    let mut port = PortBinding::clone(&world.ports[0]);
    port.r#type = "l3gateway".into();
    port.chassis = Some(Uuid::from_u128(999));
    world.ports[0] = Arc::new(port);
    tell(&mut service, start, &world);
    let at = service.deadline().expect("there is a next one");
    let mut effects = Vec::new();
    service.tick(Now { at, ..start }, &world, &mut effects);
    assert!(matches!(effects[..], [Effect::PacketOut(_)]), "{effects:?}");
}

#[test]
fn where_the_link_is_not_nobody_is_told() {
    let (mut service, start) = (Advertise::default(), now());
    let mut world = world(&OPTIONS);
    world.is_local = false;
    tell(&mut service, start, &world);
    let due = service.deadline().expect("it may come");
    let mut effects = Vec::new();
    service.tick(Now { at: due, ..start }, &world, &mut effects);
    assert_eq!(effects, []);
    assert!(service.deadline() > Some(due));
}

#[test]
fn what_makes_no_sense_is_noted() {
    for (key, bad) in [
        ("ipv6_ra_src_eth", "02"),
        ("ipv6_ra_src_addr", ""),
        ("ipv6_ra_address_mode", "auto"),
        ("ipv6_ra_prefixes", "fd00::/x"),
        ("ipv6_ra_rdnss", "ns"),
        ("ipv6_ra_prf", "VERY"),
        ("ipv6_ra_route_info", "HIGH"),
    ] {
        let mut service = Advertise::default();
        let mut options = OPTIONS.to_vec();
        options.retain(|(known, _)| *known != key);
        options.push((key, bad));
        let effects = tell(&mut service, now(), &world(&options));
        let text = format!("no advertisements: options:{key} of p1");
        assert_eq!(effects, [Effect::Note(text)]);
        assert_eq!(service.deadline(), None);
    }
}
