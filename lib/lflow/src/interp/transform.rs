//! The packets that actions in braces make of the present one (ovn-sb(5), "actions").

use super::State;
use crate::action::Transform;
use crate::symbols::Base;

const ETH_ARP: u128 = 0x806;
const ETH_IP4: u128 = 0x800;
const ETH_IP6: u128 = 0x86dd;
const TCP: u128 = 6;
const SCTP: u128 = 132;
const RST: u128 = 4;

/// The packet that the actions in the braces work on.
pub fn transformed(state: &State, transform: Transform) -> State {
    let mut new = state.clone();
    // The agent makes it, and sends it as a packet of no connection that is known yet.
    if transform != Transform::Clone {
        for base in [Base::CtState, Base::CtMark, Base::CtLabel] {
            new.set(base, 0);
        }
    }
    match transform {
        Transform::Clone => {}
        Transform::Arp => arp(&mut new),
        Transform::NdNs => neighbour_solicitation(&mut new),
        Transform::NdNa | Transform::NdNaRouter => neighbour_advertisement(&mut new),
        Transform::Icmp4 | Transform::Icmp4Error => unreachable4(&mut new),
        Transform::Icmp6 | Transform::Icmp6Error => unreachable6(&mut new),
        Transform::TcpReset => tcp_reset(&mut new),
        Transform::SctpAbort => new.set(Base::IpTtl, 255),
        Transform::Reject => reject(&mut new),
    }
    new
}

fn copy(state: &mut State, to: Base, from: Base) {
    state.set(to, state.get(from));
}

fn exchange(state: &mut State, a: Base, b: Base) {
    let (old_a, old_b) = (state.get(a), state.get(b));
    state.set(a, old_b);
    state.set(b, old_a);
}

fn arp(new: &mut State) {
    new.set(Base::EthType, ETH_ARP);
    new.set(Base::ArpOp, 1);
    copy(new, Base::ArpSha, Base::EthSrc);
    copy(new, Base::ArpSpa, Base::Ip4Src);
    copy(new, Base::ArpTpa, Base::Ip4Dst);
    new.set(Base::ArpTha, 0);
}

/// To the solicited-node address of the destination (RFC 4291, section 2.7.1).
fn neighbour_solicitation(new: &mut State) {
    let target = new.get(Base::Ip6Dst);
    let group = 0xff02_0000_0000_0000_0000_0001_ff00_0000 | target & 0xff_ffff;
    new.set(Base::EthType, ETH_IP6);
    new.set(Base::EthDst, 0x3333_0000_0000 | group & 0xffff_ffff);
    new.set(Base::Ip6Dst, group);
    icmp6(new, 135, 0);
    new.set(Base::NdTarget, target);
    copy(new, Base::NdSll, Base::EthSrc);
}

fn neighbour_advertisement(new: &mut State) {
    exchange(new, Base::EthSrc, Base::EthDst);
    copy(new, Base::Ip6Dst, Base::Ip6Src);
    copy(new, Base::Ip6Src, Base::NdTarget);
    icmp6(new, 136, 0);
    new.set(Base::NdSll, 0);
    // What was `eth.dst` before the exchange.
    copy(new, Base::NdTll, Base::EthSrc);
}

fn icmp6(new: &mut State, kind: u128, code: u128) {
    new.set(Base::IpProto, 58);
    new.set(Base::IpTtl, 255);
    new.set(Base::Icmp6Type, kind);
    new.set(Base::Icmp6Code, code);
}

fn unreachable4(new: &mut State) {
    new.set(Base::IpProto, 1);
    new.set(Base::IpFrag, 0);
    new.set(Base::IpTtl, 255);
    new.set(Base::Icmp4Type, 3);
    new.set(Base::Icmp4Code, 1);
}

fn unreachable6(new: &mut State) {
    new.set(Base::IpFrag, 0);
    icmp6(new, 1, 1);
}

fn tcp_reset(new: &mut State) {
    new.set(Base::IpTtl, 255);
    new.set(Base::TcpFlags, RST);
}

/// A reset for TCP, an abort for SCTP, an error for all else, back to where the packet came from.
fn reject(new: &mut State) {
    let is_ip4 = new.get(Base::EthType) == ETH_IP4;
    exchange(new, Base::EthSrc, Base::EthDst);
    match is_ip4 {
        true => exchange(new, Base::Ip4Src, Base::Ip4Dst),
        false => exchange(new, Base::Ip6Src, Base::Ip6Dst),
    }
    match (new.get(Base::IpProto), is_ip4) {
        (TCP, _) => {
            exchange(new, Base::TcpSrc, Base::TcpDst);
            tcp_reset(new);
        }
        (SCTP, _) => {
            exchange(new, Base::SctpSrc, Base::SctpDst);
            new.set(Base::IpTtl, 255);
        }
        (_, true) => unreachable4(new),
        (_, false) => unreachable6(new),
    }
}
