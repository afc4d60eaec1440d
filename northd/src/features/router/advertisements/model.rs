//! `Logical_Router_Port.ipv6_ra_configs`: a value that makes no sense costs itself, one of `address_mode` all of them.

use std::net::Ipv6Addr;
use std::sync::Arc;

use addr::{Cidr, Mac};
use lflow::action::Options as LogicalOptions;
use lflow::{Constant, Int, a};
use nb_db::tables::LogicalRouterPort;
use ovsdb::Row;
use ovsdb::typed::TableDefinition;
use uuid::Uuid;

use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::features::underlay::AUTO;

/// All keys of the column.
pub const KEYS: &[&str] = &[
    "address_mode",
    "router_preference",
    "route_info",
    "mtu",
    "send_periodic",
    "max_interval",
    "min_interval",
    "rdnss",
    "dnssl",
];
/// More prefixes, routes or domains than these do not fit into a packet; those beyond are left out and told.
pub const MAX_PREFIXES: usize = 16;
const MAX_ROUTES: usize = 16;
const MAX_DOMAINS: usize = 8;
/// The least MTU of IPv6 (RFC 8200, section 5).
const MIN_MTU: u32 = 1280;
/// What every advertisement has, in bytes: the headers of IPv6 and of the message, and the router's MAC.
const ALWAYS: usize = 40 + 16 + 8;
const MODES: [&str; 3] = ["slaac", "dhcpv6_stateful", "dhcpv6_stateless"];
const PREFERENCES: [&str; 3] = ["HIGH", "MEDIUM", "LOW"];
/// The limits of pauses, in seconds (RFC 4861, section 6.2.1).
const LONGEST_S: std::ops::RangeInclusive<u32> = 4..=1_800;
const DEFAULT_LONGEST_S: u32 = 600;
const LEAST_SHORTEST_S: u32 = 3;

/// What a port is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `address_mode`.
    mode: &'static str,
    /// `router_preference`.
    preference: Option<&'static str>,
    /// `mtu`.
    mtu: Option<u32>,
    /// `rdnss`.
    server: Option<Ipv6Addr>,
    /// `dnssl`.
    domains: Vec<String>,
    /// `route_info`: routes, separated by commas.
    routes: String,
    /// The shortest and the longest pause between advertisements that nobody asked for, in seconds.
    pauses_s: Option<(u32, u32)>,
}

impl Configuration {
    /// Reads a row. Nothing comes of one that does not say how guests get their addresses.
    /// `guest_mtu` is what `mtu=auto` stands for.
    pub fn parse(
        uuid: Uuid,
        row: &Row,
        guest_mtu: impl FnOnce() -> Option<u32>,
    ) -> (Option<Self>, Vec<Problem>) {
        let name: Arc<str> = LogicalRouterPort::COLUMN.name.get(row);
        let mut complaints = Complaints::about(LogicalRouterPort::NAME, uuid, name);
        let column = LogicalRouterPort::COLUMN.ipv6_ra_configs;
        let pairs = row.get(column.index);
        let configuration = if pairs.is_empty() {
            None
        } else {
            Self::read(
                &Options::read(column.name, pairs),
                guest_mtu,
                &mut complaints,
            )
        };
        (configuration, complaints.into_problems())
    }

    fn read(
        options: &Options<'_>,
        guest_mtu: impl FnOnce() -> Option<u32>,
        complaints: &mut Complaints,
    ) -> Option<Self> {
        let column = LogicalRouterPort::COLUMN.ipv6_ra_configs.name;
        if options.text("address_mode").is_none() {
            let why = "address_mode is missing, without which nothing is advertised";
            let remedy = format!("add it: {}", MODES.join(", "));
            complaints.column(column, why, remedy);
        }
        let mode = choice(options, "address_mode", &MODES, complaints)?;
        let is_none = |key| matches!(options.text(key), None | Some("0"));
        let longest = nearest(options, "max_interval", LONGEST_S, complaints);
        let longest = longest.unwrap_or(DEFAULT_LONGEST_S);
        let most_shortest = longest * 3 / 4;
        let range = LEAST_SHORTEST_S..=most_shortest;
        let shortest =
            nearest(options, "min_interval", range, complaints).unwrap_or(if longest >= 9 {
                longest / 3
            } else {
                most_shortest
            });
        let mtu = match options.text("mtu") {
            Some(AUTO) => guest_mtu().filter(|mtu| is_enough(*mtu, complaints)),
            _ if is_none("mtu") => None,
            _ => options.number("mtu", MIN_MTU..=u32::MAX, complaints),
        };
        Some(Self {
            mode,
            preference: choice(options, "router_preference", &PREFERENCES, complaints),
            mtu,
            server: server(options, complaints),
            domains: list(
                options,
                "dnssl",
                complaints,
                |domain, before| match is_domain(domain) {
                    false => Read::Senseless,
                    true if before == MAX_DOMAINS => Read::TooMuch,
                    true => Read::Good(domain.to_owned()),
                },
            ),
            routes: list(
                options,
                "route_info",
                complaints,
                |text, before| match route(text) {
                    None => Read::Senseless,
                    Some(_) if before == MAX_ROUTES => Read::TooMuch,
                    Some(route) => Read::Good(route),
                },
            )
            .join(","),
            pauses_s: options
                .truth("send_periodic", false, complaints)
                .then_some((shortest, longest)),
        })
    }

