//! `Logical_Switch_Port_Health_Check`, as the northbound database has it.

ovsdb::table! {
    /// A probe that says whether the workload behind a switch port answers.
    pub struct LogicalSwitchPortHealthCheck = "Logical_Switch_Port_Health_Check" {
        root: false,
        columns {
            /// Protocol of the probe.
            protocol: one_of("tcp", "udp", "icmp"),
            /// Source address of the probe.
            src_ip: string,
            /// Destination port of the probe, for TCP and UDP.
            port: integer(0..=65_535),
            /// Address that is probed.
            address: string,
            /// The last result; written by northd.
            status: optional(one_of("online", "offline", "error")),
            /// Settings: `interval` and `timeout` in seconds, `success_count`, `failure_count`.
            options: map(string => string),
        }
    }
}
