//! What the local switch's database says about this chassis: `external_ids` of its `Open_vSwitch` row, under the keys of
//! ovn-controller(8).
//!
//! A key may also be written for one chassis of several on the same switch: `KEY-CHASSIS` counts more than `KEY`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use addr::Mac;
use ovsdb::Remote;

use crate::vswitch::OpenVSwitch;

/// The first and the last connection tracking zone that a chassis may give out. Chassis that share a host share its zones, so that
/// each should have a range of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneRange {
    /// At least 1.
    pub first: u16,
    /// Not less.
    pub last: u16,
}

impl Default for ZoneRange {
    fn default() -> Self {
        ZoneRange {
            first: 1,
            last: u16::MAX,
        }
    }
}

/// How packets travel between chassis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TunnelKind {
    /// Geneve; preferred.
    Geneve,
    /// VXLAN, with shorter keys.
    Vxlan,
    /// GRE, with the same keys as VXLAN.
    Gre,
}

impl TunnelKind {
    /// The name in both databases.
    pub fn name(self) -> &'static str {
        match self {
            TunnelKind::Geneve => "geneve",
            TunnelKind::Vxlan => "vxlan",
            TunnelKind::Gre => "gre",
        }
    }

    /// The kind with a name.
    pub fn named(name: &str) -> Option<Self> {
        [TunnelKind::Geneve, TunnelKind::Vxlan, TunnelKind::Gre]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The chassis' name.
    pub system_id: Arc<str>,
    /// The southbound's remotes; none while none is set, or while what is set makes no sense.
    pub remotes: Vec<Remote>,
    /// The local ends of tunnels, in the order of preference.
    pub encaps: Vec<(TunnelKind, IpAddr)>,
    /// The address among them that others use unless a port says otherwise, if it is said.
    pub encap_default: Option<IpAddr>,
    /// Whether the outer UDP checksum is set.
    pub encap_csum: bool,
    /// The outer header's ToS, if it is said: a number, or `inherit`.
    pub encap_tos: Option<Arc<str>>,
    /// Whether the outer header's DF bit is set, if it is said.
    pub encap_df_default: Option<Arc<str>>,
    /// One tunnel port for all chassis, whose flows say where a packet goes.
    pub flow_based_tunnels: bool,
    /// The integration bridge.
    pub bridge: Arc<str>,
    /// The integration bridge's datapath, if it is said.
    pub datapath_type: Option<Arc<str>>,
    /// The bridge of each physical network.
    pub bridge_mappings: BTreeMap<Arc<str>, Arc<str>>,
    /// The MAC of this chassis in each physical network, for what routers that are on all chassis send there.
    pub mac_mappings: BTreeMap<Arc<str>, Mac>,
    /// Install a datapath group's flows once for all of its datapaths here where that can be (`weft-share-flows`, our own
    /// key; true by default). Without, every datapath has them: to compare.
    pub shares_flows: bool,
    /// A connection that is remembered and not translated gets another source port where a translated one has its addresses and ports
    /// already. Not with the userspace datapath of Open vSwitch before 3.2: there each such connection has an entry for the way back, and
    /// `ovs-vswitchd` dies (an assertion in `conn_update_state`) when a datagram is looked up by one whose connection has expired.
    pub keeps_apart: bool,
    /// Take the whole southbound, not what is local.
    pub monitor_all: bool,
    /// This chassis connects availability zones: it has tunnels to chassis of others.
    pub is_interconn: bool,
    /// Which connection tracking zones may be given out.
    pub zones: ZoneRange,
    /// Take leave of both databases at `exit`; otherwise everything stays as it is, as with `exit --restart`.
    pub cleans_up: bool,
    /// OVN's cache of logical flows is wanted; there is none here.
    pub lflow_cache: bool,
    /// Do nothing while northd has another version.
    pub match_northd_version: bool,
    /// Guests are announced for ever, and this is the longest pause; unset: a few times.
    pub garp_max_timeout: Option<Duration>,
    /// Silence after which the switch is probed.
    pub openflow_probe: Option<Duration>,
    /// Name and options shown to others in `Chassis`.
    pub shown: Shown,
}

/// What the `Chassis` row shows of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// `hostname`
    pub hostname: Arc<str>,
    /// `transport_zones`
    pub transport_zones: Vec<Arc<str>>,
    /// `other_config`
    pub other_config: BTreeMap<Arc<str>, Arc<str>>,
}

