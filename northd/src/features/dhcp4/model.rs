//! `DHCP_Options`: what DHCPv4 clients of a network are told.
//!
//! A value is written as in an action of a logical flow (`10.0.0.1`, `{8.8.8.8, 8.8.4.4}`, `"text"`, `3600`); quotes around
//! a text may be left out; `mtu=auto` is how large packets of the network may be ([`underlay`](crate::features::underlay)). An option that cannot be read is left out alone; without `server_id`, `server_mac` or
//! `lease_time`, nobody is answered. A row without any options is no problem: it waits to be filled in, as one does between
//! the commands `dhcp-options-create` and `dhcp-options-set-options`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use addr::{Cidr, Mac, masked::parse_ip};
use lflow::action::Options as OptionList;
use lflow::{Constant, Int};
use nb_db::tables::DhcpOptions;
use ovsdb::Row;
use ovsdb::typed::TableDefinition;
use uuid::Uuid;

use crate::compiler::problem::{Complaints, Problem};
use crate::features::dictionaries::{Dhcp4Type, dhcp4_type};
use crate::features::underlay::AUTO;

/// DHCPv4 options that make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp4 {
    /// The network that they are for.
    pub network: Cidr,
    /// Who answers.
    pub server: Ipv4Addr,
    /// From which MAC.
    pub server_mac: Mac,
    /// What is told beside the offered address, in the order of the names.
    pub options: OptionList,
    /// Whether clients are told how large packets may be in their network (`mtu=auto`).
    pub tells_mtu: bool,
}

impl Dhcp4 {
    /// Reads a row. Options for IPv6 networks and unusable ones give nothing.
    pub fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let cidr: Arc<str> = DhcpOptions::COLUMN.cidr.get(row);
        let mut complaints = Complaints::about(DhcpOptions::NAME, uuid, Arc::clone(&cidr));
        let options = Self::parse_with(&cidr, row, &mut complaints);
        (options, complaints.into_problems())
    }

    /// What is told where packets may have `mtu` bytes, in the order of the names.
    pub fn told(&self, mtu: Option<u32>) -> OptionList {
        let mut list = self.options.clone();
        if let Some(mtu) = mtu.filter(|_| self.tells_mtu) {
            let place = list.partition_point(|(name, _)| **name < *MTU);
            let value = Constant::from(Int::new(mtu.into()));
            list.insert(place, (Arc::from(MTU), [value].into_iter().collect()));
        }
        list
    }

    fn parse_with(cidr: &str, row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = DhcpOptions::COLUMN;
        let network = match cidr.parse::<Cidr>() {
            Ok(network) if network.is_ipv4() => network.network(),
            Ok(_) => return None,
            Err(error) => {
                complaints.address(column.cidr.name, cidr, &error);
                return None;
            }
        };
        if row.get(column.options.index).is_empty() {
            return None;
        }
        let (mut server, mut server_mac, mut leases) = (None, None, false);
        let mut has_netmask = false;
        let mut tells_mtu = false;
        let mut list = OptionList::new();
        for (name, value) in row.get(column.options.index).pairs() {
            let (Some(name), Some(value)) = (name.as_arc_str(), value.as_str()) else {
                continue;
            };
            if &**name == "server_mac" {
                match value.parse() {
                    Ok(mac) => server_mac = Some(mac),
                    Err(error) => complaints.address(column.options.name, value, &error),
                }
                continue;
            }
            let Some(kind) = dhcp4_type(name) else {
                let why = "there is no such DHCPv4 option";
                complaints.text(
                    column.options.name,
                    name,
                    0,
                    why,
                    "remove it, or correct its spelling",
                );
                continue;
            };
            if &**name == MTU && value.trim() == AUTO {
                tells_mtu = true;
                continue;
            }
            match read_value(kind, value) {
                Ok(values) => {
                    match &**name {
                        "server_id" => server = only_ip4(&values),
                        "lease_time" => leases = true,
                        "netmask" => has_netmask = true,
                        _ => {}
                    }
                    list.push((Arc::clone(name), values.into_iter().collect()));
                }
                Err(wanted) => {
                    complaints.text(
                        column.options.name,
                        value,
                        0,
                        format!("{name} is not {wanted}"),
                        REMEDY,
                    );
                }
            }
        }
        let (Some(server), Some(server_mac), true) = (server, server_mac, leases) else {
            let remedy =
                "no client is answered until server_id, server_mac and lease_time are all set";
            complaints.column(
                column.options.name,
                "one of the three options that must be there is missing",
                remedy,
            );
            return None;
        };
        repeat_default_route(&mut list);
        if !has_netmask && let IpAddr::V4(mask) = network.mask() {
            list.push((
                Arc::from("netmask"),
                [Constant::from(mask)].into_iter().collect(),
            ));
            list.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Some(Self {
            network,
            server,
            server_mac,
            options: list,
            tells_mtu,
        })
    }
}