    /// The domains for which there is room beside so many networks, in a packet that the link takes, or any link.
    pub fn domains(&self, networks: usize) -> &[String] {
        let room = self.mtu.unwrap_or(MIN_MTU);
        let mut used = ALWAYS + 32 * networks;
        used += 8 * usize::from(self.mtu.is_some()) + 24 * usize::from(self.server.is_some());
        for route in self
            .routes
            .split(',')
            .filter_map(|route| route.split_once('-'))
        {
            let network = route.1.parse::<Cidr>().ok();
            let length = network.map_or(128, Cidr::prefix_len);
            used += 8 + 8 * usize::from(length.div_ceil(64));
        }
        // The option's head; then each label with its length before it, and a name with a zero behind it, rounded up in all.
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let room = room.saturating_sub(used + 8) / 8 * 8;
        let mut size = 0;
        let fits = self.domains.iter().take_while(|domain| {
            size += domain.trim_end_matches('.').len() + 2;
            size <= room
        });
        let count = fits.count();
        &self.domains[..count]
    }

    /// How many domains are to be told.
    pub fn domain_count(&self) -> usize {
        self.domains.len()
    }

    /// The arguments of `put_nd_ra_opts`.
    pub fn options(&self, mac: Mac, prefixes: &[Cidr]) -> LogicalOptions {
        let text = |name: &'static str, text: &str| a::option(name, a::text(text));
        let mut options = vec![text("addr_mode", self.mode), a::option("slla", mac)];
        options.extend(self.mtu.map(|mtu| a::option("mtu", Int::new(mtu.into()))));
        options.extend(self.preference.map(|p| text("router_preference", p)));
        options.extend(self.server.map(|ip| a::option("rdnss", ip)));
        let domains = self.domains(prefixes.len()).join(",");
        for (name, list) in [("dnssl", &domains), ("route_info", &self.routes)] {
            if !list.is_empty() {
                options.push(text(name, list));
            }
        }
        let network = |prefix: &Cidr| a::option("prefix", Constant::Int(Int::from(*prefix)));
        options.extend(prefixes.iter().map(network));
        options
    }

    /// The keys of `Port_Binding.options` with which controllers advertise by themselves.
    pub fn periodic(
        &self,
        mac: Mac,
        source: Ipv6Addr,
        prefixes: &[Cidr],
    ) -> Option<Vec<(&'static str, String)>> {
        let (shortest, longest) = self.pauses_s?;
        let mut pairs = vec![
            ("ipv6_ra_send_periodic", "true".to_owned()),
            ("ipv6_ra_address_mode", self.mode.to_owned()),
            ("ipv6_ra_min_interval", shortest.to_string()),
            ("ipv6_ra_max_interval", longest.to_string()),
            (
                "ipv6_ra_prf",
                self.preference.unwrap_or("MEDIUM").to_owned(),
            ),
            ("ipv6_ra_src_eth", mac.to_string()),
            ("ipv6_ra_src_addr", source.to_string()),
        ];
        pairs.extend(self.mtu.map(|mtu| ("ipv6_ra_mtu", mtu.to_string())));
        pairs.extend(self.server.map(|ip| ("ipv6_ra_rdnss", ip.to_string())));
        let domains = self.domains(prefixes.len()).join(",");
        let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        for (key, value) in [
            ("ipv6_ra_prefixes", prefixes.join(" ")),
            ("ipv6_ra_dnssl", domains),
            ("ipv6_ra_route_info", self.routes.clone()),
        ] {
            if !value.is_empty() {
                pairs.push((key, value));
            }
        }
        Some(pairs)
    }
}

