//! `Gateway_Chassis`, as the southbound database has it.

ovsdb::table! {
    /// A chassis that may host a gateway port, with its rank. The older form of `HA_Chassis`.
    pub struct GatewayChassis = "Gateway_Chassis" {
        root: false,
        indexes: [(name)],
        columns {
            /// Unique name, by custom `port_chassis`.
            name: string,
            /// The chassis.
            chassis: optional(weak(Chassis)),
            /// Rank; the highest living chassis is active.
            priority: integer(0..=32_767),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Reserved.
            options: map(string => string),
        }
    }
}
