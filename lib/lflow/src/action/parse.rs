//! Reading actions: text to [`Actions`], types checked.

mod conntrack;
mod services;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::args::{BalanceKind, OptionsKind};
use super::{
    Action, Actions, Arg, Bare, Function, Lookup, NatKind, Pipeline, Plain, Query, Transform,
};
use crate::constant::{Constant, Format, Int};
use crate::cursor::Cursor;
use crate::error::ParseError;
use crate::expr::{field, fits};
use crate::lexer::Token;
use crate::symbols::{Access, Field, Kind, Symbol};

/// How deep blocks may nest.
pub const MAX_NESTING: usize = 16;

type Outcome<T> = Result<T, ParseError>;

pub(super) fn parse(text: &str) -> Outcome<Actions> {
    let cursor = Cursor::new(text)?;
    let mut parser = Parser {
        cursor,
        depth: 0,
        in_commit: false,
    };
    let mut actions = Vec::new();
    while !parser.cursor.at_end() {
        actions.push(parser.action()?);
        parser.cursor.expect(";")?;
    }
    // No actions at all are written as "drop;".
    if actions.is_empty() {
        actions.push(Action::Drop);
    }
    Ok(Actions(actions))
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    /// Blocks around this place.
    depth: usize,
    /// Inside `ct_commit { … }`.
    in_commit: bool,
}

