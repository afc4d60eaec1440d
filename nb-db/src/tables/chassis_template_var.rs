//! `Chassis_Template_Var`, as the northbound database has it.

ovsdb::table! {
    /// Values of template variables on one chassis. Load balancers and matches refer to a variable as `^name`.
    pub struct ChassisTemplateVar = "Chassis_Template_Var" {
        root: true,
        indexes: [(chassis)],
        columns {
            /// Name of the chassis.
            chassis: string,
            /// The value of each variable.
            variables: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
