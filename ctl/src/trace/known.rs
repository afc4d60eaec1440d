//! The southbound as a program that stays has it: the world, and the tables of flows that packets have come by.

use std::sync::Arc;

use ovsdb::RowChange;
use replica::Tables;

use super::stage::Stages;
use super::world::{TABLES, World};

/// The world that rows make.
pub fn load(tables: &Tables) -> World {
    let mut world = World::default();
    for table in TABLES {
        for (uuid, row) in tables.table(table).iter() {
            let change = RowChange {
                table,
                uuid,
                old: None,
                new: Some(Arc::clone(row)),
            };
            world.apply(&change, &mut |_| {});
        }
    }
    world
}

/// What is known of a database, and what has been made of it.
#[derive(Default)]
pub struct Known {
    /// The rows.
    pub world: World,
    /// Tables of flows, put in order when a packet first came by.
    pub stages: Stages,
}

impl Known {
    /// What these rows say.
    pub fn new(tables: &Tables) -> Self {
        Self {
            world: load(tables),
            stages: Stages::default(),
        }
    }

    /// Takes over what changed in one transaction.
    pub fn apply(&mut self, changes: &[RowChange]) {
        let stages = &mut self.stages;
        self.world.apply_all(changes, &mut |world, stale, uuid| {
            stages.forget(world, stale, uuid);
        });
    }
}
