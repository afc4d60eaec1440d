//! The lists of the roles: data, to be read and changed as such.
//!
//! A table that a list does not name has the list's rights for others; for a chassis, and for a role that nobody
//! knows, those are none.

use crate::caller::Role;

/// Whether a table may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Read {
    /// No.
    No,
    /// It may be monitored, and shows no rows: for clients that watch tables which they do not use.
    Empty,
    /// Yes.
    Rows,
}

/// What a role may do in a database.
#[derive(Debug)]
pub struct List {
    /// Whether it may use locks.
    pub locks: bool,
    /// The tables with rights of their own.
    pub tables: &'static [(&'static str, Rights)],
    /// The rights on all other tables.
    pub others: Rights,
}

/// What a role may do with a table.
#[derive(Debug)]
pub struct Rights {
    /// Reading: `select`, `wait`, monitors, and the conditions of all operations.
    pub read: Read,
    /// Inserting rows.
    pub insert: bool,
    /// Deleting rows.
    pub delete: bool,
    /// The columns that may be updated and mutated, and given to a new row.
    pub update: Columns,
    /// The columns that may be given to a new row, and not be changed then.
    pub fixed: Columns,
}

/// Some columns of a table.
#[derive(Debug)]
pub enum Columns {
    /// None.
    None,
    /// All.
    All,
    /// These.
    Only(&'static [&'static str]),
    /// All others than these.
    AllBut(&'static [&'static str]),
}

/// The role's list for the database of this name.
pub fn list(database: &str, role: &Role) -> &'static List {
    match (role, database) {
        (Role::Admin, _) => &EVERYTHING,
        (Role::Reader, _) => &READER,
        (Role::Writer, _) | (Role::Northd, "OVN_Southbound") => &WRITER,
        (Role::Northd, "OVN_Northbound") => &NORTHD,
        (Role::Chassis, "OVN_Southbound") => &CHASSIS,
        (Role::Northd | Role::Chassis | Role::Unknown(_), _) => &NOTHING,
    }
}

const NONE: Rights = Rights {
    read: Read::No,
    insert: false,
    delete: false,
    update: Columns::None,
    fixed: Columns::None,
};
const READ: Rights = Rights {
    read: Read::Rows,
    ..NONE
};
const EMPTY: Rights = Rights {
    read: Read::Empty,
    ..NONE
};
const ALL: Rights = Rights {
    read: Read::Rows,
    insert: true,
    delete: true,
    update: Columns::All,
    fixed: Columns::All,
};

/// A table of which some columns may be updated.
const fn update(columns: &'static [&'static str]) -> Rights {
    Rights {
        update: Columns::Only(columns),
        ..READ
    }
}

/// A table of which rows may come and go: with columns that may be updated, and others that stay what they are.
const fn rows(columns: &'static [&'static str], fixed: &'static [&'static str]) -> Rights {
    Rights {
        insert: true,
        delete: true,
        update: Columns::Only(columns),
        fixed: Columns::Only(fixed),
        ..READ
    }
}

static EVERYTHING: List = List {
    locks: true,
    tables: &[],
    others: ALL,
};

static NOTHING: List = List {
    locks: false,
    tables: &[],
    others: NONE,
};

static READER: List = List {
    locks: false,
    tables: &[],
    others: READ,
};

/// The row of all settings keeps the listeners alive: it may be changed and not be deleted, and who may connect stays
/// out of reach.
const GLOBAL: Rights = Rights {
    insert: true,
    update: Columns::AllBut(&["connections", "ssl"]),
    ..READ
};

static WRITER: List = List {
    locks: true,
    tables: &[
        ("Connection", READ),
        ("SSL", READ),
        ("NB_Global", GLOBAL),
        ("SB_Global", GLOBAL),
    ],
    others: ALL,
};

/// What a northd, OVN's or Weft's, writes into the northbound.
static NORTHD: List = List {
    locks: true,
    tables: &[
        (
            "NB_Global",
            Rights {
                insert: true,
                ..update(&[
                    "nb_cfg_timestamp",
                    "sb_cfg",
                    "sb_cfg_timestamp",
                    "hv_cfg",
                    "hv_cfg_timestamp",
                    "options",
                ])
            },
        ),
        (
            "Logical_Switch_Port",
            update(&["up", "dynamic_addresses", "tag"]),
        ),
        ("Logical_Router_Port", update(&["status", "ipv6_prefix"])),
        ("BFD", update(&["status"])),
        ("Weft_Problem", ALL),
    ],
    others: READ,
};

/// What an `ovn-controller`, OVN's or Weft's, does. OVN's own list leaves the rows of `Port_Binding`, `MAC_Binding`,
/// `FDB`, `Controller_Event` and `Learned_Route` to everybody; here each has its rule, in `chassis`.
static CHASSIS: List = List {
    locks: false,
    tables: &[
        (
            "Chassis",
            rows(
                &[
                    "encaps",
                    "external_ids",
                    "hostname",
                    "nb_cfg",
                    "other_config",
                    "transport_zones",
                    "vtep_logical_switches",
                ],
                &["name"],
            ),
        ),
        (
            "Chassis_Private",
            rows(
                &["chassis", "external_ids", "nb_cfg", "nb_cfg_timestamp"],
                &["name"],
            ),
        ),
        ("Encap", rows(&["ip", "options", "type"], &["chassis_name"])),
        (
            "Port_Binding",
            update(&[
                "additional_chassis",
                "additional_encap",
                "chassis",
                "encap",
                "options",
                "up",
                "virtual_parent",
            ]),
        ),
        (
            "MAC_Binding",
            rows(&["datapath", "ip", "logical_port", "mac", "timestamp"], &[]),
        ),
        (
            "FDB",
            rows(&["dp_key", "mac", "port_key", "timestamp"], &[]),
        ),
        (
            "Controller_Event",
            rows(&["chassis", "event_info", "event_type", "seq_num"], &[]),
        ),
        (
            "IGMP_Group",
            rows(
                &["address", "chassis", "datapath", "ports", "protocol"],
                &["chassis_name"],
            ),
        ),
        (
            "Learned_Route",
            rows(
                &[
                    "datapath",
                    "external_ids",
                    "ip_prefix",
                    "logical_port",
                    "nexthop",
                ],
                &[],
            ),
        ),
        ("Service_Monitor", update(&["status"])),
        ("BFD", update(&["status"])),
        // What the pipeline is made of.
        ("SB_Global", READ),
        ("Address_Set", READ),
        ("Port_Group", READ),
        ("Logical_Flow", READ),
        ("Logical_DP_Group", READ),
        ("Multicast_Group", READ),
        ("Mirror", READ),
        ("Meter", READ),
        ("Meter_Band", READ),
        ("Datapath_Binding", READ),
        ("DHCP_Options", READ),
        ("DHCPv6_Options", READ),
        ("DNS", READ),
        ("Gateway_Chassis", READ),
        ("HA_Chassis", READ),
        ("HA_Chassis_Group", READ),
        ("IP_Multicast", READ),
        ("Load_Balancer", READ),
        ("Static_MAC_Binding", READ),
        ("ECMP_Nexthop", READ),
        ("Chassis_Template_Var", READ),
        ("Advertised_Route", READ),
        ("Advertised_MAC_Binding", READ),
        ("ACL_ID", READ),
        // OVN's ovn-controller watches these and makes no use of them.
        ("SSL", EMPTY),
        ("RBAC_Role", EMPTY),
        ("RBAC_Permission", EMPTY),
    ],
    others: NONE,
};
