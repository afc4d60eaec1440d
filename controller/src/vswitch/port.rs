//! `Port`: a port of a bridge.

ovsdb::table! {
    /// A port.
    pub struct Port = "Port" {
        root: false,
        indexes: [(name)],
        columns {
            /// Its name.
            name: string,
            /// Its interfaces: one, unless it is a bond.
            interfaces: nonempty_set(strong(Interface)),
            /// How packets wait there.
            qos: optional(strong(QoS)),
            /// What controllers remember: whose tunnel or patch it is.
            external_ids: map(string => string),
        }
    }
}
