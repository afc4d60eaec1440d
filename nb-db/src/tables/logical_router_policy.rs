//! `Logical_Router_Policy`, as the northbound database has it.

ovsdb::table! {
    /// A policy route: a match that allows, drops, or reroutes packets in front of the routing table's verdict.
    pub struct LogicalRouterPolicy = "Logical_Router_Policy" {
        root: false,
        columns {
            /// Rank; the highest match decides.
            priority: integer(0..=32_767),
            /// Chain that the policy is in; unset: the first.
            chain: optional(string),
            /// Which packets, in the expression language of logical flows.
            r#match: string,
            /// The verdict.
            action: one_of("allow", "drop", "reroute", "jump"),
            /// Chain that `jump` goes on with.
            jump_chain: optional(string),
            /// The next hop of `reroute`; superseded by `nexthops`.
            nexthop: optional(string),
            /// The next hops of `reroute`.
            nexthops: set(string),
            /// Router port that rerouted packets leave by.
            output_port: optional(weak(Logical_Router_Port)),
            /// Sessions that watch the next hops.
            bfd_sessions: set(weak(BFD)),
            /// Settings: `pkt_mark`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
