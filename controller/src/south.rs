//! The southbound, as far as this chassis writes it: who it is, which ports it has, how far it is.

mod claims;
mod registration;
mod subscription;

use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::typed::Table;
use ovsdb::{RowChange, Uuid};
use replica::Tables;
use rustc_hash::FxHashMap;
use sb_db::tables::{Chassis, ChassisPrivate, Encap, PortBinding, SbGlobal};

use crate::local::RemoteEncap;
use crate::settings::{Settings, TunnelKind};

pub use claims::{Claim, Claimant, Role};
pub use subscription::{Conditions, table_specs};

/// All rows that were told, and those of them that this module asks for all the time.
#[derive(Debug)]
pub struct South {
    tables: Tables,
    chassis: FxHashMap<Uuid, Chassis>,
    chassis_by_name: FxHashMap<Arc<str>, Uuid>,
    encaps: FxHashMap<Uuid, Encap>,
    private: FxHashMap<Uuid, ChassisPrivate>,
    global: Option<SbGlobal>,
    /// Counts the changes of chassis, their private rows and their tunnel ends.
    pub version: u64,
}

impl Default for South {
    fn default() -> Self {
        South {
            tables: Tables::without_indexes(sb_db::schema().clone()),
            chassis: FxHashMap::default(),
            chassis_by_name: FxHashMap::default(),
            version: 0,
            encaps: FxHashMap::default(),
            private: FxHashMap::default(),
            global: None,
        }
    }
}

impl South {
    /// A row changed.
    pub fn apply(&mut self, change: &RowChange) {
        self.tables.apply(change);
        match change.table {
            Chassis::INDEX => {
                self.version += 1;
                if let Some(old) = self.chassis.get(&change.uuid) {
                    self.chassis_by_name.remove(&old.name);
                }
                follow(&mut self.chassis, change);
                if let Some(new) = self.chassis.get(&change.uuid) {
                    self.chassis_by_name.insert(new.name.clone(), change.uuid);
                }
            }
            Encap::INDEX => {
                self.version += 1;
                follow(&mut self.encaps, change);
            }
            ChassisPrivate::INDEX => {
                self.version += 1;
                follow(&mut self.private, change);
            }
            SbGlobal::INDEX => {
                self.global = self.tables.iter_as::<SbGlobal>().next();
            }
            _ => {}
        }
    }

    /// All rows, as if they were all new.
    pub fn everything(&self) -> impl Iterator<Item = RowChange> + '_ {
        let tables = 0..self.tables.schema().tables.len();
        tables.flat_map(|table| {
            self.tables
                .table(table)
                .iter()
                .map(move |(uuid, row)| RowChange {
                    table,
                    uuid,
                    old: None,
                    new: Some(row.clone()),
                })
        })
    }

    /// All ports, in no particular order. To be called when everything is looked at anyway.
    pub fn ports(&self) -> impl Iterator<Item = PortBinding> + '_ {
        self.tables.iter_as()
    }

    /// Whether a tunnel end is that chassis'.
    pub fn is_encap_of(&self, encap: Uuid, chassis: Uuid) -> bool {
        let owner = self.chassis.get(&chassis);
        owner.is_some_and(|owner| owner.encaps.contains(&encap))
    }

    /// The end of tunnels at this address of a chassis, of the best kind that it has there.
    pub fn encap_at(&self, chassis: Uuid, ip: IpAddr) -> Option<Uuid> {
        let encaps = self.chassis.get(&chassis)?.encaps.iter();
        let known = encaps.filter_map(|uuid| Some((*uuid, self.encaps.get(uuid)?)));
        known
            .filter(|(_, encap)| encap.ip.parse() == Ok(ip))
            .filter_map(|(uuid, encap)| Some((TunnelKind::named(&encap.r#type)?, uuid)))
            .min()
            .map(|(_, uuid)| uuid)
    }

    /// The version of the northd that compiled what is there, if it says so.
    pub fn northd_version(&self) -> Option<&str> {
        let options = &self.global.as_ref()?.options;
        options
            .get("northd_internal_version")
            .map(|version| &**version)
    }

    /// The chassis of this name.
    pub fn chassis_named(&self, name: &str) -> Option<&Chassis> {
        self.chassis.get(self.chassis_by_name.get(name)?)
    }

    /// How often the northbound's configuration was said to have changed.
    pub fn nb_cfg(&self) -> i64 {
        self.global.as_ref().map_or(0, |global| global.nb_cfg)
    }

    /// The ends of tunnels at chassis that share a transport zone with this one, or the lack of any.
    pub fn remote_encaps(&self, settings: &Settings) -> Vec<RemoteEncap> {
        let zones = &settings.shown.transport_zones;
        let reachable = |chassis: &&Chassis| {
            let theirs = &chassis.transport_zones;
            chassis.name != settings.system_id
                && ((zones.is_empty() && theirs.is_empty())
                    || zones.iter().any(|zone| theirs.contains(zone)))
        };
        let mut found = Vec::new();
        for chassis in self.chassis.values().filter(reachable) {
            for encap in chassis
                .encaps
                .iter()
                .filter_map(|uuid| self.encaps.get(uuid))
            {
                if let (Some(kind), Ok(ip)) = (TunnelKind::named(&encap.r#type), encap.ip.parse()) {
                    let csum = encap
                        .options
                        .get("csum")
                        .is_none_or(|value| &**value == "true");
                    found.push(RemoteEncap {
                        chassis: chassis.name.clone(),
                        kind,
                        ip,
                        csum,
                    });
                }
            }
        }
        found.sort();
        found
    }

    /// The name of a chassis.
    pub fn chassis_name(&self, uuid: Uuid) -> Option<&Arc<str>> {
        self.chassis.get(&uuid).map(|chassis| &chassis.name)
    }
}

fn follow<T: Table>(rows: &mut FxHashMap<Uuid, T>, change: &RowChange) {
    match &change.new {
        Some(row) => drop(rows.insert(change.uuid, T::from_row(change.uuid, row))),
        None => drop(rows.remove(&change.uuid)),
    }
}
