//! `Chassis_Template_Var`, as the southbound database has it.

ovsdb::table! {
    /// Values of template variables on one chassis; from the northbound.
    pub struct ChassisTemplateVar = "Chassis_Template_Var" {
        root: true,
        indexes: [(chassis)],
        columns {
            /// Name of the chassis.
            chassis: string,
            /// The value of each variable.
            variables: map(string => string),
        }
    }
}
