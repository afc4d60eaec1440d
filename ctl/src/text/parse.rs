//! Values from text.

use northbound::find::parse_uuid;
use ovsdb::schema::{BaseType, ColumnType, Constraint};
use ovsdb::{Atom, AtomicType, Datum, Real, Uuid};

use super::print::{atom_text, type_in_english};
use super::token::{is_delimiter, token};
use crate::error::{CommandError, Outcome, fail};

/// The most integers that a range `a-b` may stand for.
const LONGEST_RANGE: i64 = 65_536;

/// Reads a column's contents. `symbol` gives the UUID of the row that is called `@name`.
pub fn parse_datum(
    ty: &ColumnType,
    text: &str,
    symbol: &mut dyn FnMut(&str) -> Uuid,
) -> Outcome<Datum> {
    let (open, close) = if ty.is_map() { ('{', '}') } else { ('[', ']') };
    let mut rest = text.trim_start();
    if rest.is_empty() {
        let what = if ty.is_map() { "map" } else { "set" };
        return fail(format!("use \"{open}{close}\" to specify the empty {what}"));
    }
    let enclosed = rest.starts_with(open);
    if enclosed {
        rest = rest[1..].trim_start();
    }
    let mut elements: Vec<(Atom, Option<Atom>)> = Vec::new();
    while let Some(&byte) = rest.as_bytes().first()
        && !(enclosed && rest.starts_with(close))
    {
        if is_delimiter(byte) {
            return fail(format!(
                "{text}: unexpected \"{}\" parsing {}",
                char::from(byte),
                type_in_english(ty)
            ));
        }
        rest = parse_element(ty, rest, &mut elements, symbol)?.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
        }
    }
    if enclosed {
        let Some(after) = rest.strip_prefix(close) else {
            return fail(format!("{text}: missing \"{close}\" at end of data"));
        };
        if !after.trim_start().is_empty() {
            return fail(format!("{text}: trailing garbage after \"{close}\""));
        }
    }
    collect(ty, text, elements)
}

fn collect(ty: &ColumnType, text: &str, elements: Vec<(Atom, Option<Atom>)>) -> Outcome<Datum> {
    let count = elements.len();
    if count < ty.min || count > ty.max {
        let (limit, number) = if count < ty.min {
            ("minimum", ty.min)
        } else {
            ("maximum", ty.max)
        };
        return fail(format!(
            "{text}: {count} value(s) specified but the {limit} number is {number}"
        ));
    }
    let (datum, what) = if ty.is_map() {
        let pairs = elements
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        (Datum::map(pairs), "map contains duplicate key")
    } else {
        let atoms = elements.into_iter().map(|(key, _)| key);
        (Datum::set(atoms), "set contains duplicate value")
    };
    if datum.len() < count {
        return fail(format!("{text}: {what}"));
    }
    Ok(datum)
}

fn parse_element<'t>(
    ty: &ColumnType,
    text: &'t str,
    elements: &mut Vec<(Atom, Option<Atom>)>,
    symbol: &mut dyn FnMut(&str) -> Uuid,
) -> Outcome<&'t str> {
    let (word, rest) = token(text)?;
    if ty.value.is_none()
        && ty.key.atomic == AtomicType::Integer
        && let Some(range) = parse_range(&word)?
    {
        for integer in range {
            let atom = Atom::Integer(integer);
            check(&ty.key, &atom)?;
            elements.push((atom, None));
        }
        return Ok(rest);
    }
    let key = parse_atom(&ty.key, &word, symbol)?;
    let Some(value_type) = &ty.value else {
        elements.push((key, None));
        return Ok(rest);
    };
    let rest = rest.trim_start();
    let Some(rest) = rest.strip_prefix('=') else {
        let found = rest.chars().next().map(String::from).unwrap_or_default();
        return fail(format!(
            "{text}: syntax error at \"{found}\" expecting \"=\""
        ));
    };
    let (word, rest) = token(rest.trim_start())?;
    elements.push((key, Some(parse_atom(value_type, &word, symbol)?)));
    Ok(rest)
}

