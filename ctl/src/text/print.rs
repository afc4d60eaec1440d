//! Values as text.

use northbound::find::parse_uuid;
use ovsdb::schema::{BaseType, ColumnType};
use ovsdb::{Atom, Datum};

/// The atom, a string in quotes if it needs them.
pub fn atom_text(atom: &Atom) -> String {
    match atom {
        Atom::String(text) if needs_quotes(text) => quoted(text),
        other => bare_atom(other),
    }
}

/// The column's contents as one writes them: `[…]` around a set, unless the column holds at most one, `{…}` around a
/// map.
pub fn datum_text(ty: &ColumnType, datum: &Datum) -> String {
    if ty.is_map() {
        let pairs = datum.pairs().iter();
        let pairs: Vec<String> = pairs
            .map(|(key, value)| format!("{}={}", atom_text(key), atom_text(value)))
            .collect();
        return format!("{{{}}}", pairs.join(", "));
    }
    let atoms: Vec<String> = datum.atoms().iter().map(atom_text).collect();
    let atoms = atoms.join(", ");
    if ty.max > 1 || datum.is_empty() {
        format!("[{atoms}]")
    } else {
        atoms
    }
}

/// The column's contents without brackets, braces and quotes, separated by blanks.
pub fn bare_text(datum: &Datum) -> String {
    let atoms = datum.atoms().iter().map(bare_atom);
    let pairs = datum.pairs().iter();
    let pairs = pairs.map(|(key, value)| format!("{}={}", bare_atom(key), bare_atom(value)));
    atoms.chain(pairs).collect::<Vec<_>>().join(" ")
}

/// The text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The type as error messages say it, such as `map of (string, string) pairs`.
pub fn type_in_english(ty: &ColumnType) -> String {
    let name = |base: &BaseType| base.atomic.name();
    let key = name(&ty.key);
    if ty.is_scalar() {
        return key.to_owned();
    }
    let count = match (ty.min, ty.max) {
        (0, usize::MAX) => "of".to_owned(),
        (min, usize::MAX) => format!("of {min} or more"),
        (0, max) => format!("of up to {max}"),
        (min, max) => format!("of {min} to {max}"),
    };
    match &ty.value {
        Some(value) => format!("map {count} ({key}, {}) pairs", name(value)),
        None => format!("set {count} {key}s"),
    }
}

fn bare_atom(atom: &Atom) -> String {
    match atom {
        Atom::Integer(value) => value.to_string(),
        Atom::Real(value) => value.0.to_string(),
        Atom::Boolean(value) => value.to_string(),
        Atom::String(text) => text.to_string(),
        Atom::Uuid(uuid) => uuid.to_string(),
    }
}

fn needs_quotes(text: &str) -> bool {
    let mut bytes = text.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !starts_well
        || !bytes.all(is_plain)
        || matches!(text, "true" | "false")
        || parse_uuid(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_get_quotes_only_where_they_need_them() {
        for (text, expected) in [
            ("a", "a"),
            ("_a-b.c1", "_a-b.c1"),
            ("", "\"\""),
            ("1a", "\"1a\""),
            ("a b", "\"a b\""),
            ("true", "\"true\""),
            ("a\"\n", "\"a\\\"\\n\""),
            ("é", "\"é\""),
            (
                "a1111111-2222-3333-4444-555555555555",
                "\"a1111111-2222-3333-4444-555555555555\"",
            ),
        ] {
            assert_eq!(atom_text(&Atom::from(text)), expected);
        }
    }
}
