//! `Interface`: what a port of a bridge is made of.

ovsdb::table! {
    /// An interface.
    pub struct Interface = "Interface" {
        root: false,
        indexes: [(name)],
        columns {
            /// Its name.
            name: string,
            /// Its kind: empty, `internal`, `patch`, `geneve`, `vxlan`, …
            r#type: string,
            /// Settings that depend on the kind.
            options: map(string => string),
            /// `iface-id` names the logical port that is behind it; `ovn-installed` says that its flows are in place;
            /// `mirror-id` names it as the sink of mirrors; `ovn-egress-iface` says that it leads to a physical network.
            external_ids: map(string => string),
            /// Whether a BFD session runs over it, and how: `enable`, `min_rx`, `min_tx`, `mult`.
            bfd: map(string => string),
            /// What has become of the session: `state`.
            bfd_status: map(string => string),
            /// Its number on the bridge; unset until the switch has made it, -1 when that failed.
            ofport: optional(integer),
        }
    }
}
