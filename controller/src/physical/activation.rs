//! Flows that keep a guest silent that comes by migration, until it speaks.
//!
//! While a guest moves, packets for it go to both places, and both could send. Where the port says by what its new place is
//! to be recognised (`options:activation-strategy`), nothing passes there, in neither direction, until the guest has sent such a
//! packet; that goes on, and the controller hears of it.
//!
//! | table | priority | match | does |
//! | --- | --- | --- | --- |
//! | 0 | 1010 | input port, and the packet that is awaited | to the controller, and into the ingress pipeline |
//! | 0 | 1000 | input port | nothing |
//! | 65 | 1000 | output port | nothing |

use openflow::action::Controller;
use openflow::{Action, Field, Match};
use packet::userdata::Opcode;
use sb_db::tables::PortBinding;
use smallvec::SmallVec;

use super::{Flows, towards};
use crate::flow::MeterSpec;
use crate::layout;
use crate::network::{Attachment, Network, Reads, has_spoken, is_additional};

/// By what a guest is recognised at its new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A reverse ARP.
    Rarp,
    /// An ARP packet.
    Garp,
    /// A neighbour advertisement.
    Na,
}

impl Strategy {
    fn named(name: &str) -> Option<Self> {
        match name.trim() {
            "rarp" => Some(Self::Rarp),
            "garp" => Some(Self::Garp),
            "na" => Some(Self::Na),
            _ => None,
        }
    }

    fn narrow(self, matches: Match) -> Match {
        match self {
            Self::Rarp => matches.with(Field::EthType, 0x8035_u16),
            Self::Garp => matches.with(Field::EthType, 0x0806_u16),
            Self::Na => matches
                .with(Field::EthType, 0x86dd_u16)
                .with(Field::IpProto, 58_u8)
                .with(Field::Icmpv6Type, 136_u8)
                .with(Field::Icmpv6Code, 0_u8),
        }
    }
}

/// What a port waits for that is here in addition; nothing if it does not wait, or no longer.
pub fn awaited(network: &Network, reads: &Reads, port: &PortBinding) -> SmallVec<[Strategy; 3]> {
    let own = network.own(reads);
    let Some(chassis) = own.chassis.filter(|own| is_additional(port, *own)) else {
        return SmallVec::new();
    };
    // What was said before the chassis had the port was said at another migration.
    let is_claimed = port.additional_chassis.contains(&chassis);
    if (is_claimed && has_spoken(port, &own.name))
        || network.activated.get(reads, port.uuid).is_some()
    {
        return SmallVec::new();
    }
    let strategy = port.options.get("activation-strategy");
    let names = strategy.map_or("", |names| names).split(',');
    names.filter_map(Strategy::named).collect()
}

/// The flows. `enter` brings packets of the port into the pipeline.
pub(super) fn flows(
    strategies: &[Strategy],
    (datapath, key): (u32, u32),
    at: Attachment,
    enter: &[Action],
    out: &mut Flows<'_>,
) {
    let from = || Match::new().with(Field::InPort, at.ofport);
    let Some((into, before)) = enter.split_last() else {
        return;
    };
    let tell = Action::Controller(Box::new(Controller {
        userdata: Opcode::ActivationStrategy.header().to_vec(),
        meter_id: Some(1),
        ..Controller::default()
    }));
    for strategy in strategies {
        let actions = [before, &[tell.clone(), into.clone()]].concat();
        let matches = strategy.narrow(from());
        let meter = MeterSpec {
            name: format!("activation {datapath} {key}").into(),
            is_asked_for: false,
            packets: true,
            rate: 100,
            burst: 100,
        };
        out.add_metered(layout::PHYSICAL_TO_LOGICAL, 1010, matches, actions, meter);
    }
    out.add(layout::PHYSICAL_TO_LOGICAL, 1000, from(), Vec::new());
    keep_from((datapath, key), out);
}

/// Keeps packets from a port: a guest that waits, or a container in it, whose packets come by its guest's input port.
pub(super) fn keep_from((datapath, key): (u32, u32), out: &mut Flows<'_>) {
    let to = towards(datapath, key);
    out.add(layout::LOGICAL_TO_PHYSICAL, 1000, to, Vec::new());
}
