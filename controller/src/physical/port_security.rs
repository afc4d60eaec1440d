//! Port security: from which addresses a port may send, and to which it may receive (ovn-nb(5), `port_security`).
//!
//! The flag [`PORT_SEC_VIOLATED`](flag::PORT_SEC_VIOLATED) is the answer; whoever asks clears it first. A port without
//! addresses has no flows here, and so no restrictions.
//!
//! | table | priority | match | the packet is |
//! | --- | --- | --- | --- |
//! | 73 | 95 | ARP or neighbour solicitation from the port | judged in 74 |
//! | 73 | 95 | neighbour advertisement from the port, allowed IPv6 source | judged in 74 |
//! | 73 | 90 | from the port, allowed addresses | allowed |
//! | 73 | 80 | from the port | refused |
//! | 74 | 90 | allowed inner addresses | allowed |
//! | 74 | 80 | ARP, neighbour solicitation or advertisement | refused |
//! | 75 | 95 | to the port, allowed addresses | allowed |
//! | 75 | 90 | to the port, an address with restrictions, IP | refused |
//! | 75 | 85 | to the port, an allowed Ethernet address | allowed |
//! | 75 | 80 | to the port | refused |
//!
//! An advertisement names two addresses, its own source and the one that it advertises. Both must be allowed, so the first is
//! judged in table 73 and the second in 74. A solicitation's source is what is judged in 74.
//!
//! An entry that makes no sense allows nothing and is told as a problem: were it passed over, the port would be open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{Cidr, Mac, MacAndIps, PortSecurity};
use openflow::{Action, Field, Match, ones};
use sb_db::tables::PortBinding;

use super::Flows;
use super::learned::number;
use crate::layout::{self, flag};
use crate::network::{Fact, Network, Reads};

const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IP4: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const ICMP6: u8 = 58;
const UDP: u8 = 17;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Multicast listener done and report, neighbour solicitation: what a host sends before it has an address.
const BEFORE_ADDRESS: [u8; 3] = [131, SOLICITATION, 143];

/// The flows.
pub fn flows(network: &Network, reads: &Reads, port: &PortBinding, facts: &mut Vec<Fact>) {
    if port.port_security.is_empty() || network.bindings.get(reads, port.uuid).is_none() {
        return;
    }
    let Some(datapath) = network.datapaths.get(reads, port.datapath) else {
        return;
    };
    let key = u32::try_from(port.tunnel_key).unwrap_or_default();
    let mut entries = Vec::new();
    for text in &port.port_security {
        match text.parse::<PortSecurity>() {
            Ok(entry) => entries.push(entry.addresses),
            Err(error) => {
                let name = &port.logical_port;
                let text = format!("port {name}: port_security \"{text}\" allows nothing: {error}");
                facts.push(Fact::Problem(port.uuid, text));
            }
        }
    }
    let datapath = datapath.key;
    let mut rules = Rules {
        datapath,
        key,
        out: Flows::of(facts, port.uuid),
    };
    rules.refuse_by_default();
    for entry in &entries {
        rules.from(entry);
        rules.to(entry);
    }
}

struct Rules<'a> {
    datapath: u32,
    key: u32,
    out: Flows<'a>,
}

