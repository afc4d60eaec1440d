//! `exit`: what this chassis leaves behind.
//!
//! With `--restart`, or where the switch's database says `ovn-cleanup-on-exit=false`, everything stays as it is, for the controller that comes next. Without it, the chassis takes leave, as with
//! OVN's controller (ovn-controller(8)): its ports are nobody's, its rows `Chassis` and `Chassis_Private` are gone, and so are
//! its tunnels. The flows stay: guests of the same host still reach each other. Whoever asked gets the answer when all of it is
//! done; while the southbound cannot be reached, it waits, as OVN does, and SIGTERM or `exit --restart` cut that short.

use daemon::unixctl::Request;
use replica::TransactError;

use super::writes::is_nobodys;
use super::{Core, Effects, Subject};

/// The chassis is taking leave.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    requests: Vec<Request>,
    /// The transactions of the farewell itself. What else is under way may fail without a word of it here.
    own: Vec<u64>,
    /// What cannot be done, by database.
    failures: Vec<(&'static str, String)>,
}

impl Leaving {
    /// A transaction failed. If it was of the farewell and the database refused it, that is left as it is.
    pub(super) fn failed(&mut self, database: &'static str, id: u64, error: &TransactError) {
        // What was not sent, or not answered, is looked at again.
        if !is_nobodys(error) && self.own.contains(&id) {
            self.failures.push((database, error.to_string()));
        }
    }

    fn has_failed(&self, database: &str) -> bool {
        self.failures.iter().any(|(failed, _)| *failed == database)
    }
}

pub(super) const LOCAL: &str = "the local database";
pub(super) const SOUTH: &str = "the southbound";

impl Core {
    /// Somebody asks for the end.
    pub(super) fn exit(&mut self, request: Request, effects: &mut Effects) {
        let settings = self.local.settings.as_ref();
        let cleans_up = settings.is_none_or(|settings| settings.cleans_up);
        match request.args.first().map(String::as_str) {
            None if cleans_up => self
                .leaving
                .get_or_insert_with(Leaving::default)
                .requests
                .push(request),
            None | Some("--restart") => {
                for earlier in self.leaving.take().into_iter().flat_map(|l| l.requests) {
                    earlier.fail("cut short by exit --restart");
                }
                request.succeed("");
                effects.exit = true;
            }
            Some(other) => {
                let text = format!("exit takes --restart or nothing, not \"{other}\"");
                request.fail(text);
            }
        }
    }

    /// Takes the next step of the farewell; the last one is to answer and to end.
    pub(super) fn leave(&mut self, leaving: &mut Leaving, effects: &mut Effects) {
        let south_left = self.leave_south(leaving, effects);
        let local_left = self.leave_local(leaving, effects);
        if !(south_left && local_left) {
            return;
        }
        let failures: Vec<String> = leaving
            .failures
            .iter()
            .map(|(database, text)| {
                format!("{database} keeps what it says of this chassis: {text}")
            })
            .collect();
        for request in leaving.requests.drain(..) {
            if failures.is_empty() {
                request.succeed("");
            } else {
                request.fail(failures.join("; "));
            }
        }
        effects.exit = true;
    }

    /// Whether the southbound knows nothing of this chassis any more, or never will.
    fn leave_south(&mut self, leaving: &mut Leaving, effects: &mut Effects) -> bool {
        if !self.south_known || leaving.has_failed(SOUTH) {
            return true;
        }
        let Some(settings) = &self.local.settings else {
            return true;
        };
        if !self.south_writes.may_send() || !self.south_synced {
            return false;
        }
        let operations = self.south.farewell(&settings.system_id);
        if operations.is_empty() {
            return true;
        }
        let id = self.new_transaction();
        leaving.own.push(id);
        let operations = self
            .south_writes
            .send(id, vec![(Subject::Farewell, operations)]);
        effects.south.push((id, operations));
        false
    }

    fn leave_local(&mut self, leaving: &mut Leaving, effects: &mut Effects) -> bool {
        if !self.local_known || leaving.has_failed(LOCAL) {
            return true;
        }
        if !self.local_transactions.may_send() {
            return false;
        }
        let operations = self.local.farewell();
        if operations.is_empty() {
            return true;
        }
        let id = self.new_transaction();
        leaving.own.push(id);
        self.local_transactions.sent(id);
        effects.local.push((id, operations));
        false
    }
}
