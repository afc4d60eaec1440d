//! `Gateway_Chassis`, as the northbound database has it.

ovsdb::table! {
    /// A chassis that may host a gateway port, with its rank. The older form of `HA_Chassis`: it belongs to a single
    /// port.
    pub struct GatewayChassis = "Gateway_Chassis" {
        root: false,
        indexes: [(name)],
        columns {
            /// Unique name, by custom `port-chassis`.
            name: string,
            /// Name of the chassis.
            chassis_name: string,
            /// Rank; the highest living chassis is active.
            priority: integer(0..=32_767),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Reserved.
            options: map(string => string),
        }
    }
}
