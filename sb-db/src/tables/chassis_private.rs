//! `Chassis_Private`, as the southbound database has it.

ovsdb::table! {
    /// What a chassis writes often and others need not see. Apart from `Chassis`, so that `nb_cfg` does not wake every
    /// other controller.
    pub struct ChassisPrivate = "Chassis_Private" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name: the `system-id` of the switch.
            name: string,
            /// The public half.
            chassis: optional(weak(Chassis)),
            /// The newest `nb_cfg` that the chassis has applied.
            nb_cfg: integer,
            /// When it did, in milliseconds since the epoch.
            nb_cfg_timestamp: integer,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
