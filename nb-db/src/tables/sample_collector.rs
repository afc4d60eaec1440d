//! `Sample_Collector`, as the northbound database has it.

ovsdb::table! {
    /// A destination for sampled packets: which collector set of the switch gets them, and how many of them.
    pub struct SampleCollector = "Sample_Collector" {
        root: true,
        indexes: [(id)],
        columns {
            /// Number by which flows refer to the collector.
            id: integer(1..=255),
            /// The name.
            name: string,
            /// Share of packets that is sampled, in 65535ths.
            probability: integer(0..=65_535),
            /// The `id` of the `Flow_Sample_Collector_Set` in the chassis' switch database.
            set_id: integer(1..=4_294_967_295),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
