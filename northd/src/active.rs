//! What only the active northd has: a compiler, and the engine that runs it.

use std::sync::Arc;

use incr::Engine;
use ovsdb::RowChange;

use crate::compiler::feature::Side;
use crate::compiler::plan::Plan;
use crate::compiler::{Compiler, Missing};
use crate::database::Database;

/// A compiler at work.
pub(crate) struct Active {
    pub(crate) compiler: Compiler,
    pub(crate) engine: Engine<Compiler>,
}

impl Active {
    /// One that knows no rows yet, for these servers.
    pub(crate) fn new(plan: &'static Plan, version: &str, databases: [&Database; 2]) -> Self {
        let missing = databases.map(|database| -> Missing {
            let columns = database.columns.clone();
            Arc::new(move |what: &str| columns.lacks(what))
        });
        Self {
            compiler: Compiler::new(plan, version, missing),
            engine: Engine::new(),
        }
    }

    /// Rows came, changed or went.
    pub(crate) fn change(
        &mut self,
        now_ms: i64,
        side: Side,
        changes: impl IntoIterator<Item = RowChange>,
    ) {
        self.compiler.world.now_ms = now_ms;
        self.engine.input(&mut self.compiler, |compiler, told| {
            for change in changes {
                compiler.change(side, &change, told);
            }
        });
    }

    /// All rows have been told that there are.
    pub(crate) fn begin(&mut self) {
        self.engine.input(&mut self.compiler, Compiler::begin);
    }
}
