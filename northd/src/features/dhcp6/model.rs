//! `DHCP_Options` of an IPv6 network: what DHCPv6 clients are told.
//!
//! Values are written as for DHCPv4. `server_id` is the server's MAC, and must be there; `dhcpv6_stateless` says that no
//! addresses are given. An option that cannot be read is left out alone.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use addr::{Cidr, Mac};
use lflow::Constant;
use lflow::action::Options as OptionList;
use nb_db::tables::DhcpOptions;
use ovsdb::Row;
use ovsdb::typed::TableDefinition;
use uuid::Uuid;

use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};
use crate::features::dhcp4::{elements, quoted};
use crate::features::dictionaries::DHCP6;

/// DHCPv6 options that make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp6 {
    /// The network that they are for.
    pub network: Cidr,
    /// Who answers.
    pub server_mac: Mac,
    /// Whether clients get no addresses.
    pub is_stateless: bool,
    /// What is told beside the address, in the order of the names.
    pub options: OptionList,
}

const STATELESS: &str = "dhcpv6_stateless";
/// So many bytes may all options have, beside which a reply of 1,232 bytes has room for the rest.
const MAX_LENGTH: usize = 1000;
/// Code and length.
const HEADER_LENGTH: usize = 4;

/// How long an option becomes at most: a text is hardly longer as names, an address has 16 bytes.
fn length(values: &[Constant], text: &str) -> usize {
    HEADER_LENGTH + text.len().max(16 * values.len()) + 2
}

const REMEDY: &str = "the option is left out until it is";

impl Dhcp6 {
    /// Reads a row. Options for IPv4 networks and unusable ones give nothing.
    pub fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let cidr: Arc<str> = DhcpOptions::COLUMN.cidr.get(row);
        let mut complaints = Complaints::about(DhcpOptions::NAME, uuid, Arc::clone(&cidr));
        let options = Self::parse_with(&cidr, row, &mut complaints);
        (options, complaints.into_problems())
    }

    fn parse_with(cidr: &str, row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = DhcpOptions::COLUMN.options;
        // What is no network at all has been told as one of IPv4.
        let network = cidr.parse::<Cidr>().ok().filter(|cidr| !cidr.is_ipv4())?;
        let datum = row.get(column.index);
        if datum.is_empty() {
            return None;
        }
        let options = Options::read(column.name, datum);
        let is_stateless = options.truth(STATELESS, false, complaints);
        let mut server = None;
        let mut room = MAX_LENGTH;
        let mut list = OptionList::new();
        for (name, value) in datum.pairs() {
            let (Some(name), Some(value)) = (name.as_arc_str(), value.as_str()) else {
                continue;
            };
            if &**name == STATELESS {
                continue;
            }
            // The address is the port's, and stands before the others.
            let known = DHCP6.iter().find(|(known, ..)| **known == **name);
            let Some((_, _, kind)) = known.filter(|_| &**name != "ia_addr") else {
                let why = "there is no such DHCPv6 option";
                let remedy = "remove it, or correct its spelling";
                complaints.text(column.name, name, 0, why, remedy);
                continue;
            };
            match read_value(kind, value) {
                Ok(values) if length(&values, value) > room && &**name != "server_id" => {
                    let why = format!("{name} leaves no room: all of it has to fit into a packet");
                    complaints.text(
                        column.name,
                        name,
                        0,
                        why,
                        "the option is left out: shorten it",
                    );
                }
                Ok(values) => {
                    room = room.saturating_sub(length(&values, value));
                    if &**name == "server_id" {
                        server = value.trim().parse().ok();
                    }
                    list.push((Arc::clone(name), values.into_iter().collect()));
                }
                Err(wanted) => {
                    let why = format!("{name} is not {wanted}");
                    complaints.text(column.name, value, 0, why, REMEDY);
                }
            }
        }
        let Some(server_mac) = server else {
            let why = "there is no server_id, the MAC of who answers";
            complaints.column(column.name, why, "no client is answered until it is set");
            return None;
        };
        Some(Self {
            network: network.network(),
            server_mac,
            is_stateless,
            options: list,
        })
    }
}

