//! What a change would do, before it is made: a northd between copies of both databases in memory.
//!
//! ```text
//! copies of both ──▶ compile, until there is nothing to write ──▶ the change ──▶ compile again ──▶ what has changed since
//!                                ▲                                                                          │
//!                                └────────────────────── the same backwards ◀───────────────────────────────┘
//! ```
//!
//! Neither database hears of it. Where the southbound is not yet what the northbound says, or OVN's northd has written it,
//! the first compilation brings the copy there, so that only what the change does is told.
//!
//! A [`Draftsman`] stays: after a draft the copies are as they were, and what changes in the databases changes in the copies,
//! so that the next draft costs what it compiles. What northd itself wants is done in the copies only while a draft is made;
//! between drafts the northd at work does the same to the databases, and what it does is compared with what is wanted. Where
//! that does not come to the same, and where a change has left something behind when it was taken back, the copies are made
//! anew: that is slower, and never wrong.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`world`] | a northd and its two databases |
//! | [`daemon`] | drafts one after the other, and follows the databases |

pub mod daemon;
mod world;

use std::sync::Arc;

use ovsdb::operation::Transaction;
use ovsdb::{Row, RowChange};
use uuid::Uuid;

use crate::core::{Now, Side};
use crate::error::DraftError;
use world::World;

/// Steps after which a compilation is given up: the largest networks need some hundreds.
const MAX_STEPS: usize = 1_000_000;

/// The rows of a database: table, identity, row.
pub type Rows = Vec<(usize, Uuid, Arc<Row>)>;

/// What a change would do.
#[derive(Debug)]
pub struct Drafted {
    /// To rows of the northbound: the change itself, and what northd writes there, `Weft_Problem` among it.
    pub north: Vec<RowChange>,
    /// To rows of the southbound.
    pub south: Vec<RowChange>,
    /// How many rows of the southbound differed from what the northbound says before the change.
    pub unsettled: usize,
}

/// Says what changes would do, one after the other.
#[derive(Default)]
pub struct Draftsman {
    /// Nothing if the copies have to be made anew.
    world: Option<World>,
    /// How many rows of the southbound are others in the copy, because northd at work has not written them.
    unsettled: usize,
    /// Whether the copies have all that the databases have, and nothing else.
    is_true: bool,
}

impl Draftsman {
    /// Whether copies that are made now stay true: those made last did, because northd at work writes what this one would.
    pub fn is_worth_copying(&self) -> bool {
        self.is_true
    }

    /// Whether there are copies of which a draft can be made.
    pub fn is_ready(&self) -> bool {
        self.world.is_some()
    }

    /// Copies both databases, and compiles.
    ///
    /// # Errors
    /// When the rows do not fit together, or the compiler does not come to rest.
    pub fn copy(
        &mut self,
        version: &str,
        now: Now,
        north: Rows,
        south: Rows,
    ) -> Result<(), DraftError> {
        self.world = None;
        let (world, [north, south]) = copies(version, now, north, south)?;
        self.unsettled = south.len();
        self.is_true = north.is_empty() && south.is_empty();
        self.world = Some(world);
        Ok(())
    }

    /// Takes note of what has changed in a database.
    pub fn follow(&mut self, now: Now, side: Side, changes: &[RowChange]) {
        if let Some(world) = &mut self.world {
            // Where the copies have more than the databases, they cannot be changed alike.
            if !self.is_true || !world.read_clock(now) || world.follow(side, changes).is_err() {
                self.world = None;
            }
        }
    }

    /// Whether there are copies to which nothing is to be done: northd at work has done all that the databases ask for.
    pub fn is_at_rest(&mut self, now: Now) -> bool {
        let Some(world) = &mut self.world else {
            return false;
        };
        if !world.read_clock(now) {
            self.world = None;
            return false;
        }
        world.is_at_rest().unwrap_or_else(|_| {
            self.world = None;
            false
        })
    }

    /// What a transaction on the northbound would do to both databases. The copies are as before afterwards, or gone.
    ///
    /// # Errors
    /// When the copies have to be made anew ([`Draftsman::is_at_rest`]), the transaction would be refused, or the compiler does
    /// not come to rest.
    pub fn draft(&mut self, now: Now, transaction: &Transaction) -> Result<Drafted, DraftError> {
        let mut world = self.world.take().ok_or(DraftError::Stale)?;
        // Nothing that changes may be missed for the time that drafts have taken here.
        let is_timely = world.read_clock(now);
        if !world.is_at_rest()? {
            return Err(DraftError::Stale);
        }
        if let Err(refused) = world.change(transaction) {
            self.world = Some(world);
            return Err(refused);
        }
        world.settle()?;
        let [north, south] = world.take_changes();
        let drafted = Drafted {
            north,
            south,
            unsettled: self.unsettled,
        };
        if world.take_back(&drafted.north, &drafted.south)? && is_timely {
            self.world = Some(world);
        }
        Ok(drafted)
    }
}

/// Copies of both databases, compiled, and what that has changed in them.
fn copies(
    version: &str,
    now: Now,
    north: Rows,
    south: Rows,
) -> Result<(World, [Vec<RowChange>; 2]), DraftError> {
    let mut world = World::new(version, now, north, south)?;
    world.settle()?;
    let changes = world.take_changes();
    Ok((world, changes))
}

/// What a transaction on the northbound would do to both databases, for a process that drafts nothing else: the copies stay as the
/// change has made them, and are given back with the process, for they are large.
///
/// # Errors
/// When the copies cannot be used, the transaction would be refused, or the compiler does not come to rest.
pub fn draft_once(
    version: &str,
    now: Now,
    north: Rows,
    south: Rows,
    transaction: &Transaction,
) -> Result<Drafted, DraftError> {
    let (mut world, [_, unsettled]) = copies(version, now, north, south)?;
    world.change(transaction)?;
    world.settle()?;
    let [north, south] = world.take_changes();
    std::mem::forget(world);
    Ok(Drafted {
        north,
        south,
        unsettled: unsettled.len(),
    })
}
