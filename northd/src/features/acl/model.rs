//! From a row of `ACL` to a rule that makes sense.

use std::sync::Arc;

use lflow::expr::place_of;
use lflow::{Expr, Symbol};
use nb_db::tables::Acl;
use ovsdb::Row;
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};
use uuid::Uuid;

use super::owners::Profile;
use super::{LAST_TIER, Point};
use crate::compiler::feature::{Kind, Over};
use crate::compiler::options::Options;
use crate::compiler::problem::Complaints;
use crate::compiler::unit::Unit;
use crate::features::matches;

/// Rules that make sense.
pub(super) static RULE: Relation<Handle, Arc<Access>> = Relation::new("acl");

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    /// Where it is asked.
    pub(super) point: Point,
    /// In which tier.
    pub(super) tier: u8,
    /// `ACL.priority`.
    pub(super) priority: u16,
    /// What it matches, if that can be read. A rule that cannot be has no flows; it is a rule of its switch all the same, so
    /// that a slip of the pen neither lets everything pass nor ends the tracking of connections.
    pub(super) when: Option<Expr>,
    /// What becomes of it.
    pub(super) verdict: Verdict,
    /// How it is logged, if it is.
    pub(super) log: Option<Logging>,
    /// The number that connections carry; 0 for none.
    pub(super) label: u32,
    /// `ACL.name`, or nothing.
    pub(super) name: Arc<str>,
    /// Connections that it has let pass are not asked about again (`options:persist-established`).
    pub(super) persists: bool,
    /// `ACL.sample_new`: a row of `Sample`.
    pub(super) sample_new: Option<Uuid>,
    /// `ACL.sample_est`.
    pub(super) sample_est: Option<Uuid>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes; where connections are tracked, so does what belongs to its connection.
    Allow,
    /// The same, and connections are tracked.
    AllowRelated,
    /// It passes, and its connection is not looked up.
    AllowStateless,
    /// It is dropped.
    Drop,
    /// It is dropped, and its sender told.
    Reject,
    /// The next tier is asked.
    Pass,
}

/// How packets are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logging {
    /// `ACL.name`, or nothing.
    pub(super) name: Arc<str>,
    /// `ACL.severity`.
    pub(super) severity: Arc<str>,
    /// `ACL.meter`.
    pub(super) meter: Option<Arc<str>>,
    /// Replies and related packets, too (`options:log-related`).
    pub(super) related: bool,
}

pub(super) static MODEL: Kind = Kind {
    name: "model/acl",
    over: Over::North(Acl::INDEX),
    reads: &[],
    says: &[&RULE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let name: Option<Arc<str>> = Acl::COLUMN.name.get(columns);
        let mut complaints = unit.complaints::<Acl>(row, name.unwrap_or_default());
        let mut rule = Access::parse(columns, &mut complaints);
        if rule.persists && unit.lacks("ACL_ID") {
            let why = "the southbound database has no ACL_ID";
            let remedy = "connections are asked about with each packet until it is upgraded";
            let column = Acl::COLUMN.options.name;
            complaints.warning(column, "persist-established", 0, why, remedy);
            rule.persists = false;
        }
        if let Some(when) = &rule.when {
            check(unit, columns, rule.point, when, &mut complaints);
        }
        unit.say(&RULE, row, Arc::new(rule));
        unit.problems(complaints.into_problems());
    },
};

impl Access {
    /// What a switch needs for it.
    pub(super) fn profile(&self) -> Profile {
        let tiers = Profile::tiers(self.point, self.tier);
        match self.verdict {
            Verdict::AllowRelated if self.persists => tiers | Profile::TRACKS | Profile::PERSISTS,
            Verdict::AllowRelated => tiers | Profile::TRACKS,
            _ => tiers,
        }
    }

