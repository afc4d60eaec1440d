//! The tunnels that there should be to another chassis: one port of the integration bridge for each pair of an address here and
//! an address there.
//!
//! The port says whose it is in `external_ids:ovn-chassis-id`, as `CHASSIS@REMOTE%LOCAL`, like those of OVN's controller, so
//! that either takes over the other's tunnels as they are; controllers before OVN 24.03 leave the local address out.
//!
//! With `ovn-enable-flow-based-tunnels` there is instead one port for each kind, and the flows say where a packet goes.
//!
//! Whether packets are encrypted is the work of Open vSwitch's `ovs-monitor-ipsec`: it takes care of the ports whose options name
//! the other chassis (`SB_Global.ipsec`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::settings::{Settings, TunnelKind};

pub(super) const OWNER_KEY: &str = "ovn-chassis-id";
/// What [`OWNER_KEY`] says of a flow-based tunnel.
pub(super) const FLOW_BASED: &str = "flow";
/// On a flow-based tunnel: its kind.
const KIND_KEY: &str = "ovn-tunnel-type";

/// One end of tunnels at another chassis: a row of `Encap`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteEncap {
    /// The kind of tunnel.
    pub kind: TunnelKind,
    /// The address.
    pub ip: IpAddr,
    /// Whether it wants the outer UDP checksum, if it says so.
    pub csum: Option<bool>,
    /// The UDP port, if it is another than usual.
    pub dst_port: Option<Arc<str>>,
    /// How packets are encrypted, if they are.
    pub ipsec: Option<Ipsec>,
}

/// How packets between chassis are encrypted: `SB_Global.options` of the same names with `ipsec_` before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ipsec {
    /// Whether they are always carried in UDP (RFC 3948), with Libreswan.
    pub encapsulation: bool,
    /// The same with strongSwan.
    pub forceencaps: bool,
}

/// A tunnel port as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WantedTunnel {
    pub(super) owner: String,
    /// The same as controllers before OVN 24.03 write it.
    legacy_owner: String,
    pub(super) kind: TunnelKind,
    /// The port's usual name, where there is one. Somebody else's port may have it.
    pub(super) name: Option<String>,
    pub(super) options: BTreeMap<Arc<str>, Arc<str>>,
}

impl WantedTunnel {
    /// Whether a port with this owner and of this kind is the tunnel, perhaps under its older name.
    pub(super) fn is(&self, owner: &str, kind: Option<TunnelKind>) -> bool {
        kind == Some(self.kind) && (owner == self.owner || owner == self.legacy_owner)
    }

    /// The port's `external_ids`.
    pub(super) fn ids(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let mut ids: BTreeMap<Arc<str>, Arc<str>> =
            [(OWNER_KEY.into(), self.owner.as_str().into())].into();
        if self.owner == FLOW_BASED {
            ids.insert(KIND_KEY.into(), self.kind.name().into());
        }
        ids
    }
}

/// Whose tunnel a port is, by what [`OWNER_KEY`] says.
pub(super) fn chassis_of(owner: &str) -> &str {
    // An address has no `@`; a chassis' name may.
    owner.rsplit_once('@').map_or(owner, |(chassis, _)| chassis)
}

/// The tunnels that there should be to a chassis with these ends: those of the best kind that both sides have.
pub(super) fn wanted(
    settings: &Settings,
    chassis: &str,
    encaps: &[RemoteEncap],
) -> Vec<WantedTunnel> {
    let has = |kind: TunnelKind| settings.encaps.iter().any(|(own, _)| *own == kind);
    let best = encaps
        .iter()
        .map(|encap| encap.kind)
        .filter(|kind| has(*kind));
    let Some(best) = best.min() else {
        return Vec::new();
    };
    let theirs = encaps.iter().filter(|encap| encap.kind == best);
    let ours = || settings.encaps.iter().filter(|(kind, _)| *kind == best);
    let mut tunnels: Vec<WantedTunnel> = theirs
        .flat_map(|encap| ours().map(move |(_, local)| between(settings, chassis, encap, *local)))
        .collect();
    tunnels.sort();
    tunnels.dedup();
    tunnels
}

