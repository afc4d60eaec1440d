//! `Address_Set`, as the northbound database has it.

ovsdb::table! {
    /// A named list of addresses. Matches refer to it as `$name`.
    pub struct AddressSet = "Address_Set" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// IPv4, IPv6 or Ethernet addresses, or IP prefixes.
            addresses: set(string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
