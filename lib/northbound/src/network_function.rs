//! Network functions: machines that traffic is led through, and groups of them.

use std::sync::Arc;

use nb_db::tables::{LogicalSwitchPort, NetworkFunction, NetworkFunctionGroup};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, Named, name_of, switch_of_port};
use crate::values::Made;

/// The number of a network function or of a group, 1 to 255, that connections carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(u8);

impl FunctionId {
    /// The id with this number, if there is one.
    pub fn new(number: i64) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (number > 0).then_some(Self(number))
    }

    /// Its number, as the columns hold it.
    pub fn number(self) -> i64 {
        self.0.into()
    }
}

/// Why a network function or a group was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddFunctionError {
    /// Something that is needed is not there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is one of this name.
    #[error("{name}: a {what} with this name already exists")]
    Exists {
        /// `network function` or `network function group`.
        what: &'static str,
        /// The name.
        name: Arc<str>,
    },
    /// Another one has the number.
    #[error("{id}: the {what} {name} has this id already")]
    IdTaken {
        /// `network function` or `network function group`.
        what: &'static str,
        /// The number.
        id: i64,
        /// The name of the one that has it.
        name: Arc<str>,
    },
    /// The two ports are in different switches.
    #[error("{inport} and {outport} are not in the same logical switch")]
    Switches {
        /// The name of the port in.
        inport: Arc<str>,
        /// The name of the port out.
        outport: Arc<str>,
    },
}

impl From<DraftError> for AddFunctionError {
    fn from(error: DraftError) -> Self {
        Self::Find(error.into())
    }
}

impl Refusal for AddFunctionError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Exists { .. } | Self::IdTaken { .. } => RefusalKind::AlreadyExists,
            Self::Switches { .. } => RefusalKind::Conflict,
        }
    }
}

/// The one of this name, if there may be one.
fn existing<T: Named>(
    draft: &Draft<'_>,
    name: &Arc<str>,
    may_exist: bool,
) -> Result<Option<Uuid>, AddFunctionError> {
    let found = draft.find::<T, _>(T::NAMES, name);
    match found.first() {
        Some(_) if !may_exist => Err(AddFunctionError::Exists {
            what: T::SINGULAR,
            name: Arc::clone(name),
        }),
        found => Ok(found.copied()),
    }
}

/// That nobody else has the number.
fn check_id<T: Named>(
    draft: &Draft<'_>,
    column: ovsdb::Column<i64>,
    id: FunctionId,
    own: Option<Uuid>,
) -> Result<(), AddFunctionError> {
    let with_id = draft.find::<T, _>(column, &id.number());
    match with_id.into_iter().find(|uuid| Some(*uuid) != own) {
        None => Ok(()),
        Some(other) => Err(AddFunctionError::IdTaken {
            what: T::SINGULAR,
            id: id.number(),
            name: name_of::<T>(draft, other),
        }),
    }
}

/// Adds a network function between two ports of a switch. If it is there and may be, it becomes as the new one.
pub fn add_function(
    draft: &mut Draft<'_>,
    name: &str,
    id: FunctionId,
    inport: Uuid,
    outport: Uuid,
    may_exist: bool,
) -> Result<Made, AddFunctionError> {
    let name: Arc<str> = name.into();
    let known = existing::<NetworkFunction>(draft, &name, may_exist)?;
    if switch_of_port(draft, inport)? != switch_of_port(draft, outport)? {
        return Err(AddFunctionError::Switches {
            inport: name_of::<LogicalSwitchPort>(draft, inport),
            outport: name_of::<LogicalSwitchPort>(draft, outport),
        });
    }
    let column = NetworkFunction::COLUMN;
    check_id::<NetworkFunction>(draft, column.id, id, known)?;
    let is_new = known.is_none();
    let uuid = match known {
        Some(uuid) => uuid,
        None => draft.insert::<NetworkFunction>()?,
    };
    draft.set::<NetworkFunction, _>(uuid, column.name, &name)?;
    draft.set::<NetworkFunction, _>(uuid, column.id, &id.number())?;
    draft.set::<NetworkFunction, _>(uuid, column.inport, &inport)?;
    draft.set::<NetworkFunction, _>(uuid, column.outport, &outport)?;
    Ok(Made { uuid, is_new })
}

/// Why a network function was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteFunctionError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A group has it.
    #[error("network function {function} is in the group {group}")]
    InUse {
        /// Its name.
        function: Arc<str>,
        /// The name of the group.
        group: Arc<str>,
    },
}

impl Refusal for DeleteFunctionError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::InUse { .. } => RefusalKind::Conflict,
        }
    }
}

