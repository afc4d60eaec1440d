//! The southbound database: its schema, one file a table, and its server.
//!
//! [`schema`] is OVN 26.03's `OVN_Southbound`: the same tables, columns, types, limits and references, so that clients of
//! OVN work against it and this code against OVN's servers. Each table is one declaration in [`tables`], of which
//! come the struct that the code uses, the schema, and the reference page. Tables of Weft's own would be declared the
//! same way and listed as additions.

pub mod tables;

ovsdb::database! {
    name: "OVN_Southbound",
    version: "21.8.0",
    tables: [
        tables::SbGlobal,
        tables::Chassis,
        tables::ChassisPrivate,
        tables::Encap,
        tables::AddressSet,
        tables::PortGroup,
        tables::LogicalFlow,
        tables::LogicalDpGroup,
        tables::MulticastGroup,
        tables::Mirror,
        tables::Meter,
        tables::MeterBand,
        tables::DatapathBinding,
        tables::PortBinding,
        tables::MacBinding,
        tables::DhcpOptions,
        tables::Dhcpv6Options,
        tables::Connection,
        tables::Ssl,
        tables::Dns,
        tables::RbacRole,
        tables::RbacPermission,
        tables::GatewayChassis,
        tables::HaChassis,
        tables::HaChassisGroup,
        tables::ControllerEvent,
        tables::IpMulticast,
        tables::IgmpGroup,
        tables::ServiceMonitor,
        tables::LoadBalancer,
        tables::Bfd,
        tables::Fdb,
        tables::StaticMacBinding,
        tables::EcmpNexthop,
        tables::ChassisTemplateVar,
        tables::AdvertisedRoute,
        tables::LearnedRoute,
        tables::AclId,
        tables::AdvertisedMacBinding,
    ],
    additions: [],
}