    /// Reads a row.
    fn parse(row: &Row, complaints: &mut Complaints) -> Self {
        let column = Acl::COLUMN;
        let text: Arc<str> = column.r#match.get(row);
        let remedy = "the rule is left out until its match can be read";
        let when = matches::parse(&text, column.r#match.name, remedy, complaints);
        let options = Options::read(column.options.name, row.get(column.options.index));
        let after_lb = options.truth("apply-after-lb", false, complaints);
        let related = options.truth("log-related", false, complaints);
        let point = match (&*column.direction.get(row), after_lb) {
            ("from-lport", false) => Point::In,
            ("from-lport", true) => Point::AfterLb,
            (_, is_said) => {
                if is_said {
                    let why = "apply-after-lb is for rules from-lport";
                    let remedy = "it is ignored: rules to-lport see packets as their receiver does";
                    complaints.text(column.options.name, "apply-after-lb", 0, why, remedy);
                }
                Point::Out
            }
        };
        let verdict = match &*column.action.get(row) {
            "allow" => Verdict::Allow,
            "allow-related" => Verdict::AllowRelated,
            "allow-stateless" => Verdict::AllowStateless,
            "reject" => Verdict::Reject,
            "pass" => Verdict::Pass,
            _ => Verdict::Drop,
        };
        let label = u32::try_from(column.label.get(row)).unwrap_or_default();
        let log = column.log.get(row).then(|| {
            let name: Option<Arc<str>> = column.name.get(row);
            let severity: Option<Arc<str>> = column.severity.get(row);
            Logging {
                name: name.unwrap_or_default(),
                severity: severity.unwrap_or_else(|| "info".into()),
                meter: column.meter.get(row),
                related,
            }
        });
        let sample_est = column.sample_est.get(row);
        let has_label = label != 0 || sample_est.is_some();
        if related && (log.is_none() || !has_label) {
            let why = "log-related needs log and a label";
            let remedy = "replies are not logged: set log, and a label that no other rule has";
            complaints.text(column.options.name, "log-related", 0, why, remedy);
        }
        let persists = options.truth("persist-established", false, complaints);
        if persists && verdict != Verdict::AllowRelated {
            let why = "persist-established is for rules allow-related";
            let remedy = "it is ignored: other rules have no connections";
            complaints.text(column.options.name, "persist-established", 0, why, remedy);
        }
        if sample_est.is_some() && verdict != Verdict::AllowRelated {
            let why = "sample_est is for rules allow-related";
            let remedy = "it is ignored: other rules have no connections, use sample_new";
            complaints.column(column.sample_est.name, why, remedy);
        }
        if sample_est.is_some() && verdict == Verdict::AllowRelated && label != 0 {
            let why = "a rule with sample_est has no label";
            let remedy = "connections carry the observation point: remove one of the two";
            complaints.text(column.label.name, &label.to_string(), 0, why, remedy);
        }
        Self {
            name: column.name.get(row).unwrap_or_default(),
            persists: persists && verdict == Verdict::AllowRelated,
            sample_new: column.sample_new.get(row),
            sample_est,
            point,
            tier: u8::try_from(column.tier.get(row)).map_or(LAST_TIER, |tier| tier.min(LAST_TIER)),
            priority: u16::try_from(column.priority.get(row)).unwrap_or_default(),
            when,
            verdict,
            log,
            label,
        }
    }
}

/// Tells what is done as written and cannot have been meant.
fn check(unit: &Unit<'_>, row: &Row, point: Point, when: &Expr, complaints: &mut Complaints) {
    let column = Acl::COLUMN.r#match;
    let text: Arc<str> = column.get(row);
    matches::check_names(unit, when, &text, column.name, complaints);
    let mut uses_outport = false;
    when.comparisons(&mut |comparison| {
        uses_outport |= comparison.field.symbol() == Symbol::Outport;
    });
    if uses_outport && point != Point::Out {
        let why = "a packet from-lport has no outport yet";
        let at = place_of("outport", &text);
        let remedy = "it matches nothing: match the destination's address, or use to-lport";
        complaints.warning(column.name, &text, at, why, remedy);
    }
}
