//! UUIDs of southbound rows, derived from what the rows are about.
//!
//! The same cause gives the same UUID in every run and every process: a restart finds its rows again, a row can be referred
//! to before it is written, and a logical flow whose UUID and content disagree has been changed by somebody else. The UUIDs
//! are of version 5 (RFC 9562, section 5.5), which also gives controllers well-spread flow cookies.

use uuid::{Uuid, uuid};

/// The name space of all rows that Weft derives.
const SPACE: Uuid = uuid!("b8a4c1f6-2d5c-4f2e-9f0a-7e1d0c5a93b2");

/// The datapath of a switch.
pub fn datapath(switch: Uuid) -> Uuid {
    derive(&[b"datapath", switch.as_bytes()])
}

/// The binding of a port in a datapath. A port that moves to another switch is another binding.
pub fn binding(datapath: Uuid, port: Uuid) -> Uuid {
    derive(&[b"binding", datapath.as_bytes(), port.as_bytes()])
}

/// A row of `table` that is known by a name.
pub fn named(table: &str, scope: Uuid, name: &str) -> Uuid {
    derive(&[
        b"named",
        table.as_bytes(),
        scope.as_bytes(),
        name.as_bytes(),
    ])
}

/// The hash of parts: each part's length counts, so that no two lists of parts run together.
pub fn derive(parts: &[&[u8]]) -> Uuid {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length =
            u32::try_from(part.len()).expect("parts come from rows, which are far below 4 GiB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    Uuid::new_v5(&SPACE, &bytes)
}
