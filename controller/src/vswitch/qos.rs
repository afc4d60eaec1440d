//! `QoS`: the queues at a port.

ovsdb::table! {
    /// How packets wait at a port.
    pub struct Qos = "QoS" {
        root: true,
        columns {
            /// The discipline: `linux-htb`, …
            r#type: string,
            /// The queues, by number.
            queues: map(integer => strong(Queue)),
            /// Settings of the discipline: `max-rate` in bit/s.
            other_config: map(string => string),
            /// `ovn_qos` says that it is a controller's.
            external_ids: map(string => string),
        }
    }
}
