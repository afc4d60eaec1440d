//! Reading matches: text to [`Expr`], types checked.
//!
//! ```text
//! expr     := unary { "&&" unary } | unary { "||" unary }          (mixing needs parentheses)
//! unary    := "(" expr ")" | "!" unary | "0" | "1" | function | relation
//! function := "is_chassis_resident" "(" string ")"
//! relation := field [ relop constants ] | constants relop field | constant relop field relop constant
//! constants := constant | "{" { constant [","] } "}"
//! field    := name [ "[" bit [ ".." bit ] "]" ]
//! ```
//!
//! A field alone means `!= 0`: it must have one bit, or stand under a `!`, which makes `== 0` of it. The bits of a constant
//! that its mask does not have mean nothing, nor do the bits of a mask that the field does not have.
//!
//! A relation under `!` needs parentheses. Whether a nominal field may be tested in this place depends on how many `!`
//! are around it, so the parser carries that with it.

use std::ops::Range;

use smallvec::SmallVec;

use super::{Comparison, Expr, Relation};
use crate::constant::{Constant, Int};
use crate::cursor::Cursor;
use crate::error::ParseError;
use crate::lexer::Token;
use crate::symbols::{Field, Kind, Level, Symbol};

/// How deep parentheses and `!` may nest.
pub const MAX_DEPTH: usize = 100;

type Constants = SmallVec<[Constant; 1]>;

pub(super) fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut cursor = Cursor::new(text)?;
    let expr = Place::default().expr(&mut cursor)?;
    if !cursor.at_end() {
        return Err(cursor.expected("\"&&\", \"||\" or the end of the match"));
    }
    Ok(expr)
}

/// Reads a field with its bits, such as `reg0[3]`.
///
/// # Errors
/// Names what is wrong and where, with a caret under the place.
pub fn parse_field(text: &str) -> Result<Field, ParseError> {
    let mut cursor = Cursor::new(text)?;
    let field = field(&mut cursor)?;
    match cursor.at_end() {
        true => Ok(field),
        false => Err(cursor.expected("the end of the field")),
    }
}

/// Where in the tree the parser is.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: usize,
    negated: bool,
}

impl Place {
    fn deeper(self, cursor: &Cursor<'_>, negate: bool) -> Result<Self, ParseError> {
        if self.depth == MAX_DEPTH {
            let message = format!("parentheses and \"!\" are nested more than {MAX_DEPTH} deep");
            return Err(cursor.error(message));
        }
        Ok(Self {
            depth: self.depth + 1,
            negated: self.negated != negate,
        })
    }

    fn expr(self, cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
        let first = self.unary(cursor)?;
        let (sign, other) = match cursor.peek() {
            Token::Sign("&&") => ("&&", "||"),
            Token::Sign("||") => ("||", "&&"),
            _ => return Ok(first),
        };
        let mut parts = vec![first];
        while cursor.accept(sign) {
            parts.push(self.unary(cursor)?);
        }
        if cursor.is_sign(other) {
            return Err(cursor.error("\"&&\" and \"||\" side by side need parentheses"));
        }
        Ok(match sign {
            "&&" => Expr::all(parts),
            _ => Expr::any(parts),
        })
    }

    fn unary(self, cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
        if cursor.accept("(") {
            let inner = self.deeper(cursor, false)?.expr(cursor)?;
            cursor.expect(")")?;
            return Ok(inner);
        }
        if cursor.is_sign("!") {
            return self.not(cursor);
        }
        if let Token::Int(int) = *cursor.peek() {
            let literal = int.is_exact() && int.value <= 1 && !relation_follows(cursor);
            if literal {
                cursor.advance();
                return Ok(Expr::Const(int.value == 1));
            }
        }
        if cursor.is_word("is_chassis_resident") {
            return resident(cursor);
        }
        match cursor.peek() {
            Token::Ident(_) => self.field_first(cursor),
            Token::Sign("{") => self.constants_first(cursor),
            _ if cursor.is_constant() => self.constants_first(cursor),
            _ => Err(cursor.expected("a field, a constant, \"(\" or \"!\"")),
        }
    }

    fn not(self, cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
        let start = cursor.span().start;
        cursor.expect("!")?;
        let parenthesised = cursor.is_sign("(") || cursor.is_sign("!");
        let inner = self.deeper(cursor, true)?.unary(cursor)?;
        let is_relation = |sign: &str| Relation::of_sign(sign).is_some();
        if !parenthesised && cursor.read_sign(start, is_relation) {
            let span = cursor.since(start);
            return Err(cursor.error_at(span, "\"!\" before a relation needs parentheses: !(…)"));
        }
        Ok(!inner)
    }

