//! What handlers ask of the southbound, kept up to date from its changes.
//!
//! Three small indexes, of keys only: which port has a key, which row knows an address. Whoever follows the southbound
//! passes every change on; changes of other tables are ignored.

use std::net::IpAddr;
use std::sync::Arc;

use addr::Mac;
use ovsdb::typed::Table;
use ovsdb::{Row, RowChange, Uuid};
use rustc_hash::FxHashMap;
use sb_db::tables::{DatapathBinding, Fdb, MacBinding, PortBinding};

use super::Context;

/// The indexes.
#[derive(Debug, Default)]
pub struct Southbound {
    /// Rows of datapaths by their keys.
    datapaths: FxHashMap<u32, Uuid>,
    /// Names of ports by datapath and key.
    ports: FxHashMap<(Uuid, u32), Arc<str>>,
    /// Rows of `FDB` with the port key in them, by datapath key and address.
    fdb: FxHashMap<(u32, Mac), (Uuid, i64)>,
    /// Rows of `MAC_Binding` with the address in them, by port and IP address.
    mac_bindings: FxHashMap<(Arc<str>, IpAddr), Neighbour>,
}

/// A row of `MAC_Binding`, and the address in it.
type Neighbour = (Uuid, Arc<str>);

impl Southbound {
    /// Follows a change of a row, whose columns are those of [`sb_db`]'s schema.
    pub fn apply(&mut self, change: &RowChange) {
        let uuid = change.uuid;
        let rows = [
            (change.old.as_deref(), false),
            (change.new.as_deref(), true),
        ];
        for (row, is_new) in rows.into_iter().filter_map(|(row, new)| Some((row?, new))) {
            match change.table {
                DatapathBinding::INDEX => {
                    let entry = key(DatapathBinding::COLUMN.tunnel_key.get(row)).map(|k| (k, uuid));
                    keep(&mut self.datapaths, entry, is_new, |known| *known == uuid);
                }
                PortBinding::INDEX => {
                    let entry = port(row);
                    let name = PortBinding::COLUMN.logical_port.get(row);
                    keep(&mut self.ports, entry, is_new, |known| *known == name);
                }
                Fdb::INDEX => {
                    let entry = fdb(uuid, row);
                    keep(&mut self.fdb, entry, is_new, |known| known.0 == uuid);
                }
                MacBinding::INDEX => {
                    let entry = mac_binding(uuid, row);
                    keep(&mut self.mac_bindings, entry, is_new, |known| {
                        known.0 == uuid
                    });
                }
                _ => {}
            }
        }
    }
}

/// Adds an entry, or takes it away unless another row has taken its place meanwhile.
fn keep<K: std::hash::Hash + Eq, V>(
    index: &mut FxHashMap<K, V>,
    entry: Option<(K, V)>,
    is_new: bool,
    own: impl FnOnce(&V) -> bool,
) {
    let Some((key, value)) = entry else {
        return;
    };
    if is_new {
        index.insert(key, value);
    } else if index.get(&key).is_some_and(own) {
        index.remove(&key);
    }
}

fn key(column: i64) -> Option<u32> {
    u32::try_from(column).ok()
}

fn port(row: &Row) -> Option<((Uuid, u32), Arc<str>)> {
    let columns = PortBinding::COLUMN;
    let place = (columns.datapath.get(row), key(columns.tunnel_key.get(row))?);
    Some((place, columns.logical_port.get(row)))
}

fn fdb(uuid: Uuid, row: &Row) -> Option<((u32, Mac), (Uuid, i64))> {
    let columns = Fdb::COLUMN;
    let mac = columns.mac.get(row).parse().ok()?;
    let place = (key(columns.dp_key.get(row))?, mac);
    Some((place, (uuid, columns.port_key.get(row))))
}

fn mac_binding(uuid: Uuid, row: &Row) -> Option<((Arc<str>, IpAddr), Neighbour)> {
    let columns = MacBinding::COLUMN;
    let ip = columns.ip.get(row).parse().ok()?;
    let place = (columns.logical_port.get(row), ip);
    Some((place, (uuid, columns.mac.get(row))))
}

impl Context for Southbound {
    fn port(&self, datapath: u32, port: u32) -> Option<(Arc<str>, Uuid)> {
        let datapath = *self.datapaths.get(&datapath)?;
        let name = self.ports.get(&(datapath, port))?;
        Some((name.clone(), datapath))
    }

    fn fdb(&self, datapath: u32, mac: Mac) -> Option<(Uuid, i64)> {
        self.fdb.get(&(datapath, mac)).copied()
    }

    fn mac_binding(&self, port: &str, ip: IpAddr) -> Option<(Uuid, Arc<str>)> {
        self.mac_bindings.get(&(port.into(), ip)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change<T: Table>(uuid: u128, old: Option<&T>, new: Option<&T>) -> RowChange {
        RowChange {
            table: T::INDEX,
            uuid: Uuid::from_u128(uuid),
            old: old.map(|row| Arc::new(row.to_row())),
            new: new.map(|row| Arc::new(row.to_row())),
        }
    }

    #[test]
    fn it_says_what_the_rows_say() {
        let mut southbound = Southbound::default();
        let datapath = DatapathBinding {
            tunnel_key: 7,
            ..DatapathBinding::default()
        };
        let port = PortBinding {
            logical_port: "p1".into(),
            datapath: Uuid::from_u128(1),
            tunnel_key: 3,
            ..PortBinding::default()
        };
        let renamed = PortBinding {
            tunnel_key: 4,
            ..port.clone()
        };
        southbound.apply(&change(1, None, Some(&datapath)));
        southbound.apply(&change(2, None, Some(&port)));
        let expected = Some(("p1".into(), Uuid::from_u128(1)));
        assert_eq!(southbound.port(7, 3), expected);
        southbound.apply(&change(2, Some(&port), Some(&renamed)));
        assert_eq!(
            (southbound.port(7, 3), southbound.port(7, 4)),
            (None, expected)
        );
        southbound.apply(&change(2, Some(&renamed), None));
        assert_eq!(southbound.port(7, 4), None);

        let fdb = Fdb {
            mac: "02:00:00:00:00:09".into(),
            dp_key: 7,
            port_key: 3,
            ..Fdb::default()
        };
        let mac: Mac = fdb.mac.parse().expect("an address");
        southbound.apply(&change(5, None, Some(&fdb)));
        assert_eq!(southbound.fdb(7, mac), Some((Uuid::from_u128(5), 3)));
        // The row is replaced by another one; whichever change comes first, the new one is known.
        southbound.apply(&change(6, None, Some(&fdb)));
        southbound.apply(&change(5, Some(&fdb), None));
        assert_eq!(southbound.fdb(7, mac), Some((Uuid::from_u128(6), 3)));

        let binding = MacBinding {
            logical_port: "lrp".into(),
            ip: "10.0.0.1".into(),
            mac: "02:00:00:00:00:09".into(),
            ..MacBinding::default()
        };
        let ip = "10.0.0.1".parse().expect("an address");
        southbound.apply(&change(8, None, Some(&binding)));
        let expected = Some((Uuid::from_u128(8), binding.mac.clone()));
        assert_eq!(southbound.mac_binding("lrp", ip), expected);
        assert_eq!(southbound.mac_binding("other", ip), None);
    }
}
