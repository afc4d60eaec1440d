//! `Sample`, as the northbound database has it.

ovsdb::table! {
    /// What to sample where an ACL refers to this row: the collectors, and the number by which they recognise the
    /// observation point.
    pub struct Sample = "Sample" {
        root: false,
        indexes: [(metadata)],
        columns {
            /// Where the samples go.
            collectors: set(strong(Sample_Collector)),
            /// Observation point number that the samples carry.
            metadata: integer(1..=4_294_967_295),
        }
    }
}
