//! `Chassis`, as the southbound database has it.

ovsdb::table! {
    /// A hypervisor or gateway, registered by its controller.
    pub struct Chassis = "Chassis" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name: the `system-id` of the switch.
            name: string,
            /// Host name, for people.
            hostname: string,
            /// The tunnel endpoints; the preferred type comes from the peers' common ones.
            encaps: nonempty_set(strong(Encap)),
            /// Logical switches of a hardware gateway.
            vtep_logical_switches: set(string),
            /// No longer used; see `Chassis_Private`.
            nb_cfg: integer,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
            /// What the chassis tells of itself: `ovn-bridge-mappings`, `datapath-type`, `iface-types`,
            /// `ovn-cms-options`, `ovn-monitor-all`, `ovn-chassis-mac-mappings`, `is-interconn`, `is-remote`,
            /// `is-vtep`, and a flag for each feature that it knows (`port-up-notif`, `ct-no-masked-label`,
            /// `mac-binding-timestamp`, `ovn-ct-lb-related`, `fdb-timestamp`, `ls-dpg-column`, `ct-commit-nat-v2`,
            /// `ct-commit-to-zone`, `ct-next-zone`, `ct-label-flush`, `ct-state-save`, `ovn-sample-with-registers`).
            other_config: map(string => string),
            /// Zones that the chassis is in; tunnels exist only within a zone.
            transport_zones: set(string),
        }
    }
}
