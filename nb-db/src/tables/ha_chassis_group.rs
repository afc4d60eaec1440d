//! `HA_Chassis_Group`, as the northbound database has it.

ovsdb::table! {
    /// Chassis that stand in for each other: the living member of highest priority does the work.
    pub struct HaChassisGroup = "HA_Chassis_Group" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name of the group.
            name: string,
            /// The members.
            ha_chassis: set(strong(HA_Chassis)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
