//! Addresses of switch ports: what can be one, which are taken, and what `router` stands for.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use addr::{AddrError, LspAddress};
use nb_db::tables::{LogicalRouterPort, LogicalSwitch, LogicalSwitchPort};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::{FindError, name_of, switch_of_port};
use crate::values::Family;

/// An entry of `Logical_Switch_Port.addresses`.
///
/// OVN's tools take anything that begins like one, and so does this type; [`PortAddress::problem`] says what northd
/// will not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortAddress {
    text: Arc<str>,
    meaning: Result<LspAddress, AddrError>,
}

/// A text that cannot be meant as an address at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}: Invalid address format. See ovn-nb(5). Hint: An Ethernet address must be listed before an IP address, \
     together as a single argument."
)]
pub struct NoAddress(pub String);

impl Refusal for NoAddress {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }
}

impl PortAddress {
    /// As it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What is wrong with it, if it only looks like an address.
    pub fn problem(&self) -> Option<&AddrError> {
        self.meaning.as_ref().err()
    }

    fn fixed_ips(&self) -> Vec<IpAddr> {
        match &self.meaning {
            Ok(LspAddress::Fixed(fixed)) => fixed.ips.iter().map(|ip| ip.addr()).collect(),
            _ => Vec::new(),
        }
    }
}

impl FromStr for PortAddress {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let is_dynamic = text == "dynamic" || text.starts_with("dynamic ");
        if !matches!(text, "unknown" | "router") && !is_dynamic && !starts_with_mac(text) {
            return Err(NoAddress(text.to_owned()));
        }
        Ok(Self {
            text: text.into(),
            meaning: text.parse(),
        })
    }
}

impl From<LspAddress> for PortAddress {
    fn from(address: LspAddress) -> Self {
        Self {
            text: address.to_string().into(),
            meaning: Ok(address),
        }
    }
}

/// Six numbers of one or two hexadecimal digits, separated by colons; whatever comes behind.
fn starts_with_mac(text: &str) -> bool {
    let text = text.trim_start();
    let mut groups = text.splitn(6, ':');
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let whole = (0..5).all(|_| {
        groups.next().is_some_and(|group| {
            matches!(group.len(), 1 | 2) && group.bytes().all(|byte| is_digit(&byte))
        })
    });
    whole
        && groups
            .next()
            .and_then(|last| last.as_bytes().first())
            .is_some_and(is_digit)
}

/// Why addresses were not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetAddressesError {
    /// Something that is needed is not there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Another port of the switch has one of them.
    #[error(
        "Error on switch {switch}: duplicate {} address '{ip}' found on logical switch port '{port}'",
        Family::of(*ip).name()
    )]
    Taken {
        /// The name of the switch.
        switch: Arc<str>,
        /// The address.
        ip: IpAddr,
        /// The name of the port that has it.
        port: Arc<str>,
    },
}

impl From<DraftError> for SetAddressesError {
    fn from(error: DraftError) -> Self {
        Self::Find(error.into())
    }
}

impl Refusal for SetAddressesError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Taken { .. } => RefusalKind::Conflict,
        }
    }
}

/// Gives a port these addresses in place of those that it has.
pub fn set_addresses(
    draft: &mut Draft<'_>,
    port: Uuid,
    addresses: &[PortAddress],
) -> Result<(), SetAddressesError> {
    let switch = switch_of_port(draft, port)?;
    for address in addresses {
        check_free(draft, switch, port, address)?;
    }
    let texts = addresses.iter().map(|address| Arc::clone(&address.text));
    let column = LogicalSwitchPort::COLUMN.addresses;
    draft.set::<LogicalSwitchPort, _>(port, column, &texts.collect())?;
    Ok(())
}

/// That no other port of the switch has one of the IP addresses.
pub fn check_free(
    draft: &Draft<'_>,
    switch: Uuid,
    port: Uuid,
    address: &PortAddress,
) -> Result<(), SetAddressesError> {
    let wanted = address.fixed_ips();
    if wanted.is_empty() {
        return Ok(());
    }
    for other in draft.get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.ports) {
        if other == port {
            continue;
        }
        for taken in addresses_in_use(draft, other) {
            let taken = fixed_ips(&taken);
            if let Some(duplicate) = wanted.iter().find(|ip| taken.contains(ip)) {
                return Err(SetAddressesError::Taken {
                    switch: name_of::<LogicalSwitch>(draft, switch),
                    ip: *duplicate,
                    port: name_of::<LogicalSwitchPort>(draft, other),
                });
            }
        }
    }
    Ok(())
}

/// The port's addresses; if `router` is all that it has, those of the router port at its other end, as one text.
pub fn list_addresses(draft: &Draft<'_>, port: Uuid) -> Vec<Arc<str>> {
    let column = LogicalSwitchPort::COLUMN;
    let addresses = draft.get::<LogicalSwitchPort, _>(port, column.addresses);
    if !matches!(addresses.as_slice(), [only] if **only == *"router") {
        return addresses;
    }
    let options = draft.get::<LogicalSwitchPort, _>(port, column.options);
    let names = LogicalRouterPort::COLUMN.name;
    let peer = options.get("router-port").and_then(|peer| {
        draft
            .find::<LogicalRouterPort, _>(names, peer)
            .first()
            .copied()
    });
    match peer.and_then(|peer| draft.typed::<LogicalRouterPort>(peer)) {
        Some(peer) => {
            let words = std::iter::once(&peer.mac).chain(&peer.networks);
            let words: Vec<&str> = words.map(|word| &**word).collect();
            vec![words.join(" ").into()]
        }
        None => addresses,
    }
}

/// The port's addresses, with northd's choice in place of `dynamic`.
fn addresses_in_use(draft: &Draft<'_>, port: Uuid) -> Vec<Arc<str>> {
    let column = LogicalSwitchPort::COLUMN;
    let addresses = draft.get::<LogicalSwitchPort, _>(port, column.addresses);
    let in_use = |address: Arc<str>| match address.parse() {
        Ok(LspAddress::Dynamic { .. }) => {
            draft.get::<LogicalSwitchPort, _>(port, column.dynamic_addresses)
        }
        _ => Some(address),
    };
    addresses.into_iter().filter_map(in_use).collect()
}

fn fixed_ips(text: &str) -> Vec<IpAddr> {
    match text.parse() {
        Ok(LspAddress::Fixed(fixed)) => fixed.ips.iter().map(|ip| ip.addr()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, accepted, odd) in [
            ("unknown", true, false),
            ("router", true, false),
            ("dynamic", true, false),
            ("dynamic 10.0.0.3", true, false),
            ("dynamic foo", true, true),
            ("dynamicx", false, false),
            ("unknown foo", false, false),
            ("foo", false, false),
            ("", false, false),
            ("10.0.0.1", false, false),
            ("00:00:00:00:00:01", true, false),
            ("00:00:00:00:00:01 10.0.0.1 fd00::1", true, false),
            ("00:00:00:00:00:01 dynamic", true, false),
            ("00:00:00:00:00:01 bar", true, true),
            ("00:00:00:00:00:01,1.2.3.4", true, true),
            ("00:00:00:00:00:0g", true, true),
        ] {
            let address = text.parse::<PortAddress>();
            assert_eq!(address.is_ok(), accepted, "{text}");
            let problem = address.is_ok_and(|address| address.problem().is_some());
            assert_eq!(problem, odd, "{text}");
        }
    }
}
