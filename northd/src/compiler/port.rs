//! The units of a port.

use std::sync::Arc;

use incr::{Life, Reads};
use nb_db::tables::{DhcpOptions, LogicalSwitchPort};
use ovsdb::typed::{ColumnValue, TableDefinition};
use ovsdb::{Atom, Datum};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use super::Compiler;
use super::cell::{Cell, Claim, Claimed, Fact};
use crate::alloc::{Identity, Want, Wanted};
use crate::model::problem::Complaints;
use crate::model::{Dhcp4, Nested, Port, PortKind};
use crate::output::rows::{OutTable, RowId};
use crate::output::{GroupId, Multicast};
use crate::pipeline::switch::PortView;
use crate::pipeline::{Flows, Owner, switch as pipeline};

impl Compiler {
    pub(super) fn tag_wanted(&self, row: Uuid, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        let Some(port) = self.port(reads, row) else {
            return Life::Gone;
        };
        // A port that becomes a container is a changed port, which wakes this unit.
        let Some(nested) = port.nested() else {
            return Life::Gone;
        };
        let mut complaints =
            Complaints::about(LogicalSwitchPort::NAME, row, Arc::clone(&port.name));
        if self.is_in_guest(nested, reads, &mut complaints) && self.owner(reads, row).is_some() {
            facts.push(Fact::Want(Want {
                owner: row,
                name: Arc::clone(&port.name),
                what: Wanted::Tag {
                    parent: Arc::clone(&nested.parent),
                    previous: nested.previous_tag,
                },
                requested: nested.tag.map(u32::from),
            }));
        }
        facts.extend(complaints.into_problems().into_iter().map(Fact::Problem));
        Life::Alive
    }

    /// Only what will be written gets an identity: one that is not on record would be another after a restart. A container
    /// without a tag is not written; the pool has said why it has none.
    pub(super) fn port_identity(
        &self,
        row: Uuid,
        reads: &Reads<Cell>,
        facts: &mut Vec<Fact>,
    ) -> Life {
        let Some(port) = self.port(reads, row) else {
            return Life::Gone;
        };
        let Some(switch) = self.owner(reads, row) else {
            return Life::Alive;
        };
        let is_bindable = port.nested().is_none() || self.alloc.tag(reads, row).is_some();
        if is_bindable && self.alloc.datapath(reads, switch).is_some() {
            facts.push(Fact::Want(Want {
                owner: row,
                name: Arc::clone(&port.name),
                what: Wanted::Binding { switch },
                requested: port.requested_key.map(u32::from),
            }));
        }
        Life::Alive
    }

    pub(super) fn claims(&self, row: Uuid, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        let Some(port) = self.port(reads, row) else {
            return Life::Gone;
        };
        let Some((datapath, binding)) = self.place(reads, row) else {
            return Life::Alive;
        };
        let claim = claim(row, binding);
        for entry in &port.addresses {
            facts.push(Fact::Claim(Claimed::Mac(datapath.key, entry.mac), claim));
            for ip in &entry.ips {
                facts.push(Fact::Claim(Claimed::Ip(datapath.key, ip.addr()), claim));
            }
        }
        Life::Alive
    }

    pub(super) fn port_output(
        &self,
        row: Uuid,
        reads: &Reads<Cell>,
        facts: &mut Vec<Fact>,
    ) -> Life {
        let Some(port) = self.port(reads, row) else {
            return Life::Gone;
        };
        let mut complaints =
            Complaints::about(LogicalSwitchPort::NAME, row, Arc::clone(&port.name));
        self.check_owners(row, reads, &mut complaints);
        if let Some((datapath, binding)) = self.place(reads, row) {
            let tag = self.binding_tag(row, port, reads);
            facts.push(self.binding_row(port, datapath, binding, tag, reads));
            join_groups(port, datapath, binding, facts);
            let view = self.view(row, port, datapath, binding, reads, &mut complaints);
            let mut flows = Flows::new(
                self.output.templates(),
                Owner::Datapath(datapath.uuid),
                Some(row),
                facts,
            );
            pipeline::port(&view, &mut flows);
        }
        facts.extend(complaints.into_problems().into_iter().map(Fact::Problem));
        Life::Alive
    }

