//! `Connection`, as the southbound database has it.

ovsdb::table! {
    /// An OVSDB listener of the server, or a client to which it connects.
    pub struct Connection = "Connection" {
        root: false,
        indexes: [(target)],
        columns {
            /// The connection method: `ssl:`, `tcp:`, `unix:`, or, to listen, `pssl:`, `ptcp:`, `punix:`.
            target: string,
            /// Upper bound in milliseconds for the pause between attempts to connect.
            max_backoff: optional(integer(1000..)),
            /// Milliseconds of silence after which the peer is probed; 0 turns probing off.
            inactivity_probe: optional(integer),
            /// Whether writes through this connection are refused.
            read_only: boolean,
            /// Role that clients of this connection have; empty: no restriction.
            role: string,
            /// Further settings, such as `dscp`.
            other_config: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// Whether the connection is up now.
            is_connected: boolean ephemeral,
            /// State of the connection now: `state` (VOID, BACKOFF, CONNECTING, ACTIVE, IDLE), `last_error`,
            /// `sec_since_connect`, `sec_since_disconnect`, `locks_held`, `locks_waiting`, `locks_lost`,
            /// `n_connections`, `bound_port`.
            status: map(string => string) ephemeral,
        }
    }
}
