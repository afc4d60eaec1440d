//! Frames there and back, and garbage that is refused.

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

fn udp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6])
        .single_vlan(etherparse::VlanId::try_new(51).expect("fits"))
        .ipv4([0; 4], [255; 4], 64)
        .udp(68, 67);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).expect("writes");
    bytes
}

#[test]
fn a_datagram_gets_another_payload_and_keeps_its_headers() {
    let bytes = udp(&[1; 11]);
    let frame = Frame::parse(&bytes).expect("a frame");
    assert_eq!(frame.udp4().expect("a datagram").payload(), [1; 11]);
    let to = Ipv4Addr::new(10, 0, 0, 2);
    let changed = frame.with_udp4_payload(to, &[2; 300]).expect("fits");
    let again = Frame::parse(&changed).expect("a frame");
    assert_eq!(
        (again.eth_src(), again.eth_dst()),
        (frame.eth_src(), frame.eth_dst())
    );
    assert_eq!(again.link, frame.link, "the tag is still there");
    assert_eq!(again.ips(), Some((Ipv4Addr::UNSPECIFIED.into(), to.into())));
    let datagram = again.udp4().expect("a datagram");
    assert_eq!(datagram.payload(), [2; 300]);
    let Some(NetSlice::Ipv4(ip)) = again.net() else {
        panic!("no IPv4")
    };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(datagram.checksum(), 0);
    assert!(matches!(
        frame.with_udp4_payload(to, &[0; 70_000]),
        Err(FrameError::TooLong(70_000))
    ));
}

#[test]
fn the_padding_of_a_short_frame_is_not_its_payload() {
    let mut bytes = udp(&[1; 2]);
    bytes.resize(64, 0xee);
    let frame = Frame::parse(&bytes).expect("a frame");
    assert_eq!(frame.udp4().expect("a datagram").payload(), [1; 2]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0_usize..60) {
        let mut damaged = udp(&[7; 60]);
        let end = (start + bytes.len()).min(damaged.len());
        damaged[start..end].copy_from_slice(&bytes[..end - start]);
        for bytes in [&damaged, &bytes] {
            if let Ok(frame) = Frame::parse(bytes) {
                let _ = frame.with_udp4_payload(Ipv4Addr::LOCALHOST, &[1]);
                let _ = crate::reply::reject(&frame);
                let _ = crate::reply::arp_request(&frame);
                let _ = crate::reply::neighbour_advertisement(&frame, true);
            }
        }
    }
}