    /// `field`, or `field relop constants`.
    fn field_first(self, cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
        let start = cursor.span().start;
        let field = field(cursor)?;
        let span = cursor.since(start);
        match relation(cursor) {
            Some(relation) => {
                let at = cursor.span().start;
                let constants = constants(cursor)?;
                let constants_span = cursor.since(at);
                self.comparison(cursor, (field, span), relation, (constants, constants_span))
            }
            None if field.width() == 1 && !field.is_string() => {
                let one = SmallVec::from_iter([Constant::Int(Int::new(1))]);
                self.comparison(cursor, (field, span.clone()), Relation::Eq, (one, span))
            }
            None if self.negated && !field.is_string() && !cursor.is_sign("=") => {
                let zero = SmallVec::from_iter([Constant::Int(Int::new(0))]);
                self.comparison(cursor, (field, span.clone()), Relation::Ne, (zero, span))
            }
            None => Err(cursor.error_at(
                span,
                format!("{field} needs a relation such as \"== 0\" or \"!= 0\""),
            )),
        }
    }

    /// `constants relop field`, or `lo <= field <= hi`.
    fn constants_first(self, cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
        let start = cursor.span().start;
        let low = constants(cursor)?;
        let low_span = cursor.since(start);
        let Some(first) = relation(cursor) else {
            return Err(cursor.expected("a relation such as \"==\""));
        };
        let at = cursor.span().start;
        let field = field(cursor)?;
        let field = (field, cursor.since(at));
        let lower = self.comparison(cursor, field.clone(), first.mirrored(), (low, low_span))?;
        let relation_at = cursor.span();
        let Some(second) = relation(cursor) else {
            return Ok(lower);
        };
        let rising = |r| matches!(r, Relation::Lt | Relation::Le);
        let falling = |r| matches!(r, Relation::Gt | Relation::Ge);
        if !(rising(first) && rising(second) || falling(first) && falling(second)) {
            let message = "a range is written with \"<\" and \"<=\", or with \">\" and \">=\"";
            return Err(cursor.error_at(relation_at, message));
        }
        let at = cursor.span().start;
        let high = constants(cursor)?;
        let high_span = cursor.since(at);
        let upper = self.comparison(cursor, field, second, (high, high_span))?;
        Ok(lower & upper)
    }

    /// Checks types, then builds the comparison.
    fn comparison(
        self,
        cursor: &Cursor<'_>,
        (field, field_span): (Field, Range<usize>),
        relation: Relation,
        (mut constants, span): (Constants, Range<usize>),
    ) -> Result<Expr, ParseError> {
        constants
            .iter_mut()
            .for_each(|constant| narrow(field, constant));
        let wrong = |message: String| Err(cursor.error_at(span.clone(), message));
        for constant in &constants {
            if let Err(message) = fits(field, constant) {
                return wrong(message);
            }
        }
        let equality = matches!(relation, Relation::Eq | Relation::Ne);
        let masked = |c: &Constant| matches!(c, Constant::Int(int) if !int.is_exact());
        let named = |c: &Constant| matches!(c, Constant::AddressSet(_) | Constant::PortGroup(_));
        if !equality && (constants.len() != 1 || constants.iter().any(named)) {
            return wrong(format!(
                "\"{}\" takes one constant; sets need \"==\" or \"!=\"",
                relation.sign()
            ));
        }
        if !equality && constants.iter().any(masked) {
            return wrong(format!(
                "\"{}\" takes a constant without a mask",
                relation.sign()
            ));
        }
        let wrong = |message: String| Err(cursor.error_at(field_span.clone(), message));
        let positive = (relation == Relation::Eq) != self.negated;
        match field.symbol().level() {
            Level::Ordinal => {}
            Level::Boolean | Level::Nominal if !equality => {
                return wrong(format!("{field} can be compared with \"==\" only"));
            }
            Level::Nominal if constants.iter().any(masked) => {
                return wrong(format!(
                    "{field} is known only as a whole: no mask is allowed here"
                ));
            }
            Level::Nominal if field.symbol().is_predicate() => {
                let one = matches!(constants.first(), Some(Constant::Int(int)) if int.value == 1);
                if one != positive || constants.len() != 1 {
                    let message = format!(
                        "{field} can only be asked for, not excluded: its contrary has no match"
                    );
                    return wrong(message);
                }
            }
            Level::Nominal if !positive => {
                return wrong(format!(
                    "{field} is known only as a whole: it can be tested for \"==\", not for \"!=\" (\"!\" included)"
                ));
            }
            Level::Boolean | Level::Nominal => {}
        }
        Ok(Expr::Cmp(Comparison {
            field,
            relation,
            constants,
        }))
    }
}

