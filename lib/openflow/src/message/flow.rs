//! Flows: changing them, being told of them (OpenFlow 1.5.1 sections 7.3.4.2, 7.3.5.2, 7.4.2).

use crate::action::{Action, decode_actions, encode_actions};
use crate::wire::{Put, Reader};
use crate::{DecodeError, Match, Port};

/// What is done to flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowCommand {
    /// Add, in place of one with the same table, priority and match.
    Add,
    /// Change the actions of all that the match covers.
    Modify,
    /// Change the actions of the one with the same table, priority and match.
    ModifyStrict,
    /// Remove all that the match covers.
    Delete,
    /// Remove the one with the same table, priority and match.
    DeleteStrict,
}

impl FlowCommand {
    const ALL: [FlowCommand; 5] = [
        FlowCommand::Add,
        FlowCommand::Modify,
        FlowCommand::ModifyStrict,
        FlowCommand::Delete,
        FlowCommand::DeleteStrict,
    ];
}

/// Flags of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowFlags(pub u16);

impl FlowFlags {
    /// Tell when it is removed.
    pub const SEND_FLOW_REM: FlowFlags = FlowFlags(1);
    /// Refuse to add it beside an overlapping one.
    pub const CHECK_OVERLAP: FlowFlags = FlowFlags(2);
    /// Restart the counters.
    pub const RESET_COUNTS: FlowFlags = FlowFlags(4);
}

/// A change of flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    /// What is done.
    pub command: FlowCommand,
    /// The table; 255 with a deletion means all.
    pub table: u8,
    /// The priority.
    pub priority: u16,
    /// What the flow matches.
    pub matches: Match,
    /// What it does.
    pub actions: Vec<Action>,
    /// Its cookie.
    pub cookie: u64,
    /// For changes and deletions: which bits of a flow's cookie must equal those of `cookie`.
    pub cookie_mask: u64,
    /// Seconds without packets until it goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 for never.
    pub hard_timeout: u16,
    /// Its flags.
    pub flags: FlowFlags,
}

impl FlowMod {
    /// Adds a flow.
    pub fn add(
        table: u8,
        priority: u16,
        matches: Match,
        actions: Vec<Action>,
        cookie: u64,
    ) -> FlowMod {
        FlowMod {
            command: FlowCommand::Add,
            table,
            priority,
            matches,
            actions,
            cookie,
            cookie_mask: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::default(),
        }
    }

    /// Removes one flow.
    pub fn delete_strict(table: u8, priority: u16, matches: Match) -> FlowMod {
        FlowMod {
            command: FlowCommand::DeleteStrict,
            ..FlowMod::add(table, priority, matches, Vec::new(), 0)
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let command = FlowCommand::ALL
            .iter()
            .position(|&c| c == self.command)
            .expect("all commands are listed");
        out.put_u64(self.cookie);
        out.put_u64(self.cookie_mask);
        out.put_u8(self.table);
        out.put_u8(command as u8);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.priority);
        out.put_u32(NO_BUFFER);
        out.put_u32(Port::ANY.0);
        out.put_u32(ANY_GROUP);
        out.put_u16(self.flags.0);
        out.put_u16(0);
        self.matches.encode(out);
        encode_instructions(&self.actions, out);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let cookie = r.u64("cookie")?;
        let cookie_mask = r.u64("cookie mask")?;
        let table = r.u8("table id")?;
        let n = r.u8("flow command")?;
        let command = *FlowCommand::ALL
            .get(usize::from(n))
            .ok_or(DecodeError::Unknown {
                what: "flow command",
                value: u64::from(n),
            })?;
        let idle_timeout = r.u16("idle timeout")?;
        let hard_timeout = r.u16("hard timeout")?;
        let priority = r.u16("priority")?;
        r.skip(12, "flow mod")?;
        let flags = FlowFlags(r.u16("flow flags")?);
        r.skip(2, "importance")?;
        let matches = Match::decode(&mut r)?;
        let actions = decode_instructions(r)?;
        Ok(FlowMod {
            command,
            table,
            priority,
            matches,
            actions,
            cookie,
            cookie_mask,
            idle_timeout,
            hard_timeout,
            flags,
        })
    }
}

const NO_BUFFER: u32 = u32::MAX;
const ANY_GROUP: u32 = u32::MAX;
const APPLY_ACTIONS: u16 = 4;

/// A flow's instructions: "apply actions", or none when there are no actions.
fn encode_instructions(actions: &[Action], out: &mut Vec<u8>) {
    if actions.is_empty() {
        return;
    }
    let start = out.len();
    out.put_u16(APPLY_ACTIONS);
    out.put_zeros(6);
    encode_actions(actions, out);
    out.put_len(start, start + 2);
}

