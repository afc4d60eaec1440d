//! What the database would take and nobody would understand: told where it is written, with the parsers that northd and
//! the command line use.

use std::net::IpAddr;

use addr::{Cidr, Mac, PortRange};
use northbound::address::PortAddress;
use northbound::load_balancer::{Protocol, Vip};
use northbound::matches;
use ovsdb::{Atom, Datum};

use crate::kinds::Check;

/// What is wrong, and what to do about it.
pub type Wrong = (String, &'static str);

/// Checks what a field says, as its column holds it.
pub fn check(check: Check, datum: &Datum) -> Result<(), Wrong> {
    if check == Check::Vips {
        return datum
            .pairs()
            .iter()
            .try_for_each(|(vip, backends)| vip_and_backends(vip, backends));
    }
    let texts = datum.atoms().iter().filter_map(Atom::as_str);
    texts
        .into_iter()
        .try_for_each(|text| check_text(check, text))
}

fn check_text(check: Check, text: &str) -> Result<(), Wrong> {
    match check {
        Check::MatchOrEmpty | Check::PortRange | Check::NextHop if text.is_empty() => Ok(()),
        Check::Match | Check::MatchOrEmpty => matches::read(text).map(drop).map_err(|error| {
            let remedy = "write an expression of logical flows, such as `ip4.src == 10.0.0.0/8`";
            (error.to_string(), remedy)
        }),
        Check::Mac => parsed::<Mac>(text, "write six numbers, such as 00:00:00:00:00:01"),
        Check::Cidr => parsed::<Cidr>(text, "write an address and a length, such as 10.0.0.1/24"),
        Check::Ip => parsed::<IpAddr>(text, "write an address, such as 10.0.0.1 or fd00::1"),
        Check::PortRange => parsed::<PortRange>(text, "write a range, such as 3000-4000"),
        Check::Prefix if text.starts_with('^') => Ok(()),
        Check::Prefix => parsed::<Cidr>(text, "write a prefix, such as 10.0.0.0/8 or ::/0"),
        // A word may be the name of a router port.
        Check::NextHop if text.contains([':', '.']) && text.parse::<IpAddr>().is_err() => {
            let why = format!("{text:?} is no address");
            Err((
                why,
                "write an address, `discard`, or the name of a router port",
            ))
        }
        Check::NextHop => Ok(()),
        Check::PortAddress => {
            let remedy =
                "write `MAC [IP...]`, `unknown`, `dynamic [IP...]`, `MAC dynamic` or `router`";
            let address: PortAddress = text
                .parse()
                .map_err(|_| (format!("{text:?} is no address of a port"), remedy))?;
            match address.problem() {
                None => Ok(()),
                Some(problem) => Err((format!("{text:?}: {problem}"), remedy)),
            }
        }
        Check::Vips => Ok(()),
    }
}

fn parsed<T: std::str::FromStr>(text: &str, remedy: &'static str) -> Result<(), Wrong> {
    match text.parse::<T>() {
        Ok(_) => Ok(()),
        Err(_) => Err((format!("{text:?} is none"), remedy)),
    }
}

fn vip_and_backends(vip: &Atom, backends: &Atom) -> Result<(), Wrong> {
    let (Some(vip), Some(backends)) = (vip.as_str(), backends.as_str()) else {
        return Ok(());
    };
    // What is in templates is known to each chassis only.
    if vip.starts_with('^') || backends.starts_with('^') {
        return Ok(());
    }
    Vip::new(vip, backends, None::<Protocol>)
        .map(drop)
        .map_err(|error| {
            let remedy =
                "write `IP[:port]` as key, and backends of its family, with a port if it has one";
            (error.to_string(), remedy)
        })
}
