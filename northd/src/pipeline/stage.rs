//! The stages of a switch's pipelines: their numbers and names.
//!
//! The numbers are ours and may change with any version: nothing outside refers to them. A controller of OVN 23.03 has room
//! for 24 ingress and 10 egress stages.

use lflow::action::Pipeline;

/// A stage of a logical switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Who may enter at all.
    InCheckPortSec,
    /// Those who may not are dropped.
    InApplyPortSec,
    /// Is the sender's address known to be here?
    InLookupFdb,
    /// If not, it is learned.
    InPutFdb,
    /// ARP and ND requests for known addresses are answered.
    InNeighbours,
    /// DHCP requests become replies.
    InDhcpOptions,
    /// The replies go back.
    InDhcpResponse,
    /// Where the destination is.
    InLookup,
    /// What to do with destinations that are nowhere.
    InUnknown,
    /// Whether the receiver may get it.
    OutCheckPortSec,
    /// If so, it is delivered.
    OutApplyPortSec,
}

impl Stage {
    /// All stages, each pipeline's in order.
    pub const ALL: [Self; 11] = [
        Self::InCheckPortSec,
        Self::InApplyPortSec,
        Self::InLookupFdb,
        Self::InPutFdb,
        Self::InNeighbours,
        Self::InDhcpOptions,
        Self::InDhcpResponse,
        Self::InLookup,
        Self::InUnknown,
        Self::OutCheckPortSec,
        Self::OutApplyPortSec,
    ];

    /// The pipeline.
    pub const fn pipeline(self) -> Pipeline {
        match self {
            Self::OutCheckPortSec | Self::OutApplyPortSec => Pipeline::Egress,
            _ => Pipeline::Ingress,
        }
    }

    /// `Logical_Flow.table_id`.
    pub const fn table(self) -> u8 {
        match self {
            Self::OutCheckPortSec => 0,
            Self::OutApplyPortSec => 1,
            ingress => ingress as u8,
        }
    }

    /// The name in `Logical_Flow.external_ids:stage-name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InCheckPortSec => "ls_in_check_port_sec",
            Self::InApplyPortSec => "ls_in_apply_port_sec",
            Self::InLookupFdb => "ls_in_lookup_fdb",
            Self::InPutFdb => "ls_in_put_fdb",
            Self::InNeighbours => "ls_in_arp_rsp",
            Self::InDhcpOptions => "ls_in_dhcp_options",
            Self::InDhcpResponse => "ls_in_dhcp_response",
            Self::InLookup => "ls_in_l2_lkup",
            Self::InUnknown => "ls_in_l2_unknown",
            Self::OutCheckPortSec => "ls_out_check_port_sec",
            Self::OutApplyPortSec => "ls_out_apply_port_sec",
        }
    }
}

/// Flows of one kind: where they are, and what for. Each feature declares its own, uses them to make its flows, and `docs/`
/// prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The stage.
    pub stage: Stage,
    /// The priority: of the flows that match a packet, the highest decides.
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
}
