//! `Forwarding_Group`, as the northbound database has it.

ovsdb::table! {
    /// A virtual address spread over several ports of a switch: packets to it are balanced over the children.
    pub struct ForwardingGroup = "Forwarding_Group" {
        root: false,
        columns {
            /// The name.
            name: string,
            /// The virtual IP address.
            vip: string,
            /// The virtual Ethernet address.
            vmac: string,
            /// Whether only children whose tunnel is alive are used.
            liveness: boolean,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Names of the ports that share the load.
            child_port: nonempty_set(string),
        }
    }
}
