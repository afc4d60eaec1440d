//! What of the southbound the controller wants to know: all that is small, and of the rest what is about local datapaths.
//!
//! Which datapaths are local is known only from the ports, and the ports of a datapath only once it is local; so the
//! subscription grows in steps, from the ports that have interfaces here to their datapaths, to the peers of the patch ports there,
//! and to the peers' datapaths; and from the datapaths to their groups, to the groups' flows. It
//! is settled when the server has told everything of the last step and that leads nowhere new.
//!
//! | table | rows | kept in | read by |
//! | --- | --- | --- | --- |
//! | `SB_Global` | all | `South` | progress, northd's version |
//! | `Chassis`, `Encap` | all | `South`, `Network` | registration, claims, tunnels of the local database; ways to other chassis |
//! | `Chassis_Private` | this chassis' | `South` | registration, progress |
//! | `Chassis_Template_Var` | this chassis' | `Network` | logical flows |
//! | `HA_Chassis_Group`, `HA_Chassis`, `Gateway_Chassis` | all | `Network` | gateways, BFD sessions |
//! | `Datapath_Binding` | all | `Network` | locality, zones, flows of ports |
//! | `Port_Binding` | with an interface here, of this chassis, that it may have to host, containers, those of mirrors, of local datapaths | `Network` | bindings, locality, flows of ports, claims, announcements |
//! | `Logical_DP_Group` | with local members | `Network` | locality, flows shared by bits |
//! | `Load_Balancer` | of local datapaths and their groups | `Network` | connections that come back to their client |
//! | `Service_Monitor` | of this chassis, or of none yet | `ServiceMonitors` | health checks |
//! | `BFD` | of this chassis, or of none yet | `Bfd` | sessions of routers with neighbours |
//! | `Controller_Event` | of this chassis | `EmptyBackends` | what need not be told again |
//! | `IGMP_Group` | of this chassis | `Multicast` | what need not be written again, and what was learned in an earlier life |
//! | `IP_Multicast` | of local datapaths | `Multicast` | IGMP and MLD snooping |
//! | `Logical_Flow` | of local datapaths and their groups | `Network` | logical flows |
//! | `Multicast_Group` | of local datapaths | `Network` | flows of groups |
//! | `MAC_Binding`, `FDB` | of local datapaths | `Network`, `Learn` | learned neighbours and addresses; what need not be learned again |
//! | `Mirror` | all | `Network` | mirrors of the local database |
//! | `DNS` | of local datapaths | `Dns` | answers to questions for names |
//! | `Address_Set`, `Port_Group`, `Meter`, `Meter_Band`, `DHCP_Options`, `DHCPv6_Options` | all | `Network` | logical flows, by name |
//!
//! [`FOLLOWED`] is this table as code. All rows are in `South`, too, as the replica has them, for a new compilation and for the
//! comparison with another southbound.

use std::sync::Arc;

use ovsdb::typed::Table;
use ovsdb::{Atom, Clause, Condition, Function, Uuid};
use replica::{Columns, TableSpec};
use rustc_hash::FxHashSet;
use sb_db::tables::{
    AddressSet, Bfd, Chassis, ChassisPrivate, ChassisTemplateVar, ControllerEvent, DatapathBinding,
    DhcpOptions, Dhcpv6Options, Dns, Encap, Fdb, GatewayChassis, HaChassis, HaChassisGroup,
    IgmpGroup, IpMulticast, LoadBalancer, LogicalDpGroup, LogicalFlow, MacBinding, Meter,
    MeterBand, Mirror, MulticastGroup, PortBinding, PortGroup, SbGlobal, ServiceMonitor,
    StaticMacBinding,
};

/// A table that is followed.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// Its index.
    pub table: usize,
    /// Only some of its rows are asked for, by a condition that follows what is local.
    pub in_part: bool,
}

impl Followed {
    const fn whole<T: Table>() -> Self {
        let table = T::INDEX;
        Followed {
            table,
            in_part: false,
        }
    }

    const fn in_part<T: Table>() -> Self {
        let table = T::INDEX;
        Followed {
            table,
            in_part: true,
        }
    }
}

