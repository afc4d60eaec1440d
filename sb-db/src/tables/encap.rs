//! `Encap`, as the southbound database has it.

ovsdb::table! {
    /// A tunnel endpoint of a chassis.
    pub struct Encap = "Encap" {
        root: false,
        indexes: [(r#type, ip)],
        columns {
            /// The tunnel's format. `gre` is Weft's own: OVN's schema does not have it.
            r#type: one_of("geneve", "vxlan", "gre"),
            /// Settings: `csum`, `dst_port`, `is_default`.
            options: map(string => string),
            /// Address of the endpoint.
            ip: string,
            /// Name of the owner; who may write the row depends on it.
            chassis_name: string,
        }
    }
}
