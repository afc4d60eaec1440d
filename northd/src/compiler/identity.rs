//! UUIDs of southbound rows, derived from what the rows are about.
//!
//! The same cause gives the same UUID in every run and every process: a restart finds its rows again, a row can be referred
//! to before it is written, and a logical flow whose UUID and content disagree has been changed by somebody else. The UUIDs
//! are of version 5 (RFC 9562, section 5.5), which also gives controllers well-spread flow cookies.

use sha1::{Digest, Sha1};
use smallvec::SmallVec;
use uuid::{Builder, Uuid, uuid};

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
    let mut bytes = SmallVec::<[u8; 512]>::new();
    bytes.extend_from_slice(SPACE.as_bytes());
    for part in parts {
        let length =
            u32::try_from(part.len()).expect("parts come from rows, which are far below 4 GiB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    // As `Uuid::new_v5` does, with a hash that uses the processor's instructions for it: every flow has one.
    let hash: [u8; 20] = Sha1::digest(&bytes).into();
    let [first @ .., _, _, _, _] = hash;
    Builder::from_sha1_bytes(first).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_those_of_version_5_of_the_parts_with_their_lengths() {
        let by_hand = |parts: &[&[u8]]| {
            let mut bytes = Vec::new();
            for part in parts {
                bytes.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
                bytes.extend_from_slice(part);
            }
            Uuid::new_v5(&SPACE, &bytes)
        };
        let long = [b'x'; 1000];
        let lists: [&[&[u8]]; 4] = [&[], &[b"flow", b"", b"ls_in"], &[&long[..600]], &[&long]];
        for parts in lists {
            assert_eq!(derive(parts), by_hand(parts));
        }
        let known = uuid!("f05faf99-98c4-5450-8e05-183daa10dc32");
        assert_eq!(derive(&[b"flow", b"", b"ls_in"]), known, "also tomorrow");
    }
}