/// Every table that is followed.
pub const FOLLOWED: &[Followed] = &[
    Followed::whole::<SbGlobal>(),
    Followed::whole::<Chassis>(),
    Followed::whole::<Encap>(),
    Followed::in_part::<ChassisPrivate>(),
    Followed::in_part::<ChassisTemplateVar>(),
    Followed::whole::<HaChassisGroup>(),
    Followed::whole::<HaChassis>(),
    Followed::whole::<GatewayChassis>(),
    Followed::whole::<DatapathBinding>(),
    Followed::in_part::<PortBinding>(),
    Followed::in_part::<LogicalDpGroup>(),
    Followed::in_part::<LogicalFlow>(),
    Followed::in_part::<LoadBalancer>(),
    Followed::in_part::<ServiceMonitor>(),
    Followed::in_part::<Bfd>(),
    Followed::in_part::<ControllerEvent>(),
    Followed::in_part::<MulticastGroup>(),
    Followed::in_part::<IgmpGroup>(),
    Followed::in_part::<IpMulticast>(),
    Followed::in_part::<MacBinding>(),
    Followed::in_part::<StaticMacBinding>(),
    Followed::in_part::<Fdb>(),
    Followed::in_part::<Dns>(),
    Followed::whole::<AddressSet>(),
    Followed::whole::<PortGroup>(),
    Followed::whole::<Meter>(),
    Followed::whole::<MeterBand>(),
    Followed::whole::<Mirror>(),
    Followed::whole::<DhcpOptions>(),
    Followed::whole::<Dhcpv6Options>(),
];

/// The conditions of those tables that have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Vec<(usize, Condition)>);

impl Conditions {
    /// Everything, but of `Chassis_Private` only the rows with these names.
    pub fn everything(own_names: impl IntoIterator<Item = Arc<str>>) -> Self {
        let others = FOLLOWED
            .iter()
            .filter(|followed| followed.in_part && !OF_OWN_NAMES.contains(&followed.table));
        let mut conditions: Vec<_> = others
            .map(|followed| (followed.table, Condition::everything()))
            .collect();
        conditions.extend(of_own_names(own_names));
        Conditions(conditions)
    }

