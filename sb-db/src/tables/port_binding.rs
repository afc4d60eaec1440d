//! `Port_Binding`, as the southbound database has it.

ovsdb::table! {
    /// A logical port as the data plane knows it: its datapath, its key, and the chassis where it is.
    ///
    /// northd creates the row; the controller that finds the port's interface claims it by setting `chassis`, and says
    /// `up` when its flows are in place.
    pub struct PortBinding = "Port_Binding" {
        root: true,
        indexes: [(datapath, tunnel_key), (logical_port)],
        columns {
            /// Unique name of the port, from the northbound.
            logical_port: string,
            /// Empty for a guest or container; else `patch`, `l3gateway`, `localnet`, `localport`, `l2gateway`, `vtep`,
            /// `chassisredirect`, `virtual`, `external`, `remote` or `mirror`.
            r#type: string,
            /// Chassis that may host a `chassisredirect` port; the older form of `ha_chassis_group`.
            gateway_chassis: set(strong(Gateway_Chassis)),
            /// Chassis that may host the port.
            ha_chassis_group: optional(strong(HA_Chassis_Group)),
            /// The northbound port's options and what northd and controllers add: `peer`, `l3gateway-chassis`,
            /// `network_name`, `requested-chassis`, `distributed-port`, `chassis-redirect-port`, `qdisc_queue_id`,
            /// `ipv6_ra_*`, `vport-last-claim`, …
            options: map(string => string),
            /// Datapath of the port.
            datapath: strong(Datapath_Binding),
            /// 15-bit key, unique in the datapath.
            tunnel_key: integer(1..=32_767),
            /// For a container: name of the guest's port.
            parent_port: optional(string),
            /// Port to which packets are mirrored.
            mirror_port: optional(string),
            /// VLAN: of a container inside its parent, or of a `localnet` port.
            tag: optional(integer(1..=4095)),
            /// For type `virtual`: name of the port that has the address now.
            virtual_parent: optional(string),
            /// Where the port is; written by the controller there.
            chassis: optional(weak(Chassis)),
            /// Further chassis during a live migration.
            additional_chassis: set(weak(Chassis)),
            /// Tunnel endpoint to reach the port by; unset: any of the chassis.
            encap: optional(weak(Encap)),
            /// The same for `additional_chassis`.
            additional_encap: set(weak(Encap)),
            /// Mirrors that get copies of this port's packets.
            mirror_rules: set(weak(Mirror)),
            /// Addresses, from the northbound's `addresses`.
            mac: set(string),
            /// From the northbound.
            port_security: set(string),
            /// Addresses that the port's chassis announces.
            nat_addresses: set(string),
            /// Whether the chassis has the port's flows in place.
            up: optional(boolean),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// The chassis named in `options:requested-chassis`.
            requested_chassis: optional(weak(Chassis)),
            /// The further chassis named there.
            requested_additional_chassis: set(weak(Chassis)),
        }
    }
}
