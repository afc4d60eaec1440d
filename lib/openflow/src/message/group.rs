//! Groups (OpenFlow 1.5.1 sections 7.3.4.3, 7.3.5.9), with the selection method that Netronome brought to Open vSwitch.

use std::fmt;

use crate::action::{Action, Actions, decode_actions, encode_actions, property};
use crate::oxm;
use crate::wire::{Put, Reader};
use crate::{DecodeError, Field};

/// How many of a group's buckets are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKind {
    /// Every one.
    All,
    /// One, chosen for each connection.
    Select,
    /// The only one.
    Indirect,
    /// The first that is alive.
    FastFailover,
}

impl GroupKind {
    const ALL_KINDS: [GroupKind; 4] = [
        GroupKind::All,
        GroupKind::Select,
        GroupKind::Indirect,
        GroupKind::FastFailover,
    ];
}

/// How a select group chooses (ovs-ofctl(8), "Group Syntax").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SelectionMethod {
    /// By the datapath's own hash.
    DpHash {
        /// The hash's algorithm; the low 32 bits are its basis.
        param: u64,
    },
    /// By a hash of fields.
    Hash {
        /// The fields.
        fields: Vec<Field>,
        /// The basis of the hash.
        param: u64,
    },
}

/// One of the alternatives of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    /// Its number within the group.
    pub id: u32,
    /// Its share, in a select group.
    pub weight: Option<u16>,
    /// What it does.
    pub actions: Vec<Action>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// Its kind.
    pub kind: GroupKind,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
    /// How one is selected; `None` leaves it to the switch.
    pub selection: Option<SelectionMethod>,
}

/// As ovs-ofctl(8) writes it in "Group Syntax", without the number.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            GroupKind::All => "all",
            GroupKind::Select => "select",
            GroupKind::Indirect => "indirect",
            GroupKind::FastFailover => "fast_failover",
        };
        write!(f, "type={kind}")?;
        match &self.selection {
            Some(SelectionMethod::DpHash { .. }) => write!(f, ",selection_method=dp_hash")?,
            Some(SelectionMethod::Hash { fields, .. }) => {
                write!(f, ",selection_method=hash,fields(")?;
                for (place, field) in fields.iter().enumerate() {
                    let comma = if place > 0 { "," } else { "" };
                    write!(f, "{comma}{field}")?;
                }
                write!(f, ")")?;
            }
            None => {}
        }
        for bucket in &self.buckets {
            write!(f, ",bucket=bucket_id={}", bucket.id)?;
            if let Some(weight) = bucket.weight {
                write!(f, ",weight:{weight}")?;
            }
            write!(f, ",actions={}", Actions(&bucket.actions))?;
        }
        Ok(())
    }
}

/// What is done to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    /// Add it; it must not exist.
    Add,
    /// Change it; it must exist.
    Modify,
    /// Remove it, with the flows that use it.
    Delete,
    /// Add or change it. Open vSwitch's own.
    AddOrModify,
}

/// A change of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMod {
    /// What is done.
    pub command: GroupCommand,
    /// The group; for a deletion only its number counts.
    pub group: Group,
}

const ALL_BUCKETS: u32 = u32::MAX;
const PROP_WEIGHT: u16 = 0;
const PROP_EXPERIMENTER: u16 = 0xffff;
const NETRONOME: u32 = 0x0000_154d;
const SELECTION_METHOD: u32 = 1;
const METHOD_NAME_LEN: usize = 16;

impl GroupMod {
    /// Removes the group with this number, and the flows that use it.
    pub fn delete(id: u32) -> Self {
        GroupMod {
            command: GroupCommand::Delete,
            group: Group {
                id,
                kind: GroupKind::All,
                buckets: Vec::new(),
                selection: None,
            },
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(match self.command {
            GroupCommand::Add => 0,
            GroupCommand::Modify => 1,
            GroupCommand::Delete => 2,
            GroupCommand::AddOrModify => 0x8000,
        });
        put_kind(out, self.group.kind);
        out.put_u32(self.group.id);
        let len_at = out.len();
        out.put_zeros(4);
        out.put_u32(ALL_BUCKETS);
        if self.command != GroupCommand::Delete {
            put_buckets_and_selection(out, &self.group, len_at);
        }
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let command = match r.u16("group command")? {
            0 => GroupCommand::Add,
            1 => GroupCommand::Modify,
            2 => GroupCommand::Delete,
            0x8000 => GroupCommand::AddOrModify,
            n => {
                return Err(DecodeError::Unknown {
                    what: "group command",
                    value: u64::from(n),
                });
            }
        };
        let kind = take_kind(&mut r)?;
        let id = r.u32("group id")?;
        let buckets_len = usize::from(r.u16("buckets length")?);
        r.skip(6, "group mod")?;
        let buckets = take_buckets(r.sub(buckets_len, "buckets")?)?;
        Ok(GroupMod {
            command,
            group: Group {
                id,
                kind,
                buckets,
                selection: take_selection(r)?,
            },
        })
    }
}

impl Group {
    /// How many bytes of a group a switch can tell in answer to a question for its groups: Open vSwitch 3.1 spoils the whole
    /// connection with a group of more than 64 KB.
    pub const MAX_LEN: usize = 60_000;

