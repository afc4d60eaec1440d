//! What controllers may do in the southbound database: the rows of `RBAC_Role` and `RBAC_Permission`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use sb_db::tables::{RbacPermission, RbacRole};
use uuid::Uuid;

use super::rows::{NaturalKey, OutTable, RowId};
use super::{Output, identity};
use crate::compiler::digest;

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
            "tag",
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

/// Desires the permissions for tables that the server has, and the role that has them.
pub fn install(output: &mut Output, has_table: impl Fn(&str) -> bool) {
    let column = RbacPermission::COLUMN;
    let mut granted: BTreeMap<Arc<str>, Uuid> = BTreeMap::new();
    for permission in PERMISSIONS
        .iter()
        .filter(|permission| has_table(permission.table))
    {
        let columns = [
            (column.table.index, Datum::from(permission.table)),
            (
                column.authorization.index,
                strings(permission.authorization),
            ),
            column.insert_delete.to(&permission.insert_delete),
            (column.update.index, strings(permission.update)),
        ];
        let uuid = put(
            output,
            OutTable::RbacPermission,
            RbacPermission::NAME,
            permission.table,
            columns,
        );
        granted.insert(Arc::from(permission.table), uuid);
    }
    let column = RbacRole::COLUMN;
    let columns = [
        (column.name.index, Datum::from(ROLE)),
        (column.permissions.index, granted.to_datum()),
    ];
    put(output, OutTable::RbacRole, RbacRole::NAME, ROLE, columns);
}

/// Desires a row that has a name; the UUID is that of the row which already has it, if there is one.
pub(super) fn put(
    output: &mut Output,
    table: OutTable,
    table_name: &str,
    name: &str,
    columns: impl IntoIterator<Item = (usize, Datum)>,
) -> Uuid {
    let known = output.known(NaturalKey {
        table,
        scope: Uuid::nil(),
        name: digest(name),
    });
    let uuid = known.unwrap_or_else(|| identity::named(table_name, Uuid::nil(), name));
    let row: Arc<Row> = output.templates().row(table, columns);
    output.set(RowId { table, uuid }, row);
    uuid
}

fn strings(texts: &[&str]) -> Datum {
    Datum::set(texts.iter().map(|text| Atom::from(*text)))
}
