//! Logical switch ports: guests, containers, doors to physical networks, to routers and to other switches, addresses that
//! move, and what is in hardware or in other deployments.
//!
//! Guarantees that every port that makes sense has a `Port_Binding` with a tunnel key that it keeps while it is in its
//! switch, that containers have a VLAN in their guest (`containers.rs`), and that `up` says northbound whether a chassis has
//! the port and its flows in place (`up.rs`). Other features add their part of a port by [`kind`].

mod addresses;
mod announce;
mod binding;
mod containers;
mod model;
mod queues;
mod recorded;
mod up;

use std::sync::Arc;

use addr::{Cidr, Mac, MacAndIps};
use lflow::{Expr, m};
use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::typed::Table;
use relations::{Handle, Key, Relation, Small};
use sb_db::tables::PortBinding;
use uuid::Uuid;

use crate::compiler::fact::Identity;
use crate::compiler::feature::{Feature, Index, Kind, Over, Source};
use crate::compiler::flow::Flows;
use crate::compiler::unit::Unit;
use crate::features::switch::DATAPATH;
#[cfg(test)]
use crate::testing::{Change, random};

pub use addresses::{IPS, MACS, is_first};
pub use announce::{ANNOUNCED, LOCALNETS, announcement};
pub use binding::{KEYS, wanted};
pub use containers::BY_NAME;
pub use model::{Announced, Dynamic, Port, PortKind, Security};
pub use queues::QUEUE;
pub use recorded::{BINDINGS_BY_NAME, recorded};
pub use up::HOSTS;

/// Ports that make sense.
pub static PORT: Relation<Handle, Arc<Port>> = Relation::new("port");
/// The binding of each port.
pub static BINDING: Relation<Handle, Identity> = Relation::new("binding");

/// The southbound group of the chassis that may answer an external port. Said by the feature `gateway ports`.
pub static CHASSIS_GROUP: Relation<Handle, Uuid> = Relation::new("chassis group of a port");

/// The southbound row of each mirror that controllers make. Said by the feature `mirrors`.
pub static MIRROR: Relation<Handle, Uuid> = Relation::new("mirror");

/// Where each port of type router leads. Said by the feature `router links`.
pub static LINK: Relation<Handle, Link> = Relation::new("link");
/// Of a port whose router works for it on one chassis alone, in a switch that no physical network leads to that chassis: the
/// port by which packets get there. Said by the feature `gateway ports`.
pub static ENTRANCE: Relation<Handle, Entrance> = Relation::new("entrance");

// Most ports are plain guests. What is about a few is over one of these, so that there is no unit for all the others.

/// Ports of type router.
pub static TO_ROUTER: Relation<Handle, ()> = Relation::new("port of type router");
/// Ports of type localnet.
pub static LOCALNET: Relation<Handle, ()> = Relation::new("port of type localnet");
/// Ports of type external.
pub static EXTERNAL: Relation<Handle, ()> = Relation::new("port of type external");
/// Ports that name mirrors.
pub static MIRRORED: Relation<Handle, ()> = Relation::new("mirrored port");
/// Ports some of whose packets pass the rules of their switch: those that lead out of it, and who is answered by DHCP.
pub static PAST_RULES: Relation<Handle, ()> = Relation::new("port past rules");
/// Ports, sensible or not, in whose row northd has something to say of addresses or of a tag, or had.
pub static TOLD: Relation<Handle, ()> = Relation::new("port that is told");
/// Ports of which what is sent to them goes to all unknown ones, too.
pub static COPIED: Relation<Handle, ()> = Relation::new("copied port");

/// Ports that ask for addresses.
pub static DYNAMIC: Relation<Handle, Dynamic> = Relation::new("dynamic port");
/// What each of them has been given. Said by the feature `address management`.
pub static ASSIGNED: Relation<Handle, Arc<MacAndIps>> = Relation::new("assigned addresses");

/// The switches that name a port.
pub const OWNERS: Index = Index::north::<LogicalSwitch>(LogicalSwitch::COLUMN.ports.index);

