//! Mirrors: copies of the packets of switch ports.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use nb_db::tables::{LogicalSwitchPort, Mirror, MirrorRule};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{all_with_names, name_of};
use crate::values::{Made, Priority};
use crate::words::words;

words! {
    /// Which packets of a port are copied (`Mirror.filter`).
    pub enum MirrorFilter {
        /// Those that it sends.
        FromPort = "from-lport",
        /// Those that it receives.
        ToPort = "to-lport",
        /// All.
        Both = "both",
    }
}

/// Where copies go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorSink {
    /// Through a GRE tunnel with this key.
    Gre {
        /// The key.
        key: i64,
        /// The other end.
        remote: IpAddr,
    },
    /// Through an ERSPAN tunnel with this index.
    Erspan {
        /// The index.
        index: i64,
        /// The other end.
        remote: IpAddr,
    },
    /// To the interface of the chassis whose `external_ids:mirror-id` is this.
    Local(Arc<str>),
    /// To the logical port of this name.
    Port(Arc<str>),
}

impl MirrorSink {
    /// `type`, `index` and `sink`.
    fn columns(&self) -> (&'static str, i64, Arc<str>) {
        match self {
            Self::Gre { key, remote } => ("gre", *key, remote.to_string().into()),
            Self::Erspan { index, remote } => ("erspan", *index, remote.to_string().into()),
            Self::Local(name) => ("local", 0, Arc::clone(name)),
            Self::Port(name) => ("lport", 0, Arc::clone(name)),
        }
    }
}

/// Why a mirror was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddMirrorError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is a mirror of this name.
    #[error("Mirror with {0} name already exists.")]
    Exists(Arc<str>),
}

impl Refusal for AddMirrorError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Exists(_) => RefusalKind::AlreadyExists,
        }
    }
}

/// That a mirror can be called so: the one that is, if there is one and there may be.
pub fn check_name(
    draft: &Draft<'_>,
    name: &str,
    may_exist: bool,
) -> Result<Option<Uuid>, AddMirrorError> {
    let name = Arc::from(name);
    let existing = draft.find::<Mirror, _>(Mirror::COLUMN.name, &name);
    match existing.first() {
        Some(_) if !may_exist => Err(AddMirrorError::Exists(name)),
        existing => Ok(existing.copied()),
    }
}

/// Adds a mirror. If it is there and may be, it becomes as the new one.
pub fn add_mirror(
    draft: &mut Draft<'_>,
    name: &str,
    filter: MirrorFilter,
    sink: &MirrorSink,
    may_exist: bool,
) -> Result<Made, AddMirrorError> {
    let existing = check_name(draft, name, may_exist)?;
    let is_new = existing.is_none();
    let uuid = match existing {
        Some(uuid) => uuid,
        None => draft.insert::<Mirror>()?,
    };
    let (mirror_type, index, sink) = sink.columns();
    let column = Mirror::COLUMN;
    draft.set::<Mirror, _>(uuid, column.name, &Arc::from(name))?;
    draft.set::<Mirror, _>(uuid, column.filter, &Arc::from(filter.as_str()))?;
    draft.set::<Mirror, _>(uuid, column.r#type, &Arc::from(mirror_type))?;
    draft.set::<Mirror, _>(uuid, column.index, &index)?;
    draft.set::<Mirror, _>(uuid, column.sink, &sink)?;
    Ok(Made { uuid, is_new })
}

/// Deletes the mirror of this name, or all; that there is none is no error.
pub fn delete_mirrors(draft: &mut Draft<'_>, name: Option<&str>) -> Result<(), DraftError> {
    let gone = match name {
        Some(name) => draft.find::<Mirror, _>(Mirror::COLUMN.name, &Arc::from(name)),
        None => {
            let all = all_with_names::<Mirror>(draft).into_iter();
            all.map(|(_, uuid)| uuid).collect()
        }
    };
    for uuid in gone {
        draft.delete::<Mirror>(uuid)?;
    }
    Ok(())
}

/// All mirrors, by name.
pub fn list_mirrors(draft: &Draft<'_>) -> Vec<Mirror> {
    let mut mirrors = draft.all::<Mirror>();
    mirrors.sort_by(|a, b| a.name.cmp(&b.name));
    mirrors
}

/// Why a mirror was not attached to a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachMirrorError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It is.
    #[error("mirror {mirror} is already attached to the logical port {port}.")]
    Exists {
        /// The name of the mirror.
        mirror: Arc<str>,
        /// The name of the port.
        port: Arc<str>,
    },
}

