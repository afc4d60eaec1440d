//! Groups of chassis that stand in for each other.

use std::cmp::Reverse;
use std::sync::Arc;

use nb_db::tables::{HaChassis, HaChassisGroup};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::name_of;
use crate::values::Priority;

/// Makes a group without members. That there is one of this name is the server's to say.
pub fn add_group(draft: &mut Draft<'_>, name: &str) -> Result<Uuid, DraftError> {
    draft.insert_as(&HaChassisGroup {
        name: name.into(),
        ..HaChassisGroup::default()
    })
}

/// Deletes a group; its members go with the last reference to them.
pub fn delete_group(draft: &mut Draft<'_>, group: Uuid) -> Result<(), DraftError> {
    for member in draft.get::<HaChassisGroup, _>(group, HaChassisGroup::COLUMN.ha_chassis) {
        draft.delete::<HaChassis>(member)?;
    }
    draft.delete::<HaChassisGroup>(group)
}

/// A group and its members.
#[derive(Clone, Debug)]
pub struct GroupWithMembers {
    /// The group.
    pub group: HaChassisGroup,
    /// Its members, by the names of their chassis.
    pub members: Vec<HaChassis>,
}

fn members(draft: &Draft<'_>, group: Uuid) -> Vec<HaChassis> {
    let column = HaChassisGroup::COLUMN.ha_chassis;
    let uuids = draft.get::<HaChassisGroup, _>(group, column).into_iter();
    let mut members: Vec<HaChassis> = uuids.filter_map(|uuid| draft.typed(uuid)).collect();
    members.sort_by(|a, b| {
        (&a.chassis_name, Reverse(a.priority)).cmp(&(&b.chassis_name, Reverse(b.priority)))
    });
    members
}

/// All groups, by name.
pub fn list_groups(draft: &Draft<'_>) -> Vec<GroupWithMembers> {
    let mut groups = draft.all::<HaChassisGroup>();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    let with_members = |group: HaChassisGroup| GroupWithMembers {
        members: members(draft, group.uuid),
        group,
    };
    groups.into_iter().map(with_members).collect()
}

/// Makes a chassis a member of a group with this rank; if it is one, it gets the rank.
pub fn add_member(
    draft: &mut Draft<'_>,
    group: Uuid,
    chassis: &str,
    priority: Priority,
) -> Result<Uuid, DraftError> {
    let mut known = members(draft, group).into_iter();
    let member = match known.find(|member| *member.chassis_name == *chassis) {
        Some(member) => member.uuid,
        None => {
            let member = draft.insert_as(&HaChassis {
                chassis_name: chassis.into(),
                ..HaChassis::default()
            })?;
            let column = HaChassisGroup::COLUMN.ha_chassis;
            draft.add_to::<HaChassisGroup, _>(group, column, &vec![member])?;
            member
        }
    };
    draft.set::<HaChassis, _>(member, HaChassis::COLUMN.priority, &priority.number())?;
    Ok(member)
}

/// Why a member of a group was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The chassis is no member.
    #[error("{chassis}: ha chassis not found in {group} ha chassis group")]
    NotFound {
        /// The name of the chassis.
        chassis: String,
        /// The name of the group.
        group: Arc<str>,
    },
}

impl Refusal for MemberError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::NotFound { .. } => RefusalKind::NotFound,
        }
    }
}

fn member(draft: &Draft<'_>, group: Uuid, chassis: &str) -> Result<Uuid, MemberError> {
    let mut members = members(draft, group).into_iter();
    match members.find(|member| *member.chassis_name == *chassis) {
        Some(member) => Ok(member.uuid),
        None => Err(MemberError::NotFound {
            chassis: chassis.to_owned(),
            group: name_of::<HaChassisGroup>(draft, group),
        }),
    }
}

/// Takes a chassis from a group.
pub fn remove_member(draft: &mut Draft<'_>, group: Uuid, chassis: &str) -> Result<(), MemberError> {
    let member = member(draft, group, chassis)?;
    let column = HaChassisGroup::COLUMN.ha_chassis;
    draft.remove_from::<HaChassisGroup, _>(group, column, &vec![member])?;
    draft.delete::<HaChassis>(member)?;
    Ok(())
}

/// Gives a member of a group another rank.
pub fn set_member_priority(
    draft: &mut Draft<'_>,
    group: Uuid,
    chassis: &str,
    priority: Priority,
) -> Result<(), MemberError> {
    let member = member(draft, group, chassis)?;
    draft.set::<HaChassis, _>(member, HaChassis::COLUMN.priority, &priority.number())?;
    Ok(())
}
