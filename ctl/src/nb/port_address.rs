//! Addresses of ports as commands take them: what is refused, what is only odd, and what is taken already.

use std::net::IpAddr;
use std::sync::Arc;

use addr::LspAddress;
use nb_db::tables::{LogicalSwitch, LogicalSwitchPort};
use ovsdb::Uuid;

use crate::data::Draft;
use crate::error::{Outcome, fail};

/// Refuses what cannot be meant as an address at all, as `ovn-nbctl` does. What looks like one and is none gives a
/// warning, because northd will not be able to use it.
pub fn check_form(text: &str) -> Outcome<Option<String>> {
    let is_dynamic = text == "dynamic" || text.starts_with("dynamic ");
    if !matches!(text, "unknown" | "router") && !is_dynamic && !starts_with_mac(text) {
        return fail(format!(
            "{text}: Invalid address format. See ovn-nb(5). Hint: An Ethernet address must be listed before an IP \
             address, together as a single argument."
        ));
    }
    let problem = text.parse::<LspAddress>().err();
    Ok(problem.map(|problem| format!("{text}: {problem}")))
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

/// That no other port of the switch has one of the IP addresses in `text`.
pub fn check_free(draft: &Draft<'_>, switch: Uuid, port: Uuid, text: &str) -> Outcome {
    let wanted = fixed_ips(text);
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
                let family = if duplicate.is_ipv4() { "IPv4" } else { "IPv6" };
                let switch = draft.get::<LogicalSwitch, _>(switch, LogicalSwitch::COLUMN.name);
                let other =
                    draft.get::<LogicalSwitchPort, _>(other, LogicalSwitchPort::COLUMN.name);
                return fail(format!(
                    "Error on switch {switch}: duplicate {family} address '{duplicate}' found on logical switch port \
                     '{other}'"
                ));
            }
        }
    }
    Ok(())
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
            let outcome = check_form(text);
            assert_eq!(outcome.is_ok(), accepted, "{text}");
            assert_eq!(
                outcome.is_ok_and(|warning| warning.is_some()),
                odd,
                "{text}"
            );
        }
    }
}