/// A setting that makes no sense, or has no effect, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Open_vSwitch external_ids:{key}={value}: {why}")]
pub struct BadSetting {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// Keys that OVN's controllers heed and this one does not, each with why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "arp-nd-max-timeout-sec",
        "next hops are asked for when packets are for them",
    ),
    (
        "dynamic-routing-port-mapping",
        "routes are not exchanged with the host yet",
    ),
    ("ovn-bridge-remote", "the bridge's own socket is used"),
    (
        "ovn-bridge-remote-probe-interval",
        "ovn-openflow-probe-interval is that of the bridge's socket",
    ),
    ("ovn-enable-lflow-cache", "there is no such cache"),
    ("ovn-evpn-local-ip", "no fabric is followed yet"),
    ("ovn-evpn-vxlan-ports", "no fabric is followed yet"),
    ("ovn-limit-lflow-cache", "there is no such cache"),
    ("ovn-memlimit-lflow-cache-kb", "there is no such cache"),
    (
        "ovn-remote-probe-interval",
        "the southbound is probed at an interval of its own",
    ),
    ("ovn-trim-limit-lflow-cache", "there is no such cache"),
    ("ovn-trim-timeout-ms", "there is no such cache"),
    ("ovn-trim-wmark-perc-lflow-cache", "there is no such cache"),
];

/// Keys whose values others may read in `Chassis.other_config`, with or without effect here, as OVN's controllers write them: empty
/// if nothing is said. What an earlier controller of this chassis wrote there would stay otherwise.
const PUBLISHED: &[&str] = &[
    "ovn-bridge-mappings",
    "ovn-chassis-mac-mappings",
    "ovn-cms-options",
    "ovn-evpn-local-ip",
    "ovn-evpn-vxlan-ports",
    "ovn-limit-lflow-cache",
    "ovn-memlimit-lflow-cache-kb",
    "ovn-trim-limit-lflow-cache",
    "ovn-trim-timeout-ms",
    "ovn-trim-wmark-perc-lflow-cache",
];
/// The same of flags: under which name, the key, and what counts if nothing is said.
const PUBLISHED_FLAGS: &[(&str, &str, bool)] = &[
    ("is-interconn", "ovn-is-interconn", false),
    ("ovn-enable-lflow-cache", "ovn-enable-lflow-cache", true),
    ("ovn-monitor-all", "ovn-monitor-all", false),
];

/// The name of the integration bridge, if nothing else is said.
pub const DEFAULT_BRIDGE: &str = "br-int";
/// What a chassis can do that goes on serving a gateway after another one has claimed it, for that one to send on connections
/// that it does not know. OVN's controllers do not.
pub(crate) const PASSES_ON: &str = "weft-passes-on";
/// What this controller can do, for northd and other chassis to use.
const ABILITIES: &[&str] = &[
    "port-up-notif",
    "ct-no-masked-label",
    "ovn-ct-lb-related",
    "mac-binding-timestamp",
    "fdb-timestamp",
    "ls-dpg-column",
    PASSES_ON,
];

