//! `NB_Global`, as the northbound database has it.

ovsdb::table! {
    /// The one row of settings that concern the whole deployment, and the sequence numbers by which a client learns
    /// that its changes have taken effect.
    ///
    /// A client that wants to wait increments `nb_cfg`; northd copies the number to `sb_cfg` when the southbound
    /// database reflects everything written before, and to `hv_cfg` when every chassis has confirmed it.
    pub struct NbGlobal = "NB_Global" {
        root: true,
        max_rows: 1,
        columns {
            /// Name of this deployment; the availability zone when several are connected.
            name: string,
            /// Sequence number that a client increments when it wants to know how far its changes have come.
            nb_cfg: integer,
            /// When northd began to process `nb_cfg`, in milliseconds since the epoch.
            nb_cfg_timestamp: integer,
            /// The newest `nb_cfg` that the southbound database reflects.
            sb_cfg: integer,
            /// When `sb_cfg` took its value, in milliseconds since the epoch.
            sb_cfg_timestamp: integer,
            /// The newest `nb_cfg` that every chassis has confirmed.
            hv_cfg: integer,
            /// When the slowest chassis confirmed `hv_cfg`, in milliseconds since the epoch.
            hv_cfg_timestamp: integer,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// The listeners and clients of the database server.
            connections: set(strong(Connection)),
            /// The server's TLS settings.
            ssl: optional(strong(SSL)),
            /// Settings: BFD of tunnels (`bfd-min-rx`, `bfd-decay-min-rx`, `bfd-min-tx`, `bfd-mult`), `mac_prefix`,
            /// ageing limits (`mac_binding_removal_limit`, `fdb_removal_limit`), probe intervals in milliseconds
            /// (`northd_probe_interval`, `nbctl_probe_interval`), `northd-backoff-interval-ms`, `ignore_lsp_down`,
            /// `use_ct_inv_match`, `default_acl_drop`, `always_tunnel`, `vxlan_mode`, drop sampling
            /// (`debug_drop_domain_id`, `debug_drop_collector_set`), service monitor addresses (`svc_monitor_mac`, …),
            /// interconnection (`ic-route-*`).
            options: map(string => string),
            /// Whether tunnels between chassis are encrypted.
            ipsec: boolean,
        }
    }
}