fn decode_instructions(mut r: Reader<'_>) -> Result<Vec<Action>, DecodeError> {
    let mut actions = Vec::new();
    while !r.is_empty() {
        let kind = r.u16("instruction")?;
        let length = usize::from(r.u16("instruction length")?);
        let body = length.checked_sub(4).ok_or(DecodeError::Length {
            what: "instruction",
            length,
        })?;
        let mut b = r.sub(body, "instruction")?;
        if kind != APPLY_ACTIONS {
            return Err(DecodeError::Unknown {
                what: "instruction",
                value: u64::from(kind),
            });
        }
        b.skip(4, "instruction")?;
        actions = decode_actions(b)?;
    }
    Ok(actions)
}

/// Asks for the flows that a match covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRequest {
    /// The table; `None` for all.
    pub table: Option<u8>,
    /// The match.
    pub matches: Match,
}

const ALL_TABLES: u8 = 255;

impl FlowRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.table.unwrap_or(ALL_TABLES));
        out.put_zeros(3);
        out.put_u32(Port::ANY.0);
        out.put_u32(ANY_GROUP);
        out.put_zeros(4);
        out.put_u64(0);
        out.put_u64(0);
        self.matches.encode(out);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let table = Some(r.u8("table id")?).filter(|&t| t != ALL_TABLES);
        r.skip(31, "flow request")?;
        Ok(FlowRequest {
            table,
            matches: Match::decode(&mut r)?,
        })
    }
}

/// A flow that the switch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowDesc {
    /// The table.
    pub table: u8,
    /// The priority.
    pub priority: u16,
    /// The cookie.
    pub cookie: u64,
    /// Seconds without packets until it goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 for never.
    pub hard_timeout: u16,
    /// Its flags.
    pub flags: FlowFlags,
    /// What it matches.
    pub matches: Match,
    /// What it does.
    pub actions: Vec<Action>,
}

impl FlowDesc {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_zeros(4);
        out.put_u8(self.table);
        out.put_u8(0);
        out.put_u16(self.priority);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.flags.0);
        out.put_u16(0);
        out.put_u64(self.cookie);
        self.matches.encode(out);
        // Statistics: a list of none.
        out.put_u16(0);
        out.put_u16(4);
        out.put_zeros(4);
        encode_instructions(&self.actions, out);
        out.put_len(start, start);
    }

    /// Reads one flow. The inner error is that of a flow with a match or actions that Weft does not know; the reader stands
    /// behind it all the same.
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Result<Self, DecodeError>, DecodeError> {
        let length = usize::from(r.u16("flow length")?);
        let body = length.checked_sub(2).ok_or(DecodeError::Length {
            what: "flow",
            length,
        })?;
        Ok(FlowDesc::decode_body(r.sub(body, "flow")?))
    }

    fn decode_body(mut b: Reader<'_>) -> Result<Self, DecodeError> {
        b.skip(2, "flow")?;
        let table = b.u8("table id")?;
        b.skip(1, "flow")?;
        let priority = b.u16("priority")?;
        let idle_timeout = b.u16("idle timeout")?;
        let hard_timeout = b.u16("hard timeout")?;
        let flags = FlowFlags(b.u16("flow flags")?);
        b.skip(2, "importance")?;
        let cookie = b.u64("cookie")?;
        let matches = Match::decode(&mut b)?;
        skip_stats(&mut b)?;
        let actions = decode_instructions(b)?;
        Ok(FlowDesc {
            table,
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            flags,
            matches,
            actions,
        })
    }
}

fn skip_stats(b: &mut Reader<'_>) -> Result<(), DecodeError> {
    b.skip(2, "statistics")?;
    let length = usize::from(b.u16("statistics length")?);
    let body = length
        .next_multiple_of(8)
        .checked_sub(4)
        .ok_or(DecodeError::Length {
            what: "statistics",
            length,
        })?;
    b.skip(body, "statistics")
}

/// Why a flow went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRemovedReason {
    /// Its idle timeout.
    IdleTimeout,
    /// Its hard timeout.
    HardTimeout,
    /// It was deleted.
    Delete,
    /// Another reason, as its number.
    Other(u8),
}

/// A flow went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRemoved {
    /// The table it was in.
    pub table: u8,
    /// Why.
    pub reason: FlowRemovedReason,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// What it matched.
    pub matches: Match,
}

impl FlowRemoved {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.table);
        out.put_u8(match self.reason {
            FlowRemovedReason::IdleTimeout => 0,
            FlowRemovedReason::HardTimeout => 1,
            FlowRemovedReason::Delete => 2,
            FlowRemovedReason::Other(n) => n,
        });
        out.put_u16(self.priority);
        out.put_zeros(4);
        out.put_u64(self.cookie);
        self.matches.encode(out);
        out.put_u16(0);
        out.put_u16(4);
        out.put_zeros(4);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let table = r.u8("table id")?;
        let reason = match r.u8("flow removed reason")? {
            0 => FlowRemovedReason::IdleTimeout,
            1 => FlowRemovedReason::HardTimeout,
            2 => FlowRemovedReason::Delete,
            n => FlowRemovedReason::Other(n),
        };
        let priority = r.u16("priority")?;
        r.skip(4, "timeouts")?;
        Ok(FlowRemoved {
            table,
            reason,
            priority,
            cookie: r.u64("cookie")?,
            matches: Match::decode(&mut r)?,
        })
    }
}
