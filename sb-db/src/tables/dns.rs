//! `DNS`, as the southbound database has it.

ovsdb::table! {
    /// Names that are answered on the given datapaths.
    pub struct Dns = "DNS" {
        root: true,
        columns {
            /// Answers by lower-case name, separated by blanks.
            records: map(string => string),
            /// Where the names are known.
            datapaths: nonempty_set(strong(Datapath_Binding)),
            /// Settings: `ovn-owned` (answer negatively for names that are not here).
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
