//! What controllers may do in the southbound database: the rows of `RBAC_Role` and `RBAC_Permission`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Datum};
use sb_db::tables::{RbacPermission, RbacRole};
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::unit::Unit;

const BY_TABLE: Index = Index::south::<RbacPermission>(RbacPermission::COLUMN.table.index);
const BY_NAME: Index = Index::south::<RbacRole>(RbacRole::COLUMN.name.index);

static PERMISSION_ROWS: Owned = Owned::south::<RbacPermission>(&[
    RbacPermission::COLUMN.table.index,
    RbacPermission::COLUMN.authorization.index,
    RbacPermission::COLUMN.insert_delete.index,
    RbacPermission::COLUMN.update.index,
]);
static ROLE_ROWS: Owned = Owned::south::<RbacRole>(&[
    RbacRole::COLUMN.name.index,
    RbacRole::COLUMN.permissions.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    indexes: &[BY_TABLE, BY_NAME],
    owns: &[&PERMISSION_ROWS, &ROLE_ROWS],
    kinds: &[&GRANT],
    ..Feature::new("rbac")
};

static GRANT: Kind = Kind {
    name: "rbac",
    over: Over::Once,
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| grant(unit),
};

/// The role that a chassis connects with.
const ROLE: &str = "ovn-controller";

/// One table's permission: who may, whether rows may come and go, and which columns may be written.
struct Permission {
    table: &'static str,
    /// Columns of which one must hold the client's name; `""` lets everybody in.
    authorization: &'static [&'static str],
    insert_delete: bool,
    update: &'static [&'static str],
}

const PERMISSIONS: &[Permission] = &[
    Permission {
        table: "Chassis",
        authorization: &["name"],
        insert_delete: true,
        update: &[
            "nb_cfg",
            "external_ids",
            "encaps",
            "vtep_logical_switches",
            "other_config",
            "transport_zones",
            "hostname",
        ],
    },
    Permission {
        table: "Chassis_Private",
        authorization: &["name"],
        insert_delete: true,
        update: &["nb_cfg", "nb_cfg_timestamp", "chassis", "external_ids"],
    },
    Permission {
        table: "Controller_Event",
        authorization: &[""],
        insert_delete: true,
        update: &["chassis", "event_info", "event_type", "seq_num"],
    },
    Permission {
        table: "Encap",
        authorization: &["chassis_name"],
        insert_delete: true,
        update: &["type", "options", "ip"],
    },
    Permission {
        table: "FDB",
        authorization: &[""],
        insert_delete: true,
        update: &["dp_key", "mac", "port_key", "timestamp"],
    },
    Permission {
        table: "Port_Binding",
        authorization: &[""],
        insert_delete: false,
        update: &[
            "chassis",
            "additional_chassis",
            "encap",
            "additional_encap",
            "up",
            "virtual_parent",
            "options",
        ],
    },
    Permission {
        table: "MAC_Binding",
        authorization: &[""],
        insert_delete: true,
        update: &["logical_port", "ip", "mac", "datapath", "timestamp"],
    },
    Permission {
        table: "Service_Monitor",
        authorization: &["chassis_name"],
        insert_delete: false,
        update: &["status"],
    },
    Permission {
        table: "IGMP_Group",
        authorization: &["chassis_name"],
        insert_delete: true,
        update: &["address", "chassis", "datapath", "ports", "protocol"],
    },
    Permission {
        table: "BFD",
        authorization: &["chassis_name"],
        insert_delete: false,
        update: &["status"],
    },
    Permission {
        table: "Learned_Route",
        authorization: &[""],
        insert_delete: true,
        update: &[
            "datapath",
            "logical_port",
            "ip_prefix",
            "nexthop",
            "external_ids",
        ],
    },
];

/// The permissions for tables that the server has, and the role that has them.
fn grant(unit: &mut Unit<'_>) {
    let column = RbacPermission::COLUMN;
    let mut granted: BTreeMap<Arc<str>, Uuid> = BTreeMap::new();
    for permission in PERMISSIONS {
        if unit.lacks(permission.table) {
            continue;
        }
        let table = permission.table;
        let known = unit.recorded(BY_TABLE, &Atom::from(table)).next();
        let uuid = known.map_or_else(
            || identity::named(RbacPermission::NAME, Uuid::nil(), table),
            |(uuid, _)| uuid,
        );
        let columns = [
            (column.table.index, Datum::from(table)),
            (
                column.authorization.index,
                strings(permission.authorization),
            ),
            column.insert_delete.to(&permission.insert_delete),
            (column.update.index, strings(permission.update)),
        ];
        unit.row::<RbacPermission>(uuid, columns);
        granted.insert(Arc::from(table), uuid);
    }
    let column = RbacRole::COLUMN;
    let columns = [
        (column.name.index, Datum::from(ROLE)),
        (column.permissions.index, granted.to_datum()),
    ];
    let known = unit.recorded(BY_NAME, &Atom::from(ROLE)).next();
    let uuid = known.map_or_else(
        || identity::named(RbacRole::NAME, Uuid::nil(), ROLE),
        |(uuid, _)| uuid,
    );
    unit.row::<RbacRole>(uuid, columns);
}

fn strings(texts: &[&str]) -> Datum {
    Datum::set(texts.iter().map(|text| Atom::from(*text)))
}
