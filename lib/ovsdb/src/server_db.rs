//! The `_Server` database, in which a server tells of its databases (ovsdb-server(5)).
//!
//! A client of a cluster reads from it which server leads, and which has seen what.

crate::table! {
    /// A database of the server, this one included. The row's UUID changes when the database is removed and added.
    pub struct Database = "Database" {
        root: true,
        columns {
            /// The cluster's ID, if the database is clustered.
            cid: optional(uuid),
            /// Whether the server is in contact with its storage: for a cluster, with a majority of its members.
            connected: boolean,
            /// The index of the last log entry that clients can see. It never goes back on one server; a client that
            /// changes servers avoids those that are behind what it has seen.
            index: optional(integer),
            /// Whether this server leads the cluster. True of a database that is not clustered.
            leader: boolean,
            /// How the database is stored.
            model: one_of("clustered", "relay", "standalone"),
            /// The database's name.
            name: string,
            /// The database's schema, as JSON text.
            schema: optional(string),
            /// The server's ID within the cluster, if the database is clustered.
            sid: optional(uuid),
        }
    }
}

crate::database! {
    name: "_Server",
    version: "1.2.0",
    tables: [Database],
    additions: [],
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_schema_is_that_of_open_vswitch() {
        let mut ours = schema().to_json();
        // Open vSwitch's says nothing of roots, which means that every table is one.
        ours["tables"]["Database"]
            .as_object_mut()
            .unwrap()
            .remove("isRoot");
        ours.as_object_mut().unwrap().remove("cksum");
        assert_eq!(
            ours,
            json!({"name": "_Server", "version": "1.2.0", "tables": {"Database": {"columns": {
                "name": {"type": "string"},
                "model": {"type": {"key": {"type": "string", "enum": ["set", ["clustered", "relay", "standalone"]]}}},
                "connected": {"type": "boolean"},
                "leader": {"type": "boolean"},
                "schema": {"type": {"min": 0, "key": "string"}},
                "sid": {"type": {"min": 0, "key": "uuid"}},
                "cid": {"type": {"min": 0, "key": "uuid"}},
                "index": {"type": {"min": 0, "key": "integer"}}}}}})
        );
    }
}
