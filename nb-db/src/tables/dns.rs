//! `DNS`, as the northbound database has it.

ovsdb::table! {
    /// Names that are answered inside the network, for the switches that refer to this row.
    pub struct Dns = "DNS" {
        root: true,
        columns {
            /// Addresses by name, separated by blanks; a name of `in-addr.arpa` or `ip6.arpa` has a name.
            records: map(string => string),
            /// Settings: `ovn-owned` (answer negatively for names that are not here).
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
