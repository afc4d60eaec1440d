//! `Port_Binding`: which ports a chassis may claim, and what it may write of those that it has.
//!
//! | type of the port | who may claim it |
//! | --- | --- |
//! | guest, container, `virtual` | the chassis of `requested_chassis`; without one, every chassis |
//! | the same, as additional chassis | those of `requested_additional_chassis` |
//! | `l2gateway`, `l3gateway` | the chassis that its option of that name names |
//! | `vtep` | the switch that its options name |
//! | `chassisredirect`, `external` | the members of its group; without a group, as a guest's with `requested_chassis` |
//! | all others | nobody |
//!
//! A port that is bound to another chassis can be claimed all the same by whoever may claim it. OVN means it so: a
//! guest moves, and the chassis where it was may be dead and never release it. So a port without `requested_chassis`
//! goes to whom claims it last; naming the chassis, as OpenStack does for every port, pins it, and then a chassis can
//! take nothing from another. During a live migration the port names both, the source as `requested_chassis` and the
//! target as additional one; when the first is set to the target, the target claims what the source still holds.
//!
//! Nobody but the holder releases a port, and each adds and removes itself only.

use ovsdb::{Atom, Datum, Row, Uuid};

use super::{Asker, Denied, uuid};

/// The options that a chassis writes; northd keeps them.
const ACTIVATED: &str = "additional-chassis-activated";
const LAST_CLAIM: &str = "vport-last-claim";
const DELEGATED_PREFIXES: &str = "ipv6_ra_pd_list";

/// Whether an operation may be about a port.
pub(super) fn may_touch(asker: Asker<'_>, port: &Row) -> Result<(), String> {
    let columns = &asker.tables.port_binding;
    let own = asker.row.ok_or("the chassis is not registered")?;
    let concerned = asker.holds(port).is_ok()
        || port
            .get(columns.requested_additional_chassis)
            .contains(&Atom::Uuid(own));
    if concerned {
        return Ok(());
    }
    may_claim(asker, port).or_else(|why| {
        // A router's port is nobody's; delegated prefixes are written there.
        let is_router = *port.get(columns.type_) == Datum::from("patch");
        if is_router && asker.has_local(port.get(columns.datapath)).is_ok() {
            return Ok(());
        }
        Err(why)
    })
}

/// Whether a port may become what it would.
pub(super) fn may_become(asker: Asker<'_>, old: &Row, new: &Row) -> Result<(), Denied> {
    let columns = &asker.tables.port_binding;
    let changed = |column: usize| old.get(column) != new.get(column);
    let had = asker.is_own(old.get(columns.chassis));
    let has = asker.is_own(new.get(columns.chassis));
    if changed(columns.chassis) {
        if has {
            may_claim(asker, old).map_err(|why| Denied::column("chassis", why))?;
        } else if !had || !new.get(columns.chassis).is_empty() {
            return Err(Denied::column(
                "chassis",
                "a chassis claims a port for itself, and releases its own",
            ));
        }
    }
    if changed(columns.additional_chassis) {
        changes_itself(asker, old, new).map_err(|why| Denied::column("additional_chassis", why))?;
    }
    if changed(columns.encap) {
        let encap = uuid(new.get(columns.encap));
        if !(had || has) || encap.is_some_and(|encap| !asker.is_own_encap(encap)) {
            let why = "only who has the port says by which of its own endpoints it is reached";
            return Err(Denied::column("encap", why));
        }
    }
    if changed(columns.additional_encap) {
        let (old, new) = (
            old.get(columns.additional_encap),
            new.get(columns.additional_encap),
        );
        if !differing(old, new).all(|encap| asker.is_own_encap(encap)) {
            let why = "a chassis adds and removes its own endpoints only";
            return Err(Denied::column("additional_encap", why));
        }
    }
    if changed(columns.up) && !(had || has) {
        let why = "only who has the port says whether it is up";
        return Err(Denied::column("up", why));
    }
    if changed(columns.virtual_parent) {
        is_parent(asker, new, had || has).map_err(|why| Denied::column("virtual_parent", why))?;
    }
    if changed(columns.options) {
        changes_options(asker, old, new).map_err(|why| Denied::column("options", why))?;
    }
    Ok(())
}

/// Whether the chassis may claim the port.
fn may_claim(asker: Asker<'_>, port: &Row) -> Result<(), String> {
    let columns = &asker.tables.port_binding;
    let option = |key: &str| match port.get(columns.options).get_str(key) {
        Some(name) if name == asker.name => Ok(()),
        Some(name) => Err(format!("its option {key} names \"{name}\"")),
        None => Err(format!("its option {key} names no chassis")),
    };
    let kind = port.get(columns.type_).scalar().and_then(Atom::as_str);
    match kind.unwrap_or_default() {
        "" | "virtual" => {
            is_requested(asker, port)?;
            // A container is where its guest is.
            let parent = port.get(columns.parent_port);
            match asker.port_named(parent).filter(|_| !parent.is_empty()) {
                Some(parent) => is_requested(asker, parent),
                None => Ok(()),
            }
        }
        "l2gateway" => option("l2gateway-chassis"),
        "l3gateway" => option("l3gateway-chassis"),
        "vtep" => option("vtep-physical-switch"),
        "chassisredirect" | "external" => is_member(asker, port),
        kind => Err(format!("a port of type \"{kind}\" is bound to no chassis")),
    }
}