/// Reads the value of an option; the error says what it should have been.
fn read_value(kind: &str, text: &str) -> Result<Vec<Constant>, &'static str> {
    let text = text.trim();
    match kind {
        "mac" => text
            .parse::<Mac>()
            .map(|mac| vec![Constant::from(mac)])
            .map_err(|_| "a MAC such as 02:00:00:00:00:01"),
        "ipv6" => elements(text)
            .map(|word| word.parse::<Ipv6Addr>().ok())
            .map(|ip| ip.map(|ip| Constant::from(IpAddr::V6(ip))))
            .collect::<Option<Vec<_>>>()
            .filter(|values| !values.is_empty())
            .ok_or("an IPv6 address, or several as {A, B}"),
        _ if text.is_empty() => Err("a text"),
        _ => Ok(vec![quoted(text)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cidr: &str, options: &[(&str, &str)]) -> (Option<Dhcp6>, Vec<String>) {
        let row = DhcpOptions {
            cidr: cidr.into(),
            options: options
                .iter()
                .map(|(key, value)| (Arc::from(*key), Arc::from(*value)))
                .collect(),
            ..Default::default()
        };
        let (options, problems) = Dhcp6::parse(Uuid::nil(), &row.to_row());
        let problems = problems.into_iter().map(|problem| problem.why);
        (options, problems.collect())
    }

    #[test]
    fn options_are_those_of_the_dictionary() {
        let (dhcp, problems) = parse(
            "fd00::1/64",
            &[
                ("server_id", "02:00:00:00:00:fe"),
                ("dns_server", "{fd00::53, fd00::54}"),
                ("domain_search", "ovn.org"),
                ("fqdn", "\"vm.ovn.org\""),
                ("dhcpv6_stateless", "true"),
                ("lease_time", "3600"),
                ("ia_addr", "fd00::4"),
                ("bootfile_name", ""),
            ],
        );
        assert_eq!(
            problems,
            [
                "bootfile_name is not a text",
                "there is no such DHCPv6 option",
                "there is no such DHCPv6 option"
            ]
        );
        let dhcp = dhcp.unwrap();
        assert!(dhcp.is_stateless && dhcp.network.to_string() == "fd00::/64");
        let text = lflow::Actions(vec![lflow::a::put_options(
            lflow::Symbol::Reg0.bit(3),
            lflow::action::OptionsKind::Dhcp6,
            dhcp.options,
        )]);
        assert_eq!(
            text.to_string(),
            "reg0[3] = put_dhcpv6_opts(dns_server = {fd00::53, fd00::54}, domain_search = \"ovn.org\", \
             fqdn = \"vm.ovn.org\", server_id = 02:00:00:00:00:fe);"
        );
    }

    #[test]
    fn what_does_not_fit_into_a_packet_is_left_out() {
        let long = "x".repeat(1001);
        let servers = format!("{{{}}}", ["::1"; 70].join(","));
        for option in [("bootfile_name", long.as_str()), ("dns_server", &servers)] {
            let options = [option, ("server_id", "02:00:00:00:00:fe")];
            let (dhcp, problems) = parse("fd00::/64", &options);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(dhcp.unwrap().options.len(), 1);
        }
    }

    #[test]
    fn nobody_is_answered_without_a_server() {
        for options in [
            &[("dns_server", "fd00::1")][..],
            &[("server_id", "fd00::1")],
        ] {
            let (dhcp, problems) = parse("fd00::/64", options);
            assert!(dhcp.is_none() && !problems.is_empty());
        }
        assert_eq!(parse("fd00::/64", &[]), (None, vec![]), "to be filled in");
        assert_eq!(parse("10.0.0.0/24", &[("x", "y")]), (None, vec![]));
    }
}
