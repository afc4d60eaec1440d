//! `Queue`: one of the queues at a port.

ovsdb::table! {
    /// A queue.
    pub struct Queue = "Queue" {
        root: true,
        columns {
            /// Rates and burst: `min-rate` and `max-rate` in bit/s, `burst` in bits.
            other_config: map(string => string),
            /// `ovn_port` says for which logical port it is.
            external_ids: map(string => string),
        }
    }
}
