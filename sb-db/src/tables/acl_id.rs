//! `ACL_ID`, as the southbound database has it.

ovsdb::table! {
    /// The identifier by which connection tracking remembers an ACL that persists established connections.
    pub struct AclId = "ACL_ID" {
        root: true,
        columns {
            /// The identifier.
            id: integer(0..=32_767),
        }
    }
}
