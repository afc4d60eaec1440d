//! Pools of numbers, as features declare them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use relations::{Declared, Relation, Small};
use uuid::Uuid;

/// What a pool gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The row that has it.
    pub uuid: Uuid,
    /// The number: a tunnel key, a tag.
    pub key: u32,
}

/// A pool of numbers, and the relation of who has which.
pub struct Pool {
    /// The relation of what is given, by the key of the owner.
    pub given: &'static dyn Declared,
    /// The table of those who want numbers, the column where one is requested, and what the number is called.
    pub place: (&'static str, &'static str, &'static str),
    /// What becomes of a request that somebody else has.
    pub conflict: Conflict,
    /// The pool whose numbers these are, if not its own: no number is given twice by the two.
    pub of: Option<&'static Pool>,
    /// Which of the free numbers is given.
    pub order: Order,
    /// The number in the order of declarations.
    id: OnceLock<u16>,
}

/// What becomes of a request for a number that somebody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Another one is given until it is free.
    Another,
    /// It is granted all the same, and told.
    Shared,
}

/// Which of the free numbers is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The next in turn: what has been given back is given again as late as possible.
    Late,
    /// The lowest. Only of such pools numbers can be reserved.
    Lowest,
}

impl Pool {
    /// What numbers are called that travel with packets from chassis to chassis.
    pub const TUNNEL_KEY: &'static str = "tunnel key";

    /// A pool, to be put into a `static`.
    pub const fn new<K: Small>(
        given: &'static Relation<K, Identity>,
        place: (&'static str, &'static str, &'static str),
        conflict: Conflict,
    ) -> Self {
        Self {
            given,
            place,
            conflict,
            of: None,
            order: Order::Late,
            id: OnceLock::new(),
        }
    }

    /// A pool whose lowest free number is given.
    pub const fn lowest<K: Small>(
        given: &'static Relation<K, Identity>,
        place: (&'static str, &'static str, &'static str),
    ) -> Self {
        Self {
            given,
            place,
            conflict: Conflict::Another,
            of: None,
            order: Order::Lowest,
            id: OnceLock::new(),
        }
    }

    /// A second relation of numbers of a pool, for who needs two of them. Both are given in the same layer, when all have run
    /// who want numbers of either.
    pub const fn second<K: Small>(
        given: &'static Relation<K, Identity>,
        of: &'static Self,
    ) -> Self {
        Self {
            given,
            place: of.place,
            conflict: of.conflict,
            of: Some(of),
            order: of.order,
            id: OnceLock::new(),
        }
    }

    /// The number of the pool whose numbers these are.
    pub fn space(&self) -> u16 {
        self.of.map_or_else(|| self.id(), Self::id)
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        *self.id.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
