//! What each role may do, written down by hand and apart from the lists in the code: after OVN's own permissions for
//! `ovn-controller`, and after the page of the book for the others.

/// What a role may do with a table.
#[derive(Debug)]
pub struct Expected {
    /// `select`, `wait`.
    pub read: bool,
    /// Watch it, and perhaps see nothing.
    pub monitor: bool,
    pub insert: bool,
    pub delete: bool,
    pub update: Columns,
    /// Columns that may be given to a new row beside those of `update`.
    pub give: &'static [&'static str],
}

/// Some columns.
#[derive(Debug)]
pub enum Columns {
    All,
    AllBut(&'static [&'static str]),
    Only(Vec<&'static str>),
}

impl Columns {
    pub fn has(&self, column: &str) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(names) => !names.contains(&column),
            Self::Only(names) => names.contains(&column),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }
}

/// The roles, and one that there is not.
pub const ROLES: [&str; 6] = [
    "admin",
    "writer",
    "reader",
    "northd",
    "ovn-controller",
    "typo",
];

/// Whether the role may use locks, and whether it may ask for the state of the cluster.
pub fn beyond_tables(role: &str) -> (bool, bool) {
    match role {
        "admin" | "writer" | "northd" => (true, true),
        "reader" => (false, true),
        _ => (false, false),
    }
}

const EVERYTHING: Expected = Expected {
    read: true,
    monitor: true,
    insert: true,
    delete: true,
    update: Columns::All,
    give: &[],
};
const NOTHING: Expected = Expected {
    read: false,
    monitor: false,
    insert: false,
    delete: false,
    update: Columns::Only(Vec::new()),
    give: &[],
};
const READ: Expected = Expected {
    read: true,
    monitor: true,
    insert: false,
    delete: false,
    update: Columns::Only(Vec::new()),
    give: &[],
};

/// What a role may do with a table of a database.
pub fn expected(database: &str, role: &str, table: &str) -> Expected {
    match (role, database, table) {
        ("admin", ..) => EVERYTHING,
        ("reader", ..) => READ,
        ("writer", ..) | ("northd", "OVN_Southbound", _) => match table {
            "Connection" | "SSL" => READ,
            "NB_Global" | "SB_Global" => Expected {
                delete: false,
                update: Columns::AllBut(&["connections", "ssl"]),
                ..EVERYTHING
            },
            _ => EVERYTHING,
        },
        ("northd", "OVN_Northbound", _) => northd(table),
        ("ovn-controller", "OVN_Southbound", _) => chassis(table),
        _ => NOTHING,
    }
}

fn northd(table: &str) -> Expected {
    let update = |names: &'static str| Expected {
        update: Columns::Only(names.split(' ').collect()),
        ..READ
    };
    match table {
        "NB_Global" => Expected {
            insert: true,
            ..update("nb_cfg_timestamp sb_cfg sb_cfg_timestamp hv_cfg hv_cfg_timestamp options")
        },
        "Logical_Switch_Port" => update("up dynamic_addresses tag"),
        "Logical_Router_Port" => update("status ipv6_prefix"),
        "BFD" => update("status"),
        "Weft_Problem" => EVERYTHING,
        _ => READ,
    }
}

/// Table, `+` if rows may come and go, the columns that may change, and behind a bar those that are given once.
const CHASSIS: &str = "
    Chassis           + nb_cfg external_ids encaps vtep_logical_switches other_config transport_zones hostname | name
    Chassis_Private   + nb_cfg nb_cfg_timestamp chassis external_ids | name
    Controller_Event  + chassis event_info event_type seq_num
    Encap             + type options ip | chassis_name
    FDB               + dp_key mac port_key timestamp
    Port_Binding      chassis additional_chassis encap additional_encap up virtual_parent options
    MAC_Binding       + logical_port ip mac datapath timestamp
    Service_Monitor   status
    IGMP_Group        + address chassis datapath ports protocol | chassis_name
    BFD               status
    Learned_Route     + datapath logical_port ip_prefix nexthop external_ids
";

/// What it reads and does not write.
const CHASSIS_READS: &str = "
    ACL_ID Address_Set Advertised_MAC_Binding Advertised_Route Chassis_Template_Var DHCP_Options DHCPv6_Options DNS
    Datapath_Binding ECMP_Nexthop Gateway_Chassis HA_Chassis HA_Chassis_Group IP_Multicast Load_Balancer
    Logical_DP_Group Logical_Flow Meter Meter_Band Mirror Multicast_Group Port_Group SB_Global Static_MAC_Binding
";

/// What it watches in vain.
const CHASSIS_WATCHES: &str = "RBAC_Permission RBAC_Role SSL";

fn chassis(table: &str) -> Expected {
    let lines = CHASSIS.lines().map(str::trim);
    let mut lines = lines.filter_map(|line| line.split_once(' '));
    if let Some((_, rights)) = lines.find(|(name, _)| *name == table) {
        let (rights, give) = rights.split_once('|').unwrap_or((rights, ""));
        let comes_and_goes = rights.trim().strip_prefix('+');
        let update = comes_and_goes.unwrap_or(rights).split_whitespace();
        return Expected {
            insert: comes_and_goes.is_some(),
            delete: comes_and_goes.is_some(),
            update: Columns::Only(update.collect()),
            give: match give.trim() {
                "" => &[],
                "name" => &["name"],
                "chassis_name" => &["chassis_name"],
                other => panic!("{other}"),
            },
            ..READ
        };
    }
    let named = |names: &str| names.split_whitespace().any(|name| name == table);
    match (named(CHASSIS_READS), named(CHASSIS_WATCHES)) {
        (true, _) => READ,
        (_, true) => Expected {
            monitor: true,
            ..NOTHING
        },
        _ => NOTHING,
    }
}
