//! `Port_Group`, as the northbound database has it.

ovsdb::table! {
    /// A named list of switch ports. Matches refer to it as `@name`, and the group's ACLs apply to all of its ports.
    pub struct PortGroup = "Port_Group" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// The members, of any switch.
            ports: set(weak(Logical_Switch_Port)),
            /// Rules on packets of the members.
            acls: set(strong(ACL)),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
