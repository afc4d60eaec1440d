//! `Sampling_App`, as the northbound database has it.

ovsdb::table! {
    /// The identifier that a kind of sample carries to its collectors.
    pub struct SamplingApp = "Sampling_App" {
        root: true,
        indexes: [(r#type)],
        columns {
            /// The kind of sample.
            r#type: one_of("drop", "acl-new", "acl-est"),
            /// The application number that its samples carry.
            id: integer(1..=255),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