impl Parser<'_> {
    fn action(&mut self) -> Outcome<Action> {
        let span = self.cursor.span();
        let Token::Ident(word) = *self.cursor.peek() else {
            return Err(self.cursor.expected("an action"));
        };
        if self.in_commit {
            return self.assignment();
        }
        let follows = |sign| *self.cursor.peek_at(1) == Token::Sign(sign);
        if ["=", "[", "<->", "--"].into_iter().any(follows) {
            return self.assignment();
        }
        let Some(reader) = action_reader(word) else {
            if Symbol::named(word).is_some() {
                return self.assignment();
            }
            return Err(self
                .cursor
                .error_at(span, format!("unknown action {word:?}")));
        };
        self.cursor.advance();
        reader(self)
    }

    /// What begins with a field.
    fn assignment(&mut self) -> Outcome<Action> {
        let start = self.cursor.span().start;
        let to = field(&mut self.cursor)?;
        let span = self.cursor.since(start);
        if self.cursor.accept("--") {
            if to.symbol() != Symbol::IpTtl {
                return Err(self.cursor.error_at(span, "only ip.ttl can be decremented"));
            }
            return Ok(Action::DecrementTtl);
        }
        self.check_writable(to, &span)?;
        if self.cursor.accept("<->") {
            let (other, other_span) = self.spanned_field()?;
            self.check_writable(other, &other_span)?;
            self.check_alike(to, other, &other_span)?;
            return Ok(Action::Exchange(to, other));
        }
        self.cursor.expect("=")?;
        if let Token::Ident(word) = *self.cursor.peek()
            && Symbol::named(word).is_none()
        {
            return self.query(to, &span, word);
        }
        if self.cursor.is_constant() {
            return self.constant_for(to);
        }
        let (from, from_span) = self.spanned_field()?;
        self.check_readable(from, &from_span)?;
        self.check_alike(to, from, &from_span)?;
        Ok(Action::Copy { to, from })
    }

    fn constant_for(&mut self, to: Field) -> Outcome<Action> {
        let start = self.cursor.span().start;
        let constant = self.cursor.constant()?;
        let span = self.cursor.since(start);
        if matches!(constant, Constant::AddressSet(_) | Constant::PortGroup(_)) {
            return Err(self
                .cursor
                .error_at(span, "a field is set to one value, not to a set"));
        }
        fits(to, &constant).map_err(|message| self.cursor.error_at(span, message))?;
        Ok(Action::Assign(to, constant))
    }

    fn query(&mut self, to: Field, to_span: &Range<usize>, word: &str) -> Outcome<Action> {
        let span = self.cursor.span();
        self.cursor.advance();
        let (query, result) = if let Some(bare) = Bare::named(word) {
            self.cursor.expect("(")?;
            self.cursor.expect(")")?;
            (Query::Bare(bare), bare.result())
        } else if let Some(lookup) = Lookup::named(word) {
            (
                Query::Lookup(lookup, self.fields(lookup.args())?),
                lookup.result(),
            )
        } else if let Some(kind) = OptionsKind::named(word) {
            (Query::PutOptions(kind, self.options()?), Arg::Bits(1))
        } else {
            match word {
                "check_pkt_larger" => {
                    self.cursor.expect("(")?;
                    let bytes = self.u16("a length in bytes")?;
                    self.cursor.expect(")")?;
                    (Query::PacketLarger(bytes), Arg::Bits(1))
                }
                "dhcp_relay_req_chk" | "dhcp_relay_resp_chk" => (
                    self.relay_check(word == "dhcp_relay_resp_chk")?,
                    Arg::Bits(1),
                ),
                "select" => (Query::Select(self.select(to)?), Arg::Bits(to.width())),
                _ => {
                    let message =
                        format!("{word:?} is neither a field nor a function with a result");
                    return Err(self.cursor.error_at(span, message));
                }
            }
        };
        self.check_arg(to, result, to_span)?;
        Ok(Action::Query(to, query))
    }

    fn spanned_field(&mut self) -> Outcome<(Field, Range<usize>)> {
        let start = self.cursor.span().start;
        let field = field(&mut self.cursor)?;
        Ok((field, self.cursor.since(start)))
    }

    fn check_writable(&self, field: Field, span: &Range<usize>) -> Outcome<()> {
        let writable = match field.symbol().access() {
            Access::ReadOnly => false,
            Access::ReadWrite | Access::Ingress => !self.in_commit,
            Access::Commit => self.in_commit,
        };
        let whole = field.is_whole() || field.symbol().level() == crate::symbols::Level::Ordinal;
        if writable && whole {
            return Ok(());
        }
        let message = match field.symbol().access() {
            Access::Commit => format!("{field} can be written inside ct_commit {{ … }} only"),
            _ if self.in_commit => {
                "inside ct_commit { … } only ct_mark and ct_label can be written".to_owned()
            }
            _ => format!("{field} cannot be written"),
        };
        Err(self.cursor.error_at(span.clone(), message))
    }

    fn check_readable(&self, field: Field, span: &Range<usize>) -> Outcome<()> {
        match field.symbol().kind() {
            Kind::Predicate(_) | Kind::MtuOfError => {
                let message = format!("{field} has no value that could be copied");
                Err(self.cursor.error_at(span.clone(), message))
            }
            _ => Ok(()),
        }
    }

    /// Both are names of ports, or integers of one width.
    fn check_alike(&self, a: Field, b: Field, span: &Range<usize>) -> Outcome<()> {
        if a.is_string() == b.is_string() && (a.is_string() || a.width() == b.width()) {
            return Ok(());
        }
        let kind = |field: Field| match field.is_string() {
            true => format!("{field} is the name of a port"),
            false => format!("{field} has {} bits", field.width()),
        };
        Err(self
            .cursor
            .error_at(span.clone(), format!("{}, but {}", kind(a), kind(b))))
    }

    fn check_arg(&self, field: Field, arg: Arg, span: &Range<usize>) -> Outcome<()> {
        let (fits, wanted) = match arg {
            Arg::Port => (
                field.is_string(),
                "a field that names a port, such as inport".to_owned(),
            ),
            Arg::Bits(bits) => (
                !field.is_string() && field.width() == bits,
                format!("a field of {bits} bit{}", if bits == 1 { "" } else { "s" }),
            ),
        };
        match fits {
            true => Ok(()),
            false => Err(self
                .cursor
                .error_at(span.clone(), format!("expected {wanted}"))),
        }
    }

    /// `(field, field, …)`
    fn fields(&mut self, args: &[Arg]) -> Outcome<Vec<Field>> {
        self.cursor.expect("(")?;
        let mut fields = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.cursor.expect(",")?;
            }
            let (field, span) = self.spanned_field()?;
            self.check_readable(field, &span)?;
            self.check_arg(field, *arg, &span)?;
            fields.push(field);
        }
        self.cursor.expect(")")?;
        Ok(fields)
    }

    /// `{ actions }`
    fn block(&mut self) -> Outcome<Vec<Action>> {
        if self.depth == MAX_NESTING {
            let message = format!("blocks of actions are nested more than {MAX_NESTING} deep");
            return Err(self.cursor.error(message));
        }
        self.cursor.expect("{")?;
        self.depth += 1;
        let mut actions = Vec::new();
        while !self.cursor.accept("}") {
            actions.push(self.action()?);
            self.cursor.expect(";")?;
        }
        self.depth -= 1;
        Ok(actions)
    }

    fn u16(&mut self, wanted: &str) -> Outcome<u16> {
        let number = self.cursor.number(wanted, u16::MAX.into())?;
        Ok(u16::try_from(number).expect("the number was limited to 16 bits"))
    }

    fn u8(&mut self, wanted: &str, max: u8) -> Outcome<u8> {
        let number = self.cursor.number(wanted, max.into())?;
        Ok(u8::try_from(number).expect("the number was limited to 8 bits"))
    }

    fn ip(&mut self) -> Outcome<IpAddr> {
        let span = self.cursor.span();
        let int = self.cursor.int("an IP address")?;
        ip_of(int).ok_or_else(|| self.cursor.error_at(span, "expected an IP address"))
    }

    /// The `name=` before a value.
    fn key(&mut self) -> Outcome<(String, Range<usize>)> {
        let span = self.cursor.span();
        let key = self.cursor.ident("the name of an argument")?.to_owned();
        self.cursor.expect("=")?;
        Ok((key, span))
    }

    fn unknown_key(&self, key: &str, span: Range<usize>) -> ParseError {
        self.cursor
            .error_at(span, format!("{key:?} is no argument of this action"))
    }

    /// Runs `read` for each `name=value` of a list in parentheses.
    fn keys(
        &mut self,
        mut read: impl FnMut(&mut Self, &str, Range<usize>) -> Outcome<()>,
    ) -> Outcome<()> {
        self.cursor.expect("(")?;
        let mut first = true;
        while !self.cursor.accept(")") {
            if !first {
                self.cursor.expect(",")?;
            }
            first = false;
            let (key, span) = self.key()?;
            read(self, &key, span)?;
        }
        Ok(())
    }

    /// `drop`, the last word on a packet.
    fn drop(&mut self) -> Outcome<Action> {
        let next = self.cursor.peek_at(1);
        if self.cursor.is_sign(";") && !matches!(next, Token::End | Token::Sign("}")) {
            return Err(self.cursor.error("\"drop\" must be the last action"));
        }
        Ok(Action::Drop)
    }

    fn next(&mut self) -> Outcome<Action> {
        let (mut pipeline, mut table) = (None, None);
        if self.cursor.accept("(") {
            loop {
                if self.cursor.accept_word("pipeline") {
                    self.cursor.expect("=")?;
                    let span = self.cursor.span();
                    let name = self.cursor.ident("\"ingress\" or \"egress\"")?;
                    let named = Pipeline::named(name);
                    pipeline = Some(named.ok_or_else(|| {
                        self.cursor
                            .error_at(span, "expected \"ingress\" or \"egress\"")
                    })?);
                } else {
                    if self.cursor.accept_word("table") {
                        self.cursor.expect("=")?;
                    }
                    table = Some(self.u8("the number of a table", u8::MAX)?);
                }
                if !self.cursor.accept(",") {
                    break;
                }
            }
            self.cursor.expect(")")?;
        }
        Ok(Action::Next { pipeline, table })
    }

    fn one_field(&mut self, write: bool) -> Outcome<Field> {
        self.cursor.expect("(")?;
        let (field, span) = self.spanned_field()?;
        match write {
            true => self.check_writable(field, &span)?,
            false => self.check_readable(field, &span)?,
        }
        self.cursor.expect(")")?;
        Ok(field)
    }
}

