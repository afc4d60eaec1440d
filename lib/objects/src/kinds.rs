//! The kinds of objects: for each its table, where its name is, what it belongs to, and what its fields are checked for.
//!
//! A field of the kind's message is the column of its name, unless it is said here to be something else. A column that no
//! field shows is listed with the reason; a test holds that against the schema.

use crate::v1;

/// What is said of a kind.
#[derive(Debug)]
pub struct Definition {
    /// Its number in the protocol.
    pub number: v1::Kind,
    /// The field of `Object` with its message, by which it is called everywhere.
    pub field: &'static str,
    /// What several of them are called, in paths and on the command line.
    pub plural: &'static str,
    /// The table.
    pub table: &'static str,
    /// Where the name is.
    pub name: NamePlace,
    /// What it belongs to, one for each field that says so.
    pub parents: &'static [Parent],
    /// Fields that are called differently from their columns.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Fields that are left as they are if they are not given: northd may write them, too.
    pub kept: &'static [&'static str],
    /// Rows of other tables that are part of it, by field.
    pub parts: &'static [Part],
    /// What fields are checked for.
    pub checks: &'static [(&'static str, Check)],
    /// Columns that no field shows, and why.
    pub hidden: &'static [(&'static str, &'static str)],
}

/// Where the name of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePlace {
    /// In the column `name`.
    Column,
    /// In `external_ids`, under [`NAME_KEY`].
    Key,
}

/// What an object belongs to: rows of a table have it in a column.
#[derive(Debug)]
pub struct Parent {
    /// The field that names them.
    pub field: &'static str,
    /// The kind that they are of, by its field in `Object`.
    pub kind: &'static str,
    /// Their column.
    pub column: &'static str,
}

/// Rows of another table that are part of an object.
#[derive(Debug)]
pub struct Part {
    /// The field and column.
    pub field: &'static str,
    /// The field of the part of which, behind the object's name, the part's `name` is made.
    pub named_by: Option<&'static str>,
}

/// What a field is checked for, beyond what the schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// An expression of logical flows.
    Match,
    /// The same, or nothing.
    MatchOrEmpty,
    /// An Ethernet address.
    Mac,
    /// An entry of `addresses` of a switch port.
    PortAddress,
    /// `IP/length`, or an address.
    Cidr,
    /// An address.
    Ip,
    /// An address, or `discard`, or the name of a router port, or nothing.
    NextHop,
    /// A prefix, or the name of a template's variable behind `^`.
    Prefix,
    /// A range of ports, or nothing.
    PortRange,
    /// Virtual addresses and their backends.
    Vips,
}

/// The key of `external_ids` with the name of an object whose table has no column for it.
pub const NAME_KEY: &str = "weft-name";
/// The key of `external_ids` with the owner.
pub const OWNER_KEY: &str = "weft-owner";
/// Keys of `external_ids` that begin so are ours.
pub const RESERVED: &str = "weft-";
/// The column of both.
pub const EXTERNAL_IDS: &str = "external_ids";

/// The field in which an object says its router, and the kind of that.
pub const OF_ROUTER: &str = "logical_router";
const OF_SWITCH: &str = "logical_switch";
const SAID_BY_PARTS: &str = "those that belong to it say so";
const NORTHD: &str = "written by northd; told in `state`";
/// A kind about which there is nothing to say.
const PLAIN: Definition = Definition {
    number: v1::Kind::Unspecified,
    field: "",
    plural: "",
    table: "",
    name: NamePlace::Key,
    parents: &[],
    renamed: &[],
    kept: &[],
    parts: &[],
    checks: &[],
    hidden: &[],
};

