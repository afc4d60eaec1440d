//! What every door does with the network: reads of the copy, transactions, and waiting.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use nb_db::tables::NbGlobal;
use northbound::Draft;
use objects::read;
use objects::{Code, Refused};
use ovsdb::condition::Clause;
use ovsdb::operation::OpResult;
use ovsdb::{ColumnRef, ErrorKind, Operation, Table, Uuid};
use replica::{Event, Handle, TransactError};
use store::caller::{Caller, Role};
use tokio::sync::{Semaphore, oneshot, watch};

use super::room::{Room, Taken};
pub use super::trouble::Trouble;
use super::who::{Place, Watches, Who};
use crate::live::Live;

/// So often a transaction is made anew because somebody else was faster.
const ATTEMPTS: usize = 16;
/// So long the news of what somebody else has done may take.
const NEWS: Duration = Duration::from_secs(5);
/// So long may be waited for northd and the chassis.
const WAIT: Duration = Duration::from_secs(60);
/// So many watchers there may be.
pub const MAX_WATCHERS: usize = 4096;
/// So many requests wait for news of the tokens that they show.
const MAX_UNKNOWN: usize = 256;

/// The network, shared by all doors.
#[derive(Clone, Debug)]
pub struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    live: RwLock<Live>,
    handle: Handle,
    /// Who waits for which transaction.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    next: AtomicU64,
    newest: Newest,
    /// The newest revision.
    revision: watch::Sender<u64>,
    watchers: Arc<Semaphore>,
    unknown: Semaphore,
    watches: Watches,
    /// Whether the copy is what the database has.
    synced: watch::Sender<bool>,
    /// Memory for requests.
    room: Room,
}

/// The questions to the database whether there is news. One is under way at a time, for all who came before it began.
#[derive(Debug, Default)]
struct Newest {
    /// How many have begun.
    begun: AtomicU64,
    /// The last that has ended, and whether with an answer; whoever has this asks.
    ended: tokio::sync::Mutex<(u64, bool)>,
}

/// What became of a transaction.
type Reply = Result<Vec<OpResult>, TransactError>;

/// How far a write has to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// It is committed.
    #[default]
    Commit,
    /// The southbound reflects it.
    Southbound,
    /// Every chassis has it.
    Chassis,
}

impl Network {
    /// The network behind a replica.
    pub fn new(live: Live, handle: Handle) -> Self {
        Self(Arc::new(Shared {
            live: RwLock::new(live),
            handle,
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            newest: Newest::default(),
            revision: watch::Sender::new(0),
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            unknown: Semaphore::new(MAX_UNKNOWN),
            watches: Watches::default(),
            synced: watch::Sender::new(false),
            room: Room::default(),
        }))
    }

    /// Takes over what the replica tells.
    pub fn event(&self, event: Event) {
        match event {
            Event::Changes(changes) => {
                let mut live = self.0.live.write().unwrap_or_else(PoisonError::into_inner);
                live.apply(changes);
                self.0.revision.send_replace(live.revision());
            }
            Event::Synced => {
                let missing = self.0.handle.status().missing;
                let missing = missing.tables.into_iter().chain(missing.columns);
                let mut live = self.0.live.write().unwrap_or_else(PoisonError::into_inner);
                live.snapshot.set_missing(missing);
                live.is_synced = true;
                self.0.synced.send_replace(true);
            }
            Event::Disconnected { remote, reason } => {
                tracing::warn!("{remote}: {reason}");
                let mut live = self.0.live.write().unwrap_or_else(PoisonError::into_inner);
                live.is_synced = false;
                self.0.synced.send_replace(false);
            }
            Event::TransactReply { id, result } => {
                let mut waiting = self
                    .0
                    .waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = waiting.remove(&id) {
                    // Who has gone does not want to know.
                    let _ = sender.send(result);
                }
            }
            Event::Connected { .. } | Event::ConditionsInEffect(_) | Event::Lock(_) => {}
        }
    }

