//! `Controller_Event`, as the southbound database has it.

ovsdb::table! {
    /// Something that a controller saw and the management system wants to know.
    pub struct ControllerEvent = "Controller_Event" {
        root: true,
        columns {
            /// What happened.
            event_type: one_of("empty_lb_backends"),
            /// Details: `vip`, `protocol`, `load_balancer`.
            event_info: map(string => string),
            /// Who saw it.
            chassis: optional(weak(Chassis)),
            /// Number that grows with each event.
            seq_num: integer,
        }
    }
}