    /// A port is up when a chassis has it and has its flows in place.
    pub(super) fn port_up(&self, row: Uuid, reads: &Reads<Cell>, facts: &mut Vec<Fact>) -> Life {
        if self.port(reads, row).is_none() {
            return Life::Gone;
        }
        let Some(binding) = self.alloc.binding(reads, row) else {
            return Life::Alive;
        };
        let column = PortBinding::COLUMN;
        let is_up = self.sb_rows.get(reads, binding.uuid).is_some_and(|row| {
            // A controller that tells nothing of flows has them in place as soon as it has the port.
            column.chassis.get(row).is_some() && column.up.get(row).unwrap_or(true)
        });
        facts.push(Fact::Up(row, is_up));
        Life::Alive
    }

    fn check_owners(&self, row: Uuid, reads: &Reads<Cell>, complaints: &mut Complaints) {
        if let [first, second, ..] = self.owners.get(reads, row) {
            let why = format!("the port is in two switches, {first} and {second}");
            complaints.column(
                "_uuid",
                why,
                "it is taken to be in the first: remove it from the other",
            );
        }
    }

    /// Whether a container lives in a guest. One whose parent is not there (yet) does: it waits.
    fn is_in_guest(
        &self,
        nested: &Nested,
        reads: &Reads<Cell>,
        complaints: &mut Complaints,
    ) -> bool {
        let column = LogicalSwitchPort::COLUMN;
        match self.port_named(reads, &nested.parent) {
            None => {
                let why = "there is no such port that makes sense";
                complaints.text(
                    column.parent_name.name,
                    &nested.parent,
                    0,
                    why,
                    "add it, or correct the name",
                );
                true
            }
            Some(parent) if parent.nested().is_some() => {
                let why = "this port is a container itself";
                complaints.text(
                    column.parent_name.name,
                    &nested.parent,
                    0,
                    why,
                    "name the port of the guest",
                );
                false
            }
            Some(_) => true,
        }
    }

    fn binding_tag(&self, row: Uuid, port: &Port, reads: &Reads<Cell>) -> Option<u16> {
        match port.kind {
            PortKind::Localnet { tag, .. } => tag,
            PortKind::Localport | PortKind::Vif { nested: None } => None,
            PortKind::Vif { nested: Some(_) } => self.alloc.tag(reads, row),
        }
    }

