//! Fields of the language as fields of the switch.

use openflow::{Action as OfAction, Field as OfField, Subfield};

use super::{Context, EncodeError, Outcome};
use crate::constant::Constant;
use crate::symbols::{Field, Kind};

/// The bits of the switch that a field is.
pub(super) fn subfield(field: Field) -> Result<Subfield, EncodeError> {
    let mut lsb = u16::from(field.lsb());
    let mut symbol = field.symbol();
    let base = loop {
        match symbol.kind() {
            Kind::Field(base) | Kind::Port(base) => break Some(base.openflow()),
            Kind::Bits { parent, lsb: at } => {
                lsb += u16::from(at);
                symbol = parent;
            }
            Kind::Registers { first, count: 2 } => break OfField::xreg(first / 2),
            Kind::Registers { first, .. } => break OfField::xxreg(first / 4),
            Kind::Predicate(_) | Kind::MtuOfError => break None,
        }
    };
    base.and_then(|base| Subfield::new(base, lsb, field.width().into()))
        .ok_or(EncodeError::Field(field))
}

/// `field = constant;`
pub(super) fn assign(
    field: Field,
    constant: &Constant,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let (value, mask) = match constant {
        Constant::Int(int) => (int.value, int.mask & field.full_mask()),
        // A port that does not exist has no key, and a packet for it goes nowhere.
        Constant::Str(name) => (
            context.resources.port(name).unwrap_or(0).into(),
            field.full_mask(),
        ),
        Constant::Template(name) => return Err(EncodeError::Template(name.clone())),
        Constant::AddressSet(_) | Constant::PortGroup(_) => return Err(EncodeError::Field(field)),
    };
    if field.symbol().kind() == Kind::MtuOfError {
        out.push(OfAction::Note(mtu_note(field, value)));
        return Ok(());
    }
    let bits = subfield(field)?;
    out.push(OfAction::set_masked(
        bits.field,
        value << bits.offset,
        mask << bits.offset,
    ));
    Ok(())
}

/// What tells the controller the MTU of an ICMP error: the width of the field, and the MTU as four bytes.
///
/// The switch has no such field, so this stands among the actions of `icmp4_error { … }` as a note.
fn mtu_note(field: Field, mtu: u128) -> Vec<u8> {
    let mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
    let mut note = vec![field.width(), 0];
    note.extend(mtu.to_be_bytes());
    note
}
