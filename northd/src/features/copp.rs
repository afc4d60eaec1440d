//! Control-plane protection: what datapaths may send to the controllers, protocol by protocol.
//!
//! Arrives: `Copp` rows, and the switches and routers that name one. Guarantees that the flows of those datapaths that send packets of
//! a protocol of the profile to the controllers have the profile's meter (`Logical_Flow.controller_meter`); how flows that many
//! datapaths share come by it is the compiler's business (`compiler/metering.rs`). What no profile limits is limited by the controllers'
//! own rates.
//!
//! A protocol that there is not and a meter that there is not are told, and limit nothing. A *fair* meter is one for all datapaths
//! here, as with OVN: only ACLs have copies of their own.

use std::sync::Arc;

use lflow::action::CoppProtocol;
use nb_db::tables as nb;
use ovsdb::Row;
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};
use uuid::Uuid;

use super::meters;
use super::switch::DATAPATH;
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
#[cfg(test)]
use crate::testing::Change;

/// The meters of each profile.
static PROFILE: Relation<Handle, Arc<[Limit]>> = Relation::new("copp");

/// What is sent of a protocol passes this meter.
type Limit = (CoppProtocol, Arc<str>);

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<nb::Copp>(&[nb::Copp::COLUMN.name.index, nb::Copp::COLUMN.meters.index]),
        Source::north::<nb::LogicalSwitch>(&[nb::LogicalSwitch::COLUMN.copp.index]),
        Source::north::<nb::LogicalRouter>(&[nb::LogicalRouter::COLUMN.copp.index]),
        Source::north::<nb::Meter>(&[nb::Meter::COLUMN.name.index]),
    ],
    indexes: &[meters::BY_NAME],
    relations: &[&PROFILE],
    kinds: &[&MODEL, &OF_SWITCH, &OF_ROUTER],
    #[cfg(test)]
    operator: &[Change {
        weight: 4,
        run: tests::change,
    }],
    ..Feature::new("copp")
};

static MODEL: Kind = Kind {
    name: "model/copp",
    over: Over::North(nb::Copp::INDEX),
    reads: &[],
    says: &[&PROFILE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let name: Arc<str> = nb::Copp::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<nb::Copp>(row, name);
        let limits = limits(unit, columns, &mut complaints);
        unit.say(&PROFILE, row, limits.into());
        unit.problems(complaints.into_problems());
    },
};

fn limits(unit: &Unit<'_>, row: &Row, complaints: &mut Complaints) -> Vec<Limit> {
    let column = nb::Copp::COLUMN.meters;
    let mut limits = Vec::new();
    for (protocol, meter) in column.get(row) {
        let Some(known) = CoppProtocol::named(&protocol) else {
            let why = format!("there is no protocol {protocol:?}");
            complaints.text(
                column.name,
                &protocol,
                0,
                why,
                "write one of those in ovn-nb(5)",
            );
            continue;
        };
        if meters::find(unit, &meter).is_none() {
            let why = format!("there is no meter {meter:?}");
            let remedy = "chassis limit such packets at their own rate until there is one";
            complaints.warning(column.name, &protocol, 0, why, remedy);
            continue;
        }
        limits.push((known, meter));
    }
    limits
}

static OF_SWITCH: Kind = Kind {
    name: "copp/switch",
    over: Over::North(nb::LogicalSwitch::INDEX),
    reads: &[&PROFILE, &DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let columns = unit.north(row);
        let profile = columns.and_then(|row| nb::LogicalSwitch::COLUMN.copp.get(row));
        say(unit, row, profile);
    },
};

static OF_ROUTER: Kind = Kind {
    name: "copp/router",
    over: Over::North(nb::LogicalRouter::INDEX),
    reads: &[&PROFILE, &DATAPATH],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let columns = unit.north(row);
        let profile = columns.and_then(|row| nb::LogicalRouter::COLUMN.copp.get(row));
        say(unit, row, profile);
    },
};

