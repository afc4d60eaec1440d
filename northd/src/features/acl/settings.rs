//! What the whole network says of rules: `NB_Global.options`.

use nb_db::tables::NbGlobal;
use ovsdb::typed::Table;
use relations::{Handle, Relation, Small};

use crate::compiler::feature::{Kind, Over};
use crate::compiler::options::Options;
use crate::compiler::unit::Unit;

/// What is set, once the row is there.
pub(super) static SETTINGS: Relation<(), Settings> = Relation::new("acl settings");

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// `default_acl_drop`: what has no verdict is dropped.
    pub(super) drops_by_default: bool,
    /// `use_ct_inv_match`: packets that belong to no connection and cannot begin one are dropped. Without, network cards that
    /// cannot tell are of more use.
    pub(super) drops_invalid: bool,
    /// `acl_ct_translation`: protocol and ports are those of the packet's connection, where connections are tracked, so that
    /// later fragments have them, too.
    pub(super) asks_connections: bool,
}

impl Settings {
    const DEFAULT: Self = Self {
        drops_by_default: false,
        drops_invalid: true,
        asks_connections: false,
    };

    /// What is set now.
    pub(super) fn of(unit: &Unit<'_>) -> Self {
        unit.get(&SETTINGS, ()).copied().unwrap_or(Self::DEFAULT)
    }
}

pub(super) static READ: Kind = Kind {
    name: "acl/settings",
    over: Over::North(NbGlobal::INDEX),
    reads: &[],
    says: &[&SETTINGS],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let mut complaints = unit.complaints::<NbGlobal>(row, "".into());
        let column = NbGlobal::COLUMN.options;
        let options = Options::read(column.name, columns.get(column.index));
        let default = Settings::DEFAULT;
        let mut truth = |key, default| options.truth(key, default, &mut complaints);
        let settings = Settings {
            drops_by_default: truth("default_acl_drop", default.drops_by_default),
            drops_invalid: truth("use_ct_inv_match", default.drops_invalid),
            asks_connections: truth("acl_ct_translation", default.asks_connections),
        };
        unit.say(&SETTINGS, (), settings);
        unit.problems(complaints.into_problems());
    },
};
