//! `Multicast_Group`, as the southbound database has it.

ovsdb::table! {
    /// A set of ports of one datapath that a packet can be output to at once.
    pub struct MulticastGroup = "Multicast_Group" {
        root: true,
        indexes: [(datapath, tunnel_key), (datapath, name)],
        columns {
            /// Datapath of the group.
            datapath: strong(Datapath_Binding),
            /// Name by which logical flows output to it, such as `_MC_flood`.
            name: string,
            /// Key in tunnels, in the upper half of the port keys.
            tunnel_key: integer(32_768..=65_535),
            /// The members.
            ports: set(weak(Port_Binding)),
        }
    }
}
