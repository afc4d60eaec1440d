//! `Network_Function`, as the northbound database has it.

ovsdb::table! {
    /// A service machine that traffic is led through: it receives packets on one port and gives them back on another.
    pub struct NetworkFunction = "Network_Function" {
        root: true,
        indexes: [(name), (id)],
        columns {
            /// Unique name.
            name: string,
            /// Port on which the machine gives packets back.
            outport: strong(Logical_Switch_Port),
            /// Port on which the machine receives packets.
            inport: strong(Logical_Switch_Port),
            /// How the machine is probed; unset: taken to be healthy.
            health_check: optional(strong(Network_Function_Health_Check)),
            /// Unique number that connections carry in their label.
            id: integer(1..=255),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
