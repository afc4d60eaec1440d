//! `Meter`, as the northbound database has it.

ovsdb::table! {
    /// A rate limiter that log messages, control packets or flows can refer to by name.
    pub struct Meter = "Meter" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name; `__` in front is reserved.
            name: string,
            /// What the rates count: kilobits or packets a second.
            unit: one_of("kbps", "pktps"),
            /// The thresholds.
            bands: nonempty_set(strong(Meter_Band)),
            /// Whether each user of the meter gets its own, instead of all sharing one.
            fair: optional(boolean),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
