//! `Mirror`: copies of packets of some ports.

ovsdb::table! {
    /// A mirror of a bridge.
    pub struct Mirror = "Mirror" {
        root: false,
        columns {
            /// Its name.
            name: string,
            /// Packets that come in by these ports are copied.
            select_src_port: set(weak(Port)),
            /// Packets that go out by these ports are copied.
            select_dst_port: set(weak(Port)),
            /// Where copies go.
            output_port: optional(weak(Port)),
            /// `ovn-owned` says that it is a controller's.
            external_ids: map(string => string),
        }
    }
}