    /// What is about ports with these names, of the chassis with this row, or that a chassis with these names may have to host, about
    /// these datapaths, given with their keys, and about these datapath groups; and the rows of chassis with these names.
    pub fn local(
        own_names: impl IntoIterator<Item = Arc<str>>,
        names: &FxHashSet<Arc<str>>,
        own: Option<Uuid>,
        datapaths: impl IntoIterator<Item = (Uuid, Option<u32>)>,
        groups: impl IntoIterator<Item = Uuid>,
    ) -> Self {
        let own_names: Vec<Arc<str>> = own_names.into_iter().collect();
        let mut groups: Vec<Uuid> = groups.into_iter().collect();
        groups.sort_unstable();
        let mut datapaths: Vec<(Uuid, Option<u32>)> = datapaths.into_iter().collect();
        datapaths.sort_unstable();
        let mut names: Vec<&Arc<str>> = names.iter().collect();
        names.sort_unstable();
        let of_datapaths = |column: usize| {
            datapaths
                .iter()
                .map(move |(uuid, _)| Clause::equals(column, Atom::Uuid(*uuid)))
        };
        let ports = PortBinding::COLUMN;
        let named = names
            .into_iter()
            .map(|name| Clause::equals(ports.logical_port.index, Atom::String(name.clone())));
        let owned = own.into_iter().flat_map(|uuid| {
            let additional = ports.additional_chassis.index;
            [
                Clause::equals(ports.chassis.index, Atom::Uuid(uuid)),
                Clause::compare(additional, Function::Includes, Atom::Uuid(uuid)),
            ]
        });
        // A container may be on another switch than its parent, so that no datapath brings it along. All of them are asked for: by
        // the names of parents, each guest that is plugged in would change what is asked for, and wait for the server.
        let containers = Clause::compare(
            ports.parent_port.index,
            Function::NotEqual,
            ovsdb::Datum::empty_set(),
        );
        // Gateways bring their datapaths along, and nothing else says that they are to be here.
        let mut hosts = own_names.clone();
        hosts.sort_unstable();
        hosts.dedup();
        let hosted = hosts.iter().flat_map(|name| {
            ["l3gateway-chassis", "l2gateway-chassis"].map(|key| {
                let option = (Atom::from(key), Atom::String(name.clone()));
                let option = ovsdb::Datum::map([option]);
                Clause::compare(ports.options.index, Function::Includes, option)
            })
        });
        let external = Clause::equals(ports.r#type.index, Atom::from("external"));
        let redirecting = Clause::equals(ports.r#type.index, Atom::from("chassisredirect"));
        // Where copies go says only a name; who has the port of this name brings along the datapath of what is copied.
        let copying = Clause::equals(ports.r#type.index, Atom::from("mirror"));
        let flows = LogicalFlow::COLUMN;
        // A flow of several datapaths does not say of which; the groups do, and are told first.
        let grouped = groups
            .iter()
            .copied()
            .map(|group| Clause::equals(flows.logical_dp_group.index, Atom::Uuid(group)));
        let balancers = LoadBalancer::COLUMN;
        let balancing = groups.iter().flat_map(|group| {
            let columns = [
                balancers.ls_datapath_group.index,
                balancers.lr_datapath_group.index,
                balancers.datapath_group.index,
            ];
            columns.map(|column| Clause::equals(column, Atom::Uuid(*group)))
        });
        let balancing_singly = datapaths.iter().map(|(uuid, _)| {
            let column = balancers.datapaths.index;
            Clause::compare(column, Function::Includes, Atom::Uuid(*uuid))
        });
        let named_in = datapaths.iter().map(|(uuid, _)| {
            Clause::compare(
                Dns::COLUMN.datapaths.index,
                Function::Includes,
                Atom::Uuid(*uuid),
            )
        });
        let members = datapaths.iter().map(|(uuid, _)| {
            Clause::compare(
                LogicalDpGroup::COLUMN.datapaths.index,
                Function::Includes,
                Atom::Uuid(*uuid),
            )
        });
        let keys = datapaths.iter().filter_map(|(_, key)| *key);
        let learned =
            keys.map(|key| Clause::equals(Fdb::COLUMN.dp_key.index, Atom::Integer(key.into())));
        let mut conditions =
            vec![
                (
                    PortBinding::INDEX,
                    Condition::any(
                        named
                            .chain([containers, redirecting, external, copying])
                            .chain(hosted)
                            .chain(owned)
                            .chain(of_datapaths(ports.datapath.index)),
                    ),
                ),
                (
                    LogicalFlow::INDEX,
                    Condition::any(of_datapaths(flows.logical_datapath.index).chain(grouped)),
                ),
                (LogicalDpGroup::INDEX, Condition::any(members)),
                (
                    ControllerEvent::INDEX,
                    Condition::any(own.map(|uuid| {
                        Clause::equals(ControllerEvent::COLUMN.chassis.index, Atom::Uuid(uuid))
                    })),
                ),
                (
                    IgmpGroup::INDEX,
                    Condition::any(own.map(|uuid| {
                        Clause::equals(IgmpGroup::COLUMN.chassis.index, Atom::Uuid(uuid))
                    })),
                ),
                (
                    IpMulticast::INDEX,
                    Condition::any(of_datapaths(IpMulticast::COLUMN.datapath.index)),
                ),
                (
                    LoadBalancer::INDEX,
                    Condition::any(balancing.chain(balancing_singly)),
                ),
                (
                    MulticastGroup::INDEX,
                    Condition::any(of_datapaths(MulticastGroup::COLUMN.datapath.index)),
                ),
                (
                    MacBinding::INDEX,
                    Condition::any(of_datapaths(MacBinding::COLUMN.datapath.index)),
                ),
                (
                    StaticMacBinding::INDEX,
                    Condition::any(of_datapaths(StaticMacBinding::COLUMN.datapath.index)),
                ),
                (Fdb::INDEX, Condition::any(learned)),
                (Dns::INDEX, Condition::any(named_in)),
            ];
        conditions.extend(of_own_names(own_names));
        Conditions(conditions)
    }

    /// Those that differ from others.
    pub fn changes_from(&self, old: &Conditions) -> Vec<(usize, Condition)> {
        self.0
            .iter()
            .filter(|condition| !old.0.contains(condition))
            .cloned()
            .collect()
    }

    fn of(&self, table: usize) -> Condition {
        self.0
            .iter()
            .find(|(t, _)| *t == table)
            .map_or_else(Condition::everything, |(_, condition)| condition.clone())
    }
}

/// Tables of whose rows those with the chassis' names are asked for.
const OF_OWN_NAMES: [usize; 4] = [
    ChassisPrivate::INDEX,
    ChassisTemplateVar::INDEX,
    ServiceMonitor::INDEX,
    Bfd::INDEX,
];

/// Their conditions.
fn of_own_names(own_names: impl IntoIterator<Item = Arc<str>>) -> [(usize, Condition); 4] {
    let mut names: Vec<Arc<str>> = own_names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    let are = |column: usize| {
        let names = names.iter();
        names.map(move |name| Clause::equals(column, Atom::String(name.clone())))
    };
    let having = |column: usize| Condition::any(are(column));
    // Older northds do not say whose a monitor or a session is.
    let or_nobodys = |column: usize| {
        let nobodys = Clause::equals(column, Atom::from(""));
        Condition::any(are(column).chain([nobodys]))
    };
    [
        (
            ChassisPrivate::INDEX,
            having(ChassisPrivate::COLUMN.name.index),
        ),
        (
            ChassisTemplateVar::INDEX,
            having(ChassisTemplateVar::COLUMN.chassis.index),
        ),
        (
            ServiceMonitor::INDEX,
            or_nobodys(ServiceMonitor::COLUMN.chassis_name.index),
        ),
        (Bfd::INDEX, or_nobodys(Bfd::COLUMN.chassis_name.index)),
    ]
}

/// The tables and columns of the subscription.
pub fn table_specs(conditions: &Conditions) -> Vec<TableSpec> {
    let spec = |followed: &Followed| TableSpec {
        columns: columns(followed.table),
        condition: conditions.of(followed.table),
        ..TableSpec::all(followed.table)
    };
    FOLLOWED.iter().map(spec).collect()
}

/// The columns of a table. What other programs remember in `external_ids` is nothing to this one, and can be most of a row; of
/// datapaths it says what they are.
fn columns(table: usize) -> Columns {
    let flows = LogicalFlow::COLUMN;
    match table {
        DatapathBinding::INDEX => Columns::All,
        LogicalFlow::INDEX => Columns::Only(vec![
            flows.logical_datapath.index,
            flows.logical_dp_group.index,
            flows.pipeline.index,
            flows.table_id.index,
            flows.priority.index,
            flows.r#match.index,
            flows.actions.index,
            flows.tags.index,
            flows.controller_meter.index,
        ]),
        _ => {
            let columns = sb_db::schema().tables[table].columns.iter().enumerate();
            let wanted = columns.filter(|(_, column)| &*column.name != "external_ids");
            Columns::Only(wanted.map(|(index, _)| index).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinctrl::services;

    #[test]
    fn what_is_read_is_asked_for() {
        let is_followed = |table| FOLLOWED.iter().any(|followed| followed.table == table);
        for service in services::all() {
            assert!(service.tables().iter().all(|table| is_followed(*table)));
        }
        let [all, local] = [
            Conditions::everything([]),
            Conditions::local([], &FxHashSet::default(), None, [], []),
        ];
        for conditions in [all, local] {
            let mut conditional: Vec<usize> = conditions.0.iter().map(|(t, _)| *t).collect();
            let in_part = FOLLOWED.iter().filter(|followed| followed.in_part);
            let mut in_part: Vec<usize> = in_part.map(|followed| followed.table).collect();
            conditional.sort_unstable();
            in_part.sort_unstable();
            assert_eq!(conditional, in_part);
        }
    }
}
