//! Which of the controllers on one host this is.
//!
//! Several may share a switch, each with a chassis and an integration bridge of its own, and the names of their tunnels must differ: the
//! switch has one namespace of ports. So each takes an index, which its tunnels' names begin with, and says so in
//! `Open_vSwitch.other_config:ovn-chassis-idx-CHASSIS`, as OVN's controllers do: the first takes the empty one, all others the least
//! number that is free. A chassis that takes leave gives it back.

use std::collections::BTreeSet;
use std::sync::Arc;

use ovsdb::operation::Operation;
use ovsdb::typed::Table;

use super::operations::{drop_keys, set_key};
use crate::vswitch::OpenVSwitch;

/// The key, before the chassis' name.
const KEY: &str = "ovn-chassis-idx-";

/// The index of a chassis: the one that it has, or the one that it takes.
pub(super) fn of(switch: &OpenVSwitch, chassis: &str) -> Arc<str> {
    let key = format!("{KEY}{chassis}");
    if let Some(index) = switch.other_config.get(&*key) {
        return index.clone();
    }
    let config = switch.other_config.iter();
    let others = config.filter(|(key, _)| key.starts_with(KEY));
    let taken: BTreeSet<&str> = others.map(|(_, index)| &**index).collect();
    let numbers = (0u32..).map(|number| number.to_string());
    let mut indexes = std::iter::once(String::new()).chain(numbers);
    let free = indexes.find(|index| !taken.contains(index.as_str()));
    free.expect("there are more numbers than keys").into()
}

/// Makes the switch say which index the chassis has, if it does not.
pub(super) fn take(switch: &OpenVSwitch, chassis: &str, operations: &mut Vec<Operation>) {
    let key = format!("{KEY}{chassis}");
    if !switch.other_config.contains_key(&*key) {
        let column = OpenVSwitch::COLUMN.other_config.index;
        let set = set_key(column, &key, &of(switch, chassis));
        operations.push(Operation::mutate_row(OpenVSwitch::INDEX, switch.uuid, set));
    }
}

/// Makes the switch forget the chassis' index, if it has one.
pub(super) fn give_back(switch: &OpenVSwitch, chassis: &str) -> Option<Operation> {
    let key = format!("{KEY}{chassis}");
    switch.other_config.contains_key(&*key).then(|| {
        let gone = drop_keys(OpenVSwitch::COLUMN.other_config.index, [&*key]);
        Operation::mutate_row(OpenVSwitch::INDEX, switch.uuid, vec![gone])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_index_that_is_free_is_taken() {
        for (taken, index) in [
            (&[][..], ""),
            (&[("hv2", "")], "0"),
            (&[("hv2", ""), ("hv3", "0"), ("hv4", "1")], "2"),
            (&[("hv2", ""), ("hv4", "1")], "0"),
            (&[("hv2", "0")], ""),
            (&[("hv1", "7"), ("hv2", "")], "7"),
        ] {
            let config = taken
                .iter()
                .map(|(chassis, index)| (format!("{KEY}{chassis}").into(), (*index).into()));
            let switch = OpenVSwitch {
                other_config: config.collect(),
                ..OpenVSwitch::default()
            };
            assert_eq!(&*of(&switch, "hv1"), index, "{taken:?}");
        }
    }
}
