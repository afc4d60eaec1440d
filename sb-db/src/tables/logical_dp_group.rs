//! `Logical_DP_Group`, as the southbound database has it.

ovsdb::table! {
    /// Datapaths that have logical flows in common.
    pub struct LogicalDpGroup = "Logical_DP_Group" {
        root: false,
        columns {
            /// The members.
            datapaths: set(weak(Datapath_Binding)),
        }
    }
}