impl Rules<'_> {
    fn refuse_by_default(&mut self) {
        let sent = self.sent();
        self.out
            .add(layout::CHECK_IN_PORT_SEC, 80, sent, verdict(false));
        let solicitation = self.neighbour(SOLICITATION);
        for matches in [self.arp(), solicitation] {
            self.judge(matches);
        }
        for matches in [
            self.arp(),
            self.neighbour(SOLICITATION),
            self.neighbour(ADVERTISEMENT),
        ] {
            self.out
                .add(layout::CHECK_IN_PORT_SEC_ND, 80, matches, verdict(false));
        }
        self.out.add(
            layout::CHECK_OUT_PORT_SEC,
            80,
            self.received(),
            verdict(false),
        );
    }

    /// What a packet says in its ARP or ND part decides.
    fn judge(&mut self, matches: Match) {
        let judge = vec![Action::resubmit(layout::CHECK_IN_PORT_SEC_ND)];
        self.out.add(layout::CHECK_IN_PORT_SEC, 95, matches, judge);
    }

    /// What the port may send.
    fn from(&mut self, entry: &MacAndIps) {
        let mac = number(entry.mac);
        let (v4, v6) = by_family(entry);
        let sent = || self.sent().with(Field::EthSrc, mac);
        let (mut plain, mut inner, mut judged) = (Vec::new(), Vec::new(), Vec::new());
        if entry.ips.is_empty() {
            plain.push(sent());
            judged.push(self.neighbour(ADVERTISEMENT).with(Field::EthSrc, mac));
            inner.push(self.arp().with(Field::EthSrc, mac).with(Field::ArpSha, mac));
            for (kind, field) in [(SOLICITATION, Field::NdSll), (ADVERTISEMENT, Field::NdTll)] {
                let own = || self.neighbour(kind).with(Field::EthSrc, mac);
                inner.extend([own().with(field, 0u8), own().with(field, mac)]);
            }
        } else {
            // Reverse ARP asks for an address; it is never restricted.
            plain.push(sent().with(Field::EthType, RARP));
        }
        for &ip in &v4 {
            plain.push(with_ip(sent().with(Field::EthType, IP4), Field::IpSrc, ip));
            let arp = self.arp().with(Field::EthSrc, mac).with(Field::ArpSha, mac);
            inner.push(with_ip(arp, Field::ArpSpa, ip));
        }
        if !v4.is_empty() {
            plain.push(dhcp_request(sent()));
        }
        if !v6.is_empty() {
            let unspecified = sent()
                .with(Field::EthType, IP6)
                .with(Field::IpProto, ICMP6)
                .with(Field::Ipv6Src, 0u8)
                .with_masked(Field::Ipv6Dst, 0xff02u128 << 112, 0xffffu128 << 112);
            for kind in BEFORE_ADDRESS {
                plain.push(
                    unspecified
                        .clone()
                        .with(Field::Icmpv6Type, kind)
                        .with(Field::Icmpv6Code, 0u8),
                );
            }
            for &ip in v6.iter().chain([&link_local(entry.mac)]) {
                plain.push(with_ip(
                    sent().with(Field::EthType, IP6),
                    Field::Ipv6Src,
                    ip,
                ));
                let advertise = self.neighbour(ADVERTISEMENT).with(Field::EthSrc, mac);
                judged.push(with_ip(advertise, Field::Ipv6Src, ip));
                for option in [0, mac] {
                    let solicit = self
                        .neighbour(SOLICITATION)
                        .with(Field::EthSrc, mac)
                        .with(Field::NdSll, option);
                    inner.push(with_ip(solicit, Field::Ipv6Src, ip));
                    let advertise = self
                        .neighbour(ADVERTISEMENT)
                        .with(Field::EthSrc, mac)
                        .with(Field::NdTll, option);
                    inner.push(with_ip(advertise, Field::NdTarget, ip));
                }
            }
            for option in [0, mac] {
                let solicit = self
                    .neighbour(SOLICITATION)
                    .with(Field::EthSrc, mac)
                    .with(Field::NdSll, option);
                inner.push(solicit.with(Field::Ipv6Src, 0u8));
            }
        }
        for matches in judged {
            self.judge(matches);
        }
        for matches in plain {
            self.out
                .add(layout::CHECK_IN_PORT_SEC, 90, matches, verdict(true));
        }
        for matches in inner {
            self.out
                .add(layout::CHECK_IN_PORT_SEC_ND, 90, matches, verdict(true));
        }
    }

    /// What the port may receive.
    fn to(&mut self, entry: &MacAndIps) {
        let received = || self.received().with(Field::EthDst, number(entry.mac));
        let (v4, v6) = by_family(entry);
        let mut flows = vec![(85, received(), true)];
        if !entry.ips.is_empty() {
            for ethertype in [IP4, IP6] {
                flows.push((90, received().with(Field::EthType, ethertype), false));
            }
        }
        let broadcasts = v4
            .iter()
            .filter_map(|ip| ip.broadcast())
            .chain([Ipv4Addr::BROADCAST]);
        let also = broadcasts
            .map(|ip| Cidr::host(ip.into()))
            .chain(Cidr::new(Ipv4Addr::new(224, 0, 0, 0).into(), 4));
        let also: Vec<Cidr> = if v4.is_empty() {
            Vec::new()
        } else {
            also.collect()
        };
        for &ip in v4.iter().chain(&also) {
            flows.push((
                95,
                with_ip(received().with(Field::EthType, IP4), Field::IpDst, ip),
                true,
            ));
        }
        let multicast = Cidr::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
        let also: Vec<Cidr> = if v6.is_empty() {
            Vec::new()
        } else {
            multicast
                .into_iter()
                .chain([link_local(entry.mac)])
                .collect()
        };
        for &ip in v6.iter().chain(&also) {
            flows.push((
                95,
                with_ip(received().with(Field::EthType, IP6), Field::Ipv6Dst, ip),
                true,
            ));
        }
        for (priority, matches, allowed) in flows {
            self.out.add(
                layout::CHECK_OUT_PORT_SEC,
                priority,
                matches,
                verdict(allowed),
            );
        }
    }

    fn sent(&self) -> Match {
        layout::of_datapath(self.datapath).with(layout::IN_PORT, self.key)
    }

    fn received(&self) -> Match {
        super::towards(self.datapath, self.key)
    }

    fn arp(&self) -> Match {
        self.sent().with(Field::EthType, ARP)
    }

    fn neighbour(&self, kind: u8) -> Match {
        self.sent()
            .with(Field::EthType, IP6)
            .with(Field::IpProto, ICMP6)
            .with(Field::IpTtl, 255u8)
            .with(Field::Icmpv6Type, kind)
            .with(Field::Icmpv6Code, 0u8)
    }
}

fn verdict(allowed: bool) -> Vec<Action> {
    let bit = if allowed { 0 } else { flag::PORT_SEC_VIOLATED };
    vec![Action::set_masked(
        layout::FLAGS,
        bit,
        flag::PORT_SEC_VIOLATED,
    )]
}

fn dhcp_request(sent: Match) -> Match {
    sent.with(Field::EthType, IP4)
        .with(Field::IpProto, UDP)
        .with(Field::IpSrc, 0u8)
        .with(Field::IpDst, u32::MAX)
        .with(Field::UdpSrc, 68u8)
        .with(Field::UdpDst, 67u8)
}

/// IPv4 and IPv6 addresses of an entry, each a host or, where the host part is zero, a whole network.
fn by_family(entry: &MacAndIps) -> (Vec<Cidr>, Vec<Cidr>) {
    entry.ips.iter().partition(|ip| ip.is_ipv4())
}

fn with_ip(matches: Match, field: Field, ip: Cidr) -> Match {
    let number = |ip| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let is_network = ip.addr() == ip.network().addr();
    let mask = if is_network {
        number(ip.mask())
    } else {
        ones(field.width())
    };
    matches.with_masked(field, number(ip.addr()), mask)
}

/// The link-local address that a host makes of its Ethernet address (RFC 4291, appendix A).
fn link_local(mac: Mac) -> Cidr {
    let [a, b, c, d, e, f] = mac.0;
    let bytes = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    Cidr::host(Ipv6Addr::from(bytes).into())
}