/// One of several words.
fn choice(
    options: &Options<'_>,
    key: &str,
    words: &[&'static str],
    complaints: &mut Complaints,
) -> Option<&'static str> {
    let text = options.text(key)?;
    let found = words.iter().find(|word| **word == text);
    if found.is_none() {
        let column = LogicalRouterPort::COLUMN.ipv6_ra_configs.name;
        let remedy = format!("write one of {}", words.join(", "));
        complaints.text(column, text, 0, format!("{key} is none of them"), remedy);
    }
    found.copied()
}

fn server(options: &Options<'_>, complaints: &mut Complaints) -> Option<Ipv6Addr> {
    let text = options.text("rdnss")?;
    let server = text.parse().ok();
    if server.is_none() {
        let column = LogicalRouterPort::COLUMN.ipv6_ra_configs.name;
        let why = "rdnss is not an address of IPv6";
        complaints.text(column, text, 0, why, "write that of one DNS server");
    }
    server
}

/// Whether packets of so many bytes are enough for IPv6. Less may not be advertised (RFC 8200, section 5; RFC 4861, section
/// 6.3.4).
fn is_enough(mtu: u32, complaints: &mut Complaints) -> bool {
    let enough = mtu >= MIN_MTU;
    if !enough {
        let why = format!("mtu=auto: packets may have {mtu} bytes there, and IPv6 needs {MIN_MTU}");
        let remedy = "none is advertised: let the underlay, or the physical network, carry more";
        let column = LogicalRouterPort::COLUMN.ipv6_ra_configs.name;
        complaints.text(column, AUTO, 0, why, remedy);
    }
    enough
}

/// A number, or the nearest one that is allowed.
fn nearest(
    options: &Options<'_>,
    key: &str,
    range: std::ops::RangeInclusive<u32>,
    complaints: &mut Complaints,
) -> Option<u32> {
    let text = options.text(key)?;
    let column = LogicalRouterPort::COLUMN.ipv6_ra_configs.name;
    let (least, most) = (*range.start(), *range.end());
    let why = format!("{key} is not a number from {least} to {most}");
    let Ok(number) = text.parse::<i64>() else {
        complaints.text(column, text, 0, why, "it is ignored until it is");
        return None;
    };
    let clamped = number.clamp(least.into(), most.into());
    if clamped != number {
        complaints.text(column, text, 0, why, format!("it is taken to be {clamped}"));
    }
    u32::try_from(clamped).ok()
}

/// What a part of a list comes to.
enum Read {
    /// It is kept.
    Good(String),
    /// It makes no sense.
    Senseless,
    /// An advertisement has no room for it.
    TooMuch,
}

/// The parts of a list that make sense, separated by commas. `read` is told how many there are before.
fn list(
    options: &Options<'_>,
    key: &str,
    complaints: &mut Complaints,
    mut read: impl FnMut(&str, usize) -> Read,
) -> Vec<String> {
    let column = LogicalRouterPort::COLUMN.ipv6_ra_configs.name;
    let Some(text) = options.text(key) else {
        return Vec::new();
    };
    let mut good = Vec::new();
    let mut at = 0;
    for part in text.split(',') {
        let word = part.trim();
        match read(word, good.len()) {
            Read::TooMuch => {
                let count = good.len();
                let why = format!("{key} has more than the {count} members that there is room for");
                complaints.text(column, text, at, why, "those from here on are left out");
                break;
            }
            Read::Good(read) => good.push(read),
            Read::Senseless if word.is_empty() => {}
            Read::Senseless => {
                let why = format!("{key}: {word:?} makes no sense");
                let remedy = match key {
                    "dnssl" => "write domains, separated by commas",
                    _ => {
                        "write PREFERENCE-NETWORK, such as HIGH-2001:db8::/48, separated by commas"
                    }
                };
                complaints.text(column, text, at, why, remedy);
            }
        }
        at += part.len() + 1;
    }
    good
}

/// `PREFERENCE-NETWORK`.
fn route(text: &str) -> Option<String> {
    let (preference, network) = text.split_once('-')?;
    let network: Cidr = network.parse().ok()?;
    let is_good = PREFERENCES.contains(&preference) && !network.is_ipv4();
    is_good.then(|| format!("{preference}-{}", network.network()))
}