    /// The copy, for a client that may read.
    pub fn read(&self, caller: &Caller) -> Result<RwLockReadGuard<'_, Live>, Trouble> {
        match caller.role {
            Role::Admin | Role::Writer | Role::Reader | Role::Northd => {}
            Role::Chassis | Role::Unknown(_) => return denied(caller, "read the network"),
        }
        let live = self.0.live.read().unwrap_or_else(PoisonError::into_inner);
        match live.is_synced {
            true => Ok(live),
            false => Err(away()),
        }
    }

    /// Whether the client may change the network.
    pub fn check_writes(&self, caller: &Caller) -> Result<(), Trouble> {
        match caller.role {
            Role::Admin | Role::Writer => Ok(()),
            _ => denied(caller, "change the network"),
        }
    }

    /// Room for a request of this client, of which nothing is taken yet.
    pub fn room(&self, who: &Who) -> Taken {
        self.0.room.taken(who)
    }

    /// Whether the copy is what the database has, and every change of that.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.0.synced.subscribe()
    }

    /// Waits for the database, if it is away.
    pub async fn until_synced(&self) -> Result<(), Trouble> {
        let mut synced = self.synced();
        match tokio::time::timeout(WAIT, synced.wait_for(|synced| *synced)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Trouble::Unavailable(
                "the northbound database is away".to_owned(),
            )),
        }
    }

    /// Waits until the copy has all that was committed before: a read that follows is linearizable, whoever has written.
    ///
    /// # Errors
    /// When the database is away, or does not answer.
    pub async fn newest(&self) -> Result<(), Trouble> {
        match tokio::time::timeout(NEWS, self.ask_for_newest()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(away()),
        }
    }

    /// Whether the copy has all that was committed before. Who comes while a question is under way asks the next, with all
    /// others who have come by then, and gets its answer, which may be none.
    async fn ask_for_newest(&self) -> bool {
        let Newest { begun, ended } = &self.0.newest;
        let came = begun.load(Ordering::SeqCst);
        let mut ended = ended.lock().await;
        if ended.0 > came {
            return ended.1;
        }
        let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
        // Who gives up while it asks has had no answer.
        *ended = (number, false);
        let nothing = Operation::Select {
            table: NbGlobal::INDEX,
            condition: vec![Clause::is_row(Uuid::nil())],
            columns: Arc::from([ColumnRef::Uuid]),
        };
        ended.1 = matches!(self.transact(vec![nothing]).await, Ok(Ok(_)));
        ended.1
    }

    /// The copy as it is, for a client that was asked already whether it may read.
    pub fn copy(&self) -> RwLockReadGuard<'_, Live> {
        self.0.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision, and every one after it.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.0.revision.subscribe()
    }

    /// A place among those who watch, and among the watches of the client.
    pub fn watcher(
        &self,
        who: &Who,
    ) -> Result<(tokio::sync::OwnedSemaphorePermit, Place), Trouble> {
        let place = self.0.watchers.clone().try_acquire_owned();
        let place = place
            .map_err(|_| Trouble::Exhausted(format!("{MAX_WATCHERS} clients watch already")))?;
        Ok((place, self.0.watches.take(who)?))
    }

    /// Who asks: the client of a connection, or who shows a token in the header `authorization`.
    pub fn who(&self, caller: Caller, authorization: Option<&str>) -> Result<Who, Trouble> {
        let live = self.copy();
        if authorization.is_some() && !live.is_synced {
            return Err(away());
        }
        Who::new(caller, &live.snapshot, authorization)
    }

    /// Waits until a token that has been made is known here: whoever shows an unknown one has the database asked for news. All who
    /// wait share a question, and no more than [`MAX_UNKNOWN`] wait.
    ///
    /// # Errors
    /// When the database cannot be asked: then nobody knows whether there is such a token.
    pub async fn know(&self, authorization: &str) -> Result<(), Trouble> {
        let is_unknown = {
            let live = self.copy();
            let nobody = Caller::new(Role::Unknown("".into()), "");
            let who = Who::new(nobody, &live.snapshot, Some(authorization));
            live.is_synced && matches!(who, Err(Trouble::Unauthenticated(_)))
        };
        if !is_unknown {
            return Ok(());
        }
        let Ok(_place) = self.0.unknown.try_acquire() else {
            let text = format!("{MAX_UNKNOWN} requests show tokens that are not known; try again");
            return Err(Trouble::Exhausted(text));
        };
        self.newest().await
    }

    /// Does this in one transaction, again if somebody else was faster, and waits for it to come as far as asked. Says the
    /// generation to compare with the progress of the deployment; 0 if nothing is waited for.
    pub async fn change<T>(
        &self,
        who: &Who,
        wait: Wait,
        change: impl Fn(&mut Draft<'_>) -> Result<T, Refused>,
    ) -> Result<(T, i64), Trouble> {
        self.check_writes(&who.caller)?;
        let mut revisions = self.revisions();
        let mut was_violated = false;
        for _ in 0..ATTEMPTS {
            revisions.borrow_and_update();
            let (done, operations, waits) = {
                let live = self.read(&who.caller)?;
                who.check(&live.snapshot)?;
                let mut draft = Draft::new(&live.snapshot);
                let done = change(&mut draft)?;
                let row = live.snapshot.table(NbGlobal::INDEX).iter().next();
                if who.has_token()
                    && !draft.is_unchanged()
                    && let Some((uuid, _)) = row
                {
                    // A token that has been revoked by the time changes nothing.
                    let column = NbGlobal::COLUMN.external_ids.index;
                    draft.verify(NbGlobal::INDEX, *uuid, column);
                }
                // Who asks again because no answer came waits for what was done the first time.
                let waits = wait != Wait::Commit;
                if waits && let Some((uuid, _)) = live.snapshot.table(NbGlobal::INDEX).iter().next()
                {
                    let column = NbGlobal::COLUMN.nb_cfg.index;
                    draft.increment(NbGlobal::INDEX, *uuid, column);
                }
                (done, draft.operations(), waits)
            };
            if operations.is_empty() {
                return Ok((done, 0));
            }
            match self.transact(operations).await? {
                Ok(results) => {
                    let goal = waits.then(|| counter(&results)).flatten();
                    if let Some(goal) = goal {
                        self.reached(goal, wait).await?;
                    }
                    return Ok((done, goal.unwrap_or_default()));
                }
                // What was relied upon is not so any more; the news is on its way.
                Err(error) if error.kind == ErrorKind::TimedOut => {
                    let _ = tokio::time::timeout(NEWS, revisions.changed()).await;
                }
                // Somebody else has made one of that name, perhaps: then the copy says so in a moment.
                Err(error) if error.kind == ErrorKind::ConstraintViolation && !was_violated => {
                    was_violated = true;
                    let _ = tokio::time::timeout(NEWS, revisions.changed()).await;
                }
                Err(error) => return Err(refusal(&error)),
            }
        }
        let text = "others change the same again and again; get it, and try again";
        Err(Refused::new(Code::Stale, text).into())
    }

    async fn transact(
        &self,
        operations: Vec<Operation>,
    ) -> Result<Result<Vec<OpResult>, ovsdb::Error>, Trouble> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let place = || {
            self.0
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        place().insert(id, sender);
        if let Err(error) = self.0.handle.transact(id, operations) {
            place().remove(&id);
            return Err(Trouble::Exhausted(error.to_string()));
        }
        let Ok(reply) = tokio::time::timeout(WAIT, receiver).await else {
            place().remove(&id);
            let text = "the database does not answer; look whether it was done";
            return Err(Trouble::Unknown(text.to_owned()));
        };
        match reply {
            Ok(Ok(results)) => Ok(Ok(results)),
            Ok(Err(TransactError::Failed(failure))) => Ok(Err(failure.error)),
            Ok(Err(TransactError::Refused(error))) => Ok(Err(error)),
            Ok(Err(error @ TransactError::NotConnected)) => {
                Err(Trouble::Unavailable(error.to_string()))
            }
            Ok(Err(error @ TransactError::Disconnected)) => Err(Trouble::Unknown(format!(
                "{error}; look whether it was done"
            ))),
            // It was on its way to the database.
            Err(_) => Err(Trouble::Unknown(
                "the server is shutting down; look whether it was done".to_owned(),
            )),
        }
    }

    /// Waits until the deployment has come so far.
    async fn reached(&self, goal: i64, wait: Wait) -> Result<(), Trouble> {
        let mut revisions = self.revisions();
        let waiting = async {
            loop {
                let reached = {
                    let live = self.0.live.read().unwrap_or_else(PoisonError::into_inner);
                    read::reached(&live.snapshot)
                };
                let far = reached.map(|[_, southbound, chassis]| match wait {
                    Wait::Chassis => southbound.min(chassis),
                    _ => southbound,
                });
                if far.is_some_and(|far| far >= goal) || revisions.changed().await.is_err() {
                    return;
                }
            }
        };
        match tokio::time::timeout(WAIT, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Trouble::Late(format!(
                "it is committed as generation {goal}, and was not everywhere within {} s; look at the progress",
                WAIT.as_secs()
            ))),
        }
    }
}

