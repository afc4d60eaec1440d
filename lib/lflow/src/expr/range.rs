//! Relations as masked values: `f < v` is a set of prefixes, and so is "none of these".
//!
//! All sets here are disjoint, and their masks are prefixes of one another. So when several relations about one field
//! are intersected, the result has no more members than the sets had together.

use super::Relation;

/// The masked values, as `(value, mask)`, whose union is `field relation value` for a field of `width` bits. For `!=`
/// under a mask, `mask` says which bits count; other relations take all.
pub(super) fn masked_values(
    relation: Relation,
    value: u128,
    mask: u128,
    width: u8,
) -> Vec<(u128, u128)> {
    let full = u128::MAX >> (128 - u32::from(width));
    let mask = mask & full;
    match relation {
        Relation::Eq => vec![(value & mask, mask)],
        Relation::Ne => differing(value, mask),
        Relation::Lt => below(value, full),
        Relation::Le if value >= full => vec![(0, 0)],
        Relation::Le => below(value + 1, full),
        Relation::Gt => above(value, full),
        Relation::Ge if value == 0 => vec![(0, 0)],
        Relation::Ge => above(value - 1, full),
    }
}

/// The single bits of a mask, lowest first.
fn bits(mask: u128) -> impl Iterator<Item = u128> {
    (0..128)
        .map(|bit| 1 << bit)
        .filter(move |bit| mask & bit != 0)
}

/// For each bit of `mask`: the same bits of the mask above it, the contrary in its place, anything below.
fn differing(value: u128, mask: u128) -> Vec<(u128, u128)> {
    let prefix = |bit: u128| {
        let mask = mask & !(bit - 1);
        ((value & mask) ^ bit, mask)
    };
    bits(mask).map(prefix).collect()
}

/// The masked values that no member of a set has, for a field of `width` bits; nothing when a mask of the set is no
/// prefix.
///
/// The set is walked as a tree of prefixes: where no member lies below, all values are outside.
pub(super) fn outside(set: &[(u128, u128)], width: u8) -> Option<Vec<(u128, u128)>> {
    let full = u128::MAX >> (128 - u32::from(width));
    let is_prefix = |mask: u128| (!mask & full) & (!mask & full).wrapping_add(1) & full == 0;
    let mut members: Vec<(u128, u128)> = set
        .iter()
        .map(|(value, mask)| (value & mask, mask & full))
        .collect();
    if !members.iter().all(|(_, mask)| is_prefix(*mask)) {
        return None;
    }
    members.sort_unstable();
    members.dedup();
    let mut found = Vec::new();
    // Values under a prefix lie side by side in the sorted set.
    let mut open = vec![(0u128, 0u128, &members[..])];
    while let Some((value, mask, below)) = open.pop() {
        if below.is_empty() {
            found.push((value, mask));
            continue;
        }
        if below.iter().any(|(_, member)| member & mask == *member) {
            continue;
        }
        let bit = (full >> 1).wrapping_add(1) >> mask.count_ones();
        let (low, high) = below.split_at(below.partition_point(|(member, _)| member & bit == 0));
        open.push((value | bit, mask | bit, high));
        open.push((value, mask | bit, low));
    }
    Some(found)
}

/// For each one in `value`: the same bits above it, a zero in its place, anything below.
fn below(value: u128, full: u128) -> Vec<(u128, u128)> {
    let prefix = |bit: u128| {
        let mask = full & !(bit - 1);
        ((value & mask) ^ bit, mask)
    };
    bits(value & full).map(prefix).collect()
}

/// For each zero in `value`: the same bits above it, a one in its place, anything below.
fn above(value: u128, full: u128) -> Vec<(u128, u128)> {
    let prefix = |bit: u128| {
        let mask = full & !(bit - 1);
        ((value & mask) | bit, mask)
    };
    bits(!value & full).map(prefix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_on_every_value_of_five_bits() {
        use Relation::{Eq, Ge, Gt, Le, Lt, Ne};
        for relation in [Eq, Ne, Lt, Le, Gt, Ge] {
            for value in 0..32u128 {
                let set = masked_values(relation, value, u128::MAX, 5);
                for x in 0..32u128 {
                    let expected = match relation {
                        Eq => x == value,
                        Ne => x != value,
                        Lt => x < value,
                        Le => x <= value,
                        Gt => x > value,
                        Ge => x >= value,
                    };
                    let got = set.iter().any(|(v, m)| x & m == *v);
                    assert_eq!(got, expected, "{x} {relation:?} {value}: {set:?}");
                }
            }
        }
        let masked = masked_values(Ne, 0b00100, 0b10100, 5);
        for x in 0..32u128 {
            let got = masked.iter().any(|(v, m)| x & m == *v);
            assert_eq!(got, (x ^ 0b00100) & 0b10100 != 0, "{x}");
        }
        assert_eq!(masked_values(Le, u128::MAX, u128::MAX, 128), [(0, 0)]);
        assert_eq!(masked_values(Gt, u128::MAX, u128::MAX, 128), []);
    }

    #[test]
    fn outside_of_sets() {
        let sets: &[&[(u128, u128)]] = &[
            &[],
            &[(3, 31), (4, 31), (3, 31)],
            &[(0, 16), (20, 28), (17, 31)],
            &[(0, 0)],
            &[(0, 31), (31, 31)],
        ];
        for set in sets {
            let outside = outside(set, 5).unwrap();
            for x in 0..32u128 {
                let within = set.iter().any(|(v, m)| x & m == *v);
                let count = outside.iter().filter(|(v, m)| x & m == *v).count();
                assert_eq!(count, usize::from(!within), "{x} and {set:?}");
            }
        }
        assert_eq!(outside(&[(1, 5)], 5), None);
        assert_eq!(
            outside(&[(7, u128::MAX), (9, u128::MAX)], 128).map(|o| o.len()),
            Some(126 + 2 + 2)
        );
    }
}
