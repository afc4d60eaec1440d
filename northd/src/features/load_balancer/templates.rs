//! Virtual addresses with template variables (`options:template`): each chassis has its own values.
//!
//! A variable stands for an address, a port, or backends: `^vip:^port` and `^backends`. Of which family the address is, says
//! `options:address-family`. Matches and actions have the variable, and chassis put the value in its place; one without a value
//! leaves the flow out.
//!
//! What needs the addresses themselves is not done for these: answers to requests for them, affinity, and health checks.

use std::net::IpAddr;
use std::sync::Arc;

use lflow::{Constant, Expr, Symbol, m};
use nb_db::tables::LoadBalancer;

use super::endpoint::{self, Protocol};
use crate::compiler::problem::Complaints;

/// A virtual address with a variable in it, or in its backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// The address.
    ip: Constant,
    /// Whether it is one of IPv4.
    pub(super) is_ip4: bool,
    /// The port.
    pub(super) port: Option<Constant>,
    /// The backends, as they are written.
    pub(super) backends: Arc<str>,
}

impl Template {
    /// The names of its variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let ends = [Some(&self.ip), self.port.as_ref()].into_iter().flatten();
        let ends = ends.filter_map(|end| match end {
            Constant::Template(name) => Some(&**name),
            _ => None,
        });
        let words = self.backends.split(['[', ']', ':', ',']);
        ends.chain(words.filter_map(|word| word.trim().strip_prefix('^')))
    }

    /// To the address.
    pub(super) fn is_address(&self) -> Expr {
        let field = if self.is_ip4 {
            Symbol::Ip4Dst
        } else {
            Symbol::Ip6Dst
        };
        m::eq(field, self.ip.clone())
    }

    /// To the address, and to the port if it has one.
    pub(super) fn is_meant(&self, protocol: Protocol) -> Expr {
        match &self.port {
            Some(port) => self.is_address() & m::eq(protocol.dst(), port.clone()),
            None => self.is_address(),
        }
    }

    /// Reads one.
    pub(super) fn parse(
        vip: &str,
        backends: &str,
        is_ip4: bool,
        complaints: &mut Complaints,
    ) -> Option<Self> {
        let column = LoadBalancer::COLUMN.vips.name;
        let Some((ip, port)) = ends(vip, is_ip4) else {
            let why = "it is not an address and a port, each of which may be a variable";
            let remedy = "it is left out: write ^VARIABLE, ^VARIABLE:^VARIABLE, or values";
            complaints.text(column, vip, 0, why, remedy);
            return None;
        };
        let mut words = backends.split(',');
        let wrong = words.find(|word| !word.is_empty() && ends(word, is_ip4).is_none());
        if let Some(word) = wrong {
            let why = format!("the backend {word:?} is no address, nor a variable");
            let remedy = "the virtual address is left out: correct it";
            complaints.text(column, backends, 0, why, remedy);
            return None;
        }
        Some(Self {
            ip,
            is_ip4,
            port,
            backends: backends.into(),
        })
    }
}

/// An address and a port, either of which may be a variable.
fn ends(text: &str, is_ip4: bool) -> Option<(Constant, Option<Constant>)> {
    if let Some(plain) = endpoint::parse(text) {
        let port = plain.port.map(Constant::from);
        return (plain.ip.is_ipv4() == is_ip4).then(|| (Constant::from(plain.ip), port));
    }
    let (ip, port) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once("]:")?,
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => None,
        port => Some(variable(port).or_else(|| {
            let number = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            Some(Constant::from(number))
        })?),
    };
    let ip = variable(ip).or_else(|| {
        let ip = ip.parse::<IpAddr>().ok()?;
        (ip.is_ipv4() == is_ip4).then(|| Constant::from(ip))
    });
    Some((ip?, port))
}

fn variable(text: &str) -> Option<Constant> {
    let name = text.strip_prefix('^')?;
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '.';
    let begins = name.starts_with(is_letter);
    let is_name = begins && name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    is_name.then(|| Constant::Template(name.into()))
}

#[cfg(test)]
mod tests {
    use ovsdb::Uuid;
    use ovsdb::typed::TableDefinition;

    use super::*;

    #[test]
    fn variables_stand_for_addresses_ports_and_backends() {
        let parse = |vip: &str, backends: &str, is_ip4: bool| {
            let mut complaints = Complaints::about(LoadBalancer::NAME, Uuid::nil(), "".into());
            let read = Template::parse(vip, backends, is_ip4, &mut complaints);
            let meant = read.map(|read| read.is_meant(Protocol::Tcp).to_string());
            (meant, complaints.into_problems().len())
        };
        for (vip, is_ip4, meant) in [
            ("^vip", true, "ip4.dst == ^vip"),
            ("^vip:^port", true, "ip4.dst == ^vip && tcp.dst == ^port"),
            ("^vip:80", false, "ip6.dst == ^vip && tcp.dst == 80"),
            (
                "10.0.0.1:^port",
                true,
                "ip4.dst == 10.0.0.1 && tcp.dst == ^port",
            ),
            (
                "[fd00::1]:^port",
                false,
                "ip6.dst == fd00::1 && tcp.dst == ^port",
            ),
            ("10.0.0.1:80", true, "ip4.dst == 10.0.0.1 && tcp.dst == 80"),
        ] {
            assert_eq!(parse(vip, "^backends", is_ip4), (Some(meant.to_owned()), 0));
        }
        for (vip, backends) in [
            ("^", "^b"),
            ("^1x", "^b"),
            ("^vip:", "^b)"),
            ("^vip:^port:80", "^b"),
            ("10.0.0.1:^port", "^b, output"),
            ("fd00::1", "^b"),
            ("^vip", "fd00::1"),
        ] {
            assert_eq!(parse(vip, backends, true), (None, 1), "{vip} {backends}");
        }
    }
}
