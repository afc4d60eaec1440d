//! The integration bridge itself.

use std::sync::Arc;

use ovsdb::mutation::{Mutation, Mutator};
use ovsdb::operation::Operation;
use ovsdb::typed::{ColumnValue, Table};
use ovsdb::{Atom, Datum, Row, RowChange, Uuid};

use super::operations::{drop_keys, insert, set_key, truth};
use crate::network::Zones;
use crate::settings::Settings;
use crate::vswitch::{Bridge, Interface, OpenVSwitch, Port};

const IN_BAND_KEY: &str = "disable-in-band";
const VLAN_LIMIT_KEY: &str = "vlan-limit";
/// In `Open_vSwitch.other_config`: after a start, the switch lets no packet pass until somebody has installed flows and taken this away.
const RESTORE_WAIT_KEY: &str = "flow-restore-wait";
/// In `Open_vSwitch.external_ids`: it is a controller that has written [`RESTORE_WAIT_KEY`], not the scripts that start the switch.
const MANAGED_WAIT_KEY: &str = "ovn-managed-flow-restore-wait";

/// Has the switch look through all VLAN tags of a frame, unless somebody has said how many: left to itself, it takes what stands
/// behind the first for payload. OVN's controllers set this, too.
pub(super) fn look_through_tags(switch: &OpenVSwitch, operations: &mut Vec<Operation>) {
    if !switch.other_config.contains_key(VLAN_LIMIT_KEY) {
        let column = OpenVSwitch::COLUMN.other_config.index;
        let set = set_key(column, VLAN_LIMIT_KEY, "0");
        operations.push(Operation::mutate_row(OpenVSwitch::INDEX, switch.uuid, set));
    }
}

/// Has the switch wait for flows no longer, now that it has them, if an OVN controller had told it to: since 24.03 they leave that behind
/// on gateways, for the next start of the host, and take it away themselves. What `ovs-ctl` writes while it restarts the switch is its own.
pub(super) fn let_packets_pass(switch: &OpenVSwitch) -> Option<Operation> {
    let waits = switch.other_config.contains_key(RESTORE_WAIT_KEY);
    (waits && truth(&switch.external_ids, MANAGED_WAIT_KEY)).then(|| {
        tracing::info!(
            "the switch has its flows: Open_vSwitch other_config:{RESTORE_WAIT_KEY} of an OVN controller is removed"
        );
        let column = OpenVSwitch::COLUMN;
        let gone = [
            drop_keys(column.other_config.index, [RESTORE_WAIT_KEY]),
            drop_keys(column.external_ids.index, [MANAGED_WAIT_KEY]),
        ];
        Operation::mutate_row(OpenVSwitch::INDEX, switch.uuid, gone.into())
    })
}

/// Whether a change of a bridge is about more than its ports and what controllers remember.
pub(super) fn is_changed(change: &RowChange) -> bool {
    let column = Bridge::COLUMN;
    let ours = [
        column.name.index,
        column.datapath_type.index,
        column.fail_mode.index,
        column.other_config.index,
    ];
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => ours.into_iter().any(|c| old.get(c) != new.get(c)),
        _ => true,
    }
}

/// The names of which a bridge remembers another zone than before, or none.
pub(super) fn changed_zones(change: &RowChange) -> Vec<Arc<str>> {
    let column = Bridge::COLUMN.external_ids.index;
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return Vec::new();
    };
    let (old, new) = (old.get(column), new.get(column));
    if old == new {
        return Vec::new();
    }
    let keys = old.pairs().iter().chain(new.pairs());
    let keys = keys.filter_map(|(key, _)| key.as_str());
    let changed = keys.filter(|key| old.get_str(key) != new.get_str(key));
    changed.filter_map(Zones::name_of).map(Arc::from).collect()
}

/// Makes the bridge, as part of the switch with this row.
pub(super) fn create(settings: &Settings, switch: Uuid, operations: &mut Vec<Operation>) {
    let interface = Interface {
        name: settings.bridge.clone(),
        r#type: "internal".into(),
        ..Interface::default()
    };
    let interface = insert(operations, &interface);
    let port = Port {
        name: settings.bridge.clone(),
        interfaces: vec![interface],
        ..Port::default()
    };
    let port = insert(operations, &port);
    let bridge = Bridge {
        name: settings.bridge.clone(),
        ports: vec![port],
        datapath_type: settings.datapath_type.clone().unwrap_or_default(),
        fail_mode: Some("secure".into()),
        other_config: [(IN_BAND_KEY.into(), "true".into())].into(),
        ..Bridge::default()
    };
    let bridge = insert(operations, &bridge);
    let add = Mutation::new(
        OpenVSwitch::COLUMN.bridges.index,
        Mutator::Insert,
        Datum::One(Atom::Uuid(bridge)),
    );
    operations.push(Operation::mutate_row(OpenVSwitch::INDEX, switch, vec![add]));
}

/// Makes a bridge that is there what it should be.
pub(super) fn correct(settings: &Settings, uuid: Uuid, row: &Row, operations: &mut Vec<Operation>) {
    let column = Bridge::COLUMN;
    let mut changed = Vec::new();
    let secure = Some("secure".into());
    if column.fail_mode.get(row) != secure {
        changed.push(column.fail_mode.to(&secure));
    }
    if let Some(wanted) = &settings.datapath_type
        && *row.get(column.datapath_type.index) != wanted.to_datum()
    {
        changed.push(column.datapath_type.to(wanted));
    }
    if !changed.is_empty() {
        operations.push(Operation::update_row(Bridge::INDEX, uuid, changed));
    }
    let config = column.other_config.index;
    if row.get(config).get_str(IN_BAND_KEY) != Some("true") {
        let set = set_key(config, IN_BAND_KEY, "true");
        operations.push(Operation::mutate_row(Bridge::INDEX, uuid, set));
    }
}
