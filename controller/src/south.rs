//! The southbound, as far as this chassis writes it: who it is, which ports it has, how far it is.

mod claims;
mod registration;
mod reports;
mod subscription;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ovsdb::typed::Table;
use ovsdb::{Row, RowChange, Uuid};
use replica::Tables;
use rustc_hash::{FxHashMap, FxHashSet};
use sb_db::tables::{Chassis, ChassisPrivate, Encap, PortBinding, SbGlobal};

use crate::local::{Ipsec, RemoteEncap};
use crate::network::is_reached;
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
    /// Names of chassis that changed, or whose tunnel ends did.
    changed_chassis: FxHashSet<Arc<str>>,
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
            changed_chassis: FxHashSet::default(),
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
                    self.changed_chassis.insert(old.name.clone());
                    if self.chassis_by_name.get(&old.name) == Some(&change.uuid) {
                        self.chassis_by_name.remove(&old.name);
                    }
                }
                follow(&mut self.chassis, change);
                if let Some(new) = self.chassis.get(&change.uuid) {
                    self.changed_chassis.insert(new.name.clone());
                    self.chassis_by_name.insert(new.name.clone(), change.uuid);
                }
            }
            Encap::INDEX => {
                self.version += 1;
                let owner = |encaps: &FxHashMap<Uuid, Encap>| {
                    let encap = encaps.get(&change.uuid);
                    encap.map(|encap| encap.chassis_name.clone())
                };
                self.changed_chassis.extend(owner(&self.encaps));
                follow(&mut self.encaps, change);
                self.changed_chassis.extend(owner(&self.encaps));
            }
            ChassisPrivate::INDEX => {
                self.version += 1;
                follow(&mut self.private, change);
            }
            SbGlobal::INDEX => {
                let before = self.ipsec();
                self.global = self.tables.iter_as::<SbGlobal>().next();
                if self.ipsec() != before {
                    let names = self.chassis_by_name.keys();
                    self.changed_chassis.extend(names.cloned());
                }
            }
            _ => {}
        }
    }

    /// All rows, with their tables.
    pub fn rows(&self) -> impl Iterator<Item = (usize, Uuid, &Arc<Row>)> + '_ {
        let tables = 0..self.tables.schema().tables.len();
        tables.flat_map(|table| {
            let rows = self.tables.table(table).iter();
            rows.map(move |(uuid, row)| (table, uuid, row))
        })
    }

    /// All rows, as if they were all new.
    pub fn everything(&self) -> impl Iterator<Item = RowChange> + '_ {
        self.rows().map(|(table, uuid, row)| RowChange {
            table,
            uuid,
            old: None,
            new: Some(row.clone()),
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

    /// How BFD sessions over tunnels are to run, as `Interface.bfd` says it.
    pub fn bfd_settings(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let options = self.global.as_ref().map(|global| &global.options);
        let names = [
            ("bfd-min-rx", "min_rx"),
            ("bfd-decay-min-rx", "decay_min_rx"),
            ("bfd-min-tx", "min_tx"),
            ("bfd-mult", "mult"),
        ];
        let said = names.into_iter().filter_map(|(option, key)| {
            let value = options?.get(option)?;
            Some((key.into(), value.clone()))
        });
        said.chain([("enable".into(), "true".into())]).collect()
    }

    /// The chassis of this name.
    pub fn chassis_named(&self, name: &str) -> Option<&Chassis> {
        self.chassis.get(self.chassis_by_name.get(name)?)
    }

    /// How often the northbound's configuration was said to have changed.
    pub fn nb_cfg(&self) -> i64 {
        self.global.as_ref().map_or(0, |global| global.nb_cfg)
    }

    /// The names of all chassis.
    pub fn chassis_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.chassis_by_name.keys()
    }

    /// The names of the chassis that changed, or whose tunnel ends did, since this was last asked.
    pub fn take_changed_chassis(&mut self) -> FxHashSet<Arc<str>> {
        std::mem::take(&mut self.changed_chassis)
    }

    /// The ends of tunnels at another chassis. None if there is to be no tunnel: it shares no transport zone with this one (both
    /// may lack any), or it is of another availability zone and this one does not connect those.
    pub fn remote_encaps(&self, settings: &Settings, chassis: &str) -> Vec<RemoteEncap> {
        let Some(chassis) = self.chassis_named(chassis) else {
            return Vec::new();
        };
        let is_remote = ovsdb::truth(chassis.other_config.get("is-remote"), false);
        let is_reached = is_reached(
            (&settings.shown.transport_zones, settings.is_interconn),
            (&chassis.transport_zones, is_remote),
        );
        if chassis.name == settings.system_id || !is_reached {
            return Vec::new();
        }
        let encaps = chassis.encaps.iter();
        let encaps = encaps.filter_map(|uuid| self.encaps.get(uuid));
        let ipsec = self.ipsec();
        let encaps = encaps.filter_map(|row| remote_encap(row, ipsec));
        let mut found: Vec<RemoteEncap> = encaps.collect();
        found.sort();
        found
    }

    /// How packets between chassis are encrypted, if they are.
    pub fn ipsec(&self) -> Option<Ipsec> {
        let global = self.global.as_ref().filter(|global| global.ipsec)?;
        let is_set = |key| ovsdb::truth(global.options.get(key), false);
        Some(Ipsec {
            encapsulation: is_set("ipsec_encapsulation"),
            forceencaps: is_set("ipsec_forceencaps"),
        })
    }

    /// The name of a chassis.
    pub fn chassis_name(&self, uuid: Uuid) -> Option<&Arc<str>> {
        self.chassis.get(&uuid).map(|chassis| &chassis.name)
    }
}

/// A row of `Encap`; `None` if it makes no sense here.
fn remote_encap(row: &Encap, ipsec: Option<Ipsec>) -> Option<RemoteEncap> {
    let option = |key| row.options.get(key);
    Some(RemoteEncap {
        kind: TunnelKind::named(&row.r#type)?,
        ip: row.ip.parse().ok()?,
        csum: option("csum").and_then(|value| value.parse().ok()),
        dst_port: option("dst_port").cloned(),
        ipsec,
    })
}

fn follow<T: Table>(rows: &mut FxHashMap<Uuid, T>, change: &RowChange) {
    match &change.new {
        Some(row) => drop(rows.insert(change.uuid, T::from_row(change.uuid, row))),
        None => drop(rows.remove(&change.uuid)),
    }
}
