//! The calls, as both protocols have them: objects are messages, and what goes wrong is a [`Trouble`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use objects::apply::{Allowed, Plan, apply};
use objects::list::{Filter, list};
use objects::write::{Along, Deletion};
use objects::{Code, Declared, Kind, Refused, Violation, catalog, find, read, write};
use ovsdb::Uuid;
use prost_reflect::DynamicMessage;
use tokio::sync::mpsc;

use super::network::{Network, Trouble, Wait};
use super::who::Who;
use crate::live::{Id, Live, News, kind_at};

/// So many objects are told in a message of a watch.
const PART: usize = 100;
/// So many messages of a watch wait for the network.
pub const QUEUED: usize = 1;
/// Who takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page of objects.
#[derive(Debug)]
pub struct Page {
    /// The objects.
    pub objects: Vec<DynamicMessage>,
    /// Where the next page begins; nothing if there is none.
    pub next: Option<String>,
    /// The state that it shows.
    pub version: String,
}

/// What a watcher is told.
#[derive(Debug, Default)]
pub struct Told {
    /// Everything starts anew.
    pub reset: bool,
    /// Objects as they are.
    pub changed: Vec<DynamicMessage>,
    /// Objects that are gone.
    pub gone: Vec<(&'static Kind, Uuid)>,
    /// The state with this; nothing while more of it follows.
    pub version: Option<String>,
}

/// What somebody watches.
#[derive(Debug, Default)]
pub struct Interest {
    /// The kinds, by their places in the catalog; none: all.
    pub kinds: BTreeSet<usize>,
    /// Only this owner's; empty: everybody's.
    pub owner: String,
    /// What the client has; empty: nothing.
    pub version: String,
}

/// The kind with this number.
pub fn kind_numbered(field: &str, number: i32) -> Result<&'static Kind, Trouble> {
    catalog().numbered(number).ok_or_else(|| {
        let remedy = "give one of the kinds of the protocol";
        let violation = Violation::new(field, "there is no such kind", remedy);
        Refused::field(Code::Invalid, violation).into()
    })
}

impl Network {
    /// One object.
    pub fn get(&self, who: &Who, kind: &Kind, name: &str) -> Result<DynamicMessage, Trouble> {
        let live = self.read(&who.caller)?;
        who.check(&live.snapshot)?;
        who.check_object(&live.snapshot, kind, name)?;
        let uuid = find::find(&live.snapshot, kind, name)?;
        object(&live, kind, uuid)
    }

    /// A page of objects of a kind.
    pub fn list(
        &self,
        who: &Who,
        kind: &Kind,
        filter: &Filter,
        size: i32,
        token: &str,
    ) -> Result<Page, Trouble> {
        let live = self.read(&who.caller)?;
        who.check(&live.snapshot)?;
        let filter = Filter {
            owner: who.narrowed(&filter.owner)?,
            ..filter.clone()
        };
        let (uuids, next) = list(&live.snapshot, kind, &filter, size, token)?;
        let objects = uuids.into_iter();
        let objects = objects.filter_map(|uuid| read::object(&live.snapshot, kind, uuid));
        Ok(Page {
            objects: objects.collect(),
            next,
            version: live.token(live.revision()),
        })
    }

    /// Makes an object.
    pub async fn create(
        &self,
        who: &Who,
        wanted: &DynamicMessage,
        wait: Wait,
    ) -> Result<(DynamicMessage, i64), Trouble> {
        let declared = Declared::new(wanted).map_err(|refused| refused.within("object"))?;
        let owner = who.owner_of_new()?;
        let done = self.change(who, wait, |draft| {
            write::create(draft, &declared, &owner, who.owners())
                .map_err(|refused| refused.within("object"))
        });
        let (uuid, generation) = done.await?;
        Ok((self.made(declared.kind, uuid)?, generation))
    }