fn away() -> Trouble {
    let text = "the northbound database is not there now; try again";
    Trouble::Unavailable(text.to_owned())
}

/// What it means that a database answers with an error.
fn refusal(error: &ovsdb::Error) -> Trouble {
    let text = format!("the database refused the change: {error}");
    match &error.kind {
        ErrorKind::PermissionError => Trouble::Denied(error.to_string()),
        // Weft's word and OVN's for what may have been done, or was.
        ErrorKind::IoError => unknown(error),
        ErrorKind::Other(word) if word == "cluster error" => unknown(error),
        ErrorKind::ResourcesExhausted => Trouble::Exhausted(text),
        ErrorKind::NotAllowed | ErrorKind::NotLeader => Trouble::Unavailable(text),
        _ => Refused::new(Code::Conflict, text).into(),
    }
}

fn unknown(error: &ovsdb::Error) -> Trouble {
    Trouble::Unknown(format!("{error}; look whether it was done"))
}

fn denied<T>(caller: &Caller, what: &str) -> Result<T, Trouble> {
    Err(Trouble::Denied(format!(
        "{caller}, may not {what}: the role does not list it; connect with a certificate or a token, or to a listener, of a role that may"
    )))
}

/// The value that the last operation read.
fn counter(results: &[OpResult]) -> Option<i64> {
    match results.last()? {
        OpResult::Rows(rows) => rows.first()?.first()?.1.scalar()?.as_integer(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_database_are_told_for_what_they_are() {
        let told = |kind: ErrorKind| match refusal(&ovsdb::Error::new(kind, "so")) {
            Trouble::Denied(_) => "denied",
            Trouble::Unknown(text) if text.contains("look whether") => "unknown",
            Trouble::Exhausted(_) => "exhausted",
            Trouble::Unavailable(_) => "unavailable",
            Trouble::Refused(refused) => refused.code.name(),
            other => panic!("{other:?}"),
        };
        let other = |word: &str| ErrorKind::Other(word.to_owned());
        for (kind, expected) in [
            (ErrorKind::PermissionError, "denied"),
            (ErrorKind::IoError, "unknown"),
            (other("cluster error"), "unknown"),
            (other("something new"), "FAILED_PRECONDITION"),
            (ErrorKind::ResourcesExhausted, "exhausted"),
            (ErrorKind::NotAllowed, "unavailable"),
            (ErrorKind::NotLeader, "unavailable"),
            (ErrorKind::ConstraintViolation, "FAILED_PRECONDITION"),
        ] {
            assert_eq!(told(kind.clone()), expected, "{kind:?}");
        }
    }
}
