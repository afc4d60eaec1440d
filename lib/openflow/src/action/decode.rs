//! Bytes to actions.

use std::net::IpAddr;

use super::wire_numbers::{
    EXPERIMENTER, NICIRA, NO_TABLE, RESUBMIT_IN_PORT, ctrl_prop, learn_flag, learn_header,
    nat_flag, nat_range, nx, of,
};
use super::{
    Action, Controller, Ct, CtZone, Learn, LearnSource, LearnSpec, MAX_NESTING, Nat, NatKind,
    PacketInReason,
};
use crate::oxm;
use crate::wire::Reader;
use crate::{DecodeError, Field, Port, Subfield};

/// Reads actions until the reader is empty.
pub fn decode_actions(r: Reader<'_>) -> Result<Vec<Action>, DecodeError> {
    actions(r, 0)
}

fn actions(mut r: Reader<'_>, depth: u8) -> Result<Vec<Action>, DecodeError> {
    if depth > MAX_NESTING {
        return Err(DecodeError::TooDeep { max: MAX_NESTING });
    }
    let mut result = Vec::new();
    while !r.is_empty() {
        result.push(action(&mut r, depth)?);
    }
    Ok(result)
}

fn action(r: &mut Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    let kind = r.u16("action type")?;
    let length = usize::from(r.u16("action length")?);
    let body = length.checked_sub(4).filter(|_| length.is_multiple_of(8));
    let mut b = r.sub(
        body.ok_or(DecodeError::Length {
            what: "action",
            length,
        })?,
        "action",
    )?;
    match kind {
        of::OUTPUT => Ok(Action::Output {
            port: Port(b.u32("output")?),
            max_len: b.u16("output")?,
        }),
        of::PUSH_VLAN => Ok(Action::PushVlan {
            ethertype: b.u16("push VLAN")?,
        }),
        of::POP_VLAN => Ok(Action::PopVlan),
        of::SET_QUEUE => Ok(Action::SetQueue(b.u32("set queue")?)),
        of::GROUP => Ok(Action::Group(b.u32("group")?)),
        of::DEC_TTL => Ok(Action::DecTtl),
        of::METER => Ok(Action::Meter(b.u32("meter")?)),
        of::SET_FIELD => {
            let (field, value, mask) = oxm::take_masked(&mut b)?;
            Ok(Action::set_masked(field, value, mask))
        }
        of::COPY_FIELD => copy_field(b),
        EXPERIMENTER => {
            let vendor = b.u32("action experimenter")?;
            if vendor != NICIRA {
                return Err(DecodeError::Unknown {
                    what: "action experimenter",
                    value: u64::from(vendor),
                });
            }
            nicira(b, depth)
        }
        _ => Err(DecodeError::Unknown {
            what: "action type",
            value: u64::from(kind),
        }),
    }
}

fn nicira(mut b: Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    let subtype = b.u16("action subtype")?;
    match subtype {
        nx::RESUBMIT => Ok(Action::Resubmit {
            in_port: resubmit_port(b.u16("resubmit")?),
            table: None,
            ct: false,
        }),
        nx::RESUBMIT_TABLE | nx::RESUBMIT_TABLE_CT => Ok(Action::Resubmit {
            in_port: resubmit_port(b.u16("resubmit")?),
            table: Some(b.u8("resubmit")?).filter(|&t| t != NO_TABLE),
            ct: subtype == nx::RESUBMIT_TABLE_CT,
        }),
        nx::NOTE => Ok(Action::Note(b.rest().to_vec())),
        nx::OUTPUT_REG => {
            let bits = b.u16("output register")?;
            let field = oxm::take_header(&mut b)?;
            Ok(Action::OutputReg {
                port: packed_subfield(field, bits)?,
                max_len: b.u16("output register")?,
            })
        }
        nx::STACK_PUSH => stack(b).map(Action::Push),
        nx::STACK_POP => stack(b).map(Action::Pop),
        nx::SAMPLE => Ok(Action::Sample {
            probability: b.u16("sample")?,
            collector_set: b.u32("sample")?,
            obs_domain: b.u32("sample")?,
            obs_point: b.u32("sample")?,
        }),
        nx::CONJUNCTION => {
            let clause = b.u8("conjunction")?;
            let n_clauses = b.u8("conjunction")?;
            Ok(Action::Conjunction {
                id: b.u32("conjunction")?,
                clause,
                n_clauses,
            })
        }
        nx::CT => conntrack(b, depth).map(|ct| Action::Ct(Box::new(ct))),
        nx::NAT => nat(b).map(|n| Action::Nat(Box::new(n))),
        nx::CONTROLLER2 => controller(b).map(|c| Action::Controller(Box::new(c))),
        nx::CLONE => {
            b.skip(6, "clone")?;
            actions(b, depth + 1).map(Action::Clone)
        }
        nx::CT_CLEAR => Ok(Action::CtClear),
        nx::LEARN | nx::LEARN2 => {
            learn(b, subtype == nx::LEARN2).map(|l| Action::Learn(Box::new(l)))
        }
        nx::CHECK_PKT_LARGER => {
            let packet_len = b.u16("check packet length")?;
            let offset = b.u16("check packet length")?;
            let field = oxm::take_header(&mut b)?;
            Ok(Action::CheckPktLarger {
                packet_len,
                dst: subfield(field, offset, 1)?,
            })
        }
        _ => Err(DecodeError::Unknown {
            what: "action subtype",
            value: u64::from(subtype),
        }),
    }
}