/// Takes those bits from a constant's mask that the field does not have.
fn narrow(field: Field, constant: &mut Constant) {
    let all = field.full_mask();
    if let Constant::Int(int) = constant
        && !field.is_string()
        && !int.is_exact()
        && int.value <= all
    {
        *int = match int.mask & all {
            mask if mask == all => Int::exact(int.value, int.format),
            mask => Int::masked(int.value, mask, int.format),
        };
    }
}

/// An error when a field cannot be compared with, or set to, the constant.
pub(crate) fn fits(field: Field, constant: &Constant) -> Result<(), String> {
    match (field.is_string(), constant) {
        (_, Constant::Template(_)) => Ok(()),
        (true, Constant::Str(_) | Constant::PortGroup(_)) => Ok(()),
        (true, _) => Err(format!(
            "{field} is the name of a port: it is compared with strings in double quotes"
        )),
        (false, Constant::Str(_) | Constant::PortGroup(_)) => {
            Err(format!("{field} is an integer, not a name"))
        }
        (false, Constant::AddressSet(_)) => Ok(()),
        (false, Constant::Int(int)) if int.bits() > u32::from(field.width()) => Err(format!(
            "a constant of {} bits does not fit {field}, which has {}",
            int.bits(),
            field.width()
        )),
        (false, Constant::Int(_)) => Ok(()),
    }
}

fn relation_follows(cursor: &Cursor<'_>) -> bool {
    matches!(cursor.peek_at(1), Token::Sign(sign) if Relation::of_sign(sign).is_some())
}

/// Reads a relation if one is next.
fn relation(cursor: &mut Cursor<'_>) -> Option<Relation> {
    let Token::Sign(sign) = *cursor.peek() else {
        return None;
    };
    let relation = Relation::of_sign(sign)?;
    cursor.advance();
    Some(relation)
}

fn resident(cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
    cursor.expect_word("is_chassis_resident")?;
    cursor.expect("(")?;
    let port = cursor.string("the name of a port in double quotes")?;
    cursor.expect(")")?;
    Ok(Expr::Resident(port.into()))
}

/// A constant, or a set of them in braces.
pub(crate) fn constants(cursor: &mut Cursor<'_>) -> Result<Constants, ParseError> {
    if !cursor.is_sign("{") {
        return Ok(SmallVec::from_iter([cursor.constant()?]));
    }
    let start = cursor.span().start;
    cursor.advance();
    let mut set = Constants::new();
    while !cursor.accept("}") {
        set.push(cursor.constant()?);
        cursor.accept(",");
    }
    match set.is_empty() {
        true => Err(cursor.error_at(cursor.since(start), "a set needs at least one constant")),
        false => Ok(set),
    }
}

/// A symbol, perhaps with bits.
pub(crate) fn field(cursor: &mut Cursor<'_>) -> Result<Field, ParseError> {
    let span = cursor.span();
    let name = cursor.ident("the name of a field")?;
    let Some(symbol) = Symbol::named(name) else {
        let mut message = format!("unknown field {name:?}");
        if let Some(near) = nearest(name) {
            message.push_str(&format!("; perhaps {near} is meant"));
        }
        return Err(cursor.error_at(span, message));
    };
    if !cursor.is_sign("[") {
        return Ok(symbol.whole());
    }
    cursor.advance();
    let top = u32::from(symbol.width()).saturating_sub(1);
    let wanted = format!("a bit of {name}");
    let lo = cursor.number(&wanted, top)?;
    let hi_span = cursor.span();
    let hi = match cursor.accept("..") {
        true => cursor.number(&wanted, top)?,
        false => lo,
    };
    if hi < lo {
        return Err(cursor.error_at(hi_span, "the lower bit of a range comes first"));
    }
    // All the bits of such a field may be named: that is the whole.
    let whole_only = symbol.level() != Level::Ordinal || matches!(symbol.kind(), Kind::MtuOfError);
    if whole_only && ((lo, hi) != (0, top) || symbol.whole().is_string()) {
        return Err(cursor.error_at(
            span,
            format!("{name} has no bits to choose from: it is known only as a whole"),
        ));
    }
    cursor.expect("]")?;
    if whole_only {
        return Ok(symbol.whole());
    }
    let bit = |n: u32| u8::try_from(n).expect("a bit number is below 128");
    Ok(symbol.bits(bit(lo), bit(hi)))
}

