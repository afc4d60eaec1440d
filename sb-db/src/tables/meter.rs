//! `Meter`, as the southbound database has it.

ovsdb::table! {
    /// A rate limiter; from the northbound.
    pub struct Meter = "Meter" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// What the rates count: kilobits or packets a second.
            unit: one_of("kbps", "pktps"),
            /// The thresholds.
            bands: nonempty_set(strong(Meter_Band)),
        }
    }
}