/// Clients that are told classless routes take no notice of `router` (RFC 3442): the default route stands among those, too.
fn repeat_default_route(list: &mut OptionList) {
    let router = list.iter().find(|(name, _)| &**name == "router");
    let router = router.and_then(|(_, values)| values.first()).cloned();
    let (Some(router), Some(everywhere)) = (router, Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    else {
        return;
    };
    let everywhere = Constant::from(everywhere);
    for (_, values) in list
        .iter_mut()
        .filter(|(name, _)| ROUTES.contains(&&**name))
    {
        if !values
            .iter()
            .step_by(2)
            .any(|network| *network == everywhere)
        {
            values.extend([everywhere.clone(), router.clone()]);
        }
    }
}

const ROUTES: [&str; 2] = ["classless_static_route", "ms_classless_static_route"];
const MTU: &str = "mtu";
const REMEDY: &str = "the option is left out until it is";

/// Reads the value of an option; the error says what it should have been.
fn read_value(kind: Dhcp4Type, text: &str) -> Result<Vec<Constant>, &'static str> {
    let text = text.trim();
    match kind {
        Dhcp4Type::Bool => number(text, 1).ok_or("0 or 1"),
        Dhcp4Type::Uint8 => number(text, u8::MAX.into()).ok_or("a number from 0 to 255"),
        Dhcp4Type::Uint16 => number(text, u16::MAX.into()).ok_or("a number from 0 to 65535"),
        Dhcp4Type::Uint32 => number(text, u32::MAX).ok_or("a number from 0 to 4294967295"),
        Dhcp4Type::Ipv4 => elements(text)
            .map(|word| ip4(word).map(Constant::from))
            .collect::<Option<Vec<_>>>()
            .filter(|values| !values.is_empty())
            .ok_or("an IPv4 address, or several as {A, B}"),
        Dhcp4Type::StaticRoutes => routes(text).ok_or("routes as {NETWORK/LENGTH,GATEWAY, ...}"),
        Dhcp4Type::HostId => Ok(vec![ip4(text).map_or_else(|| quoted(text), Constant::from)]),
        Dhcp4Type::Str | Dhcp4Type::Domains if text.is_empty() => Err("a text"),
        Dhcp4Type::Str | Dhcp4Type::Domains => Ok(vec![quoted(text)]),
    }
}

fn number(text: &str, max: u32) -> Option<Vec<Constant>> {
    let number: u32 = text.parse().ok().filter(|number| *number <= max)?;
    Some(vec![Constant::from(Int::new(number.into()))])
}

fn ip4(text: &str) -> Option<Ipv4Addr> {
    match parse_ip(text) {
        Ok(IpAddr::V4(ip)) => Some(ip),
        Ok(IpAddr::V6(_)) | Err(_) => None,
    }
}

/// The elements of `{A, B}`, or the one that stands without braces.
pub fn elements(text: &str) -> impl Iterator<Item = &str> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    inner
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn routes(text: &str) -> Option<Vec<Constant>> {
    let words: Vec<&str> = elements(text).collect();
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return None;
    }
    let mut values = Vec::with_capacity(words.len());
    for pair in words.chunks_exact(2) {
        let network: Cidr = pair[0].parse().ok().filter(|cidr: &Cidr| cidr.is_ipv4())?;
        values.push(Constant::from(network));
        values.push(Constant::from(ip4(pair[1])?));
    }
    Some(values)
}

/// The text inside the quotes, with the escapes of a JSON string; a text without quotes is itself.
pub fn quoted(text: &str) -> Constant {
    let inner = serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
    Constant::Str(Arc::from(inner))
}