/// The keys that this feature reads, or that go southbound for controllers to read.
const OPTIONS: &[&str] = &[
    "activation-strategy",
    "ct-zone-limit",
    "disable_arp_nd_rsp",
    "disable_garp_rarp",
    "enable_router_port_acl",
    "exclude-router-ips-from-garp",
    "force_fdb_lookup",
    "hostname",
    "iface-id-ver",
    "l2gateway-chassis",
    "localnet_learn_fdb",
    "lsp_learn_mac",
    "nat-addresses",
    "network_name",
    "pkt_clone_type",
    "qos_burst",
    "qos_max_rate",
    "qos_min_rate",
    "receive_multicast",
    "requested-chassis",
    "requested-tnl-key",
    "router-port",
    "vif-plug-mtu-request",
    "vif-plug-type",
    "vif-plug:*",
    "virtual-ip",
    "virtual-parents",
    "vtep-logical-switch",
    "vtep-physical-switch",
];

/// The feature.
pub static FEATURE: Feature = Feature {
    reads: &[
        Source::north::<LogicalSwitchPort>(&[
            LogicalSwitchPort::COLUMN.name.index,
            LogicalSwitchPort::COLUMN.r#type.index,
            LogicalSwitchPort::COLUMN.addresses.index,
            LogicalSwitchPort::COLUMN.port_security.index,
            LogicalSwitchPort::COLUMN.parent_name.index,
            LogicalSwitchPort::COLUMN.tag_request.index,
            LogicalSwitchPort::COLUMN.tag.index,
            LogicalSwitchPort::COLUMN.enabled.index,
            LogicalSwitchPort::COLUMN.dhcpv4_options.index,
            LogicalSwitchPort::COLUMN.dhcpv6_options.index,
            LogicalSwitchPort::COLUMN.external_ids.index,
            LogicalSwitchPort::COLUMN.dynamic_addresses.index,
            LogicalSwitchPort::COLUMN.mirror_rules.index,
            LogicalSwitchPort::COLUMN.peer.index,
            LogicalSwitchPort::COLUMN.ha_chassis_group.index,
        ])
        .keys(&[(LogicalSwitchPort::COLUMN.options.index, OPTIONS)]),
        Source::north::<LogicalSwitch>(&[LogicalSwitch::COLUMN.ports.index]),
        Source::south::<sb_db::tables::Chassis>(&[sb_db::tables::Chassis::COLUMN.name.index]),
        Source::south::<PortBinding>(&[
            PortBinding::COLUMN.chassis.index,
            PortBinding::COLUMN.additional_chassis.index,
            PortBinding::COLUMN.up.index,
        ]),
    ],
    indexes: &[OWNERS, BINDINGS_BY_NAME, BY_NAME],
    owns: &[&binding::ROWS, &up::COLUMNS, &containers::COLUMNS],
    relations: &[
        &PORT,
        &DYNAMIC,
        &TO_ROUTER,
        &LOCALNET,
        &EXTERNAL,
        &MIRRORED,
        &PAST_RULES,
        &TOLD,
        &COPIED,
        &BINDING,
        &LINK,
        &ENTRANCE,
        &CHASSIS_GROUP,
        &containers::CONTAINER,
        &containers::TAG,
        &MACS,
        &IPS,
        &LOCALNETS,
        &QUEUE,
    ],
    pools: &[&KEYS, &containers::TAGS, &queues::QUEUES],
    kinds: &[
        &MODEL,
        &containers::WISH,
        &containers::TELL,
        &binding::WISH,
        &queues::WISH,
        &binding::ROW,
        &addresses::CLAIMS,
        &announce::DOORS,
        &announce::OWN,
        &up::UP,
    ],
    #[cfg(test)]
    operator: &[
        Change {
            weight: 26,
            run: random::add_port,
        },
        Change {
            weight: 8,
            run: random::del_port,
        },
        Change {
            weight: 26,
            run: random::change_port,
        },
        Change {
            weight: 4,
            run: random::move_port,
        },
        Change {
            weight: 4,
            run: random::replace,
        },
        Change {
            weight: 5,
            run: random::rename,
        },
        Change {
            weight: 3,
            run: random::bind,
        },
        Change {
            weight: 2,
            run: random::vandal,
        },
    ],
    ..Feature::new("ports")
};

