//! `IP_Multicast`, as the southbound database has it.

ovsdb::table! {
    /// The IGMP and MLD snooping settings of a switch.
    pub struct IpMulticast = "IP_Multicast" {
        root: true,
        indexes: [(datapath)],
        columns {
            /// The switch.
            datapath: weak(Datapath_Binding),
            /// Whether reports are snooped.
            enabled: optional(boolean),
            /// Whether queries are sent.
            querier: optional(boolean),
            /// Source Ethernet address of queries.
            eth_src: string,
            /// Source address of IGMP queries.
            ip4_src: string,
            /// Source address of MLD queries.
            ip6_src: string,
            /// Most groups that are remembered.
            table_size: optional(integer),
            /// Seconds after which a silent member is forgotten.
            idle_timeout: optional(integer),
            /// Seconds between queries.
            query_interval: optional(integer),
            /// Seconds that members have to answer.
            query_max_resp: optional(integer),
            /// A change makes controllers forget what they learned.
            seq_no: integer,
        }
    }
}
