//! `Open_vSwitch`: the switch as a whole, and the controller's own settings.

ovsdb::table! {
    /// The one row about the switch.
    pub struct OpenVSwitch = "Open_vSwitch" {
        root: true,
        max_rows: 1,
        columns {
            /// All bridges.
            bridges: set(strong(Bridge)),
            /// Settings for controllers, under the keys of ovn-controller(8).
            external_ids: map(string => string),
            /// The switch's own settings; `vlan-limit` is how many VLAN tags of a frame it looks through.
            other_config: map(string => string),
            /// Kinds of interfaces that the switch knows.
            iface_types: set(string),
            /// The switch's version, where whoever started it has said so.
            ovs_version: optional(string),
            /// Keys for TLS.
            ssl: optional(strong(SSL)),
        }
    }
}