static MODEL: Kind = Kind {
    name: "model/port",
    over: Over::North(LogicalSwitchPort::INDEX),
    reads: &[],
    says: &[
        &PORT,
        &DYNAMIC,
        &TO_ROUTER,
        &LOCALNET,
        &EXTERNAL,
        &MIRRORED,
        &PAST_RULES,
        &TOLD,
        &COPIED,
        &containers::CONTAINER,
    ],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(columns) = unit.north(row) else {
            return;
        };
        let (port, problems) = Port::parse(unit.uuid(row), columns);
        if containers::may_be_told(columns) {
            unit.say(&TOLD, row, ());
        }
        if let Some(port) = port {
            let port = Arc::new(port);
            say_what_few_are(unit, row, &port);
            if port.nested().is_some() {
                unit.say(&containers::CONTAINER, row, Arc::clone(&port));
            }
            if port.is_copied {
                unit.say(&COPIED, row, ());
            }
            if let Some(dynamic) = &port.dynamic {
                unit.say(&DYNAMIC, row, dynamic.clone());
            }
            unit.say(&PORT, row, port);
        }
        unit.problems(problems);
    },
};

fn say_what_few_are(unit: &mut Unit<'_>, row: Handle, port: &Port) {
    let kind = &port.kind;
    let is_router = matches!(kind, PortKind::Router { .. });
    let is_localnet = matches!(kind, PortKind::Localnet { .. });
    let leads_out = is_router || is_localnet || matches!(kind, PortKind::Switch { .. });
    for (what, holds) in [
        (&TO_ROUTER, is_router),
        (&LOCALNET, is_localnet),
        (&EXTERNAL, matches!(kind, PortKind::External { .. })),
        (&MIRRORED, !port.mirrors.is_empty()),
        (
            &PAST_RULES,
            leads_out || port.dhcp4.is_some() || port.dhcp6.is_some(),
        ),
    ] {
        if holds {
            unit.say(what, row, ());
        }
    }
}

/// What a port of type router has of its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The router's port.
    pub peer: Arc<str>,
    /// Its MAC with its addresses.
    pub addresses: MacAndIps,
    /// Whether the switch's port leaves to it which MACs are there.
    pub gives_macs: bool,
    /// The chassis that has the router, if it is on one alone.
    pub chassis: Option<Arc<str>>,
    /// The port that has to be on the chassis that works for the router's port, if not all do.
    pub residence: Option<Arc<str>>,
    /// Whether the router's addresses are never announced.
    pub is_quiet: bool,
}

/// The port by which packets get to the chassis that works for a router's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// Its name, `cr-NAME`.
    pub name: Arc<str>,
    /// The router's port.
    pub gateway: Handle,
}

/// A port with its place, as features see it.
pub struct PortView<'a> {
    /// The northbound row.
    pub row: Handle,
    /// The port.
    pub port: &'a Arc<Port>,
    /// The northbound row of its switch.
    pub switch: Handle,
    /// The switch's datapath.
    pub datapath: Identity,
    /// The port's binding.
    pub binding: Identity,
    /// Where it leads, for a port of type router whose other end is there.
    pub link: Option<&'a Link>,
    /// What it has been given, if it asks for addresses.
    pub assigned: Option<&'a Arc<MacAndIps>>,
}

