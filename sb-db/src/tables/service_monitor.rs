//! `Service_Monitor`, as the southbound database has it.

ovsdb::table! {
    /// A probe that a chassis carries out, and its result.
    pub struct ServiceMonitor = "Service_Monitor" {
        root: true,
        indexes: [(logical_port, ip, port, protocol)],
        columns {
            /// What is probed; unset: a load balancer's backend.
            r#type: optional(one_of("load-balancer", "network-function", "logical-switch-port")),
            /// Address that is probed.
            ip: string,
            /// Ethernet address that is probed, for network functions.
            mac: string,
            /// Protocol of the probe.
            protocol: optional(one_of("tcp", "udp", "icmp")),
            /// Destination port of the probe.
            port: integer(0..=65_535),
            /// Port at which probes of a network function are injected.
            logical_input_port: string,
            /// Port behind which the target is.
            logical_port: string,
            /// Source Ethernet address of the probe.
            src_mac: string,
            /// Source address of the probe.
            src_ip: string,
            /// Name of the chassis that probes; who may write the row depends on it.
            chassis_name: string,
            /// The last result.
            status: optional(one_of("online", "offline", "error")),
            /// Whether the row came from another availability zone.
            ic_learned: boolean,
            /// Whether the target is in another availability zone.
            remote: boolean,
            /// Settings: `interval` and `timeout` in seconds, `success_count`, `failure_count`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
