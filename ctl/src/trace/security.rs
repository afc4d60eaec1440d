//! Port security, as a chassis has it: what a port may send, and what it may get (ovn-nb(5), "port_security").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{Cidr, Mac, MacAndIps, PortSecurity};
use lflow::Base;
use lflow::interp::State;

use super::packet::{ARP, IP4, IP6};

const UDP: u128 = 17;
const ICMP6: u128 = 58;
const SOLICITATION: u128 = 135;
const ADVERTISEMENT: u128 = 136;

/// Whether a port with these entries may send the packet.
pub fn may_send(entries: &[PortSecurity], state: &State) -> bool {
    of_mac(entries, mac(state, Base::EthSrc), |of| {
        match state.get(Base::EthType) {
            ARP => {
                let from = ip4(state, Base::ArpSpa).into();
                let is_bound = of.ips.iter().any(|own| own.is_ipv4());
                mac(state, Base::ArpSha) == of.mac && (!is_bound || has(of, from))
            }
            IP4 => of.ips.is_empty() || may_send_ip4(of, state),
            IP6 => of.ips.is_empty() || may_send_ip6(of, state),
            _ => true,
        }
    })
}

/// Whether a guest that has no address yet asks, as it must before it takes one (RFC 4862, section 5.4.2; RFC 3810, section
/// 5): a solicitation or a report, from nobody to a group of the link. Chassis let it pass; ovn-trace does not.
pub fn asks_before_address(state: &State) -> bool {
    state.get(Base::EthType) == IP6
        && state.get(Base::IpProto) == ICMP6
        && state.get(Base::Ip6Src) == 0
        && state.get(Base::Ip6Dst) >> 112 == 0xff02
        && matches!(state.get(Base::Icmp6Type), 131 | 135 | 143)
}

/// Whether a port with these entries may ask so: by its own MAC.
pub fn may_ask(entries: &[PortSecurity], state: &State) -> bool {
    of_mac(entries, mac(state, Base::EthSrc), |of| {
        let sll = mac(state, Base::NdSll);
        of.ips.is_empty() || sll.is_zero() || sll == of.mac
    })
}

/// Whether a port with these entries may get the packet.
pub fn may_get(entries: &[PortSecurity], state: &State) -> bool {
    of_mac(entries, mac(state, Base::EthDst), |of| {
        match state.get(Base::EthType) {
            IP4 => of.ips.is_empty() || may_get_ip(of, ip4(state, Base::Ip4Dst).into()),
            IP6 => of.ips.is_empty() || may_get_ip(of, ip6(state, Base::Ip6Dst).into()),
            _ => true,
        }
    })
}

/// Whether `allows` holds of an entry with this MAC. Without entries, everything is allowed.
fn of_mac(entries: &[PortSecurity], mac: Mac, allows: impl Fn(&MacAndIps) -> bool) -> bool {
    let mut of_mac = entries
        .iter()
        .map(|entry| &entry.addresses)
        .filter(|of| of.mac == mac);
    entries.is_empty() || of_mac.any(allows)
}

fn may_send_ip4(of: &MacAndIps, state: &State) -> bool {
    let (from, to) = (ip4(state, Base::Ip4Src), ip4(state, Base::Ip4Dst));
    let asks_for_address = state.get(Base::IpProto) == UDP
        && state.get(Base::UdpSrc) == 68
        && state.get(Base::UdpDst) == 67
        && from.is_unspecified()
        && to == Ipv4Addr::BROADCAST;
    has(of, from.into()) || asks_for_address
}

fn may_send_ip6(of: &MacAndIps, state: &State) -> bool {
    if !has(of, ip6(state, Base::Ip6Src).into()) {
        return false;
    }
    let is_own_or_none = |base| {
        let mac = mac(state, base);
        mac.is_zero() || mac == of.mac
    };
    match (state.get(Base::IpProto), state.get(Base::Icmp6Type)) {
        (ICMP6, SOLICITATION) => is_own_or_none(Base::NdSll),
        (ICMP6, ADVERTISEMENT) => {
            let is_bound = of.ips.iter().any(|own| !own.is_ipv4());
            let target = ip6(state, Base::NdTarget).into();
            is_own_or_none(Base::NdTll) && (!is_bound || has(of, target))
        }
        _ => true,
    }
}

