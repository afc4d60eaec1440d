//! What of a rule's packets is told to collectors (`ACL.sample_new`, `ACL.sample_est`).
//!
//! A sample carries the observation point of its `Sample` row, and in the upper eight bits of the observation domain what kind it is, as
//! `Sampling_App` numbers it; controllers put the datapath's key into the others. The packets of a rule that open a connection, or have
//! none, are sampled as new, those that follow as established; of a rule allow-related the replies and ICMP errors, too: they are not
//! asked about, so the connection remembers the observation point where it would remember the rule's label.

use std::sync::Arc;

use lflow::action::{Action, Sample, SampleArg};
use nb_db::tables as nb;
use ovsdb::Atom;
use relations::Handle;
use uuid::Uuid;

use super::model::{Access, Verdict};
use crate::compiler::feature::Index;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;

/// Kinds of samples by name.
pub const APPS: Index = Index::north::<nb::SamplingApp>(nb::SamplingApp::COLUMN.r#type.index);

/// What is told of a rule's packets.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Of those that open connections.
    pub(super) new: Vec<Action>,
    /// Of those of connections that there are.
    pub(super) established: Vec<Action>,
    /// The observation point that connections remember; 0 for none.
    pub(super) point: u32,
}

impl Samples {
    /// Of a rule. For features that declare to read the three tables.
    pub(super) fn of(unit: &mut Unit<'_>, row: Handle, rule: &Access) -> Self {
        let mut complaints = unit.complaints::<nb::Acl>(row, Arc::clone(&rule.name));
        let samples = Self::read(unit, rule, &mut complaints);
        unit.problems(complaints.into_problems());
        samples
    }

    /// What connections of a rule carry, without a word about what is wrong with its samples.
    pub(super) fn label_of(unit: &Unit<'_>, row: Handle, rule: &Access) -> u32 {
        let mut complaints = unit.complaints::<nb::Acl>(row, Arc::clone(&rule.name));
        match Self::read(unit, rule, &mut complaints).point {
            0 => rule.label,
            point => point,
        }
    }

    fn read(unit: &Unit<'_>, rule: &Access, complaints: &mut Complaints) -> Self {
        let mut samples = Self::default();
        let mut read = |column: &'static str, app, row: Option<Uuid>| {
            let (point, told) = read(unit, row?, app)?;
            if told.is_empty() {
                let why = "the sample has no collector that wants anything";
                complaints.warning(
                    column,
                    "",
                    0,
                    why,
                    "set its collectors, and their probability",
                );
            } else if unit.having(APPS, &Atom::from(app)).is_empty() {
                let why = format!("there is no Sampling_App of type {app}");
                let remedy = "its samples carry the number 0: create one";
                complaints.warning(column, "", 0, why, remedy);
            }
            Some((point, told))
        };
        let column = nb::Acl::COLUMN;
        if let Some((_, new)) = read(column.sample_new.name, "acl-new", rule.sample_new) {
            samples.new = new;
        }
        if rule.verdict != Verdict::AllowRelated {
            return samples;
        }
        let established = read(column.sample_est.name, "acl-est", rule.sample_est);
        if let Some((point, established)) = established {
            samples.point = if established.is_empty() { 0 } else { point };
            samples.established = established;
        }
        samples
    }

    /// Whether anything is told.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.established.is_empty()
    }
}

/// The observation point of a `Sample`, and what tells each of its collectors.
fn read(unit: &Unit<'_>, sample: Uuid, app: &str) -> Option<(u32, Vec<Action>)> {
    let row = unit.north(unit.find_north::<nb::Sample>(sample)?)?;
    let point = u32::try_from(nb::Sample::COLUMN.metadata.get(row)).ok()?;
    let app = unit.having(APPS, &Atom::from(app)).first();
    let app = app.and_then(|app| unit.north(*app));
    let app = app.and_then(|row| u8::try_from(nb::SamplingApp::COLUMN.id.get(row)).ok());
    let tell = |collector: Uuid| {
        let column = nb::SampleCollector::COLUMN;
        let row: &Arc<ovsdb::Row> =
            unit.north(unit.find_north::<nb::SampleCollector>(collector)?)?;
        let probability = u16::try_from(column.probability.get(row)).ok()?;
        let set = u32::try_from(column.set_id.get(row)).ok()?;
        // A collector that wants none of all packets.
        (probability > 0).then(|| {
            Action::Sample(Box::new(Sample {
                probability,
                collector_set: SampleArg::Number(set),
                obs_domain: app.unwrap_or_default(),
                obs_point: SampleArg::Number(point),
            }))
        })
    };
    let collectors = nb::Sample::COLUMN.collectors.get(row);
    Some((point, collectors.into_iter().filter_map(tell).collect()))
}
