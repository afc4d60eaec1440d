//! `FDB`, as the southbound database has it.

ovsdb::table! {
    /// A MAC address that has been learned behind a port.
    pub struct Fdb = "FDB" {
        root: true,
        indexes: [(mac, dp_key)],
        columns {
            /// The Ethernet address.
            mac: string,
            /// Key of the datapath.
            dp_key: integer(1..=16_777_215),
            /// Key of the port behind which the address is.
            port_key: integer(1..=16_777_215),
            /// When it was learned or seen, in milliseconds since the epoch.
            timestamp: integer,
        }
    }
}