impl PortView<'_> {
    /// Whether connections are tracked and rules asked where it meets a router: only at a gateway port of a distributed router do both
    /// directions of a connection pass one chassis.
    pub fn has_acls(&self) -> bool {
        let asks = matches!(self.port.kind, PortKind::Router { has_acls: true, .. });
        asks && self.link.is_some_and(|link| link.residence.is_some())
    }

    /// The MACs behind it, each with its IP addresses, without those of a router.
    pub fn own_addresses(&self) -> impl Iterator<Item = &MacAndIps> + '_ {
        let assigned = self.assigned.map(Arc::as_ref);
        self.port.addresses.iter().chain(assigned)
    }

    /// The MACs behind it, each with its IP addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &MacAndIps> + '_ {
        let link = self.link.filter(|link| link.gives_macs);
        let linked = link.map(|link| &link.addresses);
        self.own_addresses().chain(linked)
    }

    /// All its IP addresses, each with its MAC; those of a router at its other end, whatever it says itself.
    pub fn neighbours(&self) -> impl Iterator<Item = (Mac, Cidr)> + '_ {
        let linked = self.link.map(|link| &link.addresses);
        let entries = self.own_addresses().chain(linked);
        entries.flat_map(|entry| entry.ips.iter().map(|ip| (entry.mac, *ip)))
    }

    /// Where the port's flows go.
    pub fn flows<'u>(&self, unit: &'u mut Unit<'_>) -> Flows<'u> {
        let hint = unit.uuid(self.row);
        unit.flows(self.datapath.uuid, Some(hint))
    }
}

/// The doors of a guest: the ports by which its packets come and go, each with what says that they are its and this chassis'
/// business. Its own; of an external one, those to physical networks. None of what is no guest.
pub fn doors(unit: &Unit<'_>, view: &PortView<'_>) -> Vec<(Arc<str>, Expr)> {
    let port = view.port;
    match port.kind {
        PortKind::Vif { .. } | PortKind::Localport | PortKind::L2Gateway { .. } => {
            vec![(port.name.clone(), m::inport(port.name.clone()))]
        }
        PortKind::External { .. } => {
            let doors = unit.members(&LOCALNETS, view.switch).iter();
            let doors = doors.filter_map(|(_, door)| unit.get(&PORT, *door));
            let resident = || m::resident(port.name.clone());
            doors
                .map(|door| {
                    let name = door.name.clone();
                    (name.clone(), m::inport(name) & resident())
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether packets from a MAC at a port's doors are told apart from those of others. Behind a physical network only the MAC tells
/// who has sent: of those who say that they have it, the first.
pub fn is_told_apart(unit: &Unit<'_>, view: &PortView<'_>, mac: Mac) -> bool {
    if !matches!(view.port.kind, PortKind::External { .. }) {
        return true;
    }
    let first = unit.members(&MACS, (view.switch, mac)).first();
    first.is_some_and(|(_, port)| *port == view.row)
}

/// The switch that a port belongs to. Of several that name it, the first has it.
pub fn owner(unit: &Unit<'_>, port: Handle) -> Option<Handle> {
    unit.referrers(OWNERS, port).first().copied()
}

/// The port of a unit that is about one, when it has a place.
pub fn view<'a>(unit: &Unit<'a>, key: Key) -> Option<PortView<'a>> {
    let row = Handle::unpack(key);
    let port = unit.get(&PORT, row)?;
    let switch = owner(unit, row)?;
    Some(PortView {
        row,
        port,
        switch,
        datapath: *unit.get(&DATAPATH, switch)?,
        binding: *unit.get(&BINDING, row)?,
        link: matches!(port.kind, PortKind::Router { .. })
            .then(|| unit.get(&LINK, row))
            .flatten(),
        assigned: (port.dynamic.as_ref()).and_then(|_| unit.get(&ASSIGNED, row)),
    })
}

/// A feature's part of a port: a kind of units that runs for every port that has a place, together with all the others'.
/// What it reads beside the port and its place, what it says, and what it does.
macro_rules! kind {
    ([$($read:expr),*], [$($said:expr),*], $run:expr) => {
        $crate::compiler::feature::Kind {
            name: "port",
            over: $crate::compiler::feature::Over::Keys(&$crate::features::ports::PORT),
            reads: &[
                &$crate::features::ports::BINDING,
                &$crate::features::ports::LINK,
                &$crate::features::ports::ASSIGNED,
                &$crate::features::switch::DATAPATH,
                $($read),*
            ],
            says: &[$($said),*],
            wants: &[],
            run: |unit, key| {
                let run: fn(
                    &mut $crate::compiler::unit::Unit<'_>,
                    &$crate::features::ports::PortView<'_>,
                ) = $run;
                if let Some(view) = $crate::features::ports::view(unit, key) {
                    run(unit, &view);
                }
            },
        }
    };
}
pub(crate) use kind;
