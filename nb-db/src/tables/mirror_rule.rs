//! `Mirror_Rule`, as the northbound database has it.

ovsdb::table! {
    /// A rule that selects what a mirror of type `lport` copies.
    pub struct MirrorRule = "Mirror_Rule" {
        root: false,
        columns {
            /// Which packets, in the expression language of logical flows.
            r#match: string,
            /// Whether matching packets are copied or left out.
            action: one_of("mirror", "skip"),
            /// Rank; the highest match decides.
            priority: integer(0..=32_767),
        }
    }
}
