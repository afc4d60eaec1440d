//! DHCP options: what clients of a subnet are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use addr::Cidr;
use nb_db::tables::DhcpOptions;
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::parse_uuid;
use crate::values::Spelled;

/// Why DHCP options could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindDhcpError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There are none of that UUID.
    #[error("{0}: dhcp options UUID not found")]
    NotFound(String),
}

impl Refusal for FindDhcpError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound(_) => RefusalKind::NotFound,
        }
    }
}

/// The DHCP options with this UUID; they have no names.
pub fn find_dhcp_options(draft: &Draft<'_>, text: &str) -> Result<Uuid, FindDhcpError> {
    let table = draft.table_of::<DhcpOptions>()?;
    match parse_uuid(text) {
        Some(uuid) if draft.row(table, uuid).is_some() => Ok(uuid),
        _ => Err(FindDhcpError::NotFound(text.to_owned())),
    }
}

/// Makes DHCP options for a subnet.
pub fn create_dhcp_options(
    draft: &mut Draft<'_>,
    subnet: &Spelled<Cidr>,
    external_ids: BTreeMap<Arc<str>, Arc<str>>,
) -> Result<Uuid, DraftError> {
    draft.insert_as(&DhcpOptions {
        cidr: Arc::clone(subnet.text()),
        external_ids,
        ..DhcpOptions::default()
    })
}

/// All DHCP options, by subnet.
pub fn list_dhcp_options(draft: &Draft<'_>) -> Vec<DhcpOptions> {
    let mut all = draft.all::<DhcpOptions>();
    all.sort_by(|a, b| (&a.cidr, a.uuid).cmp(&(&b.cidr, b.uuid)));
    all
}

/// Deletes DHCP options; ports that have them go without.
pub fn delete_dhcp_options(draft: &mut Draft<'_>, options: Uuid) -> Result<(), DraftError> {
    draft.delete::<DhcpOptions>(options)
}

/// Sets what clients are told, in place of what they were.
pub fn set_contents(
    draft: &mut Draft<'_>,
    options: Uuid,
    contents: &BTreeMap<Arc<str>, Arc<str>>,
) -> Result<(), DraftError> {
    draft.set::<DhcpOptions, _>(options, DhcpOptions::COLUMN.options, contents)
}
