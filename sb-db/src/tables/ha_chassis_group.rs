//! `HA_Chassis_Group`, as the southbound database has it.

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
            /// Chassis that use the group, and so run BFD to its members.
            ref_chassis: set(weak(Chassis)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