impl Settings {
    /// Reads the settings. `None` while there is no `system-id`: nothing can be done without a name. `hostname` is that of
    /// the host, used unless the database has one; `datapath_type` that of the bridge, for others to see.
    pub fn read(
        row: &OpenVSwitch,
        hostname: &str,
        datapath_type: &str,
    ) -> (Option<Settings>, Vec<BadSetting>) {
        let mut bad = Vec::new();
        let Some(system_id) = row
            .external_ids
            .get("system-id")
            .filter(|id| !id.is_empty())
            .cloned()
        else {
            return (None, bad);
        };
        let keys = Keys {
            row,
            system_id: &system_id,
        };
        let bridge_mappings = keys.mappings(&mut bad);
        let mac_mappings = keys.mac_mappings(&mut bad);
        let encap_default = keys.encap_default(&mut bad);
        let settings = Settings {
            encap_default,
            encap_tos: keys
                .get("ovn-encap-tos")
                .filter(|tos| &***tos != "none")
                .cloned(),
            encap_df_default: keys.get("ovn-encap-df_default").cloned(),
            flow_based_tunnels: keys.flag("ovn-enable-flow-based-tunnels", false),
            remotes: keys.remotes(&mut bad),
            encaps: keys.encaps(&mut bad),
            encap_csum: keys.flag("ovn-encap-csum", true),
            bridge: keys
                .get("ovn-bridge")
                .cloned()
                .unwrap_or_else(|| DEFAULT_BRIDGE.into()),
            datapath_type: keys.get("ovn-bridge-datapath-type").cloned(),
            bridge_mappings,
            mac_mappings,
            shares_flows: keys.flag("weft-share-flows", true),
            keeps_apart: keeps_apart(datapath_type, row.ovs_version.as_deref()),
            monitor_all: keys.flag("ovn-monitor-all", false),
            is_interconn: keys.flag("ovn-is-interconn", false),
            zones: keys.zones(&mut bad),
            cleans_up: keys.flag("ovn-cleanup-on-exit", true),
            lflow_cache: keys.flag("ovn-enable-lflow-cache", true),
            match_northd_version: keys.flag("ovn-match-northd-version", false),
            garp_max_timeout: keys.seconds("garp-max-timeout-sec", &mut bad),
            openflow_probe: keys.seconds("ovn-openflow-probe-interval", &mut bad),
            shown: Shown {
                hostname: keys
                    .get("hostname")
                    .cloned()
                    .unwrap_or_else(|| hostname.into()),
                transport_zones: keys
                    .get("ovn-transport-zones")
                    .map(|zones| {
                        // As the database has it: a set.
                        let zones: BTreeSet<Arc<str>> = words(zones).map(Arc::from).collect();
                        zones.into_iter().collect()
                    })
                    .unwrap_or_default(),
                other_config: keys.other_config(datapath_type),
            },
            system_id: system_id.clone(),
        };
        (Some(settings), bad)
    }

    /// What is set and has no effect on this controller, for the log.
    pub fn without_effect(row: &OpenVSwitch) -> Vec<BadSetting> {
        let system_id = row.external_ids.get("system-id");
        let system_id = system_id.map_or("", |id| id);
        let keys = Keys { row, system_id };
        let set = WITHOUT_EFFECT
            .iter()
            .filter_map(|(key, why)| Some((*key, keys.get(key)?, why)));
        set.map(|(key, value, why)| BadSetting {
            key,
            value: value.to_string(),
            why: format!("without effect: {why}"),
        })
        .collect()
    }
}

