//! `Bridge`: a bridge, among them the integration bridge.

ovsdb::table! {
    /// A bridge.
    pub struct Bridge = "Bridge" {
        root: false,
        indexes: [(name)],
        columns {
            /// Its name.
            name: string,
            /// Its ports.
            ports: set(strong(Port)),
            /// Its mirrors.
            mirrors: set(strong(Mirror)),
            /// Which datapath carries it: `system` (or empty) or `netdev`.
            datapath_type: string,
            /// What it does without flows: `secure` drops.
            fail_mode: optional(one_of("standalone", "secure")),
            /// Settings of the switch.
            other_config: map(string => string),
            /// What controllers remember, connection tracking zones among it.
            external_ids: map(string => string),
        }
    }
}