fn only_ip4(values: &[Constant]) -> Option<Ipv4Addr> {
    match values {
        [Constant::Int(int)] => u32::try_from(int.value).ok().map(Ipv4Addr::from_bits),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cidr: &str, options: &[(&str, &str)]) -> (Option<Dhcp4>, Vec<String>) {
        let row = DhcpOptions {
            cidr: cidr.into(),
            options: options
                .iter()
                .map(|(key, value)| (Arc::from(*key), Arc::from(*value)))
                .collect(),
            ..Default::default()
        };
        let (options, problems) = Dhcp4::parse(Uuid::nil(), &row.to_row());
        (
            options,
            problems.into_iter().map(|problem| problem.why).collect(),
        )
    }

    const REQUIRED: [(&str, &str); 3] = [
        ("server_id", "10.0.0.1"),
        ("server_mac", "02:00:00:00:00:01"),
        ("lease_time", "3600"),
    ];

    #[test]
    fn options_are_told_in_the_order_of_their_names() {
        let mut options = REQUIRED.to_vec();
        options.extend([
            ("router", "10.0.0.1"),
            ("dns_server", "{8.8.8.8, 8.8.4.4}"),
            ("mtu", "auto"),
            ("domain_name", "\"example.org\""),
            ("wpad", "http://proxy"),
            (
                "classless_static_route",
                "{30.0.0.0/24,10.0.0.10, 0.0.0.0/0,10.0.0.1}",
            ),
        ]);
        let (dhcp, problems) = parse("10.0.0.9/24", &options);
        assert_eq!(problems, Vec::<String>::new());
        let dhcp = dhcp.unwrap();
        assert_eq!(dhcp.network.to_string(), "10.0.0.0/24");
        let text = lflow::Actions(vec![lflow::a::put_options(
            lflow::Symbol::Reg0.bit(3),
            lflow::action::OptionsKind::Dhcp4,
            dhcp.told(Some(1442)),
        )]);
        assert_eq!(
            text.to_string(),
            "reg0[3] = put_dhcp_opts(classless_static_route = {30.0.0.0/24, 10.0.0.10, 0.0.0.0/0, 10.0.0.1}, \
             dns_server = {8.8.8.8, 8.8.4.4}, domain_name = \"example.org\", lease_time = 3600, \
             mtu = 1442, netmask = 255.255.255.0, router = 10.0.0.1, server_id = 10.0.0.1, wpad = \"http://proxy\");"
        );
    }

    #[test]
    fn classless_routes_repeat_the_default_route() {
        let told = |routes: &'static str| {
            let mut options = REQUIRED.to_vec();
            options.extend([
                ("router", "10.0.0.1"),
                ("ms_classless_static_route", routes),
            ]);
            let (dhcp, _) = parse("10.0.0.0/24", &options);
            let list = dhcp.unwrap().options;
            let (_, values) = list.iter().find(|(name, _)| &**name == ROUTES[1]).unwrap();
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            values.join(" ")
        };
        assert_eq!(
            told("{30.0.0.0/24,10.0.0.9}"),
            "30.0.0.0/24 10.0.0.9 0.0.0.0/0 10.0.0.1"
        );
        assert_eq!(told("{0.0.0.0/0,10.0.0.9}"), "0.0.0.0/0 10.0.0.9");
    }

    #[test]
    fn an_option_that_cannot_be_read_costs_itself_alone() {
        for (key, value, why) in [
            ("mtu", "70000", "mtu is not a number from 0 to 65535"),
            (
                "router",
                "10.0.0",
                "router is not an IPv4 address, or several as {A, B}",
            ),
            (
                "ip_forward_enable",
                "yes",
                "ip_forward_enable is not 0 or 1",
            ),
            ("nosuch", "1", "there is no such DHCPv4 option"),
            (
                "classless_static_route",
                "{30.0.0.0/24}",
                "classless_static_route is not routes as {NETWORK/LENGTH,GATEWAY, ...}",
            ),
        ] {
            let mut options = REQUIRED.to_vec();
            options.push((key, value));
            let (dhcp, problems) = parse("10.0.0.0/24", &options);
            assert_eq!(problems, [why]);
            assert!(dhcp.unwrap().options.iter().all(|(name, _)| &**name != key));
        }
    }

    #[test]
    fn nobody_is_answered_without_the_three_that_must_be_there() {
        for missing in 0..REQUIRED.len() {
            let mut options = REQUIRED.to_vec();
            options.remove(missing);
            let (dhcp, problems) = parse("10.0.0.0/24", &options);
            assert_eq!((dhcp, problems.len()), (None, 1));
        }
        assert_eq!(
            parse("fd00::/64", &REQUIRED),
            (None, vec![]),
            "for another family"
        );
    }
}
