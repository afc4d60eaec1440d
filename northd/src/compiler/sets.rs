//! The units of address sets and port groups: copies for matches that name them.

use std::collections::BTreeMap;
use std::sync::Arc;

use incr::{Life, Reads};
use nb_db::tables as nb;
use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Datum, Row};
use sb_db::tables as sb;
use uuid::Uuid;

use super::Compiler;
use super::cell::{Cell, Fact, Source, digest};
use crate::model::problem::Complaints;
use crate::output::identity;
use crate::output::rows::{NaturalKey, OutTable, RowId};

impl Compiler {
    pub(super) fn address_set(
        &self,
        row: Uuid,
        reads: &Reads<Cell>,
        facts: &mut Vec<Fact>,
    ) -> Life {
        let Some(set) = self.nb_row(reads, Source::AddressSet, row) else {
            return Life::Gone;
        };
        let column = nb::AddressSet::COLUMN;
        let name: Arc<str> = column.name.get(set);
        facts.push(self.address_set_row(&name, set.get(column.addresses.index).clone()));
        Life::Alive
    }

    /// A group is one row for each datapath that has members, called by the datapath's key, and two address sets.
    pub(super) fn port_group(&self, row: Uuid, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        let Some(group) = self.nb_row(reads, Source::PortGroup, row) else {
            return Life::Gone;
        };
        let column = nb::PortGroup::COLUMN;
        let name: Arc<str> = column.name.get(group);
        let mut by_datapath: BTreeMap<u32, Vec<Arc<str>>> = BTreeMap::new();
        let (mut ip4, mut ip6) = (Vec::new(), Vec::new());
        for member in group
            .get(column.ports.index)
            .atoms()
            .iter()
            .filter_map(Atom::as_uuid)
        {
            let Some(port) = self.port(reads, member) else {
                continue;
            };
            if let Some((datapath, _)) = self.place(reads, member) {
                by_datapath
                    .entry(datapath.key)
                    .or_default()
                    .push(Arc::clone(&port.name));
            }
            for (_, ip) in port.neighbours() {
                let family = if ip.is_ipv4() { &mut ip4 } else { &mut ip6 };
                family.push(Atom::from(ip.addr().to_string()));
            }
        }
        for (key, ports) in by_datapath {
            facts.push(self.port_group_row(&format!("{key}_{name}"), &ports));
        }
        let mut complaints = Complaints::about(nb::PortGroup::NAME, row, Arc::clone(&name));
        for (set, addresses) in [(format!("{name}_ip4"), ip4), (format!("{name}_ip6"), ip6)] {
            if self.set_names.get(reads, digest(&set)).is_empty() {
                facts.push(self.address_set_row(&set, Datum::set(addresses)));
            } else {
                let why = format!(
                    "there is an address set {set:?}, which is also the name for the group's addresses"
                );
                complaints.column(
                    column.name.name,
                    why,
                    "the address set is used: rename one of the two",
                );
            }
        }
        facts.extend(complaints.into_problems().into_iter().map(Fact::Problem));
        Life::Alive
    }

    fn address_set_row(&self, name: &str, addresses: Datum) -> Fact {
        let column = sb::AddressSet::COLUMN;
        let columns = [
            (column.name.index, Datum::from(name)),
            (column.addresses.index, addresses),
        ];
        self.named_row(OutTable::AddressSet, sb::AddressSet::NAME, name, columns)
    }

    fn port_group_row(&self, name: &str, ports: &Vec<Arc<str>>) -> Fact {
        let column = sb::PortGroup::COLUMN;
        let columns = [
            (column.name.index, Datum::from(name)),
            (column.ports.index, ports.to_datum()),
        ];
        self.named_row(OutTable::PortGroup, sb::PortGroup::NAME, name, columns)
    }

    fn named_row<const N: usize>(
        &self,
        table: OutTable,
        table_name: &str,
        name: &str,
        columns: [(usize, Datum); N],
    ) -> Fact {
        // Which row has the name already is not tracked: the answer stays the same while the row is ours.
        let known = self.output.known(NaturalKey {
            table,
            scope: Uuid::nil(),
            name: digest(name),
        });
        let uuid = known.unwrap_or_else(|| identity::named(table_name, Uuid::nil(), name));
        let row: Arc<Row> = self.output.templates().row(table, columns);
        Fact::Row(RowId { table, uuid }, row)
    }
}
