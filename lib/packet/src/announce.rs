//! Announcements: where an address is, told to a whole segment, so that switches learn the way and neighbours the address.

use std::net::Ipv4Addr;

use addr::Mac;
use etherparse::EtherType;

/// Reverse ARP (RFC 903).
const RARP: u16 = 0x8035;
/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4 (RFC 826).
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REVERSE_REQUEST: [u8; 2] = [0, 3];

/// A gratuitous ARP: a request for one's own address (RFC 5227, section 3, "ARP announcement").
pub fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    frame(mac, EtherType::ARP.0, REQUEST, ip, Mac([0; 6]))
}

/// A reverse ARP request for one's own MAC address: for ports that have no IPv4 address.
pub fn rarp(mac: Mac) -> Vec<u8> {
    frame(mac, RARP, REVERSE_REQUEST, Ipv4Addr::UNSPECIFIED, mac)
}

/// A broadcast frame; sender and target have the same IP address.
fn frame(mac: Mac, ethertype: u16, operation: [u8; 2], ip: Ipv4Addr, target: Mac) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac.0);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(ETHERNET_IPV4);
    frame.extend(operation);
    frame.extend(mac.0);
    frame.extend(ip.octets());
    frame.extend(target.0);
    frame.extend(ip.octets());
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::{ArpPacketSlice, NetSlice};

    use super::*;
    use crate::frame::Frame;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_gratuitous_arp_asks_for_its_own_address() {
        let bytes = gratuitous_arp(MAC, Ipv4Addr::new(10, 0, 0, 1));
        let frame = Frame::parse(&bytes).expect("a frame");
        assert_eq!((frame.eth_src(), frame.eth_dst()), (MAC, Mac([0xff; 6])));
        let Some(NetSlice::Arp(arp)) = frame.net() else {
            panic!("no ARP")
        };
        assert_eq!(arp.operation().0, 1);
        assert_eq!(arp.sender_hw_addr(), MAC.0);
        assert_eq!(arp.sender_protocol_addr(), arp.target_protocol_addr());
    }

    #[test]
    fn a_reverse_arp_asks_for_its_own_mac_address() {
        let bytes = rarp(MAC);
        assert_eq!(bytes[12..14], RARP.to_be_bytes());
        let arp = ArpPacketSlice::from_slice(&bytes[14..]).expect("like ARP");
        assert_eq!(arp.operation().0, 3);
        assert_eq!(
            (arp.sender_hw_addr(), arp.target_hw_addr()),
            (&MAC.0[..], &MAC.0[..])
        );
    }
}
