//! Actions to bytes.

use std::net::IpAddr;

use super::wire_numbers::{
    EXPERIMENTER, NICIRA, NO_TABLE, RESUBMIT_IN_PORT, ctrl_prop, learn_flag, learn_header,
    nat_flag, nat_range, nx, of,
};
use super::{
    Action, Controller, Ct, CtZone, Learn, LearnSource, LearnSpec, Nat, NatKind, PacketInReason,
};
use crate::oxm;
use crate::wire::Put;
use crate::{Port, Subfield};

impl Action {
    /// Appends the action.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Action::Output { port, max_len } => standard(out, of::OUTPUT, |out| {
                out.put_u32(port.0);
                out.put_u16(*max_len);
            }),
            Action::OutputReg { port, max_len } => output_reg(out, *port, *max_len),
            Action::Controller(c) => controller(out, c),
            Action::SetField { field, value, mask } => {
                standard(out, of::SET_FIELD, |out| {
                    oxm::put_for_action(out, *field, *value, *mask);
                });
            }
            Action::Move { src, dst } => standard(out, of::COPY_FIELD, |out| {
                out.put_u16(src.width);
                out.put_u16(src.offset);
                out.put_u16(dst.offset);
                out.put_zeros(2);
                oxm::put_header(out, src.field);
                oxm::put_header(out, dst.field);
            }),
            Action::Push(s) => stack(out, nx::STACK_PUSH, *s),
            Action::Pop(s) => stack(out, nx::STACK_POP, *s),
            Action::Resubmit { in_port, table, ct } => {
                nicira(
                    out,
                    if *ct {
                        nx::RESUBMIT_TABLE_CT
                    } else {
                        nx::RESUBMIT_TABLE
                    },
                    |out| {
                        out.put_u16(in_port.and_then(Port::to_u16).unwrap_or(RESUBMIT_IN_PORT));
                        out.put_u8(table.unwrap_or(NO_TABLE));
                    },
                );
            }
            Action::Clone(actions) => nicira(out, nx::CLONE, |out| {
                out.put_zeros(6);
                encode_actions(actions, out);
            }),
            Action::Ct(ct) => conntrack(out, ct),
            Action::Nat(n) => nat(out, n),
            Action::CtClear => nicira(out, nx::CT_CLEAR, |_| ()),
            Action::PushVlan { ethertype } => {
                standard(out, of::PUSH_VLAN, |out| out.put_u16(*ethertype));
            }
            Action::PopVlan => standard(out, of::POP_VLAN, |_| ()),
            Action::Group(id) => standard(out, of::GROUP, |out| out.put_u32(*id)),
            Action::Meter(id) => standard(out, of::METER, |out| out.put_u32(*id)),
            Action::SetQueue(id) => standard(out, of::SET_QUEUE, |out| out.put_u32(*id)),
            Action::Sample {
                probability,
                collector_set,
                obs_domain,
                obs_point,
            } => nicira(out, nx::SAMPLE, |out| {
                out.put_u16(*probability);
                out.put_u32(*collector_set);
                out.put_u32(*obs_domain);
                out.put_u32(*obs_point);
            }),
            Action::DecTtl => standard(out, of::DEC_TTL, |_| ()),
            Action::Learn(l) => learn(out, l),
            Action::Note(bytes) => nicira(out, nx::NOTE, |out| out.extend_from_slice(bytes)),
            Action::Conjunction {
                id,
                clause,
                n_clauses,
            } => nicira(out, nx::CONJUNCTION, |out| {
                out.put_u8(*clause);
                out.put_u8(*n_clauses);
                out.put_u32(*id);
            }),
            Action::CheckPktLarger { packet_len, dst } => {
                nicira(out, nx::CHECK_PKT_LARGER, |out| {
                    out.put_u16(*packet_len);
                    out.put_u16(dst.offset);
                    oxm::put_header(out, dst.field);
                    // The fixed part is 24 bytes long and the header ends at 18.
                    out.put_zeros(6);
                });
            }
        }
    }
}

/// Appends actions one after the other.
pub fn encode_actions(actions: &[Action], out: &mut Vec<u8>) {
    for action in actions {
        action.encode(out);
    }
}

/// An action of the standard: type, length, body, padding.
fn standard(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    body(out);
    out.pad_to_8(start);
    out.put_len(start, start + 2);
}

/// An action of Nicira's: the same with experimenter id and subtype.
fn nicira(out: &mut Vec<u8>, subtype: u16, body: impl FnOnce(&mut Vec<u8>)) {
    standard(out, EXPERIMENTER, |out| {
        out.put_u32(NICIRA);
        out.put_u16(subtype);
        body(out);
    });
}

/// Offset and number of bits as Nicira's actions pack them: ten bits of offset, six of width less one.
fn ofs_nbits(s: Subfield) -> u16 {
    s.offset << 6 | (s.width - 1)
}

fn output_reg(out: &mut Vec<u8>, port: Subfield, max_len: u16) {
    nicira(out, nx::OUTPUT_REG, |out| {
        out.put_u16(ofs_nbits(port));
        oxm::put_header(out, port.field);
        out.put_u16(max_len);
        out.put_zeros(6);
    });
}

fn stack(out: &mut Vec<u8>, subtype: u16, s: Subfield) {
    nicira(out, subtype, |out| {
        out.put_u16(s.offset);
        oxm::put_header(out, s.field);
        out.put_u16(s.width);
        // The fixed part is 24 bytes long and the width ends at 18.
        out.put_zeros(6);
    });
}

fn property(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    body(out);
    out.put_len(start, start + 2);
    out.pad_to_8(start);
}