/// The symbol whose name differs least from `name`, if it differs by at most two letters.
fn nearest(name: &str) -> Option<Symbol> {
    if name.len() > 40 {
        return None;
    }
    let distance = |symbol: &Symbol| edits(name, symbol.name());
    let nearest = Symbol::ALL.iter().copied().min_by_key(distance)?;
    (distance(&nearest) <= 2).then_some(nearest)
}

/// How many letters have to be inserted, left out or changed to make `b` of `a` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text parses to, printed, or the column and message of its error.
    fn check(text: &str, expected: &str) {
        let got = match Expr::parse(text) {
            Ok(expr) => {
                let printed = expr.to_string();
                assert_eq!(
                    Expr::parse(&printed).as_ref(),
                    Ok(&expr),
                    "{text} printed as {printed}"
                );
                printed
            }
            Err(error) => format!("{}: {}", error.column(), error.message),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn reads() {
        for (text, printed) in [
            ("1", "1"),
            ("0 || ip4", "ip4"),
            ("ip4&&tcp.dst==80", "ip4 && tcp.dst == 80"),
            (
                "(ip4) && (tcp && (udp || sctp))",
                "ip4 && tcp && (udp || sctp)",
            ),
            ("80 == tcp.dst", "tcp.dst == 80"),
            ("80 < tcp.dst", "tcp.dst > 80"),
            (
                "1024 <= tcp.src <= 49151",
                "tcp.src >= 1024 && tcp.src <= 49151",
            ),
            ("9 > tcp.src >= 4", "tcp.src < 9 && tcp.src >= 4"),
            ("0 < reg0 < 9", "reg0 > 0 && reg0 < 9"),
            ("1 == ip4", "ip4"),
            ("!!ip4", "ip4"),
            ("!(eth.src == 1)", "!(eth.src == 1)"),
            ("!eth.mcast", "!eth.mcast"),
            ("!(ct.est && !ct.rel)", "!(ct.est && !ct.rel)"),
            ("vlan.tci[12]", "vlan.tci[12]"),
            ("reg0[0..31] == 5", "reg0 == 5"),
            ("tcp.dst == {80 443, 8080,}", "tcp.dst == {80, 443, 8080}"),
            (
                "ip4.src == {$as1, 10.0.0.0/8, $as2}",
                "ip4.src == {$as1, 10.0.0.0/8, $as2}",
            ),
            ("ip4.src == $as1", "ip4.src == $as1"),
            (
                "inport == @pg && outport == {\"a\", @b}",
                "inport == @pg && outport == {\"a\", @b}",
            ),
            ("ip4.dst == ^vip", "ip4.dst == ^vip"),
            ("is_chassis_resident(\"p\")", "is_chassis_resident(\"p\")"),
            ("!is_chassis_resident(\"p\")", "!is_chassis_resident(\"p\")"),
            ("ip4.dst == 10.0.0.1 // who", "ip4.dst == 10.0.0.1"),
            ("!(eth.type != 0x800)", "!(eth.type != 0x800)"),
            ("ip4 == 1 && eth.type == 0x800", "ip4 && eth.type == 0x800"),
            ("eth.bcast == 0", "eth.bcast == 0"),
            ("reg0 == 192.168.2.1/24", "reg0 == 192.168.2.0/24"),
            (
                "ip4.src == {10.0.0.9/8, 10.1.1.1/32}",
                "ip4.src == {10.0.0.0/8, 10.1.1.1}",
            ),
            ("ip6.dst == fd00::1/64", "ip6.dst == fd00::/64"),
            ("reg0 == 192.168.2.1/0", "reg0 == 0.0.0.0/0"),
            ("tcp.dst == 80/0xfffff0", "tcp.dst == 80/0xfff0"),
            ("tcp.dst == 80/0xffffff", "tcp.dst == 80"),
            ("!tcp.dst", "!(tcp.dst != 0)"),
            ("!reg0[0..3]", "!(reg0[0..3] != 0)"),
            ("!ip.proto", "!(ip.proto != 0)"),
            ("eth.type[0..15] == 0x800", "eth.type == 0x800"),
        ] {
            check(text, printed);
        }
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            (
                "",
                "1: expected a field, a constant, \"(\" or \"!\", but the text ends here",
            ),
            (
                "ip4 && ",
                "8: expected a field, a constant, \"(\" or \"!\", but the text ends here",
            ),
            (
                "ip4 ip6",
                "5: expected \"&&\", \"||\" or the end of the match",
            ),
            (
                "ip4 && ip6 || arp",
                "12: \"&&\" and \"||\" side by side need parentheses",
            ),
            ("(ip4", "5: expected \")\", but the text ends here"),
            (
                "ip4.sorce == 1",
                "1: unknown field \"ip4.sorce\"; perhaps ip4.src is meant",
            ),
            ("foobar", "1: unknown field \"foobar\""),
            (
                "tcp.dst",
                "1: tcp.dst needs a relation such as \"== 0\" or \"!= 0\"",
            ),
            (
                "inport",
                "1: inport needs a relation such as \"== 0\" or \"!= 0\"",
            ),
            (
                "!(!tcp.dst)",
                "4: tcp.dst needs a relation such as \"== 0\" or \"!= 0\"",
            ),
            (
                "!inport",
                "2: inport needs a relation such as \"== 0\" or \"!= 0\"",
            ),
            (
                "tcp.dst == 0x1ffff/0x1ffff",
                "12: a constant of 17 bits does not fit tcp.dst, which has 16",
            ),
            (
                "tcp.dst == 65536",
                "12: a constant of 17 bits does not fit tcp.dst, which has 16",
            ),
            ("tcp.dst == \"x\"", "12: tcp.dst is an integer, not a name"),
            (
                "inport == 5",
                "11: inport is the name of a port: it is compared with strings in double quotes",
            ),
            (
                "inport != \"x\"",
                "1: inport is known only as a whole: it can be tested for \"==\", not for \"!=\" (\"!\" included)",
            ),
            (
                "!(eth.type == 1)",
                "3: eth.type is known only as a whole: it can be tested for \"==\", not for \"!=\" (\"!\" included)",
            ),
            (
                "!ip4",
                "2: ip4 can only be asked for, not excluded: its contrary has no match",
            ),
            (
                "ip4 == 0",
                "1: ip4 can only be asked for, not excluded: its contrary has no match",
            ),
            ("ip.ttl < 2", "1: ip.ttl can be compared with \"==\" only"),
            (
                "ip.proto == 4/4",
                "1: ip.proto is known only as a whole: no mask is allowed here",
            ),
            (
                "!tcp.dst == 1",
                "1: \"!\" before a relation needs parentheses: !(…)",
            ),
            (
                "tcp.dst < {1, 2}",
                "11: \"<\" takes one constant; sets need \"==\" or \"!=\"",
            ),
            ("tcp.dst < 4/4", "11: \"<\" takes a constant without a mask"),
            ("tcp.dst == {}", "12: a set needs at least one constant"),
            (
                "1 < tcp.dst > 4",
                "13: a range is written with \"<\" and \"<=\", or with \">\" and \">=\"",
            ),
            (
                "ip.proto[1] == 1",
                "1: ip.proto has no bits to choose from: it is known only as a whole",
            ),
            ("reg0[32]", "6: expected a bit of reg0, at most 31"),
            ("reg0[5..3] == 1", "7: the lower bit of a range comes first"),
            (
                "is_chassis_resident(p)",
                "21: expected the name of a port in double quotes",
            ),
            (
                "tcp.dst = 80",
                "1: tcp.dst needs a relation such as \"== 0\" or \"!= 0\"",
            ),
        ] {
            check(text, error);
        }
    }

    #[test]
    fn required_ports() {
        for (text, inport) in [
            ("inport == \"a\"", Some("a")),
            ("ip4 && inport == \"a\" && tcp", Some("a")),
            ("inport == {\"a\", \"b\"}", None),
            ("inport == \"a\" || ip4", None),
            ("outport == \"a\"", None),
            ("!(inport != \"a\")", None),
            ("inport == @pg", None),
        ] {
            let expr = Expr::parse(text).unwrap();
            let got = expr.required_port(Symbol::Inport).map(|name| &**name);
            assert_eq!(got, inport, "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |n: usize| format!("{}ip4{}", "(".repeat(n), ")".repeat(n));
        assert!(Expr::parse(&nested(MAX_DEPTH)).is_ok());
        let error = Expr::parse(&nested(100_000)).unwrap_err();
        assert_eq!(
            error.message,
            "parentheses and \"!\" are nested more than 100 deep"
        );
        assert!(Expr::parse(&"!".repeat(100_000)).is_err());
    }
}
