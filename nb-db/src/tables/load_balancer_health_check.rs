//! `Load_Balancer_Health_Check`, as the northbound database has it.

ovsdb::table! {
    /// Says that the backends of one virtual address are probed, and how.
    pub struct LoadBalancerHealthCheck = "Load_Balancer_Health_Check" {
        root: false,
        columns {
            /// The virtual address, as written in the load balancer.
            vip: string,
            /// Settings: `interval` and `timeout` in seconds, `success_count`, `failure_count`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