fn is_requested(asker: Asker<'_>, port: &Row) -> Result<(), String> {
    let columns = &asker.tables.port_binding;
    let name = port.get(columns.options).get_str("requested-chassis");
    let name = name.filter(|name| !name.is_empty());
    let requested = port.get(columns.requested_chassis);
    if asker.is_own(requested) || (requested.is_empty() && name.is_none()) {
        return Ok(());
    }
    Err(match name {
        Some(name) => format!("its option requested-chassis names \"{name}\""),
        None => "another chassis is requested".to_owned(),
    })
}

fn is_member(asker: Asker<'_>, port: &Row) -> Result<(), String> {
    let (t, columns) = (asker.tables, &asker.tables.port_binding);
    let group = port.get(columns.ha_chassis_group);
    let gateways = port.get(columns.gateway_chassis);
    let refers = |table: usize, column: usize, rows: &Datum| {
        let mut rows = rows.atoms().iter().filter_map(Atom::as_uuid);
        rows.any(|row| {
            let row = asker.database.row(table, row);
            row.is_some_and(|row| asker.is_own(row.get(column)))
        })
    };
    let groups = &t.ha_chassis_group;
    let group = uuid(group).and_then(|group| asker.database.row(groups.table, group));
    let members = group.map(|group| group.get(groups.ha_chassis));
    let member = members
        .is_some_and(|members| refers(t.ha_chassis.table, t.ha_chassis.chassis, members))
        || refers(t.gateway_chassis.table, t.gateway_chassis.chassis, gateways);
    if member {
        return Ok(());
    }
    if group.is_none() && gateways.is_empty() && asker.is_own(port.get(columns.requested_chassis)) {
        return Ok(());
    }
    Err("the chassis is no member of its group".to_owned())
}

fn changes_itself(asker: Asker<'_>, old: &Row, new: &Row) -> Result<(), String> {
    let columns = &asker.tables.port_binding;
    let (before, after) = (
        old.get(columns.additional_chassis),
        new.get(columns.additional_chassis),
    );
    if !differing(before, after).all(|chassis| Some(chassis) == asker.row) {
        return Err("a chassis adds and removes itself only".to_owned());
    }
    let joins = after.len() > before.len();
    let requested = old.get(columns.requested_additional_chassis);
    let requested = asker
        .row
        .is_some_and(|own| requested.contains(&Atom::Uuid(own)));
    if joins && !requested {
        return Err("the chassis is not requested as an additional one".to_owned());
    }
    Ok(())
}

fn is_parent(asker: Asker<'_>, port: &Row, involved: bool) -> Result<(), String> {
    let columns = &asker.tables.port_binding;
    if !involved {
        return Err("only who has the port says which other port has its address".to_owned());
    }
    let parent = port.get(columns.virtual_parent);
    let Some(name) = parent.scalar().and_then(Atom::as_str) else {
        return Ok(());
    };
    let parents = port.get(columns.options).get_str("virtual-parents");
    let mut parents = parents.unwrap_or_default().split(',').map(str::trim);
    if !parents.any(|parent| parent == name) {
        return Err(format!("port \"{name}\" is none of its virtual-parents"));
    }
    asker.holds(asker.port_named(parent).ok_or("there is no such port")?)
}

fn changes_options(asker: Asker<'_>, old: &Row, new: &Row) -> Result<(), String> {
    let columns = &asker.tables.port_binding;
    let (before, after) = (old.get(columns.options), new.get(columns.options));
    let keys = before.pairs().iter().chain(after.pairs());
    let keys = keys.filter_map(|(key, _)| key.as_str());
    for key in keys.filter(|key| before.get_str(key) != after.get_str(key)) {
        let involved = [old, new].iter().any(|row| asker.holds(row).is_ok());
        match key {
            ACTIVATED if involved => {
                let names = |options: &Datum| -> Vec<String> {
                    let names = options.get_str(ACTIVATED).unwrap_or_default().split(',');
                    names.map(|name| name.trim().to_owned()).collect()
                };
                let (before, after) = (names(before), names(after));
                let mut added = after.iter().filter(|name| !before.contains(name));
                if added.any(|name| name != asker.name && !name.is_empty()) {
                    return Err(format!("a chassis adds itself to {key} only"));
                }
            }
            LAST_CLAIM if involved => {}
            DELEGATED_PREFIXES => asker.learns_at(old, old.get(columns.datapath))?,
            ACTIVATED | LAST_CLAIM => {
                return Err(format!("only who has the port writes the key {key}"));
            }
            key => return Err(format!("a chassis may not write the key {key}")),
        }
    }
    Ok(())
}

/// The references that are in one set only.
fn differing<'a>(a: &'a Datum, b: &'a Datum) -> impl Iterator<Item = Uuid> + 'a {
    let only = |one: &'a Datum, other: &'a Datum| {
        let atoms = one.atoms().iter();
        atoms.filter(move |atom| !other.contains(atom))
    };
    only(a, b).chain(only(b, a)).filter_map(Atom::as_uuid)
}
