//! `Logical_Flow`, as the southbound database has it.

ovsdb::table! {
    /// A flow of the logical pipeline: what northd says about packets, for controllers to turn into OpenFlow.
    pub struct LogicalFlow = "Logical_Flow" {
        root: true,
        columns {
            /// The one datapath of the flow; unset: see `logical_dp_group`.
            logical_datapath: optional(strong(Datapath_Binding)),
            /// The datapaths of the flow, when there are several.
            logical_dp_group: optional(strong(Logical_DP_Group)),
            /// Which pipeline the flow is in.
            pipeline: one_of("ingress", "egress"),
            /// Stage within the pipeline.
            table_id: integer(0..=33),
            /// Rank; the highest match decides.
            priority: integer(0..=65_535),
            /// Which packets, in the expression language of logical flows.
            r#match: string,
            /// What happens to a matching packet, in the action language of logical flows.
            actions: string,
            /// Hints to the controller: `in_out_port`, `acl_ct_translation`.
            tags: map(string => string),
            /// Meter for packets that the flow sends to the controller.
            controller_meter: optional(string),
            /// For people: `stage-name`, `stage-hint` (start of the northbound row's UUID), `source`.
            external_ids: map(string => string),
            /// Text for people.
            flow_desc: optional(string),
        }
    }
}