/// The integers that `a-b` stands for.
fn parse_range(word: &str) -> Outcome<Option<std::ops::RangeInclusive<i64>>> {
    // The first character may be a sign.
    let Some(dash) = word.get(1..).and_then(|tail| tail.find('-')) else {
        return Ok(None);
    };
    let (Ok(start), Ok(end)) = (
        word[..=dash].parse::<i64>(),
        word[dash + 2..].parse::<i64>(),
    ) else {
        return Ok(None);
    };
    if end < start {
        return fail(format!(
            "\"{word}\" is not a valid range. Range end cannot be before start."
        ));
    }
    if end.saturating_sub(start) >= LONGEST_RANGE {
        return fail(format!(
            "\"{word}\" is a range of more than {LONGEST_RANGE} integers"
        ));
    }
    Ok(Some(start..=end))
}

/// Reads one atom. `symbol` gives the UUID of the row that is called `@name`.
pub fn parse_atom(
    base: &BaseType,
    word: &str,
    symbol: &mut dyn FnMut(&str) -> Uuid,
) -> Outcome<Atom> {
    let atom = match base.atomic {
        AtomicType::Integer => match word.trim_start().parse::<i64>() {
            Ok(value) => Atom::Integer(value),
            Err(_) => return fail(format!("\"{word}\" is not a valid integer or range")),
        },
        AtomicType::Real => match word.trim_start().parse::<f64>() {
            Ok(value) if value.is_finite() => Atom::Real(Real(value)),
            _ => return fail(format!("\"{word}\" is not a valid real number")),
        },
        AtomicType::Boolean => match word {
            "true" | "yes" | "on" | "1" => Atom::Boolean(true),
            "false" | "no" | "off" | "0" => Atom::Boolean(false),
            _ => {
                return fail(format!(
                    "\"{word}\" is not a valid boolean (use \"true\" or \"false\")"
                ));
            }
        },
        AtomicType::String => Atom::from(parse_string(word)?),
        AtomicType::Uuid if word.starts_with('@') => Atom::Uuid(symbol(word)),
        AtomicType::Uuid => match parse_uuid(word) {
            Some(uuid) => Atom::Uuid(uuid),
            None => return fail(format!("\"{word}\" is not a valid UUID")),
        },
    };
    check(base, &atom)?;
    Ok(atom)
}

fn parse_string(word: &str) -> Outcome<String> {
    if word.is_empty() {
        return fail(
            "An empty string is not valid as input; use \"\" to represent the empty string",
        );
    }
    if !word.starts_with('"') {
        return Ok(word.to_owned());
    }
    if word.len() < 2 || !word.ends_with('"') {
        return fail(format!("{word}: missing quote at end of quoted string"));
    }
    serde_json::from_str(word).map_err(|error: serde_json::Error| {
        CommandError::Failed(format!("{word}: not a JSON string: {error}"))
    })
}

/// Whether the type allows the atom; in the words of Open vSwitch.
fn check(base: &BaseType, atom: &Atom) -> Outcome {
    if let Some(allowed) = &base.enumeration
        && !allowed.contains(atom)
    {
        let names: Vec<String> = allowed.iter().map(atom_text).collect();
        return fail(format!(
            "constraint violation: {} is not one of the allowed values ([{}])",
            atom_text(atom),
            names.join(", ")
        ));
    }
    let problem = match (&base.constraint, atom) {
        (Constraint::Integer { min, max }, Atom::Integer(value)) => outside(
            value,
            *value < *min,
            *value > *max,
            min,
            max,
            *min != i64::MIN,
            *max != i64::MAX,
        ),
        (Constraint::Real { min, max }, Atom::Real(value)) => {
            let (least, most) = (min.0 != f64::MIN, max.0 != f64::MAX);
            outside(
                &value.0,
                value < min,
                value > max,
                &min.0,
                &max.0,
                least,
                most,
            )
        }
        (Constraint::Length { min, max }, Atom::String(text)) => {
            let length = text.chars().count();
            let relation = if length < *min {
                Some(("less than minimum", min))
            } else if length > *max {
                Some(("greater than maximum", max))
            } else {
                None
            };
            relation.map(|(relation, limit)| {
                format!(
                    "{} length {length} is {relation} allowed length {limit}",
                    super::print::quoted(text)
                )
            })
        }
        _ => None,
    };
    match problem {
        Some(problem) => fail(format!("constraint violation: {problem}")),
        None => Ok(()),
    }
}

