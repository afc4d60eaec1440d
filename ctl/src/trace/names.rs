//! The words for values that have some.

/// The bits of `ct_state`, lowest first (ovs-fields(7)).
pub const CT_FLAGS: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

/// The bits of `tcp.flags`, lowest first.
pub const TCP_FLAGS: [&str; 9] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];

/// The names of the bits that are set, with `|` in between; what has no name as a number, and nothing as 0.
pub fn flags(value: u128, names: &[&str]) -> String {
    let named = names.iter().enumerate();
    let mut words: Vec<String> = named
        .filter(|(bit, _)| value >> bit & 1 == 1)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    let rest = value >> names.len() << names.len();
    if rest != 0 || words.is_empty() {
        words.push(match rest {
            0 => "0".to_owned(),
            rest => format!("{rest:#x}"),
        });
    }
    words.join("|")
}

/// A name in which a UUID at its end is cut to six digits, since nobody reads more of it.
pub fn shortened(name: &str) -> String {
    const UUID: usize = 36;
    let start = name.len().saturating_sub(UUID);
    match name.get(start..) {
        Some(end) if ovsdb::Uuid::try_parse(end).is_ok() && end.len() == UUID => {
            name[..start + 6].to_owned()
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(flags(0x22, &CT_FLAGS), "est|trk");
        assert_eq!(flags(0, &TCP_FLAGS), "0");
        assert_eq!(flags(0x202, &TCP_FLAGS), "syn|0x200");
        let long = "sw-01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(shortened(long), "sw-012345");
        assert_eq!(shortened("sw0"), "sw0");
    }
}
