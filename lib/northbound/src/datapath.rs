//! Switches and routers: making and deleting them.

use std::sync::Arc;

use nb_db::tables::{LogicalRouter, LogicalRouterPort, LogicalSwitch, LogicalSwitchPort};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::Named;
use crate::values::{Existing, Made};

/// Why a switch or router was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddDatapathError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is one of this name.
    #[error("{name}: a {what} with this name already exists")]
    Exists {
        /// `switch` or `router`.
        what: &'static str,
        /// The name.
        name: Arc<str>,
    },
}

impl Refusal for AddDatapathError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Exists { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// Makes a switch with this name, or without one.
pub fn add_switch(
    draft: &mut Draft<'_>,
    name: Option<&str>,
    existing: Existing,
) -> Result<Made, AddDatapathError> {
    add::<LogicalSwitch>(draft, name, existing)
}

/// Makes a router with this name, or without one.
pub fn add_router(
    draft: &mut Draft<'_>,
    name: Option<&str>,
    existing: Existing,
) -> Result<Made, AddDatapathError> {
    add::<LogicalRouter>(draft, name, existing)
}

fn add<T: Named>(
    draft: &mut Draft<'_>,
    name: Option<&str>,
    existing: Existing,
) -> Result<Made, AddDatapathError> {
    let made = |uuid| Made { uuid, is_new: true };
    let Some(name) = name.map(Arc::<str>::from) else {
        return Ok(made(draft.insert::<T>()?));
    };
    if existing != Existing::Duplicate {
        match draft.find::<T, _>(T::NAMES, &name).first() {
            Some(&uuid) if existing == Existing::Accept => {
                return Ok(Made {
                    uuid,
                    is_new: false,
                });
            }
            Some(_) => {
                return Err(AddDatapathError::Exists {
                    what: T::SINGULAR,
                    name,
                });
            }
            None => draft.rely_on_value::<T, _>(T::NAMES, &name)?,
        }
    }
    let uuid = draft.insert::<T>()?;
    draft.set::<T, _>(uuid, T::NAMES, &name)?;
    Ok(made(uuid))
}

/// Deletes a switch and its ports.
pub fn delete_switch(draft: &mut Draft<'_>, switch: Uuid) -> Result<(), DraftError> {
    // The ports go with the last reference to them; verbs behind this one should not see them any more.
    for port in draft.get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports) {
        draft.delete::<LogicalSwitchPort>(port)?;
    }
    draft.delete::<LogicalSwitch>(switch)
}

/// Deletes a router and its ports.
pub fn delete_router(draft: &mut Draft<'_>, router: Uuid) -> Result<(), DraftError> {
    for port in draft.get::<LogicalRouter, _>(router, LogicalRouter::COLUMN.ports) {
        draft.delete::<LogicalRouterPort>(port)?;
    }
    draft.delete::<LogicalRouter>(router)
}
