//! Where the columns are that the rules look at.

use ovsdb::schema::DatabaseSchema;

/// The tables that the rules know.
macro_rules! tables {
    ($($field:ident: $kind:ident = $name:literal { $($column:ident),* })*) => {
        /// The tables, with the places of their columns.
        #[derive(Debug)]
        pub struct Tables {
            $(pub $field: $kind,)*
        }

        impl Tables {
            /// Finds them; `None` if the schema lacks one.
            pub fn find(schema: &DatabaseSchema) -> Option<Self> {
                Some(Self { $($field: $kind::find(schema)?,)* })
            }
        }

        $(
            #[doc = concat!("`", $name, "`.")]
            #[derive(Debug)]
            pub struct $kind {
                pub table: usize,
                $(pub $column: usize,)*
            }

            impl $kind {
                fn find(schema: &DatabaseSchema) -> Option<Self> {
                    let table = schema.table_index($name)?;
                    // A column whose name is a word of Rust's has an underscore behind it here.
                    let column = |name: &str| {
                        schema.tables[table].column_index(name.strip_suffix('_').unwrap_or(name))
                    };
                    Some(Self { table, $($column: column(stringify!($column))?,)* })
                }
            }
        )*
    };
}

tables! {
    chassis: ChassisColumns = "Chassis" { name, encaps }
    chassis_private: ChassisPrivate = "Chassis_Private" { name, chassis }
    encap: Encap = "Encap" { chassis_name }
    port_binding: PortBinding = "Port_Binding" {
        logical_port, type_, datapath, tunnel_key, parent_port, virtual_parent, options,
        chassis, additional_chassis, encap, additional_encap, up,
        requested_chassis, requested_additional_chassis, gateway_chassis, ha_chassis_group
    }
    datapath_binding: DatapathBinding = "Datapath_Binding" { tunnel_key }
    mac_binding: MacBinding = "MAC_Binding" { logical_port, datapath }
    fdb: Fdb = "FDB" { dp_key, port_key }
    learned_route: LearnedRoute = "Learned_Route" { logical_port, datapath }
    igmp_group: IgmpGroup = "IGMP_Group" { chassis, chassis_name, datapath, ports }
    controller_event: ControllerEvent = "Controller_Event" { chassis }
    service_monitor: ServiceMonitor = "Service_Monitor" { chassis_name, logical_port }
    bfd: Bfd = "BFD" { chassis_name, logical_port }
    gateway_chassis: GatewayChassis = "Gateway_Chassis" { chassis }
    ha_chassis: HaChassis = "HA_Chassis" { chassis }
    ha_chassis_group: HaChassisGroup = "HA_Chassis_Group" { ha_chassis }
}
