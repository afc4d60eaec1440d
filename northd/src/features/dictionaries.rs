//! The DHCP options that controllers know how to write, by name: the rows of `DHCP_Options` and `DHCPv6_Options`.
//!
//! Codes and encodings are those of RFC 2132 and its successors; `offerip` (0), `next_server` (253) and
//! `bootfile_name_alt` (254) are private to logical flows and are never sent under these codes.

use ovsdb::typed::TableDefinition;
use ovsdb::{Atom, Datum};
use sb_db::tables::{DhcpOptions, Dhcpv6Options};
use uuid::Uuid;

use crate::compiler::feature::{Feature, Index, Kind, Over, Owned};
use crate::compiler::identity;
use crate::compiler::unit::Unit;

const V4_BY_NAME: Index = Index::south::<DhcpOptions>(DhcpOptions::COLUMN.name.index);
const V6_BY_NAME: Index = Index::south::<Dhcpv6Options>(Dhcpv6Options::COLUMN.name.index);

static V4_ROWS: Owned = Owned::south::<DhcpOptions>(&[
    DhcpOptions::COLUMN.name.index,
    DhcpOptions::COLUMN.code.index,
    DhcpOptions::COLUMN.r#type.index,
]);
static V6_ROWS: Owned = Owned::south::<Dhcpv6Options>(&[
    Dhcpv6Options::COLUMN.name.index,
    Dhcpv6Options::COLUMN.code.index,
    Dhcpv6Options::COLUMN.r#type.index,
]);

/// The feature.
pub static FEATURE: Feature = Feature {
    indexes: &[V4_BY_NAME, V6_BY_NAME],
    owns: &[&V4_ROWS, &V6_ROWS],
    kinds: &[&INSTALL],
    ..Feature::new("dictionaries")
};

static INSTALL: Kind = Kind {
    name: "dictionaries",
    over: Over::Once,
    reads: &[],
    says: &[],
    wants: &[],
    run: |unit, _| install(unit),
};

/// How a DHCPv4 option is encoded (`DHCP_Options.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcp4Type {
    /// One octet, 0 or 1.
    Bool,
    /// One octet.
    Uint8,
    /// Two octets.
    Uint16,
    /// Four octets.
    Uint32,
    /// One or more addresses.
    Ipv4,
    /// Classless routes (RFC 3442).
    StaticRoutes,
    /// A text.
    Str,
    /// An address or a text.
    HostId,
    /// Domain names (RFC 1035 encoding).
    Domains,
}

impl Dhcp4Type {
    /// The name in the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Ipv4 => "ipv4",
            Self::StaticRoutes => "static_routes",
            Self::Str => "str",
            Self::HostId => "host_id",
            Self::Domains => "domains",
        }
    }
}

/// The encoding of the DHCPv4 option called `name`.
pub fn dhcp4_type(name: &str) -> Option<Dhcp4Type> {
    DHCP4
        .iter()
        .find(|(known, _, _)| *known == name)
        .map(|(_, _, kind)| *kind)
}

/// DHCPv4 options: name, code, encoding.
pub const DHCP4: &[(&str, u8, Dhcp4Type)] = {
    use Dhcp4Type::{Bool, Domains, HostId, Ipv4, StaticRoutes, Str, Uint8, Uint16, Uint32};
    &[
        ("offerip", 0, Ipv4),
        ("netmask", 1, Ipv4),
        ("router", 3, Ipv4),
        ("dns_server", 6, Ipv4),
        ("log_server", 7, Ipv4),
        ("lpr_server", 9, Ipv4),
        ("hostname", 12, Str),
        ("domain_name", 15, Str),
        ("swap_server", 16, Ipv4),
        ("ip_forward_enable", 19, Bool),
        ("policy_filter", 21, Ipv4),
        ("default_ttl", 23, Uint8),
        ("mtu", 26, Uint16),
        ("broadcast_address", 28, Ipv4),
        ("router_discovery", 31, Bool),
        ("router_solicitation", 32, Ipv4),
        ("arp_cache_timeout", 35, Uint32),
        ("ethernet_encap", 36, Bool),
        ("tcp_ttl", 37, Uint8),
        ("tcp_keepalive_interval", 38, Uint32),
        ("nis_server", 41, Ipv4),
        ("ntp_server", 42, Ipv4),
        ("netbios_name_server", 44, Ipv4),
        ("netbios_node_type", 46, Uint8),
        ("lease_time", 51, Uint32),
        ("server_id", 54, Ipv4),
        ("T1", 58, Uint32),
        ("T2", 59, Uint32),
        ("tftp_server", 66, HostId),
        ("bootfile_name", 67, Str),
        ("domain_search_list", 119, Domains),
        ("classless_static_route", 121, StaticRoutes),
        ("tftp_server_address", 150, Ipv4),
        ("path_prefix", 210, Str),
        ("ms_classless_static_route", 249, StaticRoutes),
        ("wpad", 252, Str),
        ("next_server", 253, Ipv4),
        ("bootfile_name_alt", 254, Str),
    ]
};

/// DHCPv6 options: name, code, the encoding's name in the schema.
pub const DHCP6: &[(&str, u8, &str)] = &[
    ("server_id", 2, "mac"),
    ("ia_addr", 5, "ipv6"),
    ("dns_server", 23, "ipv6"),
    ("domain_search", 24, "str"),
    ("fqdn", 39, "domain"),
    ("bootfile_name", 59, "str"),
    ("bootfile_name_alt", 254, "str"),
];

/// The dictionaries, but for entries whose types the server does not know.
fn install(unit: &mut Unit<'_>) {
    let column = DhcpOptions::COLUMN;
    for (name, code, kind) in DHCP4 {
        if unit.lacks(&format!("{}.type={}", DhcpOptions::NAME, kind.name())) {
            continue;
        }
        let columns = [
            (column.name.index, Datum::from(*name)),
            column.code.to(&i64::from(*code)),
            (column.r#type.index, Datum::from(kind.name())),
        ];
        let uuid = named(unit, V4_BY_NAME, DhcpOptions::NAME, name);
        unit.row::<DhcpOptions>(uuid, columns);
    }
    let column = Dhcpv6Options::COLUMN;
    for (name, code, kind) in DHCP6 {
        if unit.lacks(&format!("{}.type={kind}", Dhcpv6Options::NAME)) {
            continue;
        }
        let columns = [
            (column.name.index, Datum::from(*name)),
            column.code.to(&i64::from(*code)),
            (column.r#type.index, Datum::from(*kind)),
        ];
        let uuid = named(unit, V6_BY_NAME, Dhcpv6Options::NAME, name);
        unit.row::<Dhcpv6Options>(uuid, columns);
    }
}

/// The row of this name that is there already, or the one that will be.
fn named(unit: &Unit<'_>, index: Index, table: &str, name: &str) -> Uuid {
    let known = unit.recorded(index, &Atom::from(name)).next();
    known.map_or_else(
        || identity::named(table, Uuid::nil(), name),
        |(uuid, _)| uuid,
    )
}
