//! The DHCP options that controllers know how to write, by name: the rows of `DHCP_Options` and `DHCPv6_Options`.
//!
//! Codes and encodings are those of RFC 2132 and its successors; `offerip` (0), `next_server` (253) and
//! `bootfile_name_alt` (254) are private to logical flows and are never sent under these codes.

use ovsdb::Datum;
use ovsdb::typed::TableDefinition;
use sb_db::tables::{DhcpOptions, Dhcpv6Options};

use super::Output;
use super::rbac::put;
use super::rows::OutTable;

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

/// Desires the dictionaries, but for entries whose types the server does not know (`has_value`, given as
/// `TABLE.COLUMN=VALUE`).
pub fn install(output: &mut Output, has_value: impl Fn(&str) -> bool) {
    let column = DhcpOptions::COLUMN;
    let is_known = |table: &str, kind: &str| has_value(&format!("{table}.type={kind}"));
    for (name, code, kind) in DHCP4
        .iter()
        .filter(|(_, _, kind)| is_known(DhcpOptions::NAME, kind.name()))
    {
        let columns = [
            (column.name.index, Datum::from(*name)),
            column.code.to(&i64::from(*code)),
            (column.r#type.index, Datum::from(kind.name())),
        ];
        put(output, OutTable::Dhcp4, DhcpOptions::NAME, name, columns);
    }
    let column = Dhcpv6Options::COLUMN;
    for (name, code, kind) in DHCP6
        .iter()
        .filter(|(_, _, kind)| is_known(Dhcpv6Options::NAME, kind))
    {
        let columns = [
            (column.name.index, Datum::from(*name)),
            column.code.to(&i64::from(*code)),
            (column.r#type.index, Datum::from(*kind)),
        ];
        put(output, OutTable::Dhcp6, Dhcpv6Options::NAME, name, columns);
    }
}
