//! What ovn-trace says of a description that it cannot read: its texts, for our reasons. They name the word that is wrong, and no
//! place.

use lflow::ParseError;

/// The reason in ovn-trace's words; in ours where it has none.
pub fn as_ovn(error: &ParseError, text: &str) -> String {
    let message = error.message.as_str();
    let expecting = |what: &str| syntax(text, error.at, what);
    let begins = |start: &str| message.starts_with(start);
    // `00:00` is read as a number and what follows it.
    let is_run_on = text[error.at..].starts_with(':')
        && text[..error.at].ends_with(|c: char| c.is_ascii_hexdigit());
    if is_run_on {
        return "Invalid numeric constant.".to_owned();
    }
    if begins("expected a field, a constant") || begins("expected a constant") {
        return expecting("constant");
    }
    if begins("unknown field ") {
        return expecting("field name");
    }
    if begins("expected a relation") {
        return expecting("relational operator");
    }
    if message.contains(" needs a relation such as ") {
        // It stands behind the field.
        let behind = error.at + word(&text[error.at..]).len();
        return syntax(text, behind, "relational operator");
    }
    if begins("expected \"&&\"") {
        return expecting("end of input");
    }
    if let Some(sign) = message.strip_prefix("expected \"") {
        let sign = sign.split('"').next().unwrap_or_default();
        return expecting(&format!("`{sign}'"));
    }
    if begins("\"&&\" and \"||\" side by side") {
        return "&& and || must be parenthesized when used together.".to_owned();
    }
    if message == "this string has no closing quote" {
        return "Input ends inside quoted string.".to_owned();
    }
    if begins("this is not a") || begins("this is neither an") || begins("the number needs") {
        return match &*word(&text[error.at..]).to_ascii_lowercase() {
            "0x" => "Hex digits expected following 0x.".to_owned(),
            _ => "Invalid numeric constant.".to_owned(),
        };
    }
    incompatible(message).unwrap_or_else(|| message.to_owned())
}

/// A constant that does not go with a field.
fn incompatible(message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("a constant of ") {
        let (bits, rest) = rest.split_once(" bits does not fit ")?;
        let (field, width) = rest.split_once(", which has ")?;
        return Some(format!(
            "{bits}-bit constant is not compatible with {width}-bit field {field}."
        ));
    }
    if let Some(field) = message.strip_suffix(" is an integer, not a name") {
        return Some(format!(
            "Integer field {field} is not compatible with string constant."
        ));
    }
    if let Some((field, _)) = message.split_once(" is the name of a port: it is compared") {
        return Some(format!(
            "String field {field} is not compatible with integer constant."
        ));
    }
    let is_of_sets = message.ends_with("sets need \"==\" or \"!=\"");
    is_of_sets.then(|| "Only == and != operators may be used with value sets.".to_owned())
}

fn syntax(text: &str, at: usize, wanted: &str) -> String {
    let rest = text.get(at..).unwrap_or_default().trim_start();
    match word(rest) {
        "" => format!("Syntax error at end of input expecting {wanted}."),
        word => format!("Syntax error at `{word}' expecting {wanted}."),
    }
}

/// The first word of a text, or its first sign.
fn word(text: &str) -> &str {
    const SIGNS: [&str; 6] = ["==", "!=", "<=", ">=", "&&", "||"];
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '$' | '@');
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let quoted = text.strip_prefix('"').and_then(|rest| rest.find('"'));
    let sign = SIGNS.iter().find(|sign| text.starts_with(**sign));
    match (length, quoted, sign) {
        (0, Some(end), _) => &text[..end + 2],
        (0, None, Some(sign)) => &text[..sign.len()],
        (0, None, None) => text
            .get(..text.chars().next().map_or(0, char::len_utf8))
            .unwrap_or_default(),
        (length, ..) => &text[..length],
    }
}

#[cfg(test)]
mod tests {
    use lflow::Expr;

    use super::*;

    /// As ovn-trace of OVN 23.03 says it.
    #[test]
    fn reasons_have_the_words_of_ovn() {
        for (text, expected) in [
            ("inport == v1", "Syntax error at `v1' expecting constant."),
            (
                "ip4 && ",
                "Syntax error at end of input expecting constant.",
            ),
            (
                "inport = \"p1\"",
                "Syntax error at `=' expecting relational operator.",
            ),
            ("foo == 1", "Syntax error at `foo' expecting field name."),
            ("eth.src == 00:00", "Invalid numeric constant."),
            ("ip4.src == 1.2.3.4.5", "Invalid numeric constant."),
            (
                "ip4 && (",
                "Syntax error at end of input expecting constant.",
            ),
            (
                "ip4 eth.src == 1",
                "Syntax error at `eth.src' expecting end of input.",
            ),
            ("ip.ttl == x", "Syntax error at `x' expecting constant."),
            ("inport == \"p1", "Input ends inside quoted string."),
            (
                "ip.ttl == 300",
                "9-bit constant is not compatible with 8-bit field ip.ttl.",
            ),
            ("tcp.dst[0..3 == 1", "Syntax error at `==' expecting `]'."),
            (
                "ip4.src == \"x\"",
                "Integer field ip4.src is not compatible with string constant.",
            ),
            ("ip.proto == 0x", "Hex digits expected following 0x."),
            ("!", "Syntax error at end of input expecting constant."),
            (
                "ip4 && tcp || ip6",
                "&& and || must be parenthesized when used together.",
            ),
            (
                "ip.ttl > {1, 2}",
                "Only == and != operators may be used with value sets.",
            ),
        ] {
            let error = Expr::parse(text).expect_err(text);
            assert_eq!(as_ovn(&error, text), expected, "{text}: {}", error.message);
        }
    }
}