fn resubmit_port(n: u16) -> Option<Port> {
    (n != RESUBMIT_IN_PORT).then(|| Port::from_u16(n))
}

fn subfield(field: Field, offset: u16, width: u16) -> Result<Subfield, DecodeError> {
    Subfield::new(field, offset, width).ok_or(DecodeError::Length {
        what: "subfield",
        length: usize::from(width),
    })
}

fn packed_subfield(field: Field, ofs_nbits: u16) -> Result<Subfield, DecodeError> {
    subfield(field, ofs_nbits >> 6, (ofs_nbits & 0x3f) + 1)
}

fn copy_field(mut b: Reader<'_>) -> Result<Action, DecodeError> {
    let width = b.u16("copy field")?;
    let src_offset = b.u16("copy field")?;
    let dst_offset = b.u16("copy field")?;
    b.skip(2, "copy field")?;
    let src = oxm::take_header(&mut b)?;
    let dst = oxm::take_header(&mut b)?;
    Ok(Action::Move {
        src: subfield(src, src_offset, width)?,
        dst: subfield(dst, dst_offset, width)?,
    })
}

fn stack(mut b: Reader<'_>) -> Result<Subfield, DecodeError> {
    let offset = b.u16("stack")?;
    let field = oxm::take_header(&mut b)?;
    subfield(field, offset, b.u16("stack")?)
}

fn controller(mut b: Reader<'_>) -> Result<Controller, DecodeError> {
    b.skip(6, "controller")?;
    let mut c = Controller::default();
    while !b.is_empty() {
        let (kind, mut p) = property(&mut b)?;
        match kind {
            ctrl_prop::MAX_LEN => c.max_len = p.u16("max_len")?,
            ctrl_prop::CONTROLLER_ID => c.controller_id = p.u16("controller id")?,
            ctrl_prop::REASON => {
                let reason = p.u8("reason")?;
                c.reason = PacketInReason::from_wire(reason).ok_or(DecodeError::Unknown {
                    what: "packet-in reason",
                    value: u64::from(reason),
                })?;
            }
            ctrl_prop::USERDATA => c.userdata = p.rest().to_vec(),
            ctrl_prop::PAUSE => c.pause = true,
            ctrl_prop::METER_ID => c.meter_id = Some(p.u32("meter id")?),
            _ => {
                return Err(DecodeError::Unknown {
                    what: "controller property",
                    value: u64::from(kind),
                });
            }
        }
    }
    Ok(c)
}

/// Type and body of a property; the padding after it is skipped.
pub(crate) fn property<'a>(b: &mut Reader<'a>) -> Result<(u16, Reader<'a>), DecodeError> {
    let kind = b.u16("property type")?;
    let length = usize::from(b.u16("property length")?);
    let body = b.sub(
        length.checked_sub(4).ok_or(DecodeError::Length {
            what: "property",
            length,
        })?,
        "property",
    )?;
    let padding = length.next_multiple_of(8) - length;
    b.skip(padding.min(b.len()), "property padding")?;
    Ok((kind, body))
}

fn conntrack(mut b: Reader<'_>, depth: u8) -> Result<Ct, DecodeError> {
    let flags = b.u16("ct")?;
    let zone_src = b.clone().u32("ct zone")?;
    let zone = if zone_src == 0 {
        b.skip(4, "ct zone")?;
        CtZone::Imm(b.u16("ct zone")?)
    } else {
        let field = oxm::take_header(&mut b)?;
        CtZone::Field(packed_subfield(field, b.u16("ct zone")?)?)
    };
    let table = Some(b.u8("ct table")?).filter(|&t| t != NO_TABLE);
    b.skip(3, "ct")?;
    let alg = b.u16("ct")?;
    Ok(Ct {
        commit: flags & 1 != 0,
        force: flags & 2 != 0,
        zone,
        table,
        alg,
        exec: actions(b, depth + 1)?,
    })
}