/// Deletes a network function, which no group may have.
pub fn delete_function(draft: &mut Draft<'_>, function: Uuid) -> Result<(), DeleteFunctionError> {
    let column = NetworkFunctionGroup::COLUMN.network_function;
    let groups = draft.find_containing::<NetworkFunctionGroup>(column, function);
    if let Some(group) = groups.first() {
        return Err(DeleteFunctionError::InUse {
            function: name_of::<NetworkFunction>(draft, function),
            group: name_of::<NetworkFunctionGroup>(draft, *group),
        });
    }
    Ok(draft.delete::<NetworkFunction>(function)?)
}

/// All network functions, by name.
pub fn list_functions(draft: &Draft<'_>) -> Vec<NetworkFunction> {
    let mut functions = draft.all::<NetworkFunction>();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions
}

/// Adds a group of these network functions. If it is there and may be, it becomes as the new one.
pub fn add_function_group(
    draft: &mut Draft<'_>,
    name: &str,
    id: FunctionId,
    functions: &[Uuid],
    may_exist: bool,
) -> Result<Made, AddFunctionError> {
    let name: Arc<str> = name.into();
    let known = existing::<NetworkFunctionGroup>(draft, &name, may_exist)?;
    let column = NetworkFunctionGroup::COLUMN;
    check_id::<NetworkFunctionGroup>(draft, column.id, id, known)?;
    let is_new = known.is_none();
    let uuid = match known {
        Some(uuid) => uuid,
        None => draft.insert::<NetworkFunctionGroup>()?,
    };
    draft.set::<NetworkFunctionGroup, _>(uuid, column.name, &name)?;
    draft.set::<NetworkFunctionGroup, _>(uuid, column.id, &id.number())?;
    draft.set::<NetworkFunctionGroup, _>(uuid, column.mode, &Arc::from("inline"))?;
    draft.set::<NetworkFunctionGroup, _>(uuid, column.network_function, &functions.to_vec())?;
    Ok(Made { uuid, is_new })
}

/// Why a network function did not join or leave a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionMemberError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It is in the group already.
    #[error("network function {function} is already in the group {group}")]
    Exists {
        /// Its name.
        function: Arc<str>,
        /// The name of the group.
        group: Arc<str>,
    },
    /// It is not in the group.
    #[error("network function {function} is not in the group {group}")]
    NotFound {
        /// Its name.
        function: Arc<str>,
        /// The name of the group.
        group: Arc<str>,
    },
}

impl Refusal for FunctionMemberError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Exists { .. } => RefusalKind::AlreadyExists,
            Self::NotFound { .. } => RefusalKind::NotFound,
        }
    }
}

/// Puts a network function into a group.
pub fn add_to_group(
    draft: &mut Draft<'_>,
    group: Uuid,
    function: Uuid,
    may_exist: bool,
) -> Result<(), FunctionMemberError> {
    let column = NetworkFunctionGroup::COLUMN.network_function;
    let members = draft.get::<NetworkFunctionGroup, _>(group, column);
    if members.contains(&function) {
        if may_exist {
            return Ok(());
        }
        return Err(FunctionMemberError::Exists {
            function: name_of::<NetworkFunction>(draft, function),
            group: name_of::<NetworkFunctionGroup>(draft, group),
        });
    }
    Ok(draft.add_to::<NetworkFunctionGroup, _>(group, column, &vec![function])?)
}

/// Takes a network function from a group.
pub fn remove_from_group(
    draft: &mut Draft<'_>,
    group: Uuid,
    function: Uuid,
    if_exists: bool,
) -> Result<(), FunctionMemberError> {
    let column = NetworkFunctionGroup::COLUMN.network_function;
    let members = draft.get::<NetworkFunctionGroup, _>(group, column);
    if !members.contains(&function) {
        if if_exists {
            return Ok(());
        }
        return Err(FunctionMemberError::NotFound {
            function: name_of::<NetworkFunction>(draft, function),
            group: name_of::<NetworkFunctionGroup>(draft, group),
        });
    }
    Ok(draft.remove_from::<NetworkFunctionGroup, _>(group, column, &vec![function])?)
}

/// All groups, by name.
pub fn list_function_groups(draft: &Draft<'_>) -> Vec<NetworkFunctionGroup> {
    let mut groups = draft.all::<NetworkFunctionGroup>();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

/// Deletes a group; its members stay.
pub fn delete_function_group(draft: &mut Draft<'_>, group: Uuid) -> Result<(), DraftError> {
    draft.delete::<NetworkFunctionGroup>(group)
}