    /// Changes fields of an object.
    pub async fn update(
        &self,
        who: &Who,
        wanted: &DynamicMessage,
        mask: &[String],
        wait: Wait,
    ) -> Result<(DynamicMessage, i64), Trouble> {
        let declared = Declared::new(wanted).map_err(|refused| refused.within("object"))?;
        let done = self.change(who, wait, |draft| {
            who.check_object(draft.before(), declared.kind, &declared.name)?;
            write::update(draft, &declared, mask, who.owners()).map_err(|refused| {
                let is_of_object = |field: &str| matches!(field, "uuid" | "owner");
                match refused.violations.first() {
                    Some(first) if is_of_object(&first.field) => refused.within("object"),
                    _ => refused,
                }
            })
        });
        let (uuid, generation) = done.await?;
        Ok((self.made(declared.kind, uuid)?, generation))
    }

    /// Deletes an object.
    pub async fn delete(
        &self,
        who: &Who,
        deletion: Deletion<'_>,
        cascade: bool,
        wait: Wait,
    ) -> Result<i64, Trouble> {
        // What a token for some owner's objects takes along is that owner's, too.
        let owner = who.has_owners().then(|| self.owner_now(&deletion));
        let along = match (cascade, &owner) {
            (true, None) => Along::Everything,
            (true, Some(owner)) => Along::Owned(owner),
            (false, _) => Along::Nothing,
        };
        let deletions = [deletion];
        let done = self.change(who, wait, |draft| {
            let [deletion] = &deletions;
            who.check_object(draft.before(), deletion.kind, deletion.name)?;
            write::delete(draft, &deletions, along)
        });
        Ok(done.await?.1)
    }

    /// Makes what an owner has be what it declares; or says what would be done, if no wait is given.
    pub async fn apply(
        &self,
        who: &Who,
        owner: &str,
        wanted: &[DynamicMessage],
        allowed: Allowed<'_>,
        wait: Option<Wait>,
    ) -> Result<(Plan, i64), Trouble> {
        let wanted = wanted.iter().enumerate().map(|(number, object)| {
            let declared = Declared::new(object);
            declared.map_err(|refused| refused.within(&format!("objects[{number}]")))
        });
        let wanted: Vec<Declared> = wanted.collect::<Result<_, _>>()?;
        who.check_owner(owner)?;
        // Nobody's objects are no more its own than another's.
        if who.has_owners() && allowed.adopt {
            let remedy = "leave it out, or use a token for everybody's objects";
            let why = "a token for some owners' objects takes over none of others";
            let violation = Violation::new("adopt", why, remedy);
            return Err(Refused::field(Code::Denied, violation).into());
        }
        let allowed = Allowed {
            owners: who.owners(),
            ..allowed
        };
        let Some(wait) = wait else {
            self.newest().await?;
            let live = self.read(&who.caller)?;
            who.check(&live.snapshot)?;
            let mut draft = northbound::Draft::new(&live.snapshot);
            return Ok((apply(&mut draft, owner, &wanted, allowed)?, 0));
        };
        let done = self.change(who, wait, |draft| apply(draft, owner, &wanted, allowed));
        done.await
    }

    /// Whose an object is.
    fn owner_now(&self, deletion: &Deletion<'_>) -> String {
        let live = self.copy();
        let uuid = find::find(&live.snapshot, deletion.kind, deletion.name);
        let row = uuid
            .ok()
            .and_then(|uuid| live.snapshot.table(deletion.kind.table).get(&uuid));
        let owner = row.map(|row| find::owner_of(deletion.kind, row).to_owned());
        owner.unwrap_or_default()
    }

    /// An object that was just written, whether the database is still there or not; somebody may have deleted it.
    fn made(&self, kind: &Kind, uuid: Uuid) -> Result<DynamicMessage, Trouble> {
        object(&self.copy(), kind, uuid)
    }

    /// Starts to tell what somebody watches. It ends with an error, or when the other end is dropped.
    pub fn watch(
        &self,
        who: Who,
        mut interest: Interest,
    ) -> Result<mpsc::Receiver<Result<Told, Trouble>>, Trouble> {
        drop(self.read(&who.caller)?);
        interest.owner = who.narrowed(&interest.owner)?;
        let place = self.watcher(&who)?;
        let (sender, receiver) = mpsc::channel(QUEUED);
        let network = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let end = tell(&network, &who, &interest, &sender).await;
            if let Err(trouble) = end {
                // The client may have gone already, or may not read.
                let _ = tokio::time::timeout(PATIENCE, sender.send(Err(trouble))).await;
            }
        });
        Ok(receiver)
    }
}