fn controller(out: &mut Vec<u8>, c: &Controller) {
    nicira(out, nx::CONTROLLER2, |out| {
        out.put_zeros(6);
        if c.max_len != u16::MAX {
            property(out, ctrl_prop::MAX_LEN, |out| out.put_u16(c.max_len));
        }
        if c.controller_id != 0 {
            property(out, ctrl_prop::CONTROLLER_ID, |out| {
                out.put_u16(c.controller_id);
            });
        }
        if c.reason != PacketInReason::Action {
            property(out, ctrl_prop::REASON, |out| out.put_u8(c.reason.to_wire()));
        }
        if !c.userdata.is_empty() {
            property(out, ctrl_prop::USERDATA, |out| {
                out.extend_from_slice(&c.userdata);
            });
        }
        if c.pause {
            property(out, ctrl_prop::PAUSE, |_| ());
        }
        if let Some(id) = c.meter_id {
            property(out, ctrl_prop::METER_ID, |out| out.put_u32(id));
        }
    });
}

fn conntrack(out: &mut Vec<u8>, ct: &Ct) {
    nicira(out, nx::CT, |out| {
        out.put_u16(u16::from(ct.commit) | u16::from(ct.force) << 1);
        match ct.zone {
            CtZone::Imm(zone) => {
                out.put_u32(0);
                out.put_u16(zone);
            }
            CtZone::Field(s) => {
                oxm::put_header(out, s.field);
                out.put_u16(ofs_nbits(s));
            }
        }
        out.put_u8(ct.table.unwrap_or(NO_TABLE));
        out.put_zeros(3);
        out.put_u16(ct.alg);
        encode_actions(&ct.exec, out);
    });
}

fn nat(out: &mut Vec<u8>, n: &Nat) {
    let kind = match n.kind {
        None => 0,
        Some(NatKind::Src) => nat_flag::SRC,
        Some(NatKind::Dst) => nat_flag::DST,
    };
    let flags =
        kind | if n.persistent {
            nat_flag::PERSISTENT
        } else {
            0
        } | if n.hash { nat_flag::HASH } else { 0 }
            | if n.random { nat_flag::RANDOM } else { 0 };
    nicira(out, nx::NAT, |out| {
        out.put_zeros(2);
        out.put_u16(flags);
        let present_at = out.len();
        out.put_u16(0);
        let mut present = 0;
        if let Some((low, high)) = n.addrs {
            let (min_bit, max_bit) = match low {
                IpAddr::V4(_) => (nat_range::IPV4_MIN, nat_range::IPV4_MAX),
                IpAddr::V6(_) => (nat_range::IPV6_MIN, nat_range::IPV6_MAX),
            };
            present |= min_bit;
            put_ip(out, low);
            if high != low {
                present |= max_bit;
                put_ip(out, high);
            }
        }
        if let Some((low, high)) = n.ports {
            present |= nat_range::PROTO_MIN;
            out.put_u16(low);
            if high != low {
                present |= nat_range::PROTO_MAX;
                out.put_u16(high);
            }
        }
        out[present_at..present_at + 2].copy_from_slice(&present.to_be_bytes());
    });
}

fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(a) => out.extend_from_slice(&a.octets()),
        IpAddr::V6(a) => out.extend_from_slice(&a.octets()),
    }
}

fn learn(out: &mut Vec<u8>, l: &Learn) {
    let second_form = l.limit != 0 || l.result.is_some();
    let flags = if l.send_flow_removed {
        learn_flag::SEND_FLOW_REM
    } else {
        0
    } | if l.delete_learned {
        learn_flag::DELETE_LEARNED
    } else {
        0
    } | if l.result.is_some() {
        learn_flag::WRITE_RESULT
    } else {
        0
    };
    nicira(
        out,
        if second_form { nx::LEARN2 } else { nx::LEARN },
        |out| {
            out.put_u16(l.idle_timeout);
            out.put_u16(l.hard_timeout);
            out.put_u16(l.priority);
            out.put_u64(l.cookie);
            out.put_u16(flags);
            out.put_u8(l.table);
            out.put_u8(0);
            out.put_u16(l.fin_idle_timeout);
            out.put_u16(l.fin_hard_timeout);
            if second_form {
                out.put_u32(l.limit);
                out.put_u16(l.result.map_or(0, |s| s.offset));
                out.put_zeros(2);
                if let Some(result) = l.result {
                    oxm::put_header(out, result.field);
                }
            }
            for spec in &l.specs {
                learn_spec(out, spec);
            }
        },
    );
}

fn learn_spec(out: &mut Vec<u8>, spec: &LearnSpec) {
    let (src, dst, kind) = match spec {
        LearnSpec::Match { src, dst } => (*src, Some(*dst), learn_header::DST_MATCH),
        LearnSpec::Load { src, dst } => (*src, Some(*dst), learn_header::DST_LOAD),
        LearnSpec::Output(port) => (LearnSource::Field(*port), None, learn_header::DST_OUTPUT),
    };
    let width = match (src, dst) {
        (_, Some(dst)) => dst.width,
        (LearnSource::Field(s), None) => s.width,
        (LearnSource::Imm(_), None) => 16,
    };
    match src {
        LearnSource::Field(s) => {
            out.put_u16(kind | width);
            oxm::put_header(out, s.field);
            out.put_u16(s.offset);
        }
        LearnSource::Imm(value) => {
            out.put_u16(learn_header::SRC_IMMEDIATE | kind | width);
            out.put_uint(value, usize::from(width).div_ceil(16) * 2);
        }
    }
    if let Some(dst) = dst {
        oxm::put_header(out, dst.field);
        out.put_u16(dst.offset);
    }
}
