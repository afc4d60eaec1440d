//! `RBAC_Role`, as the southbound database has it.

ovsdb::table! {
    /// A role: for each table, the permission that clients in this role have.
    pub struct RbacRole = "RBAC_Role" {
        root: true,
        columns {
            /// Name of the role.
            name: string,
            /// Permission by table.
            permissions: map(string => weak(RBAC_Permission)),
        }
    }
}
