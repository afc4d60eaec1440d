//! `ACL`, as the northbound database has it.

ovsdb::table! {
    /// A rule that allows or refuses packets, of a switch or of a port group.
    ///
    /// Rules are tried by falling priority within a tier; `pass` goes on to the next tier.
    pub struct Acl = "ACL" {
        root: false,
        columns {
            /// Name that log messages carry.
            name: optional(string(..=63)),
            /// Rank; the highest match of a tier decides.
            priority: integer(0..=32_767),
            /// `from-lport`: packets coming in from a logical port; `to-lport`: packets going out to one.
            direction: one_of("from-lport", "to-lport"),
            /// Which packets, in the expression language of logical flows.
            r#match: string,
            /// The verdict.
            action: one_of("allow", "allow-related", "allow-stateless", "drop", "reject", "pass"),
            /// Group of network functions that allowed packets are led through.
            network_function_group: optional(strong(Network_Function_Group)),
            /// Whether matching packets are logged.
            log: boolean,
            /// Severity of the log messages; unset means `info`.
            severity: optional(one_of("alert", "warning", "notice", "info", "debug")),
            /// Meter that limits the log messages.
            meter: optional(string),
            /// Number that connections allowed by this rule carry; 0: none.
            label: integer(0..=4_294_967_295),
            /// Round in which the rule is tried.
            tier: integer(0..=3),
            /// Sampling of packets that open a connection.
            sample_new: optional(strong(Sample)),
            /// Sampling of packets of established connections.
            sample_est: optional(strong(Sample)),
            /// Settings: `apply-after-lb`, `persist-established`, `log-related`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
