//! What flows that the switch learns consist of.

use openflow::action::{LearnSource, LearnSpec};
use openflow::{Field as OfField, Subfield};

/// The priority of a learned flow. Nothing else is in its table.
pub(super) const PRIORITY: u16 = 0x8000;
/// The bits of `metadata` that say which datapath it is; the others may change while the flow lives.
const DATAPATH_KEY_BITS: u16 = 24;

/// The datapath's key.
pub(super) fn datapath() -> Subfield {
    bits(OfField::Metadata, DATAPATH_KEY_BITS)
}

/// The lowest bits of a field.
pub(super) fn bits(field: OfField, width: u16) -> Subfield {
    Subfield {
        field,
        offset: 0,
        width,
    }
}

/// The learned flow matches what the packet has there.
pub(super) fn same(field: Subfield) -> LearnSpec {
    copied(field, field)
}

/// The learned flow matches in one field what the packet has in another.
pub(super) fn copied(from: Subfield, to: Subfield) -> LearnSpec {
    LearnSpec::Match {
        src: LearnSource::Field(from),
        dst: to,
    }
}

/// The learned flow matches a value.
pub(super) fn equals(field: Subfield, value: u128) -> LearnSpec {
    LearnSpec::Match {
        src: LearnSource::Imm(value),
        dst: field,
    }
}

/// The learned flow loads a value.
pub(super) fn load(field: Subfield, value: u128) -> LearnSpec {
    LearnSpec::Load {
        src: LearnSource::Imm(value),
        dst: field,
    }
}