struct Keys<'a> {
    row: &'a OpenVSwitch,
    system_id: &'a str,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Arc<str>> {
        let ids = &self.row.external_ids;
        ids.get(format!("{key}-{}", self.system_id).as_str())
            .or_else(|| ids.get(key))
            .filter(|v| !v.is_empty())
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        ovsdb::truth(self.get(key), default)
    }

    fn seconds(&self, key: &'static str, bad: &mut Vec<BadSetting>) -> Option<Duration> {
        let value = self.get(key)?;
        match value.parse() {
            Ok(0) => None,
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                bad.push(BadSetting {
                    key,
                    value: value.to_string(),
                    why: "a number of seconds is expected".to_owned(),
                });
                None
            }
        }
    }

    fn remotes(&self, bad: &mut Vec<BadSetting>) -> Vec<Remote> {
        const KEY: &str = "ovn-remote";
        let Some(value) = self.get(KEY) else {
            return Vec::new();
        };
        Remote::parse_list(value).unwrap_or_else(|error| {
            bad.push(BadSetting {
                key: KEY,
                value: value.to_string(),
                why: error.to_string(),
            });
            Vec::new()
        })
    }

    fn encaps(&self, bad: &mut Vec<BadSetting>) -> Vec<(TunnelKind, IpAddr)> {
        let (Some(kinds), Some(ips)) = (self.get("ovn-encap-type"), self.get("ovn-encap-ip"))
        else {
            return Vec::new();
        };
        let mut parsed_kinds = Vec::new();
        for word in words(kinds) {
            match TunnelKind::named(word) {
                Some(kind) => parsed_kinds.push(kind),
                None => bad.push(BadSetting {
                    key: "ovn-encap-type",
                    value: word.to_owned(),
                    why: "known are geneve, vxlan and gre".to_owned(),
                }),
            }
        }
        let mut parsed_ips: Vec<IpAddr> = Vec::new();
        for word in words(ips) {
            match word.parse() {
                Ok(ip) if parsed_ips.contains(&ip) => {}
                Ok(ip) => parsed_ips.push(ip),
                Err(_) => bad.push(BadSetting {
                    key: "ovn-encap-ip",
                    value: word.to_owned(),
                    why: "an IP address is expected".to_owned(),
                }),
            }
        }
        parsed_kinds.sort_unstable();
        parsed_kinds.dedup();
        let ips = &parsed_ips;
        let ends = parsed_kinds
            .into_iter()
            .flat_map(|kind| ips.iter().map(move |ip| (kind, *ip)));
        let (good, refused): (Vec<_>, Vec<_>) =
            ends.partition(|(kind, ip)| *kind != TunnelKind::Gre || ip.is_ipv4());
        bad.extend(refused.into_iter().map(|(kind, ip)| BadSetting {
            key: "ovn-encap-type",
            value: kind.name().to_owned(),
            why: format!("GRE is over IPv4 only, not over {ip}"),
        }));
        good
    }

    fn encap_default(&self, bad: &mut Vec<BadSetting>) -> Option<IpAddr> {
        const KEY: &str = "ovn-encap-ip-default";
        let value = self.get(KEY)?;
        let is_listed = |ip: &str| {
            self.get("ovn-encap-ip")
                .is_some_and(|ips| words(ips).any(|word| word == ip))
        };
        let ip = value.parse().ok().filter(|_| is_listed(value));
        if ip.is_none() {
            bad.push(BadSetting {
                key: KEY,
                value: value.to_string(),
                why: "one of the addresses in ovn-encap-ip is expected".to_owned(),
            });
        }
        ip
    }

    fn zones(&self, bad: &mut Vec<BadSetting>) -> ZoneRange {
        const KEY: &str = "ct-zone-range";
        let Some(text) = self.get(KEY) else {
            return ZoneRange::default();
        };
        let range = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (1..=last)
                .contains(&first)
                .then_some(ZoneRange { first, last })
        });
        range.unwrap_or_else(|| {
            bad.push(BadSetting {
                key: KEY,
                value: text.to_string(),
                why: "FIRST-LAST is expected, with numbers from 1 to 65535".to_owned(),
            });
            ZoneRange::default()
        })
    }

    fn mappings(&self, bad: &mut Vec<BadSetting>) -> BTreeMap<Arc<str>, Arc<str>> {
        let mut mappings = BTreeMap::new();
        for word in self
            .get("ovn-bridge-mappings")
            .map(|m| words(m))
            .into_iter()
            .flatten()
        {
            match word.split_once(':') {
                Some((network, bridge)) if !network.is_empty() && !bridge.is_empty() => {
                    mappings.insert(network.into(), bridge.into());
                }
                _ => bad.push(BadSetting {
                    key: "ovn-bridge-mappings",
                    value: word.to_owned(),
                    why: "NETWORK:BRIDGE is expected".to_owned(),
                }),
            }
        }
        mappings
    }

    fn mac_mappings(&self, bad: &mut Vec<BadSetting>) -> BTreeMap<Arc<str>, Mac> {
        const KEY: &str = "ovn-chassis-mac-mappings";
        let text = self.get(KEY).map_or("", |text| text);
        let mut mappings = BTreeMap::new();
        for mapping in mac_mappings(text) {
            match mapping {
                Ok((network, mac)) => drop(mappings.insert(network.into(), mac)),
                Err(word) => bad.push(BadSetting {
                    key: KEY,
                    value: word.to_owned(),
                    why: "NETWORK:MAC is expected".to_owned(),
                }),
            }
        }
        mappings
    }

    fn other_config(&self, datapath_type: &str) -> BTreeMap<Arc<str>, Arc<str>> {
        let copied = PUBLISHED.iter();
        let mut config: BTreeMap<Arc<str>, Arc<str>> = copied
            .map(|&key| (key.into(), self.get(key).cloned().unwrap_or_default()))
            .collect();
        for (shown, key, default) in PUBLISHED_FLAGS {
            let value = self.flag(key, *default).to_string();
            config.insert((*shown).into(), value.into());
        }
        // What Open vSwitch takes where nothing is written.
        let datapath_type = Some(datapath_type).filter(|written| !written.is_empty());
        let datapath_type = datapath_type.unwrap_or("system");
        config.insert("datapath-type".into(), datapath_type.into());
        config.insert("iface-types".into(), self.row.iface_types.join(",").into());
        config.extend(
            ABILITIES
                .iter()
                .map(|&ability| (Arc::from(ability), Arc::from("true"))),
        );
        config
    }
}

