//! `Load_Balancer_Group`, as the northbound database has it.

ovsdb::table! {
    /// A named list of load balancers, so that switches and routers can share one list.
    pub struct LoadBalancerGroup = "Load_Balancer_Group" {
        root: true,
        indexes: [(name)],
        columns {
            /// Unique name.
            name: string,
            /// The members.
            load_balancer: set(weak(Load_Balancer)),
        }
    }
}
