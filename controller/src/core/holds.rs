//! When the switch is not changed although something differs.
//!
//! * While a change of conditions is under way: rows that pass from one condition to another are told as gone and come back at
//!   once. A logical flow that is put under another datapath group does that, with all others of its group.
//! * After bundles that the switch refused again and again without saying why.
//!
//! Neither lasts: a server that does not answer, or a switch that never says why, must not keep everything else from changing.

use std::time::{Duration, Instant};

/// How long changes wait for conditions to take effect.
const CONDITIONS: Duration = Duration::from_secs(3);
/// How long, after another southbound is followed, whose rows have other identities: until it has said everything, what the old
/// one said is all that guests have.
const ANOTHER: Duration = Duration::from_secs(60);
/// How long a switch that refuses everything is left alone.
const REFUSALS: Duration = Duration::from_secs(5);

/// The reasons to wait.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// The switch has refused again what it had refused.
    pub(super) gave_up: bool,
    /// Another southbound is followed.
    pub(super) moved: bool,
    patient_until: Option<Instant>,
    until: Option<Instant>,
    conditions: Conditions,
}

#[derive(Debug, Default, PartialEq)]
enum Conditions {
    #[default]
    Settled,
    Awaited(Instant),
    TakeTooLong,
}

impl Holds {
    /// Whether changes have to wait now. `awaited`: conditions have been asked for and the server has not carried them out.
    pub(super) fn hold(&mut self, now: Instant, awaited: bool) -> bool {
        if std::mem::take(&mut self.gave_up) {
            self.until = Some(now + REFUSALS);
        }
        self.until = self.until.filter(|until| now < *until);
        if std::mem::take(&mut self.moved) {
            self.patient_until = Some(now + ANOTHER);
        }
        let limit = self.patient_until.max(Some(now + CONDITIONS));
        self.conditions = match (awaited, &self.conditions) {
            (false, _) => Conditions::Settled,
            (true, Conditions::Settled) => Conditions::Awaited(limit.unwrap_or(now)),
            (true, Conditions::Awaited(until)) if now < *until => Conditions::Awaited(*until),
            (true, _) => Conditions::TakeTooLong,
        };
        self.until.is_some() || matches!(self.conditions, Conditions::Awaited(_))
    }

    /// When waiting is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.conditions {
            Conditions::Awaited(until) => self.until.max(Some(until)),
            _ => self.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_held_for_ever() {
        let start = Instant::now();
        let mut holds = Holds::default();
        assert!(!holds.hold(start, false));
        assert!(holds.hold(start, true));
        assert_eq!(holds.deadline(), Some(start + CONDITIONS));
        assert!(!holds.hold(start + CONDITIONS, true));
        assert_eq!(holds.deadline(), None);
        assert!(!holds.hold(start + CONDITIONS, false));
        assert!(holds.hold(start + CONDITIONS, true));
        holds.gave_up = true;
        assert!(holds.hold(start, false));
        assert!(!holds.hold(start + REFUSALS, false));
    }

    #[test]
    fn another_southbound_has_time_to_say_everything() {
        let start = Instant::now();
        let mut holds = Holds {
            moved: true,
            ..Holds::default()
        };
        assert!(!holds.hold(start, false), "nothing is awaited yet");
        let asked = start + CONDITIONS * 2;
        assert!(holds.hold(asked, true));
        assert!(holds.hold(asked + CONDITIONS * 2, true));
        assert_eq!(holds.deadline(), Some(start + ANOTHER));
        assert!(!holds.hold(start + ANOTHER, true), "not for ever");
        assert!(!holds.hold(start + ANOTHER, false));
        assert!(holds.hold(start + ANOTHER, true));
        assert_eq!(holds.deadline(), Some(start + ANOTHER + CONDITIONS));
    }
}
