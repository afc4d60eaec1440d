//! `Network_Function_Group`, as the northbound database has it.

ovsdb::table! {
    /// Network functions that stand in for each other. ACLs refer to the group; northd chooses the active member.
    pub struct NetworkFunctionGroup = "Network_Function_Group" {
        root: true,
        indexes: [(name), (id)],
        columns {
            /// Unique name.
            name: string,
            /// What happens when no member is healthy; unset means `fail-close`.
            fallback: optional(one_of("fail-open", "fail-close")),
            /// The members.
            network_function: set(strong(Network_Function)),
            /// The member that northd has chosen.
            network_function_active: optional(strong(Network_Function)),
            /// How packets reach the members.
            mode: one_of("inline"),
            /// Unique number of the group.
            id: integer(1..=255),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
