//! `Logical_Router`, as the northbound database has it.

ovsdb::table! {
    /// A layer-3 router. Distributed over all chassis, except where a gateway port or `options:chassis` ties it to one.
    pub struct LogicalRouter = "Logical_Router" {
        root: true,
        columns {
            /// Name for people; need not be unique.
            name: string,
            /// The ports of the router; a port belongs to exactly one.
            ports: set(strong(Logical_Router_Port)),
            /// The static routes.
            static_routes: set(strong(Logical_Router_Static_Route)),
            /// The policy routes.
            policies: set(strong(Logical_Router_Policy)),
            /// Administrative state; unset means enabled.
            enabled: optional(boolean),
            /// The address translations.
            nat: set(strong(NAT)),
            /// The load balancers that act here.
            load_balancer: set(weak(Load_Balancer)),
            /// Groups whose load balancers act here, too.
            load_balancer_group: set(strong(Load_Balancer_Group)),
            /// The control-plane protection profile.
            copp: optional(weak(Copp)),
            /// Settings: `chassis` (ties the router to one), `dnat_force_snat_ip`, `lb_force_snat_ip`, `mcast_relay`,
            /// `dynamic_neigh_routers`, `always_learn_from_arp_request`, `requested-tnl-key`, `snat-ct-zone`,
            /// `mac_binding_age_threshold`, `ct-zone-limit`, `ct-commit-all`, `disable_garp_rarp`, `ic-route-*`,
            /// `dynamic-routing` and `dynamic-routing-*`.
            options: map(string => string),
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}