/// All of them. Objects are made in this order.
pub const KINDS: &[Definition] = &[
    Definition {
        number: v1::Kind::AddressSet,
        field: "address_set",
        plural: "address-sets",
        table: "Address_Set",
        name: NamePlace::Column,
        ..PLAIN
    },
    Definition {
        number: v1::Kind::DhcpOptions,
        field: "dhcp_options",
        plural: "dhcp-options",
        table: "DHCP_Options",
        checks: &[("cidr", Check::Cidr)],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::Dns,
        field: "dns",
        plural: "dns",
        table: "DNS",
        ..PLAIN
    },
    Definition {
        number: v1::Kind::Mirror,
        field: "mirror",
        plural: "mirrors",
        table: "Mirror",
        name: NamePlace::Column,
        parts: &[Part {
            field: "mirror_rules",
            named_by: None,
        }],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::LoadBalancer,
        field: "load_balancer",
        plural: "load-balancers",
        table: "Load_Balancer",
        name: NamePlace::Column,
        parts: &[Part {
            field: "health_check",
            named_by: None,
        }],
        checks: &[("vips", Check::Vips)],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::LogicalSwitch,
        field: OF_SWITCH,
        plural: "switches",
        table: "Logical_Switch",
        name: NamePlace::Column,
        hidden: &[
            ("ports", SAID_BY_PARTS),
            ("acls", SAID_BY_PARTS),
            ("qos_rules", SAID_BY_PARTS),
            ("forwarding_groups", "not offered"),
        ],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::LogicalRouter,
        field: OF_ROUTER,
        plural: "routers",
        table: "Logical_Router",
        name: NamePlace::Column,
        hidden: &[
            ("ports", SAID_BY_PARTS),
            ("static_routes", SAID_BY_PARTS),
            ("policies", SAID_BY_PARTS),
            ("nat", SAID_BY_PARTS),
        ],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::LogicalSwitchPort,
        field: "logical_switch_port",
        plural: "switch-ports",
        table: "Logical_Switch_Port",
        name: NamePlace::Column,
        parents: &[Parent {
            field: OF_SWITCH,
            kind: OF_SWITCH,
            column: "ports",
        }],
        kept: &["tag"],
        checks: &[("addresses", Check::PortAddress)],
        hidden: &[
            ("up", NORTHD),
            ("dynamic_addresses", NORTHD),
            ("health_checks", "not offered"),
        ],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::LogicalRouterPort,
        field: "logical_router_port",
        plural: "router-ports",
        table: "Logical_Router_Port",
        name: NamePlace::Column,
        parents: &[Parent {
            field: OF_ROUTER,
            kind: OF_ROUTER,
            column: "ports",
        }],
        parts: &[Part {
            field: "gateway_chassis",
            named_by: Some("chassis_name"),
        }],
        checks: &[("mac", Check::Mac), ("networks", Check::Cidr)],
        hidden: &[("status", NORTHD), ("ipv6_prefix", NORTHD)],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::PortGroup,
        field: "port_group",
        plural: "port-groups",
        table: "Port_Group",
        name: NamePlace::Column,
        hidden: &[("acls", SAID_BY_PARTS)],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::StaticRoute,
        field: "static_route",
        plural: "routes",
        table: "Logical_Router_Static_Route",
        parents: &[Parent {
            field: OF_ROUTER,
            kind: OF_ROUTER,
            column: "static_routes",
        }],
        checks: &[("ip_prefix", Check::Prefix), ("nexthop", Check::NextHop)],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::Nat,
        field: "nat",
        plural: "nats",
        table: "NAT",
        parents: &[Parent {
            field: OF_ROUTER,
            kind: OF_ROUTER,
            column: "nat",
        }],
        checks: &[
            ("external_ip", Check::Ip),
            ("logical_ip", Check::Cidr),
            ("external_mac", Check::Mac),
            ("external_port_range", Check::PortRange),
            ("match", Check::MatchOrEmpty),
        ],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::Policy,
        field: "policy",
        plural: "policies",
        table: "Logical_Router_Policy",
        parents: &[Parent {
            field: OF_ROUTER,
            kind: OF_ROUTER,
            column: "policies",
        }],
        checks: &[
            ("match", Check::Match),
            ("nexthop", Check::Ip),
            ("nexthops", Check::Ip),
        ],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::Qos,
        field: "qos",
        plural: "qos",
        table: "QoS",
        parents: &[Parent {
            field: "logical_switches",
            kind: OF_SWITCH,
            column: "qos_rules",
        }],
        checks: &[("match", Check::Match)],
        ..PLAIN
    },
    Definition {
        number: v1::Kind::Acl,
        field: "acl",
        plural: "acls",
        table: "ACL",
        parents: &[
            Parent {
                field: "logical_switches",
                kind: OF_SWITCH,
                column: "acls",
            },
            Parent {
                field: "port_groups",
                kind: "port_group",
                column: "acls",
            },
        ],
        renamed: &[("log_name", "name")],
        checks: &[("match", Check::Match)],
        ..PLAIN
    },
];