/// See [`Settings::keeps_apart`]; a version that is not said may be an old one.
fn keeps_apart(datapath_type: &str, version: Option<&str>) -> bool {
    let mut numbers = version.unwrap_or_default().split('.');
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let is_new = number()
        .zip(number())
        .is_some_and(|version| version >= (3, 2));
    datapath_type != "netdev" || is_new
}

/// Physical networks, each with the MAC of a chassis there, as `ovn-chassis-mac-mappings` has them; an entry that makes no sense
/// is an error.
pub fn mac_mappings(text: &str) -> impl Iterator<Item = Result<(&str, Mac), &str>> {
    words(text).map(|word| {
        let found = word.split_once(':').and_then(|(network, mac)| {
            let mac = mac.parse::<Mac>().ok()?;
            let is_one = !mac.is_multicast() && !mac.is_zero();
            (is_one && !network.is_empty()).then_some((network, mac))
        });
        found.ok_or(word)
    })
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_kept_apart_where_the_switch_survives_it() {
        for (datapath_type, version, expected) in [
            ("", None, true),
            ("system", Some("2.17.0"), true),
            ("netdev", None, false),
            ("netdev", Some("3.1.0"), false),
            ("netdev", Some("nonsense"), false),
            ("netdev", Some("3.2.0"), true),
            ("netdev", Some("3.10.1-1"), true),
            ("netdev", Some("10.0"), true),
        ] {
            let is = keeps_apart(datapath_type, version);
            assert_eq!(is, expected, "{datapath_type:?} {version:?}");
        }
    }

    fn row(ids: &[(&str, &str)]) -> OpenVSwitch {
        OpenVSwitch {
            external_ids: ids.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
            ..OpenVSwitch::default()
        }
    }

    #[test]
    fn without_a_name_there_are_no_settings() {
        assert_eq!(
            Settings::read(&row(&[("ovn-remote", "unix:x")]), "h", ""),
            (None, vec![])
        );
    }

    #[test]
    fn all_keys_are_read_and_those_for_one_chassis_count_more() {
        let (settings, bad) = Settings::read(
            &row(&[
                ("system-id", "c1"),
                ("ovn-remote", "tcp:10.0.0.1:6642"),
                ("ovn-encap-type", "vxlan, geneve"),
                ("ovn-encap-ip", "10.0.0.2"),
                ("ovn-encap-ip-c1", "10.0.0.3"),
                ("ovn-bridge-mappings", "phys:br-ex,other:br-o"),
                ("ovn-encap-csum", "false"),
                ("ovn-encap-ip-default", "10.0.0.3"),
                ("ovn-encap-tos", "none"),
                ("ovn-encap-df_default", "true"),
                ("ovn-enable-flow-based-tunnels-c1", "true"),
                ("ovn-openflow-probe-interval", "7"),
                ("ovn-chassis-mac-mappings", "phys:02:00:00:00:0c:01"),
            ]),
            "host",
            "netdev",
        );
        let settings = settings.expect("named");
        assert_eq!(bad, []);
        let ip: IpAddr = "10.0.0.3".parse().expect("an address");
        assert_eq!(
            settings.encaps,
            [(TunnelKind::Geneve, ip), (TunnelKind::Vxlan, ip)]
        );
        assert_eq!(settings.encap_default, Some(ip));
        assert_eq!(settings.encap_tos, None);
        assert_eq!(settings.encap_df_default.as_deref(), Some("true"));
        assert!(settings.flow_based_tunnels);
        assert_eq!(settings.bridge_mappings["phys"], "br-ex".into());
        let mac = settings.mac_mappings["phys"].to_string();
        assert_eq!(mac, "02:00:00:00:0c:01");
        assert_eq!((settings.encap_csum, settings.monitor_all), (false, false));
        assert_eq!(settings.openflow_probe, Some(Duration::from_secs(7)));
        assert_eq!(
            (&*settings.bridge, &*settings.shown.hostname),
            ("br-int", "host")
        );
        assert_eq!(
            settings.shown.other_config["datapath-type"],
            "netdev".into()
        );
    }

    #[test]
    fn what_others_may_read_is_published_with_or_without_effect() {
        let ids = [
            ("system-id", "c1"),
            ("ovn-enable-lflow-cache-c1", "false"),
            ("ovn-limit-lflow-cache", "100"),
            ("ovn-evpn-vxlan-ports", "4789"),
        ];
        let (settings, _) = Settings::read(&row(&ids), "h", "");
        let settings = settings.expect("named");
        let config = &settings.shown.other_config;
        for (key, value) in [
            ("ovn-enable-lflow-cache", "false"),
            ("ovn-limit-lflow-cache", "100"),
            ("ovn-memlimit-lflow-cache-kb", ""),
            ("ovn-trim-limit-lflow-cache", ""),
            ("ovn-trim-timeout-ms", ""),
            ("ovn-trim-wmark-perc-lflow-cache", ""),
            ("ovn-evpn-vxlan-ports", "4789"),
            ("ovn-evpn-local-ip", ""),
            ("ovn-monitor-all", "false"),
            ("is-interconn", "false"),
        ] {
            let told = config.get(key).map(|value| &**value);
            assert_eq!(told, Some(value), "{key}");
        }
        assert!(!settings.lflow_cache);
        let (settings, _) = Settings::read(&row(&ids[..1]), "h", "");
        let config = settings.expect("named").shown.other_config;
        assert_eq!(config["ovn-enable-lflow-cache"], "true".into());
    }

    /// Whatever is not the other value is the default; upper and lower case are alike.
    #[test]
    fn flags_are_read_as_open_vswitch_reads_them() {
        for (text, on, off) in [
            ("True", true, true),
            ("FALSE", false, false),
            ("yes", false, true),
            ("0", false, true),
        ] {
            let (settings, _) = Settings::read(
                &row(&[
                    ("system-id", "c1"),
                    ("ovn-monitor-all", text),
                    ("ovn-encap-csum", text),
                ]),
                "h",
                "",
            );
            let settings = settings.expect("named");
            assert_eq!(
                (settings.monitor_all, settings.encap_csum),
                (on, off),
                "{text}"
            );
        }
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let row = row(&[
            ("system-id", "c1"),
            ("ovn-bridge-remote-c1", "tcp:127.0.0.1:6640"),
            ("ovn-bridge", "br-x"),
            ("ovn-remote-probe-interval", "60000"),
        ]);
        let said = Settings::without_effect(&row);
        let said: Vec<String> = said.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "Open_vSwitch external_ids:ovn-bridge-remote=tcp:127.0.0.1:6640: without effect: the bridge's own socket is used",
                "Open_vSwitch external_ids:ovn-remote-probe-interval=60000: without effect: the southbound is probed at an interval of its own",
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_named_and_the_rest_is_used() {
        let (settings, bad) = Settings::read(
            &row(&[
                ("system-id", "c1"),
                ("ovn-encap-type", "stt,geneve"),
                ("ovn-encap-ip", "here,10.0.0.2"),
                ("ovn-encap-ip-default", "10.0.0.3"),
                ("ovn-bridge-mappings", "phys,a:b"),
                ("ovn-chassis-mac-mappings", "phys:1,a:01:00:00:00:00:01"),
                ("ovn-openflow-probe-interval", "often"),
            ]),
            "h",
            "",
        );
        let settings = settings.expect("named");
        assert_eq!(
            (settings.encaps.len(), settings.bridge_mappings.len()),
            (1, 1)
        );
        let said: Vec<String> = bad.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "Open_vSwitch external_ids:ovn-bridge-mappings=phys: NETWORK:BRIDGE is expected",
                "Open_vSwitch external_ids:ovn-chassis-mac-mappings=phys:1: NETWORK:MAC is expected",
                "Open_vSwitch external_ids:ovn-chassis-mac-mappings=a:01:00:00:00:00:01: NETWORK:MAC is expected",
                "Open_vSwitch external_ids:ovn-encap-ip-default=10.0.0.3: one of the addresses in ovn-encap-ip is expected",
                "Open_vSwitch external_ids:ovn-encap-type=stt: known are geneve, vxlan and gre",
                "Open_vSwitch external_ids:ovn-encap-ip=here: an IP address is expected",
                "Open_vSwitch external_ids:ovn-openflow-probe-interval=often: a number of seconds is expected",
            ]
        );
    }
}
