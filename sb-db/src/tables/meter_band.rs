//! `Meter_Band`, as the southbound database has it.

ovsdb::table! {
    /// One threshold of a meter and what happens beyond it.
    pub struct MeterBand = "Meter_Band" {
        root: false,
        columns {
            /// What happens to packets above the rate.
            action: one_of("drop"),
            /// The threshold, in the unit of the meter.
            rate: integer(1..=4_294_967_295),
            /// Burst above the rate that passes, in kilobits or packets; 0 lets the switch choose.
            burst_size: integer(0..=4_294_967_295),
        }
    }
}
