//! `Mirror`, as the northbound database has it.

ovsdb::table! {
    /// A target to which the packets of switch ports are copied.
    pub struct Mirror = "Mirror" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// Which direction is copied.
            filter: one_of("from-lport", "to-lport", "both"),
            /// Where copies go: an address, a local interface, or a logical port, by `type`.
            sink: string,
            /// How copies travel.
            r#type: one_of("gre", "erspan", "local", "lport"),
            /// GRE key or ERSPAN index.
            index: integer,
            /// What is copied, for type `lport`; empty: everything.
            mirror_rules: set(strong(Mirror_Rule)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
