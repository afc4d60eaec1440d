//! Collectors hear of all packets that are dropped (`NB_Global.options:debug_drop_collector_set`).
//!
//! Guarantees that whatever a logical flow drops is told by IPFIX to that set of collectors, with the flow as observation point: the first
//! half of its UUID, by which `weft why` and `ovn-sbctl lflow-list` find it. The observation domain has the datapath's key, and above it
//! the number of the `Sampling_App` of type `drop`, else `debug_drop_domain_id`. What chassis drop beside, in the tables behind the
//! pipelines, OVN's controllers sample by the same options, which go southbound; ours do not.

use std::sync::Arc;

use lflow::Actions;
use lflow::action::{Action, Sample, SampleArg};
use nb_db::tables::{NbGlobal, SamplingApp};
use ovsdb::Atom;
use ovsdb::typed::Table;
use relations::Handle;
use relations::Small;

use super::acl::SAMPLING_APPS;
use crate::compiler::drops::SAMPLE;
use crate::compiler::feature::{Feature, Kind, Over, Source};
use crate::compiler::options::Options;
#[cfg(test)]
use crate::testing::Change;

const COLLECTORS: &str = "debug_drop_collector_set";
const DOMAIN: &str = "debug_drop_domain_id";

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<NbGlobal>(&[])
            .keys(&[(NbGlobal::COLUMN.options.index, &[COLLECTORS, DOMAIN])]),
        Source::north::<SamplingApp>(&[
            SamplingApp::COLUMN.r#type.index,
            SamplingApp::COLUMN.id.index,
        ]),
    ],
    indexes: &[SAMPLING_APPS],
    relations: &[&SAMPLE],
    kinds: &[&READ],
    #[cfg(test)]
    operator: &[Change {
        weight: 1,
        run: tests::change,
    }],
    ..Feature::new("drop sampling")
};

static READ: Kind = Kind {
    name: "drop-sampling",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&SAMPLE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let mut complaints = unit.complaints::<NbGlobal>(row, "".into());
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let collectors = options.number(COLLECTORS, 0..=u32::MAX, &mut complaints);
        // OVN refuses 255, too.
        let domain = options.number(DOMAIN, 0..=254u8, &mut complaints);
        // A domain that makes no sense is nobody's: nothing is sampled then, as in OVN.
        let is_wrong = columns.get(column.index).get_str(DOMAIN).is_some() && domain.is_none();
        let app = unit.having(SAMPLING_APPS, &Atom::from("drop")).first();
        let app = app.and_then(|app| unit.north(*app));
        let app = app.and_then(|row| u8::try_from(SamplingApp::COLUMN.id.get(row)).ok());
        match collectors.filter(|set| *set > 0 && !is_wrong) {
            Some(set) => {
                let sample = Action::Sample(Box::new(Sample {
                    probability: u16::MAX,
                    collector_set: SampleArg::Number(set),
                    obs_domain: app.or(domain).unwrap_or_default(),
                    obs_point: SampleArg::Cookie,
                }));
                let actions = Actions(vec![sample]).to_string();
                unit.say(&SAMPLE, (), Arc::from(actions));
            }
            None if domain.is_some() => {
                let why = "there is no debug_drop_collector_set";
                let remedy =
                    "what is dropped is not sampled: say which set of collectors is to hear of it";
                complaints.warning(column.name, DOMAIN, 0, why, remedy);
            }
            None => {}
        }
        unit.problems(complaints.into_problems());
    },
};

#[cfg(test)]
mod tests {
    use ovsdb::operation::Operation;

    use super::*;
    use crate::testing::World;
    use crate::testing::random::Rng;

    /// What is dropped is sampled, otherwise, or not any more.
    pub(super) fn change(world: &mut World, rng: &mut Rng) -> String {
        let Some((uuid, mut row)) = world.nb::<NbGlobal>().pop() else {
            return "no global row".to_owned();
        };
        for (key, values) in [
            (COLLECTORS, ["7", "0", "x", "8"]),
            (DOMAIN, ["9", "255", "", "3"]),
        ] {
            match rng.below(6) {
                0 | 1 => drop(row.options.remove(key)),
                n => drop(row.options.insert(key.into(), values[n - 2].into())),
            }
        }
        let what = format!("drop sampling: {:?}", row.options);
        let columns = vec![NbGlobal::COLUMN.options.to(&row.options)];
        world.north(vec![Operation::update_row(NbGlobal::INDEX, uuid, columns)]);
        what
    }
}