fn between(settings: &Settings, chassis: &str, encap: &RemoteEncap, local: IpAddr) -> WantedTunnel {
    let legacy_owner = format!("{chassis}@{}", encap.ip);
    let mut options = common_options(settings);
    options.insert("remote_ip".into(), encap.ip.to_string().into());
    options.insert("local_ip".into(), local.to_string().into());
    // GRE's checksum would take four bytes more of each packet, and of the MTU that guests are told.
    if let Some(csum) = encap.csum.filter(|_| encap.kind != TunnelKind::Gre) {
        options.insert("csum".into(), csum.to_string().into());
    }
    if let Some(port) = encap
        .dst_port
        .as_ref()
        .filter(|_| encap.kind != TunnelKind::Gre)
    {
        options.insert("dst_port".into(), port.clone());
    }
    if let Some(ipsec) = encap.ipsec {
        options.insert("remote_name".into(), chassis.into());
        for (key, is_set) in [
            ("ipsec_encapsulation", ipsec.encapsulation),
            ("ipsec_forceencaps", ipsec.forceencaps),
        ] {
            if is_set {
                options.insert(key.into(), "yes".into());
            }
        }
    }
    WantedTunnel {
        owner: format!("{legacy_owner}%{local}"),
        legacy_owner,
        kind: encap.kind,
        name: None,
        options,
    }
}

/// One tunnel for each kind that this chassis has.
pub(super) fn flow_based(settings: &Settings) -> Vec<WantedTunnel> {
    let mut kinds: Vec<TunnelKind> = settings.encaps.iter().map(|(kind, _)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let tunnel = |kind: TunnelKind| {
        let mut options = common_options(settings);
        options.insert("remote_ip".into(), "flow".into());
        options.insert("local_ip".into(), "flow".into());
        WantedTunnel {
            owner: FLOW_BASED.to_owned(),
            legacy_owner: FLOW_BASED.to_owned(),
            kind,
            name: Some(format!("ovn-{}", kind.name())),
            options,
        }
    };
    kinds.into_iter().map(tunnel).collect()
}

fn common_options(settings: &Settings) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut options: BTreeMap<Arc<str>, Arc<str>> = [("key".into(), "flow".into())].into();
    for (key, value) in [
        ("tos", &settings.encap_tos),
        ("df_default", &settings.encap_df_default),
    ] {
        if let Some(value) = value {
            options.insert(key.into(), value.clone());
        }
    }
    options
}

/// A name for a tunnel port that nothing else has: at most 15 bytes, as for any network device. It begins with the index of this
/// controller among those of the host ([`super::index`]), and the first six bytes of the other chassis' name, as OVN's do.
pub(super) fn port_name(index: &str, chassis: &str, is_taken: impl Fn(&str) -> bool) -> String {
    // The switch takes no `/` in a name, and what is no printable ASCII is nothing to type.
    let readable = |byte: u8| match byte {
        b'/' => '-',
        byte if byte.is_ascii_graphic() => char::from(byte),
        _ => '_',
    };
    let short: String = chassis.bytes().take(6).map(readable).collect();
    let mut names = (0u32..).map(|n| format!("ovn{index}-{short}-{n:x}"));
    names
        .find(|name| !is_taken(name))
        .expect("there are more names than ports")
}

#[cfg(test)]
mod tests {
    use rustc_hash::FxHashSet;

    use super::*;
    use crate::vswitch::OpenVSwitch;

    fn settings(kinds: &str, ips: &str) -> Settings {
        let ids = [
            ("system-id", "me"),
            ("ovn-encap-type", kinds),
            ("ovn-encap-ip", ips),
            ("ovn-encap-tos", "inherit"),
        ];
        let row = OpenVSwitch {
            external_ids: ids.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..OpenVSwitch::default()
        };
        Settings::read(&row, "", "").0.expect("named")
    }

    fn encap(kind: TunnelKind, last: u8) -> RemoteEncap {
        RemoteEncap {
            kind,
            ip: [10, 0, 0, last].into(),
            csum: Some(true),
            dst_port: None,
            ipsec: None,
        }
    }

