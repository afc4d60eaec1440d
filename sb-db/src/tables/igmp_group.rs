//! `IGMP_Group`, as the southbound database has it.

ovsdb::table! {
    /// Ports of one chassis that have joined a multicast group.
    pub struct IgmpGroup = "IGMP_Group" {
        root: true,
        indexes: [(address, datapath, chassis)],
        columns {
            /// Address of the group, or `mrouters`.
            address: string,
            /// Version of the membership protocol.
            protocol: string,
            /// The switch.
            datapath: optional(weak(Datapath_Binding)),
            /// Who learned it.
            chassis: optional(weak(Chassis)),
            /// The members on that chassis.
            ports: set(weak(Port_Binding)),
            /// Name of the chassis; who may write the row depends on it.
            chassis_name: string,
        }
    }
}
