//! Arguments of calls, put into the fields in which the called expects them.

use openflow::{Action as OfAction, Field as OfField, Subfield};

use super::EncodeError;
use super::fields::subfield;
use crate::symbols::Field;

/// Where the logical input port is.
pub(super) const INPORT: OfField = OfField::Reg14;

/// Arguments, and the fields in which they are expected.
pub(super) struct Args {
    /// Those that do not stand there already.
    moved: Vec<(Subfield, Subfield)>,
}

impl Args {
    pub fn new(pairs: &[(Field, OfField)]) -> Result<Self, EncodeError> {
        let mut moved = Vec::new();
        for (from, to) in pairs {
            let (from, to) = (subfield(*from)?, Subfield::from(*to));
            if from != to {
                moved.push((from, to));
            }
        }
        Ok(Self { moved })
    }

    /// Puts `actions` between saving, filling and restoring the fields.
    ///
    /// All sources are read before the first field is written: one argument may stand in another's field.
    pub fn around(&self, out: &mut Vec<OfAction>, actions: impl IntoIterator<Item = OfAction>) {
        out.extend(self.moved.iter().map(|(_, to)| OfAction::Push(*to)));
        out.extend(
            self.moved
                .iter()
                .rev()
                .map(|(from, _)| OfAction::Push(*from)),
        );
        out.extend(self.moved.iter().map(|(_, to)| OfAction::Pop(*to)));
        out.extend(actions);
        out.extend(self.moved.iter().rev().map(|(_, to)| OfAction::Pop(*to)));
    }
}

/// Arguments for `bind_vport`: the parent port where the controller expects it.
pub(super) fn port_args(port: Field) -> Result<Args, EncodeError> {
    Args::new(&[(port, INPORT)])
}