impl Refusal for AttachMirrorError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Exists { .. } => RefusalKind::AlreadyExists,
        }
    }
}

/// Has a mirror copy the packets of a port.
pub fn attach_mirror(
    draft: &mut Draft<'_>,
    port: Uuid,
    mirror: Uuid,
    may_exist: bool,
) -> Result<(), AttachMirrorError> {
    let column = LogicalSwitchPort::COLUMN.mirror_rules;
    let attached = draft.get::<LogicalSwitchPort, _>(port, column);
    if attached.contains(&mirror) {
        if may_exist {
            return Ok(());
        }
        return Err(AttachMirrorError::Exists {
            mirror: name_of::<Mirror>(draft, mirror),
            port: name_of::<LogicalSwitchPort>(draft, port),
        });
    }
    draft.add_to::<LogicalSwitchPort, _>(port, column, &vec![mirror])?;
    Ok(())
}

/// Has a mirror not copy the packets of a port any more; that it does not is no error.
pub fn detach_mirror(draft: &mut Draft<'_>, port: Uuid, mirror: Uuid) -> Result<(), DraftError> {
    let column = LogicalSwitchPort::COLUMN.mirror_rules;
    draft.remove_from::<LogicalSwitchPort, _>(port, column, &vec![mirror])
}

words! {
    /// What becomes of the packets that a rule of a mirror matches (`Mirror_Rule.action`).
    pub enum MirrorAction {
        /// They are copied.
        Mirror = "mirror",
        /// They are not.
        Skip = "skip",
    }
}

/// Why a rule was not added to a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddMirrorRuleError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Only mirrors to logical ports have rules.
    #[error("{0}: only a mirror of type lport can have rules")]
    Type(Arc<str>),
    /// There is one of this priority and match.
    #[error("a rule with this priority and match already exists in mirror {0}")]
    Exists(Arc<str>),
}

impl Refusal for AddMirrorRuleError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Type(_) => RefusalKind::Conflict,
            Self::Exists(_) => RefusalKind::AlreadyExists,
        }
    }
}

/// Adds a rule that says what a mirror to a logical port copies.
pub fn add_mirror_rule(
    draft: &mut Draft<'_>,
    mirror: Uuid,
    priority: Priority,
    matches: &str,
    action: MirrorAction,
) -> Result<Uuid, AddMirrorRuleError> {
    let name = || name_of::<Mirror>(draft, mirror);
    if *draft.get::<Mirror, _>(mirror, Mirror::COLUMN.r#type) != *"lport" {
        return Err(AddMirrorRuleError::Type(name()));
    }
    let is_same =
        |rule: &MirrorRule| (rule.priority, &*rule.r#match) == (priority.number(), matches);
    if list_mirror_rules(draft, mirror).iter().any(is_same) {
        return Err(AddMirrorRuleError::Exists(name()));
    }
    let rule = draft.insert_as(&MirrorRule {
        priority: priority.number(),
        r#match: matches.into(),
        action: action.as_str().into(),
        ..MirrorRule::default()
    })?;
    draft.add_to::<Mirror, _>(mirror, Mirror::COLUMN.mirror_rules, &vec![rule])?;
    Ok(rule)
}

/// Deletes the rule of a mirror with this priority and match, or all of its rules.
pub fn delete_mirror_rules(
    draft: &mut Draft<'_>,
    mirror: Uuid,
    rule: Option<(Priority, &str)>,
) -> Result<(), DraftError> {
    let gone = list_mirror_rules(draft, mirror).into_iter();
    let gone = gone.filter(|known| {
        rule.is_none_or(|(priority, matches)| {
            (priority.number(), matches) == (known.priority, &*known.r#match)
        })
    });
    let gone: Vec<Uuid> = gone.map(|rule| rule.uuid).collect();
    draft.remove_from::<Mirror, _>(mirror, Mirror::COLUMN.mirror_rules, &gone)?;
    for uuid in gone {
        draft.delete::<MirrorRule>(uuid)?;
    }
    Ok(())
}

/// The rules of a mirror, by falling rank and match.
pub fn list_mirror_rules(draft: &Draft<'_>, mirror: Uuid) -> Vec<MirrorRule> {
    let uuids = draft.get::<Mirror, _>(mirror, Mirror::COLUMN.mirror_rules);
    let rules = uuids.into_iter().filter_map(|uuid| draft.typed(uuid));
    let mut rules: Vec<MirrorRule> = rules.collect();
    rules.sort_by(|a, b| (Reverse(a.priority), &a.r#match).cmp(&(Reverse(b.priority), &b.r#match)));
    rules
}
