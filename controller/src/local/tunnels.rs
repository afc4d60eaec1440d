//! One port of the integration bridge for each end of a tunnel at another chassis.
//!
//! The port says whose it is in `external_ids:ovn-chassis-id`, as `CHASSIS@ADDRESS`, like those of OVN's controller, so that
//! either takes over the other's tunnels as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::settings::{Settings, TunnelKind};
use crate::vswitch::{Interface, Port};

pub(super) const OWNER_KEY: &str = "ovn-chassis-id";

/// One end of tunnels at another chassis: a row of `Encap`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteEncap {
    /// The chassis.
    pub chassis: Arc<str>,
    /// The kind of tunnel.
    pub kind: TunnelKind,
    /// The address.
    pub ip: IpAddr,
    /// Whether it wants the outer UDP checksum.
    pub csum: bool,
}

/// A tunnel port as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WantedTunnel {
    pub(super) owner: String,
    pub(super) chassis: Arc<str>,
    pub(super) kind: TunnelKind,
    pub(super) options: BTreeMap<Arc<str>, Arc<str>>,
}

/// Whose tunnel a port is: the chassis' name, and the kind.
pub(super) fn owner(port: &Port, interface: &Interface) -> Option<(String, TunnelKind)> {
    let id = port.external_ids.get(OWNER_KEY)?;
    // An address has no `@`; a chassis' name may.
    let (chassis, _) = id.rsplit_once('@').unwrap_or((id, ""));
    Some((chassis.to_owned(), super::tunnel_kind(interface)?))
}

/// The tunnels that there should be. To each chassis go those of the best kind that both sides have.
pub(super) fn wanted(settings: &Settings, encaps: &[RemoteEncap]) -> Vec<WantedTunnel> {
    let own_kinds: BTreeSet<TunnelKind> = settings.encaps.iter().map(|(kind, _)| *kind).collect();
    let mut best: BTreeMap<&str, TunnelKind> = BTreeMap::new();
    for encap in encaps
        .iter()
        .filter(|encap| own_kinds.contains(&encap.kind))
    {
        let kind = best.entry(&encap.chassis).or_insert(encap.kind);
        *kind = encap.kind.min(*kind);
    }
    let chosen = encaps
        .iter()
        .filter(|encap| best.get(&*encap.chassis) == Some(&encap.kind));
    let mut tunnels: Vec<WantedTunnel> = chosen
        .map(|encap| WantedTunnel {
            owner: format!("{}@{}", encap.chassis, encap.ip),
            chassis: encap.chassis.clone(),
            kind: encap.kind,
            options: [
                ("remote_ip", encap.ip.to_string()),
                ("key", "flow".to_owned()),
                ("csum", encap.csum.to_string()),
            ]
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect(),
        })
        .collect();
    tunnels.sort();
    tunnels.dedup();
    tunnels
}

/// A name for a tunnel port that nothing else has: at most 15 bytes, as for any network device.
pub(super) fn port_name(chassis: &str, taken: &BTreeSet<Arc<str>>) -> String {
    let short: String = chassis
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(6)
        .collect();
    let mut names = (0u32..).map(|n| format!("ovn-{short}-{n:x}"));
    names
        .find(|name| !taken.contains(name.as_str()))
        .expect("there are more names than ports")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vswitch::OpenVSwitch;

    fn settings(kinds: &str) -> Settings {
        let ids = [
            ("system-id", "me"),
            ("ovn-encap-type", kinds),
            ("ovn-encap-ip", "10.0.0.1"),
        ];
        let row = OpenVSwitch {
            external_ids: ids.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..OpenVSwitch::default()
        };
        Settings::read(&row, "", "").0.expect("named")
    }

    fn encap(chassis: &str, kind: TunnelKind, last: u8) -> RemoteEncap {
        RemoteEncap {
            chassis: chassis.into(),
            kind,
            ip: [10, 0, 0, last].into(),
            csum: true,
        }
    }

    #[test]
    fn the_best_kind_that_both_have_is_used() {
        use TunnelKind::{Geneve, Vxlan};
        let encaps = [
            encap("a", Geneve, 2),
            encap("a", Vxlan, 2),
            encap("b", Vxlan, 3),
            encap("b", Vxlan, 4),
        ];
        let owners = |kinds: &str| -> Vec<(String, TunnelKind)> {
            wanted(&settings(kinds), &encaps)
                .into_iter()
                .map(|t| (t.owner, t.kind))
                .collect()
        };
        let b = [
            ("b@10.0.0.3".to_owned(), Vxlan),
            ("b@10.0.0.4".to_owned(), Vxlan),
        ];
        assert_eq!(owners("geneve"), [("a@10.0.0.2".to_owned(), Geneve)]);
        assert_eq!(owners("geneve,vxlan")[0], ("a@10.0.0.2".to_owned(), Geneve));
        assert_eq!(owners("geneve,vxlan")[1..], b);
        assert_eq!(owners("vxlan").len(), 3);
    }

    #[test]
    fn names_are_short_and_free() {
        let taken: BTreeSet<Arc<str>> = ["ovn-ubuntu-0".into()].into();
        assert_eq!(port_name("ubuntu-22", &taken), "ovn-ubuntu-1");
        assert_eq!(port_name("ubuntu-22", &BTreeSet::new()), "ovn-ubuntu-0");
        let long = "x".repeat(100);
        assert!(port_name(&long, &taken).len() <= 15);
    }

    #[test]
    fn an_owner_may_have_an_at_sign_in_its_name() {
        let port = Port {
            external_ids: [(OWNER_KEY.into(), "a@b@fd00::1".into())].into(),
            ..Port::default()
        };
        let interface = Interface {
            r#type: "geneve".into(),
            ..Interface::default()
        };
        assert_eq!(
            owner(&port, &interface),
            Some(("a@b".to_owned(), TunnelKind::Geneve))
        );
    }
}
