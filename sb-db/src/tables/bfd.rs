//! `BFD`, as the southbound database has it.

ovsdb::table! {
    /// A BFD session that a chassis runs for a router port.
    pub struct Bfd = "BFD" {
        root: true,
        indexes: [(logical_port, dst_ip, src_port, disc)],
        columns {
            /// UDP source port.
            src_port: integer(49_152..=65_535),
            /// Local discriminator.
            disc: integer,
            /// Router port that the session runs on.
            logical_port: string,
            /// Address of the peer.
            dst_ip: string,
            /// Shortest interval between packets sent, in milliseconds.
            min_tx: integer,
            /// Shortest interval between packets that can be received, in milliseconds.
            min_rx: integer,
            /// Number of missed packets after which the peer is down.
            detect_mult: integer,
            /// State of the session.
            status: one_of("down", "init", "up", "admin_down"),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Reserved.
            options: map(string => string),
            /// Name of the chassis that runs it; who may write the row depends on it.
            chassis_name: string,
        }
    }
}
