//! The stages of the pipelines, one line each, and the kinds of flows in them.
//!
//! The numbers follow from the order here; they are ours and may change with any version: nothing outside refers to them.
//! Controllers have room for 29 ingress and 16 egress stages, whatever their version. Names are OVN's where the purpose is
//! the same.

use std::sync::OnceLock;

use lflow::action::Pipeline;

/// What a pipeline belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datapath {
    /// A logical switch.
    Switch,
    /// A logical router.
    Router,
}

macro_rules! stages {
    ($($datapath:ident $pipeline:ident {$($(#[doc = $doc:literal])+ $stage:ident $name:literal;)*})*) => {
        /// A stage of a pipeline.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Stage {
            $($($(#[doc = $doc])+ $stage,)*)*
        }

        /// The pipelines, each with its stages in order.
        pub const PIPELINES: &[(Datapath, Pipeline, &[(Stage, &str)])] = &[
            $((Datapath::$datapath, Pipeline::$pipeline, &[$((Stage::$stage, $name)),*]),)*
        ];
    };
}

stages! {
    Switch Ingress {
        /// Who may enter at all.
        InCheckPortSec "ls_in_check_port_sec";
        /// Those who may not are dropped.
        InApplyPortSec "ls_in_apply_port_sec";
        /// Is the sender's address known to be here?
        InLookupFdb "ls_in_lookup_fdb";
        /// If not, it is learned.
        InPutFdb "ls_in_put_fdb";
        /// Packets are marked as QoS rules say.
        InQos "ls_in_qos";
        /// ARP and ND requests for known addresses are answered.
        InNeighbours "ls_in_arp_rsp";
        /// DHCP requests become replies.
        InDhcpOptions "ls_in_dhcp_options";
        /// The replies go back.
        InDhcpResponse "ls_in_dhcp_response";
        /// Where the destination is.
        InLookup "ls_in_l2_lkup";
        /// What to do with destinations that are nowhere.
        InUnknown "ls_in_l2_unknown";
    }
    Switch Egress {
        /// Packets are marked as QoS rules say.
        OutQos "ls_out_qos";
        /// Whether the receiver may get it.
        OutCheckPortSec "ls_out_check_port_sec";
        /// If so, it is delivered.
        OutApplyPortSec "ls_out_apply_port_sec";
    }
    Router Ingress {}
    Router Egress {}
}

/// The place of a stage.
#[derive(Debug, Clone, Copy)]
struct Place {
    datapath: Datapath,
    pipeline: Pipeline,
    table: u8,
    name: &'static str,
}

fn places() -> &'static [Place] {
    static PLACES: OnceLock<Vec<Place>> = OnceLock::new();
    // The enumeration and the pipelines are made of the same lines, so the order of all is the order of the enumeration.
    PLACES.get_or_init(|| {
        let pipelines = PIPELINES.iter();
        pipelines
            .flat_map(|(datapath, pipeline, stages)| {
                (0..).zip(*stages).map(|(table, (_, name))| Place {
                    datapath: *datapath,
                    pipeline: *pipeline,
                    table,
                    name,
                })
            })
            .collect()
    })
}

impl Stage {
    /// All stages, each pipeline's in order.
    pub fn all() -> impl Iterator<Item = Self> {
        PIPELINES
            .iter()
            .flat_map(|(_, _, stages)| stages.iter().map(|(stage, _)| *stage))
    }

    /// What the pipeline belongs to.
    pub fn datapath(self) -> Datapath {
        places()[self as usize].datapath
    }

    /// The pipeline.
    pub fn pipeline(self) -> Pipeline {
        places()[self as usize].pipeline
    }

    /// `Logical_Flow.table_id`.
    pub fn table(self) -> u8 {
        places()[self as usize].table
    }

    /// The name in `Logical_Flow.external_ids:stage-name`.
    pub fn name(self) -> &'static str {
        places()[self as usize].name
    }
}

/// Flows of one kind: where they are, and what for. Each feature declares its own, uses them to make its flows, and `docs/`
/// prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The stage.
    pub stage: Stage,
    /// The priority: of the flows that match a packet, the highest decides. For flows whose priority is a row's, the
    /// highest there is.
    pub priority: u16,
    /// What matches and what happens, for people.
    pub what: &'static str,
}

impl Rule {
    /// A kind of flows.
    pub const fn new(stage: Stage, priority: u16, what: &'static str) -> Self {
        Self {
            stage,
            priority,
            what,
        }
    }

    /// The same with another priority.
    #[must_use]
    pub const fn at(self, priority: u16) -> Self {
        Self { priority, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_fit_into_every_controller() {
        for (datapath, pipeline, stages) in PIPELINES {
            let most = match pipeline {
                Pipeline::Ingress => 29,
                Pipeline::Egress => 16,
            };
            assert!(stages.len() <= most, "{datapath:?} {pipeline:?}");
            for (number, (stage, name)) in stages.iter().enumerate() {
                assert_eq!(usize::from(stage.table()), number);
                assert_eq!(stage.name(), *name);
                assert_eq!((stage.datapath(), stage.pipeline()), (*datapath, *pipeline));
            }
        }
    }
}
