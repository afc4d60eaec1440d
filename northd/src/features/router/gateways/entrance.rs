//! The port `cr-NAME` of a switch's end of a gateway port: by which packets get to the chassis that has the gateway.
//!
//! Arrives: a switch that leads to a gateway port, and to no physical network. Guarantees a binding of type `chassisredirect`
//! for the switch's port, on the chassis of the gateway's group, with a key of the switch's that it keeps. The feature `lookup`
//! sends there what is for the router. Without it the router would be unreachable from all chassis but one.
//!
//! OVN makes such a port only in routers that have one gateway port; here it is there for each.

use std::sync::Arc;

use ovsdb::typed::ColumnValue;
use ovsdb::{Atom, Datum};
use relations::{Handle, Relation, Small};
use sb_db::tables::PortBinding;

use super::{GATEWAY, GROUP};
use crate::compiler::fact::{Identity, Want};
use crate::compiler::feature::{Kind, Over, Pool};
use crate::compiler::identity;
use crate::features::chassis;
use crate::features::ports::{self as switch_ports, ENTRANCE, Entrance, LINK, LOCALNETS};
use crate::features::router::ROUTER;
use crate::features::router::ports::{self, PORT};
use crate::features::switch::DATAPATH;

/// The binding of each, by the switch's port.
pub(super) static BINDING: Relation<Handle, Identity> = Relation::new("entrance binding");

pub(super) static KEYS: Pool = Pool::second(&BINDING, &switch_ports::KEYS);

pub(super) static SAY: Kind = Kind {
    name: "router-port/entrance",
    over: Over::Keys(&LINK),
    reads: &[&PORT, &ROUTER, &GATEWAY, &LOCALNETS, &switch_ports::PORT],
    says: &[&ENTRANCE],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(link), Some(port), Some(switch)) = (
            unit.get(&LINK, row),
            unit.get(&switch_ports::PORT, row),
            switch_ports::owner(unit, row),
        ) else {
            return;
        };
        let Some((gateway, _)) = ports::named(unit, &link.peer) else {
            return;
        };
        if unit.get(&GATEWAY, gateway).is_some() && unit.members(&LOCALNETS, switch).is_empty() {
            let name = format!("cr-{}", port.name).into();
            unit.say(&ENTRANCE, row, Entrance { name, gateway });
        }
    },
};

pub(super) static WISH: Kind = Kind {
    name: "alloc/entrance",
    over: Over::Keys(&ENTRANCE),
    reads: &[&DATAPATH, &switch_ports::PORT, &chassis::IS_VXLAN],
    says: &[],
    wants: &[&KEYS],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(entrance), Some(port), Some(switch)) = (
            unit.get(&ENTRANCE, row),
            unit.get(&switch_ports::PORT, row),
            switch_ports::owner(unit, row),
        ) else {
            return;
        };
        let Some(datapath) = unit.get(&DATAPATH, switch) else {
            return;
        };
        let want = switch_ports::wanted(unit, (row, switch), &entrance.name, *datapath, None);
        let derived = identity::derive(&[b"redirect", want.derived.as_bytes()]);
        let is_recorded = want.identity != want.derived;
        unit.want(Want {
            pool: &KEYS,
            name: Arc::clone(&port.name),
            derived,
            identity: if is_recorded { want.identity } else { derived },
            ..want
        });
    },
};

pub(super) static ROW: Kind = Kind {
    name: "entrance",
    over: Over::Keys(&ENTRANCE),
    reads: &[
        &BINDING,
        &DATAPATH,
        &GATEWAY,
        &GROUP,
        &PORT,
        &switch_ports::PORT,
    ],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let (Some(entrance), Some(binding), Some(port), Some(switch)) = (
            unit.get(&ENTRANCE, row),
            unit.get(&BINDING, row),
            unit.get(&switch_ports::PORT, row),
            switch_ports::owner(unit, row),
        ) else {
            return;
        };
        let (Some(gateway), Some(end), Some(datapath)) = (
            unit.get(&GATEWAY, entrance.gateway),
            unit.get(&PORT, entrance.gateway),
            unit.get(&DATAPATH, switch),
        ) else {
            return;
        };
        let group = unit.get(&GROUP, gateway.group).copied();
        let column = PortBinding::COLUMN;
        let of = (
            Atom::from("distributed-port"),
            Atom::String(Arc::clone(&port.name)),
        );
        let columns = [
            (
                column.logical_port.index,
                Datum::One(Atom::String(Arc::clone(&entrance.name))),
            ),
            (column.r#type.index, Datum::from("chassisredirect")),
            (column.options.index, Datum::map([of])),
            (column.mac.index, Datum::One(Atom::from(end.mac_text()))),
            column.datapath.to(&datapath.uuid),
            column.tunnel_key.to(&i64::from(binding.key)),
            (column.ha_chassis_group.index, group.to_datum()),
        ];
        unit.row::<PortBinding>(binding.uuid, columns);
    },
};
