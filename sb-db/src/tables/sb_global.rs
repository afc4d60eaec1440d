//! `SB_Global`, as the southbound database has it.

ovsdb::table! {
    /// The one row of settings that concern the whole deployment, mostly copied from the northbound's `NB_Global` by
    /// northd.
    pub struct SbGlobal = "SB_Global" {
        root: true,
        max_rows: 1,
        columns {
            /// Copied from the northbound; chassis confirm it when they have applied everything up to it.
            nb_cfg: integer,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// The listeners and clients of the database server.
            connections: set(strong(Connection)),
            /// The server's TLS settings.
            ssl: optional(strong(SSL)),
            /// Settings, copied from the northbound by northd; of its own `sbctl_probe_interval`.
            options: map(string => string),
            /// Whether tunnels between chassis are encrypted.
            ipsec: boolean,
        }
    }
}
