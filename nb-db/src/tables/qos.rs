//! `QoS`, as the northbound database has it.

ovsdb::table! {
    /// A rule that marks packets or limits their rate, of a switch.
    pub struct Qos = "QoS" {
        root: false,
        columns {
            /// Rank; the highest match decides.
            priority: integer(0..=32_767),
            /// `from-lport`: packets coming in from a logical port; `to-lport`: packets going out to one.
            direction: one_of("from-lport", "to-lport"),
            /// Which packets, in the expression language of logical flows.
            r#match: string,
            /// Marks to set: `dscp` (0 to 63), `mark`.
            action: map(one_of("dscp", "mark") => integer(0..=4_294_967_295)),
            /// Limits: `rate` in kbps, `burst` in kilobits.
            bandwidth: map(one_of("rate", "burst") => integer(1..=4_294_967_295)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
