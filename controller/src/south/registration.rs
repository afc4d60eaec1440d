//! This chassis' own rows: `Chassis` with its `Encap`s, and `Chassis_Private`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::Uuid;
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition};
use sb_db::tables::{Chassis, ChassisPrivate, Encap};

use super::South;
use crate::settings::{Settings, Shown, TunnelKind};

impl South {
    /// What has to be written so that others know this chassis; nothing when they do. `before` is the name by which it is known
    /// so far, if that is known.
    ///
    /// Under another name a chassis has other rows. The old ones go in the same transaction, since no two chassis have the same
    /// ends of tunnels, and what they had becomes the new one's: OVN asks its operators to do that by hand (ovn-controller(8),
    /// `system-id`).
    pub fn registration(&self, settings: &Settings, before: Option<&str>) -> Vec<Operation> {
        let mut operations = Vec::new();
        // Without a tunnel endpoint no row can be made: the schema wants one.
        if settings.encaps.is_empty() {
            return operations;
        }
        let chassis = match self.chassis_named(&settings.system_id) {
            Some(chassis) => {
                self.correct(chassis, settings, &mut operations);
                chassis.uuid
            }
            None => {
                let encaps = insert_encaps(settings, &mut operations);
                let Shown {
                    hostname,
                    transport_zones,
                    other_config,
                } = settings.shown.clone();
                let chassis = Chassis {
                    name: settings.system_id.clone(),
                    hostname,
                    encaps,
                    transport_zones,
                    other_config,
                    ..Chassis::default()
                };
                insert(&chassis, &mut operations)
            }
        };
        match self.private(&settings.system_id) {
            Some(private) if private.chassis == Some(chassis) => {}
            Some(private) => {
                let row = vec![ChassisPrivate::COLUMN.chassis.to(&Some(chassis))];
                operations.push(Operation::update_row(
                    ChassisPrivate::INDEX,
                    private.uuid,
                    row,
                ));
            }
            None => {
                let private = ChassisPrivate {
                    name: settings.system_id.clone(),
                    chassis: Some(chassis),
                    ..ChassisPrivate::default()
                };
                insert(&private, &mut operations);
            }
        }
        if let Some(before) = before.filter(|before| **before != *settings.system_id) {
            self.hand_over(settings, before, chassis, &mut operations);
        }
        operations
    }

    /// Gives what the chassis of one name has to another, and takes it out of the southbound.
    fn hand_over(
        &self,
        settings: &Settings,
        before: &str,
        chassis: Uuid,
        operations: &mut Vec<Operation>,
    ) {
        let old = self.chassis_named(before);
        if old.is_some_and(|old| !self.is_this_host(old, settings)) {
            // Another host has gone by the same name, and goes on under it.
            return;
        }
        if let Some(old) = old {
            let ports = self.ports();
            operations.extend(ports.flat_map(|port| self.pass_on(&port, old.uuid, chassis)));
            operations.push(Operation::delete_row(Chassis::INDEX, old.uuid));
        }
        if let Some(private) = self.private(before) {
            operations.push(Operation::delete_row(ChassisPrivate::INDEX, private.uuid));
        }
    }

    /// Whether a chassis, whatever its name, has this host's ends of tunnels and no others.
    fn is_this_host(&self, chassis: &Chassis, settings: &Settings) -> bool {
        let theirs = chassis.encaps.iter().filter_map(|e| self.encaps.get(e));
        let mut theirs = theirs.map(|encap| encap.ip.parse::<IpAddr>().ok());
        let is_ours = |ip: IpAddr| settings.encaps.iter().any(|(_, own)| *own == ip);
        !chassis.encaps.is_empty() && theirs.all(|ip| ip.is_some_and(is_ours))
    }

    /// Says how far this chassis is; nothing when that is known, or nobody wants to know it of any chassis
    /// (`NB_Global.options:enable_chassis_nb_cfg_update`).
    pub fn progress(&self, settings: &Settings, nb_cfg: i64, unix_ms: i64) -> Option<Operation> {
        let options = self.global.as_ref().map(|global| &global.options);
        let is_told = options.and_then(|options| options.get("enable_chassis_nb_cfg_update"));
        if !ovsdb::truth(is_told, true) {
            return None;
        }
        let private = self
            .private(&settings.system_id)
            .filter(|private| private.nb_cfg != nb_cfg)?;
        let row = vec![
            ChassisPrivate::COLUMN.nb_cfg.to(&nb_cfg),
            ChassisPrivate::COLUMN.nb_cfg_timestamp.to(&unix_ms),
        ];
        Some(Operation::update_row(
            ChassisPrivate::INDEX,
            private.uuid,
            row,
        ))
    }