fn object(live: &Live, kind: &Kind, uuid: Uuid) -> Result<DynamicMessage, Trouble> {
    read::object(&live.snapshot, kind, uuid).ok_or_else(|| {
        let text = format!("the {} {uuid} is gone", kind.label());
        Refused::new(Code::NotFound, text).into()
    })
}

/// Tells a watcher everything there is to tell, for as long as it listens. While the database is away, nothing is told.
async fn tell(
    network: &Network,
    who: &Who,
    interest: &Interest,
    sender: &mpsc::Sender<Result<Told, Trouble>>,
) -> Result<(), Trouble> {
    let mut revisions = network.revisions();
    let mut since = network.read(&who.caller)?.revision_of(&interest.version);
    let mut is_first = true;
    loop {
        network.until_synced().await?;
        revisions.borrow_and_update();
        let (reset, ids, now, token) = {
            let live = network.copy();
            // A token may have been revoked meanwhile.
            who.check(&live.snapshot)?;
            let news = since.map_or(News::Everything, |since| live.news(since));
            let now = live.revision();
            let is_wanted = |id: &Id| interest.kinds.is_empty() || interest.kinds.contains(&id.0);
            let (reset, ids) = match news {
                News::Everything => (true, everything(&live, interest)),
                News::Changes(changes) => {
                    // What others have is nothing that is told, not even that it is not the owner's.
                    let is_told = |(id, formers): &(Id, Vec<Arc<str>>)| {
                        let mut formers = formers.iter();
                        interest.owner.is_empty()
                            || is_owned(&live, interest, *id)
                            || formers.any(|former| **former == *interest.owner)
                    };
                    let ids = changes.into_iter().filter(is_told).map(|(id, _)| id);
                    (false, ids.filter(is_wanted).collect())
                }
            };
            (reset, ids, now, live.token(now))
        };
        let count = ids.len().div_ceil(PART).max(1);
        let is_told = is_first || reset || !ids.is_empty();
        is_first = false;
        for part in 0..if is_told { count } else { 0 } {
            let from = part * PART;
            let some = &ids[from..ids.len().min(from + PART)];
            let mut told = as_they_are(&network.copy(), interest, some);
            told.reset = reset && part == 0;
            told.version = (part + 1 == count).then(|| token.clone());
            match tokio::time::timeout(PATIENCE, sender.send(Ok(told))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    let text =
                        "the client does not read what it watches; go on from its last version";
                    return Err(Trouble::Exhausted(text.to_owned()));
                }
            }
        }
        since = Some(now);
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() {
                return Ok(());
            },
            () = sender.closed() => return Ok(()),
        }
    }
}

fn is_owned(live: &Live, interest: &Interest, (order, uuid): Id) -> bool {
    let kind = kind_at(order);
    let row = live.snapshot.table(kind.table).get(&uuid);
    row.is_some_and(|row| find::owner_of(kind, row) == interest.owner)
}

fn everything(live: &Live, interest: &Interest) -> Vec<Id> {
    let kinds = catalog().kinds().iter();
    let kinds =
        kinds.filter(|kind| interest.kinds.is_empty() || interest.kinds.contains(&kind.order));
    let ids = kinds.flat_map(|kind| {
        let uuids: Vec<Uuid> = match interest.owner.as_str() {
            "" => live.snapshot.table(kind.table).keys().copied().collect(),
            owner => find::owned(&live.snapshot, kind, owner),
        };
        uuids.into_iter().map(|uuid| (kind.order, uuid))
    });
    ids.collect()
}

fn as_they_are(live: &Live, interest: &Interest, ids: &[Id]) -> Told {
    let mut told = Told::default();
    for (order, uuid) in ids {
        let kind = kind_at(*order);
        let is_wanted = interest.owner.is_empty() || is_owned(live, interest, (*order, *uuid));
        match read::object(&live.snapshot, kind, *uuid).filter(|_| is_wanted) {
            Some(object) => told.changed.push(object),
            None => told.gone.push((kind, *uuid)),
        }
    }
    told
}
