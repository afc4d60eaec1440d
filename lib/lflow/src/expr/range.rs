//! Relations as masked values: `f < v` is a set of prefixes.

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
        Relation::Ne => bits(mask).map(|bit| (!value & bit, bit)).collect(),
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
        assert_eq!(masked_values(Le, u128::MAX, u128::MAX, 128), [(0, 0)]);
        assert_eq!(masked_values(Gt, u128::MAX, u128::MAX, 128), []);
    }
}
