//! `Network_Function_Health_Check`, as the northbound database has it.

ovsdb::table! {
    /// How a network function is probed: intervals, timeouts and thresholds.
    pub struct NetworkFunctionHealthCheck = "Network_Function_Health_Check" {
        root: false,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// Settings: `interval` and `timeout` in seconds, `success_count`, `failure_count`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
