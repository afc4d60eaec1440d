//! `Address_Set`, as the southbound database has it.

ovsdb::table! {
    /// An address set as matches of logical flows refer to it: copied from the northbound, and derived from port groups
    /// (`<group>_ip4`, `<group>_ip6`).
    pub struct AddressSet = "Address_Set" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// The members.
            addresses: set(string),
        }
    }
}