/// Whether a text is a domain (RFC 1035, section 2.3.4).
fn is_domain(text: &str) -> bool {
    let mut labels = text.trim_end_matches('.').split('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|c| c.is_ascii_graphic() && c != b'"')
    };
    text.len() <= 253 && labels.all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> (Option<Configuration>, usize) {
        let row = LogicalRouterPort {
            name: "lrp".into(),
            ipv6_ra_configs: pairs
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            ..Default::default()
        };
        let (configuration, problems) =
            Configuration::parse(Uuid::nil(), &row.to_row(), || Some(1442));
        (configuration, problems.len())
    }

    #[test]
    fn pauses_are_within_what_the_protocol_allows() {
        for (longest, shortest, pauses, problems) in [
            ("", "", (200, 600), 0),
            ("8", "", (6, 8), 0),
            ("4", "3", (3, 4), 0),
            ("4", "4", (3, 4), 1),
            ("2000", "10", (10, 1_800), 1),
            ("1", "900", (3, 4), 2),
            ("100", "-5", (3, 100), 1),
            ("often", "", (200, 600), 1),
        ] {
            let mut pairs = vec![("address_mode", "slaac"), ("send_periodic", "true")];
            let given = [("max_interval", longest), ("min_interval", shortest)];
            pairs.extend(given.into_iter().filter(|(_, value)| !value.is_empty()));
            let (configuration, told) = parse(&pairs);
            let configuration = configuration.expect("a mode");
            assert_eq!((configuration.pauses_s, told), (Some(pauses), problems));
        }
    }

    #[test]
    fn what_makes_no_sense_costs_itself() {
        assert_eq!(parse(&[]), (None, 0));
        assert_eq!(parse(&[("mtu", "1400")]), (None, 1));
        assert_eq!(parse(&[("address_mode", "SLAAC")]), (None, 1));
        let (bare, _) = parse(&[("address_mode", "slaac")]);
        for (key, value) in [
            ("router_preference", "high"),
            ("mtu", "1279"),
            ("rdnss", "10.0.0.1"),
            ("dnssl", "a..b"),
            ("route_info", "HIGH-10.0.0.0/8"),
            ("send_periodic", "yes"),
        ] {
            let read = parse(&[("address_mode", "slaac"), (key, value)]);
            assert_eq!(read, (bare.clone(), 1), "{key}");
        }
        assert_eq!(parse(&[("address_mode", "slaac"), ("mtu", "0")]), (bare, 0));
    }

    #[test]
    fn good_members_of_a_list_stay() {
        let (read, problems) = parse(&[
            ("address_mode", "slaac"),
            ("dnssl", "a.example, ,b"),
            ("route_info", "HIGH-fd00::1/48,LOW,LOW-fd01::/64"),
        ]);
        let read = read.expect("a mode");
        assert_eq!(read.domains, ["a.example", "b"]);
        assert_eq!(read.routes, "HIGH-fd00::/48,LOW-fd01::/64");
        assert_eq!(problems, 1);
        let many = vec!["d"; 20].join(",");
        let (read, problems) = parse(&[("address_mode", "slaac"), ("dnssl", &many)]);
        assert_eq!((read.expect("a mode").domains.len(), problems), (8, 1));
    }

    #[test]
    fn domains_are_told_as_far_as_there_is_room() {
        let domain = ["d"; 60].concat();
        let domains = [&*domain; 8].join(",");
        let routes = vec!["LOW-fd00::/96"; 16].join(",");
        for (mtu, routes, networks, count) in [
            ("", "", 1, 8),
            ("1280", &*routes, 1, 8),
            ("1280", &*routes, 16, 4),
            ("1500", &*routes, 16, 8),
        ] {
            let mut pairs = vec![("address_mode", "slaac"), ("dnssl", &domains)];
            let given = [("mtu", mtu), ("route_info", routes)];
            pairs.extend(given.into_iter().filter(|(_, value)| !value.is_empty()));
            let (read, problems) = parse(&pairs);
            let read = read.expect("a mode");
            assert_eq!(
                (read.domains(networks).len(), problems),
                (count, 0),
                "{mtu}"
            );
        }
        // Names are filled up to eight bytes: 466 of them are 472.
        let long = format!("{},{}", [&*domain; 7].join(","), "e".repeat(30));
        let pairs = [
            ("address_mode", "slaac"),
            ("dnssl", &*long),
            ("mtu", "1442"),
            ("route_info", &routes),
        ];
        let (read, _) = parse(&pairs);
        let read = read.expect("a mode");
        assert_eq!((read.domains(16).len(), read.domains(15).len()), (7, 8));
    }
}
