//! `NAT`: a rule that makes sense by itself.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{Cidr, Mac, PortRange};
use lflow::Expr;
use nb_db::tables::Nat;
use ovsdb::Row;
use ovsdb::typed::TableDefinition;
use uuid::Uuid;

use crate::compiler::options::Options;
use crate::compiler::problem::{Complaints, Problem};

/// A rule that makes sense by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// `external_ip`.
    pub external: IpAddr,
    /// `external_port_range`.
    pub ports: Option<PortRange>,
    /// One host, but for `snat`.
    pub logical: Cidr,
    /// Whether what comes to the outside address goes inside.
    pub is_dnat: bool,
    /// Whether what comes from inside leaves with the outside address.
    pub is_snat: bool,
    /// `options:stateless`: each packet by itself, without connections. For `dnat_and_snat` alone.
    pub is_stateless: bool,
    /// `options:add_route`: other routers on the switch outside have a route to the outside address.
    pub adds_route: bool,
    /// The address set of the only hosts outside that it is for.
    pub allowed: Option<Uuid>,
    /// The address set of hosts outside that it leaves alone.
    pub exempted: Option<Uuid>,
    /// The only packets that it is for, with its rank.
    pub only: Option<(u16, Expr)>,
    /// `gateway_port`: where it has its effect, of several.
    pub gateway_port: Option<Uuid>,
    /// For a guest with an outside address of its own: its port and the MAC outside. What passes is translated where the
    /// guest is.
    pub guest: Option<(Arc<str>, Mac)>,
}

impl Translation {
    /// Reads a row. Nothing comes of one that cannot be a rule at all; the problems say why.
    pub fn parse(uuid: Uuid, row: &Row) -> (Option<Self>, Vec<Problem>) {
        let mut complaints = Complaints::about(Nat::NAME, uuid, Arc::from(""));
        let rule = Self::parse_with(row, &mut complaints);
        (rule, complaints.into_problems())
    }

    fn parse_with(row: &Row, complaints: &mut Complaints) -> Option<Self> {
        let column = Nat::COLUMN;
        let kind: Arc<str> = column.r#type.get(row);
        let external = cidr(
            &column.external_ip.get(row),
            column.external_ip.name,
            complaints,
        );
        let logical = cidr(
            &column.logical_ip.get(row),
            column.logical_ip.name,
            complaints,
        );
        let ports = parse_ports(row, complaints);
        let options = Options::read(column.options.name, row.get(column.options.index));
        let (external, logical) = (external?, logical?.network());
        if !external.is_host() || (&*kind != "snat" && !logical.is_host()) {
            let why = "a network cannot be translated to, or from but by snat";
            let remedy = "the rule is left out: write one address";
            complaints.column(column.logical_ip.name, why, remedy);
            return None;
        }
        if external.is_ipv4() != logical.is_ipv4() {
            let why = "one address is of IPv4, the other of IPv6";
            let remedy = "the rule is left out: write both of one family";
            complaints.column(column.logical_ip.name, why, remedy);
            return None;
        }
        Some(Self {
            external: external.addr(),
            ports,
            logical,
            is_dnat: &*kind != "snat",
            is_snat: &*kind != "dnat",
            is_stateless: options.truth("stateless", false, complaints)
                && &*kind == "dnat_and_snat",
            adds_route: options.truth("add_route", false, complaints),
            allowed: column.allowed_ext_ips.get(row),
            exempted: column.exempted_ext_ips.get(row),
            only: parse_match(row, complaints)?,
            gateway_port: column.gateway_port.get(row),
            guest: parse_guest(row, &kind, complaints)?,
        })
    }
}

fn cidr(text: &Arc<str>, column: &'static str, complaints: &mut Complaints) -> Option<Cidr> {
    text.parse()
        .map_err(|error| complaints.address(column, text, &error))
        .ok()
}

fn parse_ports(row: &Row, complaints: &mut Complaints) -> Option<PortRange> {
    let column = Nat::COLUMN.external_port_range;
    let text: Arc<str> = column.get(row);
    if text.is_empty() {
        return None;
    }
    text.parse()
        .map_err(|error| complaints.address(column.name, &text, &error))
        .ok()
}

/// The outer `None` is a match that cannot be read.
#[expect(
    clippy::option_option,
    reason = "no rule, a rule without a match, and one with a match are three answers"
)]
fn parse_match(row: &Row, complaints: &mut Complaints) -> Option<Option<(u16, Expr)>> {
    let column = Nat::COLUMN;
    let text: Arc<str> = column.r#match.get(row);
    if text.is_empty() {
        return Some(None);
    }
    match Expr::parse(&text) {
        Ok(when) => {
            let rank = u16::try_from(column.priority.get(row)).unwrap_or_default();
            Some(Some((rank, when)))
        }
        Err(error) => {
            let remedy = "the rule is left out until its match can be read";
            complaints.invalid(column.r#match.name, &text, error.at, error.message, remedy);
            None
        }
    }
}

/// The outer `None` is a rule that would make a guest be known outside by a MAC that cannot be read.
#[expect(
    clippy::option_option,
    reason = "no rule, a rule without a guest, and one with a guest are three answers"
)]
fn parse_guest(
    row: &Row,
    kind: &str,
    complaints: &mut Complaints,
) -> Option<Option<(Arc<str>, Mac)>> {
    let column = Nat::COLUMN;
    let port = column.logical_port.get(row).filter(|port| !port.is_empty());
    let text = column.external_mac.get(row).filter(|mac| !mac.is_empty());
    let (port, text) = match (port, text) {
        (Some(port), Some(text)) => (port, text),
        (None, None) => return Some(None),
        (port, _) => {
            let (place, lacks) = match port {
                Some(_) => (column.logical_port.name, "external_mac"),
                None => (column.external_mac.name, "logical_port"),
            };
            let why = format!("{lacks} is not set, and both belong together");
            let remedy = "the gateway's chassis translates: set both, or none";
            complaints.column(place, why, remedy);
            return Some(None);
        }
    };
    if kind != "dnat_and_snat" {
        let why = "only a rule of type dnat_and_snat is for one guest";
        let remedy = "the gateway's chassis translates: remove it, and logical_port";
        complaints.text(column.external_mac.name, &text, 0, why, remedy);
        return Some(None);
    }
    match text.parse::<Mac>() {
        Ok(mac) if mac.is_multicast() || mac.is_zero() => {
            let why = format!("{mac} cannot be the address of one port");
            let remedy = "the rule is left out: write a unicast MAC";
            complaints.text(column.external_mac.name, &text, 0, why, remedy);
            None
        }
        Ok(mac) => Some(Some((port, mac))),
        Err(error) => {
            complaints.address(column.external_mac.name, &text, &error);
            None
        }
    }
}
