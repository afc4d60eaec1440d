//! `DHCPv6_Options`, as the southbound database has it.

ovsdb::table! {
    /// A DHCPv6 option that logical flows may name: its code and how its value is encoded.
    pub struct Dhcpv6Options = "DHCPv6_Options" {
        root: true,
        columns {
            /// Name of the option.
            name: string,
            /// Code on the wire.
            code: integer(0..=254),
            /// How the value is encoded.
            r#type: one_of("ipv6", "str", "mac", "domain"),
        }
    }
}
