//! `BFD`, as the northbound database has it.

ovsdb::table! {
    /// A BFD session that watches the next hop of static routes.
    pub struct Bfd = "BFD" {
        root: true,
        indexes: [(logical_port, dst_ip)],
        columns {
            /// Router port that the session runs on.
            logical_port: string,
            /// Address of the peer.
            dst_ip: string,
            /// Shortest interval between packets sent, in milliseconds; unset means 1000.
            min_tx: optional(integer(1..)),
            /// Shortest interval between packets that can be received, in milliseconds.
            min_rx: optional(integer),
            /// Number of missed packets after which the peer is down; unset means 5.
            detect_mult: optional(integer(1..)),
            /// State of the session; written by northd.
            status: optional(one_of("down", "init", "up", "admin_down")),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Reserved.
            options: map(string => string),
        }
    }
}