fn say(unit: &mut Unit<'_>, row: Handle, profile: Option<Uuid>) {
    let profile = profile.and_then(|profile| unit.find_north::<nb::Copp>(profile));
    let limits = profile.and_then(|profile| unit.get(&PROFILE, profile));
    let (Some(limits), Some(datapath)) = (limits, unit.get(&DATAPATH, row)) else {
        return;
    };
    for (protocol, meter) in limits.iter() {
        unit.limit(datapath.uuid, *protocol, Arc::clone(meter));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::random::Rng;
    use crate::testing::{World, insert};

    /// A profile comes, goes or says something else, or a switch or router gets or loses it.
    pub fn change(world: &mut World, rng: &mut Rng) -> String {
        let all = world.nb::<nb::Copp>();
        let operations = match (rng.below(4), rng.pick(&all)) {
            (0, Some((uuid, _))) => vec![Operation::delete_row(nb::Copp::INDEX, *uuid)],
            (1, Some((uuid, _))) => {
                let columns = vec![nb::Copp::COLUMN.meters.to(&meters(rng))];
                vec![Operation::update_row(nb::Copp::INDEX, *uuid, columns)]
            }
            (_, Some((uuid, _))) if all.len() > 1 || rng.once_in(2) => {
                let copp = (!rng.once_in(3)).then_some(*uuid);
                let switches = world.nb::<nb::LogicalSwitch>();
                let routers = world.nb::<nb::LogicalRouter>();
                let of_switch = rng.pick(&switches).map(|(switch, _)| {
                    let columns = vec![nb::LogicalSwitch::COLUMN.copp.to(&copp)];
                    Operation::update_row(nb::LogicalSwitch::INDEX, *switch, columns)
                });
                let of_router = rng.pick(&routers).map(|(router, _)| {
                    let columns = vec![nb::LogicalRouter::COLUMN.copp.to(&copp)];
                    Operation::update_row(nb::LogicalRouter::INDEX, *router, columns)
                });
                of_switch.into_iter().chain(of_router).collect()
            }
            _ => {
                let name = ["careful", "easy"][rng.below(2)];
                if all.iter().any(|(_, row)| *row.name == *name) {
                    return "the profile is there".to_owned();
                }
                let row = nb::Copp {
                    name: name.into(),
                    meters: meters(rng),
                    ..Default::default()
                };
                vec![insert(rng.uuid(), &row)]
            }
        };
        let what = format!("copp: {operations:?}");
        if !operations.is_empty() {
            world.north(operations);
        }
        what
    }

    fn meters(rng: &mut Rng) -> BTreeMap<Arc<str>, Arc<str>> {
        let known = CoppProtocol::ALL.iter().map(|protocol| protocol.name());
        let chosen = known.chain(["nothing"]).filter(|_| rng.once_in(3));
        let chosen: Vec<Arc<str>> = chosen.map(Arc::from).collect();
        let meters = chosen.into_iter().map(|protocol| {
            let meter = ["m1", "m2", "m3"][rng.below(3)];
            (protocol, Arc::from(meter))
        });
        meters.collect()
    }

    /// Three switches and a meter; the profile of the first limits ARP answers, which all switches share.
    struct Shown {
        world: World,
        switches: [Uuid; 3],
    }

    /// Flows, each by its meter and the number of its datapaths; and the number of groups.
    type Shared = (Vec<(Option<Arc<str>>, usize)>, usize);

    const COPP: Uuid = Uuid::from_u128(3);

    impl Shown {
        fn new(meters: &[(&str, &str)]) -> Self {
            let mut world = World::new();
            let [band, meter] = [1, 2].map(Uuid::from_u128);
            let of = nb::MeterBand {
                action: "drop".into(),
                rate: 10,
                ..Default::default()
            };
            let slow = nb::Meter {
                name: "slow".into(),
                unit: "pktps".into(),
                bands: vec![band],
                ..Default::default()
            };
            let pairs = meters.iter();
            let profile = nb::Copp {
                name: "copp".into(),
                meters: pairs
                    .map(|(protocol, meter)| (Arc::from(*protocol), Arc::from(*meter)))
                    .collect(),
                ..Default::default()
            };
            let switches = [4, 5, 6].map(Uuid::from_u128);
            let mut operations = vec![
                insert(band, &of),
                insert(meter, &slow),
                insert(COPP, &profile),
            ];
            for (number, switch) in switches.iter().enumerate() {
                let row = nb::LogicalSwitch {
                    name: format!("s{number}").into(),
                    ..Default::default()
                };
                operations.push(insert(*switch, &row));
            }
            world.north(operations);
            Self { world, switches }
        }

        fn protect(&mut self, switch: usize, copp: Option<Uuid>) {
            let columns = vec![nb::LogicalSwitch::COLUMN.copp.to(&copp)];
            let (index, row) = (nb::LogicalSwitch::INDEX, self.switches[switch]);
            self.world
                .north(vec![Operation::update_row(index, row, columns)]);
        }

        /// The meter of flows of a protocol, and of how many datapaths they are; and how many groups there are.
        fn flows(&self, of: CoppProtocol) -> Shared {
            let groups = self.world.sb::<sb_db::tables::LogicalDpGroup>();
            let flows = self.world.sb::<sb_db::tables::LogicalFlow>().into_iter();
            let flows = flows.filter(|(_, flow)| {
                let when = lflow::Expr::parse(&flow.r#match).expect("a match");
                let then = lflow::Actions::parse(&flow.actions).expect("actions");
                lflow::action::protection(&when, &then) == Some(of)
            });
            let members = |flow: &sb_db::tables::LogicalFlow| {
                let group = groups
                    .iter()
                    .find(|(uuid, _)| Some(*uuid) == flow.logical_dp_group);
                group.map_or(1, |(_, group)| group.datapaths.len())
            };
            let mut flows: Vec<_> = flows
                .map(|(_, flow)| (flow.controller_meter.clone(), members(&flow)))
                .collect();
            flows.sort();
            flows.dedup();
            (flows, groups.len())
        }
    }

    #[test]
    fn who_has_a_meter_leaves_the_flows_that_all_share_for_that_protocol_only() {
        let slow: Option<Arc<str>> = Some("slow".into());
        let mut shown = Shown::new(&[("nd-na", "slow")]);
        let (flows, groups) = shown.flows(CoppProtocol::NdNa);
        assert_eq!(flows, [(None, 3)]);
        shown.protect(0, Some(COPP));
        let parts = (vec![(None, 2), (slow.clone(), 1)], groups + 2);
        assert_eq!(shown.flows(CoppProtocol::NdNa), parts);
        assert!(
            shown
                .flows(CoppProtocol::Arp)
                .0
                .iter()
                .all(|(meter, _)| meter.is_none())
        );
        shown.protect(1, Some(COPP));
        let parts = (vec![(None, 1), (slow.clone(), 2)], groups + 2);
        assert_eq!(shown.flows(CoppProtocol::NdNa), parts);
        shown.protect(2, Some(COPP));
        let all = (vec![(slow, 3)], groups + 1);
        assert_eq!(shown.flows(CoppProtocol::NdNa), all);
        for switch in 0..3 {
            shown.protect(switch, None);
        }
        assert_eq!(shown.flows(CoppProtocol::NdNa), (vec![(None, 3)], groups));
    }

    #[test]
    fn what_makes_no_sense_is_told_and_limits_nothing() {
        let mut shown = Shown::new(&[("nd-na", "nobody"), ("smoke", "slow")]);
        shown.protect(0, Some(COPP));
        assert_eq!(shown.flows(CoppProtocol::NdNa).0, [(None, 3)]);
        let problems = shown.world.nb::<nb::WeftProblem>().into_iter();
        let mut whys: Vec<String> = problems
            .map(|(_, problem)| problem.why.to_string())
            .collect();
        whys.sort();
        let expected = [
            "there is no meter \"nobody\"",
            "there is no protocol \"smoke\"",
        ];
        assert_eq!(whys, expected);
    }
}
