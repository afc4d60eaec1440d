//! Rows by what people call them, a UUID or a name, and what they belong to.

use std::sync::Arc;

use nb_db::tables::{
    AddressSet, Copp, HaChassisGroup, LoadBalancer, LogicalRouter, LogicalRouterPort,
    LogicalSwitch, LogicalSwitchPort, Meter, Mirror, NetworkFunction, NetworkFunctionGroup,
    PortGroup,
};
use ovsdb::typed::TableDefinition;
use ovsdb::{Column, Uuid};

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};

/// A table whose rows have names.
pub trait Named: TableDefinition {
    /// The column with the name.
    const NAMES: Column<Arc<str>>;
    /// What one of them is called.
    const SINGULAR: &'static str;
    /// What several of them are called.
    const PLURAL: &'static str;
}

macro_rules! named {
    ($($table:ident, $singular:literal, $plural:literal;)*) => {$(
        impl Named for $table {
            const NAMES: Column<Arc<str>> = $table::COLUMN.name;
            const SINGULAR: &'static str = $singular;
            const PLURAL: &'static str = $plural;
        }
    )*};
}
named! {
    LogicalSwitch, "switch", "logical switches";
    LogicalSwitchPort, "port", "logical switch ports";
    LogicalRouter, "router", "logical routers";
    LogicalRouterPort, "port", "logical router ports";
    PortGroup, "port group", "port groups";
    AddressSet, "Address Set", "address sets";
    LoadBalancer, "load balancer", "load balancers";
    // Spelled so by OVN.
    HaChassisGroup, "ha_chassi_group", "ha chassis groups";
    Meter, "meter", "meters";
    Mirror, "mirror", "mirrors";
    Copp, "copp", "copp profiles";
    NetworkFunction, "network function", "network functions";
    NetworkFunctionGroup, "network function group", "network function groups";
}

/// Why a row could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is none.
    #[error("{text}: {what} {} not found", called_by(text))]
    NotFound {
        /// The table in which it was looked for.
        table: &'static str,
        /// What was looked for.
        what: &'static str,
        /// The UUID or name.
        text: String,
    },
    /// There are several of that name.
    #[error("Multiple {plural} named '{name}'.  Use a UUID.")]
    Ambiguous {
        /// The table in which it was looked for.
        table: &'static str,
        /// What was looked for.
        plural: &'static str,
        /// The name.
        name: String,
    },
    /// The port is in no router or switch.
    #[error("logical port {port} is not part of any logical {owner}")]
    NoOwner {
        /// The name of the port.
        port: Arc<str>,
        /// What it should be in: `router` or `switch`.
        owner: &'static str,
    },
}

impl Refusal for FindError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound { .. } => RefusalKind::NotFound,
            Self::Ambiguous { .. } | Self::NoOwner { .. } => RefusalKind::Conflict,
        }
    }
}

fn called_by(text: &str) -> &'static str {
    if parse_uuid(text).is_some() {
        "UUID"
    } else {
        "name"
    }
}

/// The UUID that `text` is; in its long form only.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    const LENGTH: usize = 36;
    (text.len() == LENGTH).then(|| Uuid::try_parse(text).ok())?
}

/// The row of table `T` that `text`, its UUID or name, means, if there is one.
pub fn find_if_any<T: Named>(draft: &Draft<'_>, text: &str) -> Result<Option<Uuid>, FindError> {
    let table = draft.table_of::<T>()?;
    if let Some(uuid) = parse_uuid(text)
        && draft.row(table, uuid).is_some()
    {
        return Ok(Some(uuid));
    }
    // Some call their rows by UUIDs of their own.
    let found = draft.find::<T, _>(T::NAMES, &Arc::from(text));
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        _ => Err(FindError::Ambiguous {
            table: T::NAME,
            plural: T::PLURAL,
            name: text.to_owned(),
        }),
    }
}

/// The row of table `T` that `text`, its UUID or name, means.
pub fn find<T: Named>(draft: &Draft<'_>, text: &str) -> Result<Uuid, FindError> {
    find_if_any::<T>(draft, text)?.ok_or_else(|| FindError::NotFound {
        table: T::NAME,
        what: T::SINGULAR,
        text: text.to_owned(),
    })
}

/// What a row is called; empty if it has no name.
pub fn name_of<T: Named>(draft: &Draft<'_>, uuid: Uuid) -> Arc<str> {
    draft.get::<T, _>(uuid, T::NAMES)
}

/// The rows with these UUIDs and their names, by name.
pub fn with_names<T: Named>(
    draft: &Draft<'_>,
    uuids: impl IntoIterator<Item = Uuid>,
) -> Vec<(Arc<str>, Uuid)> {
    let named = uuids
        .into_iter()
        .map(|uuid| (name_of::<T>(draft, uuid), uuid));
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

/// All rows of a table and their names, by name.
pub fn all_with_names<T: Named>(draft: &Draft<'_>) -> Vec<(Arc<str>, Uuid)> {
    let Ok(table) = draft.table_of::<T>() else {
        return Vec::new();
    };
    with_names::<T>(draft, draft.rows(table).map(|(uuid, _)| uuid))
}

/// The switch that a port is in.
pub fn switch_of_port(draft: &Draft<'_>, port: Uuid) -> Result<Uuid, FindError> {
    let found = draft.find_containing::<LogicalSwitch>(LogicalSwitch::COLUMN.ports, port);
    found.first().copied().ok_or_else(|| FindError::NoOwner {
        port: name_of::<LogicalSwitchPort>(draft, port),
        owner: "switch",
    })
}

/// The router that a port is in.
pub fn router_of_port(draft: &Draft<'_>, port: Uuid) -> Result<Uuid, FindError> {
    let found = draft.find_containing::<LogicalRouter>(LogicalRouter::COLUMN.ports, port);
    found.first().copied().ok_or_else(|| FindError::NoOwner {
        port: name_of::<LogicalRouterPort>(draft, port),
        owner: "router",
    })
}
