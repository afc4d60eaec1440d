//! How what is on disk is encoded: see the table in [`super::redb`].

use bytes::Bytes;
use uuid::Uuid;

use super::{EntryKind, HardState, LogEntry, LogPosition, Membership, RowKey};

/// How long the key of a row is.
pub(super) const ROW_KEY_BYTES: usize = 20;

pub(super) fn encode_row_key(key: RowKey) -> [u8; ROW_KEY_BYTES] {
    let mut bytes = [0; ROW_KEY_BYTES];
    bytes[..4].copy_from_slice(&key.table.to_be_bytes());
    bytes[4..].copy_from_slice(key.uuid.as_bytes());
    bytes
}

pub(super) fn decode_row_key(bytes: &[u8; ROW_KEY_BYTES]) -> RowKey {
    let [a, b, c, d, uuid @ ..] = *bytes;
    RowKey {
        table: u32::from_be_bytes([a, b, c, d]),
        uuid: Uuid::from_bytes(uuid),
    }
}

pub(super) fn encode_entry(entry: &LogEntry, bytes: &mut Vec<u8>) {
    let context_length = u32::try_from(entry.context.len()).expect("contexts are a few bytes");
    bytes.clear();
    bytes.extend_from_slice(&entry.position.term.to_le_bytes());
    bytes.push(match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
        EntryKind::ConfChangeV2 => 2,
    });
    bytes.extend_from_slice(&context_length.to_le_bytes());
    bytes.extend_from_slice(&entry.context);
    bytes.extend_from_slice(&entry.data);
}

pub(super) fn decode_entry(index: u64, bytes: &[u8]) -> Option<LogEntry> {
    let mut reader = Reader(bytes);
    let term = reader.u64()?;
    let kind = match reader.u8()? {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        _ => return None,
    };
    let context_length = reader.u32()? as usize;
    let context = reader.take(context_length)?;
    Some(LogEntry {
        position: LogPosition { index, term },
        kind,
        context: Bytes::copy_from_slice(context),
        data: Bytes::copy_from_slice(reader.0),
    })
}

pub(super) fn encode_position(position: LogPosition) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&position.index.to_le_bytes());
    bytes[8..].copy_from_slice(&position.term.to_le_bytes());
    bytes
}

pub(super) fn encode_hard_state(state: HardState) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&state.term.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.vote.to_le_bytes());
    bytes[16..].copy_from_slice(&state.commit.to_le_bytes());
    bytes
}

pub(super) fn decode_hard_state(bytes: &[u8]) -> Option<HardState> {
    let mut reader = Reader(bytes);
    Some(HardState {
        term: reader.u64()?,
        vote: reader.u64()?,
        commit: reader.u64()?,
    })
}

pub(super) fn encode_membership(membership: &Membership) -> Vec<u8> {
    let mut bytes = vec![u8::from(membership.auto_leave)];
    for list in [
        &membership.voters,
        &membership.learners,
        &membership.voters_outgoing,
        &membership.learners_next,
    ] {
        let count = u32::try_from(list.len()).expect("a cluster has a handful of members");
        bytes.extend_from_slice(&count.to_le_bytes());
        for member in list {
            bytes.extend_from_slice(&member.to_le_bytes());
        }
    }
    let length = |bytes: usize| {
        u32::try_from(bytes)
            .expect("an address is short")
            .to_le_bytes()
    };
    bytes.extend_from_slice(&membership.since.to_le_bytes());
    bytes.extend_from_slice(&length(membership.addresses.len()));
    for (member, address) in &membership.addresses {
        bytes.extend_from_slice(&member.to_le_bytes());
        bytes.extend_from_slice(&length(address.len()));
        bytes.extend_from_slice(address.as_bytes());
    }
    bytes.extend_from_slice(&length(membership.servers.len()));
    for (member, server) in &membership.servers {
        bytes.extend_from_slice(&member.to_le_bytes());
        bytes.extend_from_slice(server.as_bytes());
    }
    bytes
}

pub(super) fn decode_membership(bytes: &[u8]) -> Option<Membership> {
    let mut reader = Reader(bytes);
    let auto_leave = reader.u8()? != 0;
    let mut list = || -> Option<Vec<u64>> {
        let count = reader.u32()?;
        (0..count).map(|_| reader.u64()).collect()
    };
    let mut membership = Membership {
        voters: list()?,
        learners: list()?,
        voters_outgoing: list()?,
        learners_next: list()?,
        auto_leave,
        since: 0,
        addresses: Vec::new(),
        servers: Vec::new(),
    };
    if !reader.0.is_empty() {
        membership.since = reader.u64()?;
        for _ in 0..reader.u32()? {
            let member = reader.u64()?;
            let length = reader.u32()? as usize;
            let address = std::str::from_utf8(reader.take(length)?).ok()?;
            membership.addresses.push((member, address.to_owned()));
        }
    }
    if !reader.0.is_empty() {
        for _ in 0..reader.u32()? {
            let member = reader.u64()?;
            let server = Uuid::from_bytes(reader.array()?);
            membership.servers.push((member, server));
        }
    }
    Some(membership)
}

/// Takes values off the front of a slice; `None` when it is too short.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn position(&mut self) -> Option<LogPosition> {
        Some(LogPosition {
            index: self.u64()?,
            term: self.u64()?,
        })
    }
}
