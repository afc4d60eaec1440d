//! `NAT`, as the northbound database has it.

ovsdb::table! {
    /// An address translation of a logical router.
    pub struct Nat = "NAT" {
        root: false,
        columns {
            /// Address on the outside.
            external_ip: string,
            /// Ethernet address of a translation that is done where `logical_port` is.
            external_mac: optional(string),
            /// Ports to use on the outside, `low-high`; empty: any.
            external_port_range: string,
            /// Address, or for `snat` prefix, on the inside.
            logical_ip: string,
            /// Switch port of the inside address, for a distributed translation.
            logical_port: optional(string),
            /// Which direction is translated.
            r#type: one_of("dnat", "snat", "dnat_and_snat"),
            /// Outside addresses that the rule is limited to.
            allowed_ext_ips: optional(strong(Address_Set)),
            /// Outside addresses that the rule leaves alone.
            exempted_ext_ips: optional(strong(Address_Set)),
            /// Gateway port at which the rule acts, where the router has several.
            gateway_port: optional(weak(Logical_Router_Port)),
            /// Rank among rules with a `match`.
            priority: integer(0..=32_767),
            /// Further condition, in the expression language of logical flows; empty: none.
            r#match: string,
            /// Settings: `stateless`, `add_route`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
