//! Calls of tables, with arguments in fixed fields.

use openflow::{Action as OfAction, Field as OfField, Subfield};
use packet::userdata::Opcode;

use super::arguments::{Args, INPORT};
use super::fields::subfield;
use super::{Context, EncodeError, FlagBit, Outcome, controller};
use crate::action::{Bare, Function, Lookup};
use crate::symbols::Field;

const OUTPORT: OfField = OfField::Reg15;

/// `get_arp(…)`, `put_arp(…)`, …
pub(super) fn function(
    function: Function,
    args: &[Field],
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let targets: &[OfField] = match function {
        Function::GetArp => &[OUTPORT, OfField::Reg0],
        Function::GetNd => &[OUTPORT, OfField::Xxreg0],
        Function::PutArp => &[INPORT, OfField::Reg0, OfField::EthSrc],
        Function::PutNd => &[INPORT, OfField::Xxreg0, OfField::EthSrc],
        Function::PutFdb => &[INPORT, OfField::EthSrc],
        Function::HandleSvcCheck => &[INPORT],
    };
    let args = Args::new(&paired(args, targets))?;
    let message = |opcode| vec![controller::message(opcode, Vec::new(), false, context)];
    let actions = match function {
        Function::GetArp | Function::GetNd => vec![
            OfAction::set(OfField::EthDst, 0u8),
            OfAction::resubmit(context.tables.mac_binding),
        ],
        Function::PutArp => message(Opcode::PutArp),
        Function::PutNd => message(Opcode::PutNd),
        Function::PutFdb => message(Opcode::PutFdb),
        Function::HandleSvcCheck => message(Opcode::ServiceCheck),
    };
    args.around(out, actions);
    Ok(())
}

/// `R = lookup_arp(…)`, `P = get_fdb(…)`, …
pub(super) fn lookup(
    lookup: Lookup,
    to: Field,
    args: &[Field],
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let tables = context.tables;
    match lookup {
        Lookup::GetFdb => return get_fdb(to, args, context, out),
        Lookup::GetRemoteFdb => return Err(EncodeError::Unsupported("get_remote_fdb")),
        Lookup::LookupArp => {
            let args = Args::new(&paired(args, &[INPORT, OfField::Reg0, OfField::EthSrc]))?;
            args.around(out, flagged_call(tables.mac_lookup, FlagBit::LookupMac)?);
        }
        Lookup::LookupNd => {
            let args = Args::new(&paired(args, &[INPORT, OfField::Xxreg0, OfField::EthSrc]))?;
            args.around(out, flagged_call(tables.mac_lookup, FlagBit::LookupMac)?);
        }
        Lookup::LookupFdb => {
            let args = Args::new(&paired(args, &[INPORT, OfField::EthSrc]))?;
            args.around(out, flagged_call(tables.lookup_fdb, FlagBit::LookupFdb)?);
        }
        Lookup::LookupArpIp | Lookup::LookupNdIp => {
            let address = match lookup {
                Lookup::LookupArpIp => OfField::Reg0,
                _ => OfField::Xxreg0,
            };
            // That table writes the MAC that it finds.
            let saved = Subfield::from(OfField::EthDst);
            let args = Args::new(&paired(args, &[OUTPORT, address]))?;
            let mut call = vec![OfAction::Push(saved)];
            call.extend(flagged_call(tables.mac_binding, FlagBit::LookupMac)?);
            call.push(OfAction::Pop(saved));
            args.around(out, call);
        }
    }
    let flag = match lookup {
        Lookup::LookupFdb => FlagBit::LookupFdb,
        _ => FlagBit::LookupMac,
    };
    copy(flag.field(), to, out)
}

/// `P = get_fdb(A);`
fn get_fdb(to: Field, args: &[Field], context: &Context<'_>, out: &mut Vec<OfAction>) -> Outcome {
    let args = Args::new(&paired(args, &[OfField::EthDst]))?;
    let answer = Subfield::from(OUTPORT);
    let to = subfield(to)?;
    if to != answer {
        out.push(OfAction::Push(answer));
    }
    let call = [
        OfAction::set(OUTPORT, 0u8),
        OfAction::resubmit(context.tables.get_fdb),
    ];
    args.around(out, call);
    if to != answer {
        out.extend([
            OfAction::Move {
                src: answer,
                dst: to,
            },
            OfAction::Pop(answer),
        ]);
    }
    Ok(())
}

/// `R = check_in_port_sec();` and its kin.
pub(super) fn bare(
    bare: Bare,
    to: Field,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let tables = context.tables;
    let (table, flag) = match bare {
        Bare::CheckInPortSec => (tables.chk_in_port_sec, FlagBit::CheckPortSec),
        Bare::CheckOutPortSec => (tables.chk_out_port_sec, FlagBit::CheckPortSec),
        Bare::ChkLbHairpin => (tables.chk_lb_hairpin, FlagBit::LbHairpin),
        Bare::ChkLbHairpinReply => (tables.chk_lb_hairpin_reply, FlagBit::LbHairpin),
        Bare::ChkLbAff => (tables.chk_lb_affinity, FlagBit::LbAffinity),
        Bare::ChkEcmpNhMac => (tables.ecmp_nh_mac, FlagBit::EcmpNextHop),
        Bare::ChkEcmpNh => (tables.ecmp_nh, FlagBit::EcmpNextHop),
        Bare::DnsLookup => return controller::dns_lookup(to, context, out),
        Bare::CtNwDst | Bare::CtIp6Dst | Bare::CtTpDst | Bare::CtProto | Bare::CtStateSave => {
            return Err(EncodeError::Unsupported(bare.name()));
        }
    };
    out.extend(flagged_call(table, flag)?);
    copy(flag.field(), to, out)
}

/// Clears the flag, then calls the table that may set it.
fn flagged_call(table: u8, flag: FlagBit) -> Result<[OfAction; 2], EncodeError> {
    let bit = subfield(flag.field())?;
    Ok([OfAction::load(bit, 0u8), OfAction::resubmit(table)])
}

fn copy(from: Field, to: Field, out: &mut Vec<OfAction>) -> Outcome {
    out.push(OfAction::Move {
        src: subfield(from)?,
        dst: subfield(to)?,
    });
    Ok(())
}

fn paired(args: &[Field], targets: &[OfField]) -> Vec<(Field, OfField)> {
    args.iter().copied().zip(targets.iter().copied()).collect()
}
