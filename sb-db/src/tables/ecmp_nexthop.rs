//! `ECMP_Nexthop`, as the southbound database has it.

ovsdb::table! {
    /// A next hop of equal-cost routes whose connections are flushed when it changes.
    pub struct EcmpNexthop = "ECMP_Nexthop" {
        root: true,
        indexes: [(nexthop, port)],
        columns {
            /// Address of the next hop.
            nexthop: string,
            /// Port that leads there.
            port: strong(Port_Binding),
            /// Datapath of the router.
            datapath: strong(Datapath_Binding),
            /// Ethernet address of the next hop.
            mac: string,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
