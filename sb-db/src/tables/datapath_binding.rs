//! `Datapath_Binding`, as the southbound database has it.

ovsdb::table! {
    /// A logical switch or router as the data plane knows it: its key in tunnels and registers.
    pub struct DatapathBinding = "Datapath_Binding" {
        root: true,
        indexes: [(tunnel_key)],
        columns {
            /// Unique 24-bit key.
            tunnel_key: integer(1..=16_777_215),
            /// No longer used.
            load_balancers: set(uuid),
            /// Whether this is a switch or a router.
            r#type: optional(one_of("logical-switch", "logical-router")),
            /// UUID of the northbound row.
            nb_uuid: optional(uuid),
            /// `name`, `name2`, `logical-switch` or `logical-router` (UUID of the northbound row), `interconn-ts`,
            /// `ct-zone-limit`, `snat-ct-zone`, `always_learn_from_arp_request`, `mac_binding_age_threshold`,
            /// `fdb_age_threshold`, `disable_garp_rarp`, `dynamic-routing-*`.
            external_ids: map(string => string),
        }
    }
}