    #[test]
    fn the_best_kind_that_both_have_is_used_for_every_pair_of_addresses() {
        use TunnelKind::{Geneve, Vxlan};
        let both = [encap(Geneve, 2), encap(Vxlan, 2)];
        let two = [encap(Vxlan, 3), encap(Vxlan, 4)];
        let owners =
            |kinds: &str, ips: &str, encaps: &[RemoteEncap]| -> Vec<(String, TunnelKind)> {
                let tunnels = wanted(&settings(kinds, ips), "a", encaps);
                tunnels.into_iter().map(|t| (t.owner, t.kind)).collect()
            };
        let one = |kind| [("a@10.0.0.2%10.0.0.1".to_owned(), kind)];
        assert_eq!(owners("geneve", "10.0.0.1", &both), one(Geneve));
        assert_eq!(owners("geneve,vxlan", "10.0.0.1", &both), one(Geneve));
        assert_eq!(owners("vxlan", "10.0.0.1", &both), one(Vxlan));
        assert_eq!(owners("geneve", "10.0.0.1", &two), []);
        let pairs: Vec<String> = owners("vxlan", "10.0.0.1,10.0.0.9", &two)
            .into_iter()
            .map(|(owner, _)| owner)
            .collect();
        assert_eq!(
            pairs,
            [
                "a@10.0.0.3%10.0.0.1",
                "a@10.0.0.3%10.0.0.9",
                "a@10.0.0.4%10.0.0.1",
                "a@10.0.0.4%10.0.0.9"
            ]
        );
    }

    #[test]
    fn options_are_those_of_both_ends() {
        let options = |encap: RemoteEncap| -> String {
            let tunnels = wanted(&settings("geneve", "10.0.0.1"), "a", &[encap]);
            let pairs = tunnels[0].options.iter();
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(" ")
        };
        let encap = RemoteEncap {
            csum: Some(false),
            dst_port: Some("6082".into()),
            ..encap(TunnelKind::Geneve, 2)
        };
        assert_eq!(
            options(encap),
            "csum=false dst_port=6082 key=flow local_ip=10.0.0.1 remote_ip=10.0.0.2 tos=inherit"
        );
        let flow = flow_based(&settings("gre,geneve,vxlan", "10.0.0.1,10.0.0.9"));
        let names: Vec<_> = flow.iter().filter_map(|t| t.name.as_deref()).collect();
        assert_eq!(names, ["ovn-geneve", "ovn-vxlan", "ovn-gre"]);
        let ipsec = Ipsec {
            encapsulation: true,
            forceencaps: false,
        };
        let encap = RemoteEncap {
            ipsec: Some(ipsec),
            ..self::encap(TunnelKind::Geneve, 2)
        };
        assert_eq!(
            options(encap),
            "csum=true ipsec_encapsulation=yes key=flow local_ip=10.0.0.1 remote_ip=10.0.0.2 remote_name=a tos=inherit"
        );
        let encap = self::encap(TunnelKind::Gre, 2);
        let tunnels = wanted(&settings("gre", "10.0.0.1"), "a", &[encap]);
        assert_eq!(tunnels[0].options.get("csum"), None, "GRE has none");
        assert_eq!(flow[0].options["remote_ip"], "flow".into());
    }

    #[test]
    fn names_are_ovns_and_free() {
        let taken: FxHashSet<&str> = ["ovn-ubuntu-0", "ovn-hv-2-0"].into_iter().collect();
        for (index, chassis, expected) in [
            ("", "ubuntu-22", "ovn-ubuntu-1"),
            ("0", "ubuntu-22", "ovn0-ubuntu-0"),
            ("", "hv-1", "ovn-hv-1-0"),
            ("1", "hv-2", "ovn1-hv-2-0"),
            ("", "hv-2", "ovn-hv-2-1"),
            ("", "a/b \u{fc}c", "ovn-a-b___-0"),
        ] {
            let name = port_name(index, chassis, |name| taken.contains(name));
            assert_eq!(name, expected);
        }
        let long = "x".repeat(100);
        assert!(port_name("12", &long, |_| false).len() <= 15);
    }

    #[test]
    fn an_owner_may_have_an_at_sign_in_its_name() {
        assert_eq!(chassis_of("a@b@fd00::1%fd00::2"), "a@b");
        assert_eq!(chassis_of("a@10.0.0.1"), "a");
        assert_eq!(chassis_of("flow"), "flow");
    }
}