fn may_get_ip(of: &MacAndIps, to: IpAddr) -> bool {
    let is_for_all = match to {
        IpAddr::V4(to) => {
            let of_networks = of.ips.iter().filter_map(|own| own.broadcast());
            to == Ipv4Addr::BROADCAST
                || to.is_multicast()
                || of_networks.into_iter().any(|broadcast| broadcast == to)
        }
        IpAddr::V6(to) => to.is_multicast(),
    };
    let has_family = of.ips.iter().any(|own| own.is_ipv4() == to.is_ipv4());
    has_family && (is_for_all || has(of, to))
}

/// Whether an address is one of these. An entry without host bits stands for its network; of IPv6, the link-local address of
/// the MAC is always one.
fn has(of: &MacAndIps, ip: IpAddr) -> bool {
    let is_it = |own: &Cidr| match own.network() == *own {
        true => own.contains(ip),
        false => own.addr() == ip,
    };
    of.ips.iter().any(is_it) || ip == IpAddr::V6(of.mac.link_local())
}

fn mac(state: &State, base: Base) -> Mac {
    Mac::from_u64(u64::try_from(state.get(base)).unwrap_or_default())
}

fn ip4(state: &State, base: Base) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(state.get(base)).unwrap_or_default())
}

fn ip6(state: &State, base: Base) -> Ipv6Addr {
    Ipv6Addr::from_bits(state.get(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(eth: &str, ip: &str) -> State {
        let mac: Mac = eth.parse().expect("a MAC");
        let mac = u128::from(mac.to_u64());
        let state = State::default()
            .with(Base::EthSrc, mac)
            .with(Base::EthDst, mac);
        match ip.parse().expect("an address") {
            IpAddr::V4(ip) => state
                .with(Base::EthType, IP4)
                .with(Base::Ip4Src, ip.to_bits())
                .with(Base::Ip4Dst, ip.to_bits()),
            IpAddr::V6(ip) => state
                .with(Base::EthType, IP6)
                .with(Base::Ip6Src, ip.to_bits())
                .with(Base::Ip6Dst, ip.to_bits()),
        }
    }

    #[test]
    fn who_may_send_and_get_what() {
        let own = "02:00:00:00:00:01";
        for (entry, eth, ip, sends, gets) in [
            ("02:00:00:00:00:01", own, "10.0.0.9", true, true),
            (
                "02:00:00:00:00:01",
                "02:00:00:00:00:02",
                "10.0.0.9",
                false,
                false,
            ),
            ("02:00:00:00:00:01 10.0.0.1", own, "10.0.0.1", true, true),
            ("02:00:00:00:00:01 10.0.0.1", own, "10.0.0.2", false, false),
            ("02:00:00:00:00:01 10.0.0.1", own, "fd00::1", false, false),
            ("02:00:00:00:00:01 10.0.0.0/24", own, "10.0.0.7", true, true),
            (
                "02:00:00:00:00:01 10.0.0.1/24",
                own,
                "10.0.0.255",
                false,
                true,
            ),
            ("02:00:00:00:00:01 10.0.0.1", own, "224.0.0.1", false, true),
            (
                "02:00:00:00:00:01 fd00::1",
                own,
                "fe80::ff:fe00:1",
                true,
                true,
            ),
            ("02:00:00:00:00:01 fd00::1", own, "ff02::1", false, true),
        ] {
            let entries = [entry.parse().expect("an entry")];
            let state = packet(eth, ip);
            assert_eq!(may_send(&entries, &state), sends, "{entry}: {eth} {ip}");
            assert_eq!(may_get(&entries, &state), gets, "{entry}: {eth} {ip}");
        }
        assert!(may_send(&[], &packet(own, "10.0.0.9")));
        let bound = ["02:00:00:00:00:01 fd00::1".parse().expect("an entry")];
        let probe = packet(own, "ff02::1:ff00:1")
            .with(Base::Ip6Src, 0u8)
            .with(Base::IpProto, ICMP6)
            .with(Base::Icmp6Type, SOLICITATION);
        assert!(asks_before_address(&probe) && may_ask(&bound, &probe));
        assert!(!may_send(&bound, &probe));
        let other = probe.clone().with(Base::EthSrc, 7u8);
        assert!(!may_ask(&bound, &other));
        assert!(!asks_before_address(&probe.with(Base::Icmp6Type, 128u8)));
    }
}
