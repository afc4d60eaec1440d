//! The stages of the pipelines, one line each, and the kinds of flows in them.
//!
//! The numbers follow from the order here; they are ours and may change with any version: nothing outside refers to them.
//! A stage with a number of its own (`= 19`) leaves a gap before it. That is for stages of switches and routers that share
//! flows, and so have the same number in both; `next` passes over the gap.
//!
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
    ($($datapath:ident $pipeline:ident {
        $($(#[doc = $doc:literal])+ $stage:ident $name:literal $(= $number:ident)?;)*
    })*) => {
        /// A stage of a pipeline.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Stage {
            $($($(#[doc = $doc])+ $stage,)*)*
        }

        /// The pipelines, each with its stages in order.
        pub const PIPELINES: &[(Datapath, Pipeline, &[(Stage, &str, Option<u8>)])] = &[
            $((Datapath::$datapath, Pipeline::$pipeline, &[$((Stage::$stage, $name, stages!(@number $($number)?))),*]),)*
        ];
    };
    (@number) => { None };
    (@number $number:ident) => { Some($number) };
}

/// The number of the stage where clients that have chosen a backend are recognised, in switches and in routers.
const AFFINITY: u8 = 9;
/// The number of the stage where a virtual address becomes a backend's.
const BALANCE: u8 = 10;
/// The number of the stage where the backend is remembered.
const LEARN_AFFINITY: u8 = 11;
/// The number of the stage where an address becomes a MAC, in switches and in routers.
const NEIGHBOURS: u8 = 19;

stages! {
    Switch Ingress {
        /// Who may enter at all.
        InCheckPortSec "ls_in_check_port_sec";
        /// Those who may not are dropped.
        InApplyPortSec "ls_in_apply_port_sec";
        /// Packets are copied, as mirrors to ports say.
        InMirror "ls_in_mirror";
        /// Is the sender's address known to be here?
        InLookupFdb "ls_in_lookup_fdb";
        /// If not, it is learned.
        InPutFdb "ls_in_put_fdb";
        /// Connections are looked up, where rules need that.
        InPreAcl "ls_in_pre_acl";
        /// The rule that decides leaves its verdict.
        InAclEval "ls_in_acl_eval";
        /// The verdict is done.
        InAclAction "ls_in_acl_action";
        /// Packets are marked as QoS rules say.
        InQos "ls_in_qos";
        /// Is the client known to have chosen a backend?
        InAffinity "ls_in_lb_aff_check" = AFFINITY;
        /// Virtual addresses become those of backends.
        InBalance "ls_in_lb" = BALANCE;
        /// The backend that was chosen is remembered.
        InLearnAffinity "ls_in_lb_aff_learn" = LEARN_AFFINITY;
        /// Has a balanced packet come back to its own sender?
        InPreHairpin "ls_in_pre_hairpin";
        /// If so, it is from the virtual address.
        InNatHairpin "ls_in_nat_hairpin";
        /// And goes back.
        InHairpin "ls_in_hairpin";
        /// Rules that are for behind load balancers.
        InAclAfterLbEval "ls_in_acl_after_lb_eval";
        /// Their verdict is done.
        InAclAfterLbAction "ls_in_acl_after_lb_action";
        /// Connections that pass are remembered.
        InStateful "ls_in_stateful";
        /// Who asks for an address: segment and address are put where `neighbours` looks for them.
        InAsk "ls_in_arp_req";
        /// Known addresses become MACs.
        InNeighbours "ls_in_arp_resolve" = NEIGHBOURS;
        /// ARP and ND requests for known addresses are answered.
        InAnswer "ls_in_arp_rsp";
        /// Requests to the network's own services (DHCP, DNS) become replies.
        InDhcpOptions "ls_in_dhcp_options";
        /// The replies go back.
        InDhcpResponse "ls_in_dhcp_response";
        /// Where the destination is.
        InLookup "ls_in_l2_lkup";
        /// What to do with destinations that are nowhere.
        InUnknown "ls_in_l2_unknown";
    }
    Switch Egress {
        /// Connections are looked up, where rules need that.
        OutPreAcl "ls_out_pre_acl";
        /// The rule that decides leaves its verdict.
        OutAclEval "ls_out_acl_eval";
        /// The verdict is done.
        OutAclAction "ls_out_acl_action";
        /// Packets are copied, as mirrors to ports say.
        OutMirror "ls_out_mirror";
        /// Packets are marked as QoS rules say.
        OutQos "ls_out_qos";
        /// Connections that pass are remembered.
        OutStateful "ls_out_stateful";
        /// Whether the receiver may get it.
        OutCheckPortSec "ls_out_check_port_sec";
        /// If so, it is delivered.
        OutApplyPortSec "ls_out_apply_port_sec";
    }
    Router Ingress {
        /// Who may enter, and what is to be known of the port.
        RouterInAdmission "lr_in_admission";
        /// Does a neighbour tell what is known?
        RouterInLookupNeighbour "lr_in_lookup_neighbor";
        /// If not, it is learned.
        RouterInLearnNeighbour "lr_in_learn_neighbor";
        /// Packets to the router itself are told apart.
        RouterInOwn "lr_in_own";
        /// The router's own answers, and what it does not forward.
        RouterInInput "lr_in_ip_input";
        /// Router solicitations become advertisements.
        RouterInAdvertise "lr_in_nd_ra_options";
        /// The advertisements go back.
        RouterInAdvertised "lr_in_nd_ra_response";
        /// Replies to translated addresses are translated back.
        RouterInUnsnat "lr_in_unsnat";
        /// Connections to virtual addresses are looked up.
        RouterInDefrag "lr_in_defrag";
        /// Is the client known to have chosen a backend?
        RouterInAffinity "lr_in_lb_aff_check" = AFFINITY;
        /// Virtual addresses become those of backends, and outside addresses inside ones.
        RouterInDnat "lr_in_dnat" = BALANCE;
        /// The backend that was chosen is remembered.
        RouterInLearnAffinity "lr_in_lb_aff_learn" = LEARN_AFFINITY;
        /// Which table of routes.
        RouterInRoutingPre "lr_in_ip_routing_pre";
        /// The route of the longest prefix: port and next hop.
        RouterInRouting "lr_in_ip_routing";
        /// One of several next hops.
        RouterInRoutingEcmp "lr_in_ip_routing_ecmp";
        /// Policies, which overrule routes.
        RouterInPolicy "lr_in_policy";
        /// One of several next hops of a policy.
        RouterInPolicyEcmp "lr_in_policy_ecmp";
        /// The MAC of the next hop.
        RouterInNeighbours "lr_in_arp_resolve" = NEIGHBOURS;
        /// Is it too large for the port it leaves by?
        RouterInCheckLength "lr_in_chk_pkt_len";
        /// If so: the addresses of the port that it came by.
        RouterInTooLarge "lr_in_too_large";
        /// An error goes back.
        RouterInLarger "lr_in_larger_pkts";
        /// What leaves by a gateway port goes to the chassis that has it.
        RouterInRedirect "lr_in_gw_redirect";
        /// Next hops whose MAC is not known are asked for it.
        RouterInAsk "lr_in_arp_request";
    }
    Router Egress {
        /// Replies from inside get their outside addresses back.
        RouterOutUndnat "lr_out_undnat";
        /// Connections that are not translated are remembered as such.
        RouterOutPostUndnat "lr_out_post_undnat";
        /// Inside addresses become outside ones.
        RouterOutSnat "lr_out_snat";
        /// What is still for an address of a NAT rule enters the router again.
        RouterOutLoop "lr_out_egr_loop";
        /// Delivery to the port.
        RouterOutDelivery "lr_out_delivery";
    }
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
                let mut free = 0;
                stages.iter().map(move |(_, name, number)| {
                    let table = number.unwrap_or(free);
                    free = table + 1;
                    Place {
                        datapath: *datapath,
                        pipeline: *pipeline,
                        table,
                        name,
                    }
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
            .flat_map(|(_, _, stages)| stages.iter().map(|(stage, ..)| *stage))
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

    /// The table of the stage behind it in its pipeline, if that is not simply the next number.
    pub fn leap(self) -> Option<u8> {
        let here = places()[self as usize];
        let behind = places().get(self as usize + 1)?;
        let is_leap = (behind.datapath, behind.pipeline) == (here.datapath, here.pipeline)
            && behind.table != here.table + 1;
        is_leap.then_some(behind.table)
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
            let mut free = 0;
            for (stage, name, _) in *stages {
                assert!(stage.table() >= free, "{stage:?} does not stand in order");
                free = stage.table() + 1;
                assert_eq!(stage.name(), *name);
                assert_eq!((stage.datapath(), stage.pipeline()), (*datapath, *pipeline));
            }
            assert!(free <= most, "{datapath:?} {pipeline:?}");
        }
    }

    #[test]
    fn what_switches_and_routers_share_has_one_number() {
        for (switch, router) in [
            (Stage::InAffinity, Stage::RouterInAffinity),
            (Stage::InBalance, Stage::RouterInDnat),
            (Stage::InLearnAffinity, Stage::RouterInLearnAffinity),
            (Stage::InNeighbours, Stage::RouterInNeighbours),
        ] {
            assert_eq!(switch.table(), router.table());
        }
        assert_eq!(Stage::RouterInPolicyEcmp.leap(), Some(NEIGHBOURS));
        // What goes on by itself cannot stand before a gap.
        for stage in [
            Stage::RouterInDefrag,
            Stage::InBalance,
            Stage::RouterInDnat,
            Stage::InNatHairpin,
        ] {
            assert_eq!(stage.leap(), None);
        }
        assert_eq!(Stage::InNeighbours.leap(), None);
        assert_eq!(Stage::RouterInAsk.leap(), None);
    }
}
