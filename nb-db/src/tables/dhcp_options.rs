//! `DHCP_Options`, as the northbound database has it.

ovsdb::table! {
    /// What DHCP clients of the ports that refer to this row are told: one subnet, version 4 or 6 by its CIDR.
    pub struct DhcpOptions = "DHCP_Options" {
        root: true,
        columns {
            /// Subnet of the clients.
            cidr: string,
            /// Options by name. Version 4 needs `server_id`, `server_mac` and `lease_time`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
