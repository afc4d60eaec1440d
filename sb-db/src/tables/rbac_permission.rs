//! `RBAC_Permission`, as the southbound database has it.

ovsdb::table! {
    /// What a role may do to one table.
    pub struct RbacPermission = "RBAC_Permission" {
        root: true,
        columns {
            /// Name of the table.
            table: string,
            /// Columns of which one must equal the client's name; an empty string allows any row.
            authorization: set(string),
            /// Whether rows may be inserted and deleted.
            insert_delete: boolean,
            /// Columns that may be changed.
            update: set(string),
        }
    }
}