fn outside<N: std::fmt::Display>(
    value: &N,
    below: bool,
    above: bool,
    min: &N,
    max: &N,
    has_min: bool,
    has_max: bool,
) -> Option<String> {
    if !below && !above {
        return None;
    }
    Some(if has_min && has_max {
        format!("{value} is not in the valid range {min} to {max} (inclusive)")
    } else if below {
        format!("{value} is less than minimum allowed value {min}")
    } else {
        format!("{value} is greater than maximum allowed value {max}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::datum_text;

    fn strings() -> ColumnType {
        ColumnType {
            key: BaseType::plain(AtomicType::String),
            value: None,
            min: 0,
            max: usize::MAX,
        }
    }

    fn map() -> ColumnType {
        ColumnType {
            value: Some(BaseType::plain(AtomicType::String)),
            ..strings()
        }
    }

    fn integer(min: i64, max: i64) -> ColumnType {
        ColumnType {
            key: BaseType {
                constraint: Constraint::Integer { min, max },
                ..BaseType::plain(AtomicType::Integer)
            },
            value: None,
            min: 0,
            max: 1,
        }
    }

    /// Text, and what it reads as, printed again, or the error.
    fn check(ty: &ColumnType, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let outcome = match parse_datum(ty, text, &mut |_| Uuid::nil()) {
                Ok(datum) => datum_text(ty, &datum),
                Err(error) => error.to_string(),
            };
            assert_eq!(&outcome, expected, "{text}");
        }
    }

    #[test]
    fn sets() {
        check(
            &strings(),
            &[
                ("a", "[a]"),
                ("b,a c", "[a, b, c]"),
                ("[a,b,]", "[a, b]"),
                ("[]", "[]"),
                ("\"00:01 x\",y", "[\"00:01 x\", y]"),
                (r"a\:b", "[\"a:b\"]"),
                ("", "use \"[]\" to specify the empty set"),
                ("a,,b", "a,,b: unexpected \",\" parsing set of strings"),
                ("[a,b]x", "[a,b]x: trailing garbage after \"]\""),
                ("[a", "[a: missing \"]\" at end of data"),
                ("a,a", "a,a: set contains duplicate value"),
                ("a\\", "a\\: backslash at end of argument"),
                ("\"a", "\"a: quoted string extends past end of argument"),
                ("00:01", "00:01: unexpected \":\" parsing set of strings"),
            ],
        );
    }

    #[test]
    fn maps() {
        check(
            &map(),
            &[
                ("{a=b,c=\"d e\"}", "{a=b, c=\"d e\"}"),
                ("a = b", "{a=b}"),
                ("a=\"\"", "{a=\"\"}"),
                ("{}", "{}"),
                ("a=1,a=2", "a=1,a=2: map contains duplicate key"),
                ("a x", "a x: syntax error at \"x\" expecting \"=\""),
                (
                    "a=b:c",
                    "a=b:c: unexpected \":\" parsing map of (string, string) pairs",
                ),
                (
                    "a=",
                    "An empty string is not valid as input; use \"\" to represent the empty string",
                ),
            ],
        );
    }

    #[test]
    fn integers() {
        check(
            &integer(1, 4095),
            &[
                ("5", "5"),
                ("+5", "5"),
                ("[]", "[]"),
                (
                    "5,6",
                    "5,6: 2 value(s) specified but the maximum number is 1",
                ),
                (
                    "5-7",
                    "5-7: 3 value(s) specified but the maximum number is 1",
                ),
                (
                    "7-5",
                    "\"7-5\" is not a valid range. Range end cannot be before start.",
                ),
                ("x", "\"x\" is not a valid integer or range"),
                (
                    "5000",
                    "constraint violation: 5000 is not in the valid range 1 to 4095 (inclusive)",
                ),
                (
                    "-5",
                    "constraint violation: -5 is not in the valid range 1 to 4095 (inclusive)",
                ),
            ],
        );
    }
}
