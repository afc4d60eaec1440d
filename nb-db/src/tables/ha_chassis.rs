//! `HA_Chassis`, as the northbound database has it.

ovsdb::table! {
    /// A member of a group of chassis, with its rank.
    pub struct HaChassis = "HA_Chassis" {
        root: false,
        columns {
            /// Name of the chassis.
            chassis_name: string,
            /// Rank; the highest living chassis is active.
            priority: integer(0..=32_767),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