    fn binding_row(
        &self,
        port: &Port,
        datapath: Identity,
        binding: Identity,
        tag: Option<u16>,
        reads: &Reads<Cell>,
    ) -> Fact {
        let column = PortBinding::COLUMN;
        let kind = match port.kind {
            PortKind::Vif { .. } => "",
            PortKind::Localnet { .. } => "localnet",
            PortKind::Localport => "localport",
        };
        let mut columns = vec![
            (
                column.logical_port.index,
                Datum::One(Atom::String(Arc::clone(&port.name))),
            ),
            (column.r#type.index, Datum::from(kind)),
            (column.options.index, port.verbatim.options.clone()),
            (column.datapath.index, Datum::One(Atom::Uuid(datapath.uuid))),
            (
                column.tunnel_key.index,
                Datum::One(Atom::Integer(binding.key.into())),
            ),
            (column.tag.index, tag.map(i64::from).to_datum()),
            (column.mac.index, port.verbatim.mac.clone()),
            (
                column.port_security.index,
                port.verbatim.port_security.clone(),
            ),
            (
                column.external_ids.index,
                external_ids(&port.verbatim.external_ids),
            ),
        ];
        if let Some(nested) = port.nested() {
            columns.push((
                column.parent_port.index,
                Datum::One(Atom::String(Arc::clone(&nested.parent))),
            ));
        }
        let mut requested = port
            .requested_chassis
            .iter()
            .map(|name| self.chassis_named(reads, name));
        if let Some(main) = requested.next() {
            columns.push((column.requested_chassis.index, main.to_datum()));
            let others: Vec<Uuid> = requested.flatten().collect();
            columns.push((column.requested_additional_chassis.index, others.to_datum()));
        }
        let id = RowId {
            table: OutTable::Binding,
            uuid: binding.uuid,
        };
        Fact::Row(id, self.output.templates().row(OutTable::Binding, columns))
    }

    fn view<'a>(
        &'a self,
        row: Uuid,
        port: &'a Port,
        datapath: Identity,
        binding: Identity,
        reads: &Reads<Cell>,
        complaints: &mut Complaints,
    ) -> PortView<'a> {
        let claim = claim(row, binding);
        let mut macs = Vec::with_capacity(port.addresses.len());
        let mut ips = Vec::new();
        for entry in &port.addresses {
            let claims = self.mac_claims.get(reads, (datapath.key, entry.mac));
            if is_first(claim, claims, &entry.mac, complaints) && !macs.contains(&entry.mac) {
                macs.push(entry.mac);
            }
            for ip in &entry.ips {
                let claims = self.ip_claims.get(reads, (datapath.key, ip.addr()));
                let is_new = !ips.iter().any(|(known, _)| *known == ip.addr());
                if is_first(claim, claims, &ip.addr(), complaints) && is_new {
                    ips.push((ip.addr(), entry.mac));
                }
            }
        }
        PortView {
            port,
            macs,
            ips,
            dhcp4: self.dhcp4_of(port, reads, complaints),
        }
    }

    fn dhcp4_of(
        &self,
        port: &Port,
        reads: &Reads<Cell>,
        complaints: &mut Complaints,
    ) -> Option<&Arc<Dhcp4>> {
        let row = port.dhcp4?;
        let dhcp = self.dhcp4.get(reads, row)?;
        let offers = |ip: &addr::Cidr| dhcp.network.contains(ip.addr());
        if !port.addresses.is_empty() && !port.neighbours().any(|(_, ip)| offers(&ip)) {
            let why = format!(
                "no address of the port is in the network of its {}, {}",
                DhcpOptions::NAME,
                dhcp.network
            );
            let remedy = "its clients are not answered: add an address, or choose other options";
            complaints.column(LogicalSwitchPort::COLUMN.dhcpv4_options.name, why, remedy);
        }
        Some(dhcp)
    }
}

fn claim(row: Uuid, binding: Identity) -> Claim {
    let key = u16::try_from(binding.key).expect("the pool of ports' keys ends at 32767");
    Claim { key, port: row }
}

/// Whether `claim` is the one that counts. If not, it is a problem.
fn is_first(
    claim: Claim,
    claims: &[Claim],
    address: &dyn std::fmt::Display,
    complaints: &mut Complaints,
) -> bool {
    match claims.first() {
        Some(first) if first.port != claim.port => {
            let why = format!(
                "{address} is already the address of port {}, which is in the same switch",
                first.port
            );
            complaints.column(
                LogicalSwitchPort::COLUMN.addresses.name,
                why,
                "it stays there: remove it from one of them",
            );
            false
        }
        _ => true,
    }
}

fn join_groups(port: &Port, datapath: Identity, binding: Identity, facts: &mut Vec<Fact>) {
    if !port.is_enabled {
        return;
    }
    if port.takes_multicast {
        facts.push(Fact::Member(
            GroupId::Multicast(datapath.uuid, Multicast::Flood),
            binding.uuid,
        ));
    }
    if port.is_unknown {
        facts.push(Fact::Member(
            GroupId::Multicast(datapath.uuid, Multicast::Unknown),
            binding.uuid,
        ));
    }
}

/// The northbound's, with the name for people under the key at which tools look for it.
fn external_ids(northbound: &Datum) -> Datum {
    let Some(name) = northbound.get_str("neutron:port_name") else {
        return northbound.clone();
    };
    let named = (Atom::from("name"), Atom::from(name));
    let others = northbound
        .pairs()
        .iter()
        .filter(|(key, _)| key.as_str() != Some("name"))
        .cloned();
    Datum::map(others.chain([named]))
}