type Reader = fn(&mut Parser<'_>) -> Outcome<Action>;
type BoxedReader = Box<dyn Fn(&mut Parser<'_>) -> Outcome<Action>>;

/// How an action with this name goes on.
fn action_reader(word: &str) -> Option<BoxedReader> {
    if let Some(transform) = Transform::named(word) {
        return Some(Box::new(move |p| {
            // Some are written without a block where there is nothing to change.
            match p.cursor.is_sign(";") {
                true => Ok(Action::Within(transform, Actions::default())),
                false => Ok(Action::Within(transform, Actions(p.block()?))),
            }
        }));
    }
    if let Some(plain) = Plain::named(word) {
        return Some(Box::new(move |p| {
            if p.cursor.accept("(") {
                p.cursor.expect(")")?;
            }
            Ok(Action::Plain(plain))
        }));
    }
    if let Some(function) = Function::named(word) {
        return Some(Box::new(move |p| {
            Ok(Action::Call(function, p.fields(function.args())?))
        }));
    }
    if let Some(kind) = NatKind::named(word) {
        return Some(Box::new(move |p| p.nat(kind)));
    }
    if let Some(kind) = BalanceKind::named(word) {
        return Some(Box::new(move |p| p.balance(kind)));
    }
    let reader: Reader = match word {
        "drop" => |p| p.drop(),
        "output" => |_| Ok(Action::Output),
        "next" => |p| p.next(),
        "push" => |p| Ok(Action::Push(p.one_field(false)?)),
        "pop" => |p| Ok(Action::Pop(p.one_field(true)?)),
        "ct_next" => |p| Ok(Action::CtNext(p.zone()?)),
        "ct_commit" => |p| p.ct_commit(),
        "ct_commit_nat" => |p| Ok(Action::CtCommitNat(p.zone()?)),
        "ct_commit_to_zone" => |p| match p.zone()? {
            Some(zone) => Ok(Action::CtCommitToZone(zone)),
            None => Err(p.cursor.expected("\"(dnat)\" or \"(snat)\"")),
        },
        "bind_vport" => |p| p.bind_vport(),
        "commit_ecmp_nh" => |p| p.ecmp_next_hop(),
        "commit_lb_aff" => |p| p.affinity(),
        "fwd_group" => |p| p.forward_group(),
        "log" => |p| p.log(),
        "sample" => |p| p.sample(),
        "set_queue" => |p| p.set_queue(),
        "set_meter" => |p| p.set_meter(),
        "mirror" => |p| p.mirror(),
        "trigger_event" => |p| p.event(),
        _ => return None,
    };
    Some(Box::new(reader))
}

/// The address that an integer written as one is.
fn ip_of(int: Int) -> Option<IpAddr> {
    match int.format {
        _ if !int.is_exact() => None,
        Format::Ip4 => Some(Ipv4Addr::from_bits(u32::try_from(int.value).ok()?).into()),
        Format::Ip6 => Some(Ipv6Addr::from_bits(int.value).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
