//! `Port_Group`, as the southbound database has it.

ovsdb::table! {
    /// The ports of a northbound port group that are on one datapath; the name starts with the datapath's key.
    pub struct PortGroup = "Port_Group" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name: `<datapath key>_<group>`.
            name: string,
            /// Names of the member ports.
            ports: set(string),
        }
    }
}