    /// Takes this chassis out of the southbound: its ports are nobody's, its rows are gone. Nothing when it is not there.
    pub fn farewell(&self, name: &str) -> Vec<Operation> {
        let mut operations = Vec::new();
        let chassis = self.chassis_named(name);
        if let Some(chassis) = chassis {
            let released = self
                .ports()
                .flat_map(|port| self.release(&port, chassis.uuid));
            operations.extend(released);
        }
        if let Some(private) = self.private(name) {
            operations.push(Operation::delete_row(ChassisPrivate::INDEX, private.uuid));
        }
        if let Some(chassis) = chassis {
            operations.push(Operation::delete_row(Chassis::INDEX, chassis.uuid));
        }
        operations
    }

    pub(super) fn private(&self, name: &str) -> Option<&ChassisPrivate> {
        self.private.values().find(|private| &*private.name == name)
    }

    fn correct(&self, chassis: &Chassis, settings: &Settings, operations: &mut Vec<Operation>) {
        let shown = &settings.shown;
        let mut row = Vec::new();
        if chassis.hostname != shown.hostname {
            row.push(Chassis::COLUMN.hostname.to(&shown.hostname));
        }
        if chassis.transport_zones != shown.transport_zones {
            row.push(Chassis::COLUMN.transport_zones.to(&shown.transport_zones));
        }
        // Keys that another controller of this chassis wrote, and that say nothing here, stay.
        let mut config = chassis.other_config.clone();
        config.extend(shown.other_config.clone());
        if config != chassis.other_config {
            row.push(Chassis::COLUMN.other_config.to(&config));
        }
        if !self.has_encaps(chassis, settings) {
            let encaps = insert_encaps(settings, operations);
            row.push(Chassis::COLUMN.encaps.to(&encaps));
        }
        if !row.is_empty() {
            operations.push(Operation::update_row(Chassis::INDEX, chassis.uuid, row));
        }
    }

    fn has_encaps(&self, chassis: &Chassis, settings: &Settings) -> bool {
        let wanted = encaps(settings);
        chassis.encaps.len() == wanted.len()
            && wanted.iter().all(|wanted| {
                let mut known = chassis
                    .encaps
                    .iter()
                    .filter_map(|uuid| self.encaps.get(uuid));
                known.any(|e| {
                    (&e.r#type, &e.ip, &e.options) == (&wanted.r#type, &wanted.ip, &wanted.options)
                })
            })
    }
}

fn encaps(settings: &Settings) -> Vec<Encap> {
    let options = |ip: IpAddr| {
        let mut options: BTreeMap<Arc<str>, Arc<str>> =
            [("csum".into(), settings.encap_csum.to_string().into())].into();
        if settings.encap_default == Some(ip) {
            options.insert("is_default".into(), "true".into());
        }
        options
    };
    let encap = |(kind, ip): &(TunnelKind, IpAddr)| Encap {
        r#type: kind.name().into(),
        ip: ip.to_string().into(),
        options: options(*ip),
        chassis_name: settings.system_id.clone(),
        ..Encap::default()
    };
    settings.encaps.iter().map(encap).collect()
}

fn insert_encaps(settings: &Settings, operations: &mut Vec<Operation>) -> Vec<Uuid> {
    encaps(settings)
        .iter()
        .map(|encap| insert(encap, operations))
        .collect()
}

fn insert<T: Table + TableDefinition>(row: &T, operations: &mut Vec<Operation>) -> Uuid {
    let uuid = Uuid::new_v4();
    let columns = row
        .to_row()
        .columns()
        .iter()
        .cloned()
        .enumerate()
        .filter(|(_, datum)| !datum.is_empty())
        .collect();
    operations.push(Operation::Insert {
        table: T::INDEX,
        uuid,
        row: columns,
    });
    uuid
}
