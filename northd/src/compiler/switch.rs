//! The units of a switch.

use incr::{Life, Reads};
use ovsdb::{Atom, Datum};
use sb_db::tables::DatapathBinding;
use uuid::Uuid;

use super::Compiler;
use super::cell::{Cell, Fact};
use crate::alloc::{Identity, Want, Wanted};
use crate::model::Switch;
use crate::output::rows::{OutTable, RowId};
use crate::output::{GroupId, Scope};
use crate::pipeline::switch::SwitchView;
use crate::pipeline::{Flows, Owner, switch as pipeline};

impl Compiler {
    pub(super) fn switch_identity(
        &self,
        row: Uuid,
        reads: &Reads<Cell>,
        facts: &mut Vec<Fact>,
    ) -> Life {
        let Some(switch) = self.switches.get(reads, row) else {
            return Life::Gone;
        };
        facts.push(Fact::Want(Want {
            owner: row,
            name: switch.name.clone(),
            what: Wanted::Datapath,
            requested: switch.requested_key,
        }));
        Life::Alive
    }

    pub(super) fn switch_output(
        &self,
        row: Uuid,
        reads: &Reads<Cell>,
        facts: &mut Vec<Fact>,
    ) -> Life {
        let Some(switch) = self.switches.get(reads, row) else {
            return Life::Gone;
        };
        let Some(datapath) = self.alloc.datapath(reads, row) else {
            return Life::Alive;
        };
        facts.push(self.datapath_row(row, switch, datapath));
        facts.push(Fact::Member(
            GroupId::Datapaths(Scope::Switches),
            datapath.uuid,
        ));
        let mut flows = Flows::new(
            self.output.templates(),
            Owner::Datapath(datapath.uuid),
            Some(row),
            facts,
        );
        pipeline::switch(&SwitchView { switch }, &mut flows);
        Life::Alive
    }

    fn datapath_row(&self, row: Uuid, switch: &Switch, datapath: Identity) -> Fact {
        let column = DatapathBinding::COLUMN;
        let uuid = row.hyphenated().to_string();
        let mut external_ids = vec![
            (Atom::from("logical-switch"), Atom::from(uuid)),
            (Atom::from("name"), Atom::from(switch.name.clone())),
        ];
        if let Some(name) = &switch.display_name {
            external_ids.push((Atom::from("name2"), Atom::from(name.clone())));
        }
        let columns = [
            column.tunnel_key.to(&i64::from(datapath.key)),
            (column.r#type.index, Datum::from("logical-switch")),
            (column.nb_uuid.index, Datum::One(Atom::Uuid(row))),
            (column.external_ids.index, Datum::map(external_ids)),
        ];
        let id = RowId {
            table: OutTable::Datapath,
            uuid: datapath.uuid,
        };
        Fact::Row(id, self.output.templates().row(OutTable::Datapath, columns))
    }
}
