//! Matches that ask connections what others ask of packets (`Logical_Flow.tags`, `acl_ct_translation`).
//!
//! What such a match says is defined by its normal form ([`of_connections`]), so it is evaluated there: as on a chassis.

use lflow::expr::{
    Alternative, Cube, Expr, Lookup, ResolveError, normalise, of_connections, resolve,
};
use lflow::interp::State;

/// Evaluates such a match. What is known of the packet's connection is in the state's `CtNwProto`, `CtTpSrc` and `CtTpDst`.
///
/// # Errors
/// When a set, group or template that it names does not exist, or when it has too many alternatives.
pub fn matches(expr: &Expr, state: &State, lookup: &dyn Lookup) -> Result<bool, ResolveError> {
    let alternatives = of_connections(normalise(&resolve(expr, lookup)?)?);
    let fits = |cube: &Cube| {
        let mut terms = cube.terms().iter();
        terms.all(|term| state.get(term.base) & term.mask == term.value)
    };
    let applies = |alternative: &Alternative| {
        let mut choices = alternative.choices.iter();
        fits(&alternative.cube) && choices.all(|choice| choice.iter().any(fits))
    };
    Ok(alternatives.iter().any(applies))
}

#[cfg(test)]
mod tests {
    use lflow::{Base, interp};
    use ovsdb::Uuid;

    use super::super::lookup::Names;
    use super::super::track::TRACKED;
    use super::super::world::World;
    use super::*;

    #[test]
    fn who_is_asked() {
        let udp = |port: u32| {
            State::default()
                .with(Base::EthType, 0x800u32)
                .with(Base::IpProto, 17u32)
                .with(Base::UdpDst, port)
        };
        let of = |state: State, port: u32| {
            state
                .with(Base::CtState, TRACKED)
                .with(Base::CtNwProto, 17u32)
                .with(Base::CtTpDst, port)
        };
        let names = Names {
            world: &World::default(),
            datapath: Uuid::nil(),
            lenient: false,
        };
        // A match, a packet, whether the packet is asked for it, and whether its connection is.
        let choice = "udp.dst == {53, 54} && ip4.dst == {0.0.0.0, 1.1.1.1}";
        for (text, state, packet, connection) in [
            ("udp.dst == 53", udp(53), true, false),
            ("udp.dst == 53", of(udp(53), 53), true, true),
            ("udp.dst == 53", of(udp(0), 53), false, true),
            (choice, of(udp(0), 53), false, true),
            ("udp.dst == 53", of(udp(53), 80), true, false),
            ("udp.dst != 53", of(udp(0), 53), true, false),
            ("ip4 || udp.dst == 53", udp(7), true, true),
            ("icmp4", udp(7), false, false),
            ("ip4 && ip.ttl == 0", udp(7), true, true),
        ] {
            let expr = Expr::parse(text).expect("a match");
            assert_eq!(interp::matches(&expr, &state, &names), Ok(packet), "{text}");
            let asked = matches(&expr, &state, &names);
            assert_eq!(asked, Ok(connection), "{text} of the connection");
        }
    }
}
