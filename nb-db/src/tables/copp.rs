//! `Copp`, as the northbound database has it.

ovsdb::table! {
    /// A control-plane protection profile: which meter limits which kind of packet on its way to the controller.
    pub struct Copp = "Copp" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name of the profile.
            name: string,
            /// Meter name by kind of packet: `arp`, `arp-resolve`, `dhcpv4-opts`, `dhcpv6-opts`, `dns`, `event-elb`,
            /// `icmp4-error`, `icmp6-error`, `igmp`, `nd-na`, `nd-ns`, `nd-ns-resolve`, `nd-ra-opts`, `tcp-reset`,
            /// `bfd`, `reject`, `svc-monitor`, `dhcpv4-relay`.
            meters: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
