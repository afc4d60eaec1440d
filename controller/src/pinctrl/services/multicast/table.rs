//! Who has joined which groups of a switch, and until when.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Instant;

use ovsdb::Uuid;
use packet::membership::Protocol;

/// What ports are remembered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// A multicast router is behind them.
    Routers,
    /// They want this group.
    Group(IpAddr),
}

/// `IGMP_Group.address`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routers => f.write_str("mrouters"),
            Self::Group(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mrouters" => Ok(Self::Routers),
            _ => text.parse().map(Self::Group),
        }
    }
}

/// The groups of a switch.
#[derive(Debug, Default)]
pub(super) struct Table {
    groups: BTreeMap<Place, Group>,
}

/// The ports of a group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The protocol of the last report.
    pub(super) protocol: Option<Protocol>,
    ports: BTreeMap<Uuid, Instant>,
}

impl Group {
    /// The ports, in ascending order.
    pub(super) fn ports(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.ports.keys().copied()
    }
}

impl Table {
    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len() - usize::from(self.groups.contains_key(&Place::Routers))
    }

    pub(super) fn get(&self, place: Place) -> Option<&Group> {
        self.groups.get(&place)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (Place, Uuid)> + '_ {
        let groups = self.groups.iter();
        groups.flat_map(|(place, group)| group.ports().map(move |port| (*place, port)))
    }

    /// Remembers a port until some time, and returns until when it was before. `None` if it is a group more than `size`.
    #[expect(
        clippy::option_option,
        reason = "refused, new, and known before are three answers"
    )]
    pub(super) fn join(
        &mut self,
        place: Place,
        port: Uuid,
        protocol: Option<Protocol>,
        until: Instant,
        size: usize,
    ) -> Option<Option<Instant>> {
        let is_new = place != Place::Routers && !self.groups.contains_key(&place);
        if is_new && self.len() >= size {
            return None;
        }
        let group = self.groups.entry(place).or_default();
        group.protocol = protocol.or(group.protocol);
        Some(group.ports.insert(port, until))
    }

    /// Forgets a port, and returns until when it would have been remembered.
    pub(super) fn leave(&mut self, place: Place, port: Uuid) -> Option<Instant> {
        let group = self.groups.get_mut(&place)?;
        let until = group.ports.remove(&port);
        if group.ports.is_empty() {
            self.groups.remove(&place);
        }
        until
    }

    /// Remembers a port no longer than until some time, and returns until when it was before, if that was later.
    pub(super) fn shorten(&mut self, place: Place, port: Uuid, until: Instant) -> Option<Instant> {
        let at = self.groups.get_mut(&place)?.ports.get_mut(&port)?;
        (*at > until).then(|| std::mem::replace(at, until))
    }
}