fn nat(mut b: Reader<'_>) -> Result<Nat, DecodeError> {
    b.skip(2, "nat")?;
    let flags = b.u16("nat")?;
    let present = b.u16("nat")?;
    let mut result = Nat {
        kind: match flags & (nat_flag::SRC | nat_flag::DST) {
            0 => None,
            nat_flag::SRC => Some(NatKind::Src),
            nat_flag::DST => Some(NatKind::Dst),
            _ => {
                return Err(DecodeError::Unknown {
                    what: "nat flags",
                    value: u64::from(flags),
                });
            }
        },
        persistent: flags & nat_flag::PERSISTENT != 0,
        hash: flags & nat_flag::HASH != 0,
        random: flags & nat_flag::RANDOM != 0,
        addrs: None,
        ports: None,
    };
    let has = |bit| present & bit != 0;
    if has(nat_range::IPV4_MIN) {
        let low = b.u32("nat address")?;
        let high = if has(nat_range::IPV4_MAX) {
            b.u32("nat address")?
        } else {
            low
        };
        result.addrs = Some((IpAddr::V4(low.into()), IpAddr::V4(high.into())));
    }
    if has(nat_range::IPV6_MIN) {
        let low = b.u128("nat address")?;
        let high = if has(nat_range::IPV6_MAX) {
            b.u128("nat address")?
        } else {
            low
        };
        result.addrs = Some((IpAddr::V6(low.into()), IpAddr::V6(high.into())));
    }
    if has(nat_range::PROTO_MIN) {
        let low = b.u16("nat port")?;
        let high = if has(nat_range::PROTO_MAX) {
            b.u16("nat port")?
        } else {
            low
        };
        result.ports = Some((low, high));
    }
    Ok(result)
}

fn learn(mut b: Reader<'_>, second_form: bool) -> Result<Learn, DecodeError> {
    let mut l = Learn {
        idle_timeout: b.u16("learn")?,
        hard_timeout: b.u16("learn")?,
        priority: b.u16("learn")?,
        cookie: b.u64("learn")?,
        ..Learn::default()
    };
    let flags = b.u16("learn")?;
    l.send_flow_removed = flags & learn_flag::SEND_FLOW_REM != 0;
    l.delete_learned = flags & learn_flag::DELETE_LEARNED != 0;
    l.table = b.u8("learn")?;
    b.skip(1, "learn")?;
    l.fin_idle_timeout = b.u16("learn")?;
    l.fin_hard_timeout = b.u16("learn")?;
    if second_form {
        l.limit = b.u32("learn")?;
        let offset = b.u16("learn")?;
        b.skip(2, "learn")?;
        if flags & learn_flag::WRITE_RESULT != 0 {
            let field = oxm::take_header(&mut b)?;
            l.result = Some(subfield(field, offset, 1)?);
        }
    }
    // A zero header is the padding at the end.
    while b.len() >= 2 {
        let header = b.u16("learn spec")?;
        if header == 0 {
            break;
        }
        l.specs.push(spec(&mut b, header)?);
    }
    Ok(l)
}

fn spec(b: &mut Reader<'_>, header: u16) -> Result<LearnSpec, DecodeError> {
    let width = header & learn_header::N_BITS_MASK;
    if width == 0 || width > 128 {
        return Err(DecodeError::Length {
            what: "learn spec",
            length: usize::from(width),
        });
    }
    let operand = |b: &mut Reader<'_>| -> Result<Subfield, DecodeError> {
        let field = oxm::take_header(b)?;
        subfield(field, b.u16("learn spec")?, width)
    };
    let src = if header & learn_header::SRC_IMMEDIATE != 0 {
        LearnSource::Imm(b.uint(usize::from(width).div_ceil(16) * 2, "learn spec")?)
    } else {
        LearnSource::Field(operand(b)?)
    };
    match (header & learn_header::DST_MASK, src) {
        (learn_header::DST_MATCH, _) => Ok(LearnSpec::Match {
            src,
            dst: operand(b)?,
        }),
        (learn_header::DST_LOAD, _) => Ok(LearnSpec::Load {
            src,
            dst: operand(b)?,
        }),
        (learn_header::DST_OUTPUT, LearnSource::Field(port)) => Ok(LearnSpec::Output(port)),
        _ => Err(DecodeError::Unknown {
            what: "learn spec",
            value: u64::from(header),
        }),
    }
}
