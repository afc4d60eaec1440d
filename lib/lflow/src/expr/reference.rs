//! [`Reference`]: a name in a match that stands for something else in the database.

use std::fmt;
use std::sync::Arc;

use super::Expr;
use crate::constant::Constant;
use crate::symbols::Symbol;

/// What the names of multicast groups begin with; a match may name one where it names a port.
const MULTICAST: &str = "_MC_";

/// A name in a match, and of what it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference<'a> {
    /// `$name`: an address set, or the addresses of a port group.
    AddressSet(&'a Arc<str>),
    /// `@name`: a port group.
    PortGroup(&'a Arc<str>),
    /// `"name"`, compared with `inport` or `outport`: a port.
    Port(&'a Arc<str>),
}

impl Reference<'_> {
    /// What it is a name of.
    pub fn kind(self) -> &'static str {
        match self {
            Self::AddressSet(_) => "address set",
            Self::PortGroup(_) => "port group",
            Self::Port(_) => "port",
        }
    }

    /// The port group whose addresses of one family `$name` may stand for, since each port group is two address sets:
    /// `pg` for `$pg_ip4` and `$pg_ip6`.
    pub fn group_of_set(self) -> Option<Arc<str>> {
        let Self::AddressSet(name) = self else {
            return None;
        };
        let families = ["_ip4", "_ip6"];
        let group = families
            .iter()
            .find_map(|family| name.strip_suffix(family))?;
        Some(Arc::from(group))
    }

    /// Where it stands in the text of the match, in bytes; as a whole word if possible, 0 if it is spelled otherwise.
    pub fn place_in(self, text: &str) -> usize {
        place_of(&self.to_string(), text)
    }
}

/// As it is written in a match.
impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSet(name) => write!(f, "${name}"),
            Self::PortGroup(name) => write!(f, "@{name}"),
            Self::Port(name) => write!(f, "\"{name}\""),
        }
    }
}

impl Expr {
    /// The names in this match that stand for something in the database, in order, each as often as it is there.
    pub fn references<'a>(&'a self, visit: &mut impl FnMut(Reference<'a>)) {
        self.comparisons(&mut |comparison| {
            let is_port = matches!(comparison.field.symbol(), Symbol::Inport | Symbol::Outport);
            for constant in &comparison.constants {
                match constant {
                    Constant::AddressSet(name) => visit(Reference::AddressSet(name)),
                    Constant::PortGroup(name) => visit(Reference::PortGroup(name)),
                    Constant::Str(name) if is_port && !name.starts_with(MULTICAST) => {
                        visit(Reference::Port(name));
                    }
                    _ => {}
                }
            }
        });
    }
}

/// Where a word stands in the text of a match, in bytes; as a whole word if possible, 0 if it does not.
pub fn place_of(word: &str, text: &str) -> usize {
    let continues = |end: usize| {
        let next = text[end..].chars().next();
        next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    let mut places = text.match_indices(word).map(|(at, _)| at);
    places
        .find(|at| word.ends_with('"') || !continues(at + word.len()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_with_their_places() {
        let text = "inport == {\"p\", \"_MC_flood\"} && ip4.src == {$ab, $a_ip4} && outport == @a";
        let expr = Expr::parse(text).expect("a match");
        let mut told = Vec::new();
        expr.references(&mut |reference| {
            let group = reference.group_of_set();
            told.push((
                reference.to_string(),
                reference.kind(),
                group.as_deref().map(str::to_owned),
                reference.place_in(text),
            ));
        });
        let place = |word| text.find(word).expect("it is there");
        let expected = [
            ("\"p\"", "port", None),
            ("$ab", "address set", None),
            ("$a_ip4", "address set", Some("a")),
            ("@a", "port group", None),
        ];
        let expected = expected.map(|(word, kind, group)| {
            (word.to_owned(), kind, group.map(str::to_owned), place(word))
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_word_is_found_as_a_whole() {
        for (word, text, at) in [
            ("$a", "ip4.src == $ab || ip4.src == $a", 29),
            ("@pg", "inport == @pg && ip4.src == $pg_ip4", 10),
            ("\"p\"", "inport == \"p\"", 10),
            ("outport", "ip4 && outport == \"p\"", 7),
            ("\"a\"", "inport == \"\\u0061\"", 0),
        ] {
            assert_eq!(place_of(word, text), at, "{word} in {text}");
        }
    }
}