    /// How many bytes the group takes in messages.
    pub fn encoded_len(&self) -> usize {
        let mut bytes = Vec::new();
        self.encode_desc(&mut bytes);
        bytes.len()
    }

    /// Appends a group description, as in the reply of a multipart request.
    pub(super) fn encode_desc(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(0);
        put_kind(out, self.kind);
        out.put_u32(self.id);
        let len_at = out.len();
        out.put_zeros(8);
        put_buckets_and_selection(out, self, len_at);
        out.put_len(start, start);
    }

    pub(super) fn decode_desc(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = usize::from(r.u16("group length")?);
        let body = length.checked_sub(2).ok_or(DecodeError::Length {
            what: "group",
            length,
        })?;
        let mut b = r.sub(body, "group")?;
        let kind = take_kind(&mut b)?;
        let id = b.u32("group id")?;
        let buckets_len = usize::from(b.u16("buckets length")?);
        b.skip(6, "group")?;
        let buckets = take_buckets(b.sub(buckets_len, "buckets")?)?;
        Ok(Group {
            id,
            kind,
            buckets,
            selection: take_selection(b)?,
        })
    }
}

fn put_kind(out: &mut Vec<u8>, kind: GroupKind) {
    out.put_u8(
        GroupKind::ALL_KINDS
            .iter()
            .position(|&k| k == kind)
            .expect("all kinds are listed") as u8,
    );
    out.put_u8(0);
}

fn take_kind(r: &mut Reader<'_>) -> Result<GroupKind, DecodeError> {
    let n = r.u8("group type")?;
    r.skip(1, "group type")?;
    GroupKind::ALL_KINDS
        .get(usize::from(n))
        .copied()
        .ok_or(DecodeError::Unknown {
            what: "group type",
            value: u64::from(n),
        })
}

fn put_buckets_and_selection(out: &mut Vec<u8>, group: &Group, len_at: usize) {
    let buckets = out.len();
    for bucket in &group.buckets {
        let start = out.len();
        out.put_zeros(4);
        out.put_u32(bucket.id);
        let actions = out.len();
        encode_actions(&bucket.actions, out);
        out.put_len(actions, start + 2);
        if let Some(weight) = bucket.weight {
            out.put_u16(PROP_WEIGHT);
            out.put_u16(8);
            out.put_u16(weight);
            out.put_zeros(2);
        }
        out.put_len(start, start);
    }
    out.put_len(buckets, len_at);
    let (name, param, fields) = match &group.selection {
        None => return,
        Some(SelectionMethod::DpHash { param }) => ("dp_hash", *param, &[][..]),
        Some(SelectionMethod::Hash { fields, param }) => ("hash", *param, &fields[..]),
    };
    let start = out.len();
    out.put_u16(PROP_EXPERIMENTER);
    out.put_u16(0);
    out.put_u32(NETRONOME);
    out.put_u32(SELECTION_METHOD);
    out.put_zeros(4);
    out.extend_from_slice(name.as_bytes());
    out.put_zeros(METHOD_NAME_LEN - name.len());
    out.put_u64(param);
    for &field in fields {
        oxm::put_masked(out, field, field.full_mask(), field.full_mask());
    }
    out.put_len(start, start + 2);
    out.pad_to_8(start);
}

fn take_buckets(mut r: Reader<'_>) -> Result<Vec<Bucket>, DecodeError> {
    let mut buckets = Vec::new();
    while !r.is_empty() {
        let length = usize::from(r.u16("bucket length")?);
        let body = length.checked_sub(2).ok_or(DecodeError::Length {
            what: "bucket",
            length,
        })?;
        let mut b = r.sub(body, "bucket")?;
        let actions_len = usize::from(b.u16("bucket actions length")?);
        let id = b.u32("bucket id")?;
        let actions = decode_actions(b.sub(actions_len, "bucket actions")?)?;
        let mut weight = None;
        while !b.is_empty() {
            let (kind, mut p) = property(&mut b)?;
            if kind == PROP_WEIGHT {
                weight = Some(p.u16("bucket weight")?);
            }
        }
        buckets.push(Bucket {
            id,
            weight,
            actions,
        });
    }
    Ok(buckets)
}

fn take_selection(mut r: Reader<'_>) -> Result<Option<SelectionMethod>, DecodeError> {
    let mut selection = None;
    while !r.is_empty() {
        let (kind, mut p) = property(&mut r)?;
        if kind != PROP_EXPERIMENTER || p.u32("group property")? != NETRONOME {
            continue;
        }
        p.skip(8, "selection method")?;
        let name = p.take(METHOD_NAME_LEN, "selection method")?;
        let param = p.u64("selection method")?;
        let mut fields = Vec::new();
        while !p.is_empty() {
            fields.push(oxm::take_masked(&mut p)?.0);
        }
        selection = match name.split(|&c| c == 0).next() {
            Some(b"dp_hash") => Some(SelectionMethod::DpHash { param }),
            Some(b"hash") => Some(SelectionMethod::Hash { fields, param }),
            _ => None,
        };
    }
    Ok(selection)
}
