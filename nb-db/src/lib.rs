//! The northbound database: its schema, one file a table, and its server.
//!
//! [`schema`] is OVN 26.03's `OVN_Northbound`: the same tables, columns, types, limits and references, so that clients of
//! OVN work against it and this code against OVN's servers. Each table is one declaration in [`tables`], of which
//! come the struct that the code uses, the schema, and the reference page. Tables of Weft's own are declared the
//! same way and listed as additions.

pub mod tables;

ovsdb::database! {
    name: "OVN_Northbound",
    version: "7.18.0",
    tables: [
        tables::NbGlobal,
        tables::SampleCollector,
        tables::Sample,
        tables::Copp,
        tables::LogicalSwitch,
        tables::LogicalSwitchPort,
        tables::NetworkFunctionHealthCheck,
        tables::NetworkFunction,
        tables::NetworkFunctionGroup,
        tables::LogicalSwitchPortHealthCheck,
        tables::ForwardingGroup,
        tables::AddressSet,
        tables::PortGroup,
        tables::LoadBalancer,
        tables::LoadBalancerGroup,
        tables::LoadBalancerHealthCheck,
        tables::Acl,
        tables::Qos,
        tables::Mirror,
        tables::MirrorRule,
        tables::Meter,
        tables::MeterBand,
        tables::LogicalRouter,
        tables::LogicalRouterPort,
        tables::LogicalRouterStaticRoute,
        tables::LogicalRouterPolicy,
        tables::Nat,
        tables::DhcpOptions,
        tables::DhcpRelay,
        tables::Connection,
        tables::Dns,
        tables::Ssl,
        tables::GatewayChassis,
        tables::HaChassis,
        tables::HaChassisGroup,
        tables::Bfd,
        tables::StaticMacBinding,
        tables::ChassisTemplateVar,
        tables::SamplingApp,
    ],
    additions: [tables::WeftProblem],
}
