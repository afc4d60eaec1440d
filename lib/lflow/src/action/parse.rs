//! Reading actions: text to [`Actions`], types checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use addr::PortRange;

use super::args::{
    Affinity, Backend, Balance, BalanceKind, EmptyBackends, Log, Options, OptionsKind, Sample,
    SampleArg, Select,
};
use super::{
    Action, Actions, Arg, Bare, Function, Lookup, NatKind, Pipeline, Plain, Query, Transform, Zone,
};
use crate::constant::{Constant, Format, Int, Name};
use crate::cursor::Cursor;
use crate::error::ParseError;
use crate::expr::{constants, field, fits};
use crate::lexer::Token;
use crate::symbols::{Access, Field, Kind, Symbol};

/// How deep blocks may nest.
pub const MAX_NESTING: usize = 16;

/// The largest queue id.
const MAX_QUEUE: u32 = 61_440;

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

    fn zone(&mut self) -> Outcome<Option<Zone>> {
        if !self.cursor.accept("(") {
            return Ok(None);
        }
        let zone = self.cursor.ident("\"dnat\" or \"snat\"").map(Zone::named)?;
        let zone = zone.ok_or_else(|| self.cursor.expected("\"dnat\" or \"snat\" before this"))?;
        self.cursor.expect(")")?;
        Ok(Some(zone))
    }

    /// `ct_commit`, `ct_commit { … }` or, as OVN once wrote it, `ct_commit(ct_mark=…, ct_label=…)`.
    fn ct_commit(&mut self) -> Outcome<Action> {
        if self.cursor.is_sign("{") {
            self.in_commit = true;
            let block = self.block();
            self.in_commit = false;
            return block.map(Action::CtCommit);
        }
        let mut assignments = Vec::new();
        if self.cursor.accept("(") {
            self.in_commit = true;
            while !self.cursor.accept(")") {
                if !assignments.is_empty() {
                    self.cursor.expect(",")?;
                }
                assignments.push(self.assignment()?);
            }
            self.in_commit = false;
        }
        Ok(Action::CtCommit(assignments))
    }

    fn nat(&mut self, kind: NatKind) -> Outcome<Action> {
        let (mut ip, mut ports) = (None, None);
        if self.cursor.accept("(") {
            ip = Some(self.ip()?);
            if self.cursor.accept(",") {
                let start = self.cursor.span().start;
                let lo = self.u16("a port")?;
                let hi = match self.cursor.accept("-") {
                    true => self.u16("a port")?,
                    false => lo,
                };
                let span = self.cursor.since(start);
                let range = PortRange::new(lo, hi);
                ports = Some(
                    range
                        .ok_or_else(|| self.cursor.error_at(span, "the lower port comes first"))?,
                );
            }
            self.cursor.expect(")")?;
        }
        Ok(Action::Nat { kind, ip, ports })
    }

    fn balance(&mut self, kind: BalanceKind) -> Outcome<Action> {
        let mut balance = Balance {
            kind,
            backends: Vec::new(),
            hash_fields: None,
            skip_snat: false,
            force_snat: false,
        };
        if !self.cursor.accept("(") {
            return Ok(Action::Balance(Box::new(balance)));
        }
        if self.cursor.accept_word("backends") {
            self.cursor.expect("=")?;
        }
        while !self.cursor.is_sign(")") && !self.cursor.is_sign(";") {
            if !balance.backends.is_empty() {
                self.cursor.expect(",")?;
            }
            balance.backends.push(self.backend()?);
        }
        while self.cursor.accept(";") {
            let span = self.cursor.span();
            match self.cursor.ident("hash_fields, skip_snat or force_snat")? {
                "hash_fields" => {
                    self.cursor.expect("=")?;
                    balance.hash_fields =
                        Some(self.cursor.string("field names in double quotes")?.into());
                }
                "skip_snat" => balance.skip_snat = true,
                "force_snat" => balance.force_snat = true,
                other => return Err(self.unknown_key(other, span)),
            }
        }
        self.cursor.expect(")")?;
        Ok(Action::Balance(Box::new(balance)))
    }

    /// `10.0.0.1`, `10.0.0.1:80`, `[fd00::1]:80`, each perhaps behind `"lport":`.
    fn backend(&mut self) -> Outcome<Backend> {
        let mut lport = None;
        if matches!(self.cursor.peek(), Token::Str(_)) {
            lport = Some(Name::from(self.cursor.string("a port")?));
            self.cursor.expect(":")?;
        }
        let bracketed = self.cursor.accept("[");
        let ip = self.ip()?;
        if bracketed {
            self.cursor.expect("]")?;
        }
        let port = match self.cursor.accept(":") {
            true => Some(self.u16("a transport port")?),
            false => None,
        };
        Ok(Backend { lport, ip, port })
    }

    fn options(&mut self) -> Outcome<Options> {
        let mut options = Options::new();
        self.keys(|parser, key, _| {
            options.push((key.into(), constants(&mut parser.cursor)?));
            Ok(())
        })?;
        Ok(options)
    }

    fn relay_check(&mut self, response: bool) -> Outcome<Query> {
        self.cursor.expect("(")?;
        let relay = self.ip()?;
        self.cursor.expect(",")?;
        let server = self.ip()?;
        self.cursor.expect(")")?;
        Ok(Query::RelayCheck {
            response,
            relay,
            server,
        })
    }

    fn select(&mut self, to: Field) -> Outcome<Select> {
        let start = self.cursor.span().start;
        self.cursor.expect("(")?;
        let wrapped = self.cursor.accept_word("values");
        if wrapped {
            self.cursor.expect("=")?;
            self.cursor.expect("(")?;
        }
        let mut values = Vec::new();
        loop {
            let span = self.cursor.span();
            let value = self.u16("a value")?;
            if u128::from(value) > to.full_mask() {
                return Err(self
                    .cursor
                    .error_at(span, format!("this does not fit {to}")));
            }
            let weight = match self.cursor.accept("=") {
                true => self.u16("a weight")?,
                false => Select::DEFAULT_WEIGHT,
            };
            values.push((value, weight));
            if !self.cursor.accept(",") {
                break;
            }
        }
        if wrapped {
            self.cursor.expect(")")?;
        }
        let mut hash_fields = None;
        if self.cursor.accept(";") {
            self.cursor.expect_word("hash_fields")?;
            self.cursor.expect("=")?;
            hash_fields = Some(Name::from(
                self.cursor.string("field names in double quotes")?,
            ));
        }
        self.cursor.expect(")")?;
        match values.len() {
            0 | 1 => {
                let message = "there must be at least two values to choose from";
                Err(self.cursor.error_at(self.cursor.since(start), message))
            }
            _ => Ok(Select {
                values,
                hash_fields,
            }),
        }
    }

    fn forward_group(&mut self) -> Outcome<Action> {
        let mut liveness = false;
        self.cursor.expect("(")?;
        if self.cursor.accept_word("liveness") {
            self.cursor.expect("=")?;
            let span = self.cursor.span();
            liveness = match self.cursor.string_or_word("true or false")?.as_str() {
                "true" => true,
                "false" => false,
                _ => return Err(self.cursor.error_at(span, "expected true or false")),
            };
            self.cursor.expect(",")?;
        }
        self.cursor.expect_word("childports")?;
        self.cursor.expect("=")?;
        let mut children = vec![Name::from(self.cursor.string("a port in double quotes")?)];
        while self.cursor.accept(",") {
            children.push(self.cursor.string("a port in double quotes")?.into());
        }
        self.cursor.expect(")")?;
        Ok(Action::ForwardGroup { liveness, children })
    }

    fn log(&mut self) -> Outcome<Action> {
        let mut log = Log::default();
        self.keys(|parser, key, span| {
            let slot = match key {
                "name" => &mut log.name,
                "verdict" => &mut log.verdict,
                "severity" => &mut log.severity,
                "meter" => &mut log.meter,
                _ => return Err(parser.unknown_key(key, span)),
            };
            let at = parser.cursor.span();
            let text = parser.cursor.string_or_word("a value")?;
            let known: &[&str] = match key {
                "verdict" => &["allow", "deny", "drop", "reject", "pass"],
                "severity" => &["alert", "warning", "notice", "info", "debug"],
                _ => &[],
            };
            if !known.is_empty() && !known.contains(&text.as_str()) {
                return Err(parser
                    .cursor
                    .error_at(at, format!("expected one of {}", known.join(", "))));
            }
            *slot = text.into();
            Ok(())
        })?;
        Ok(Action::Log(Box::new(log)))
    }

    fn sample(&mut self) -> Outcome<Action> {
        let start = self.cursor.span().start;
        let zero = SampleArg::Number(0);
        let (mut probability, mut collector_set, mut obs_domain, mut obs_point) =
            (0, zero, 0, zero);
        self.keys(|parser, key, span| {
            match key {
                "probability" => probability = parser.u16("a number of packets")?,
                "collector_set" => collector_set = parser.sample_arg()?,
                "obs_domain" => obs_domain = parser.u8("a number", u8::MAX)?,
                "obs_point" => obs_point = parser.sample_arg()?,
                _ => return Err(parser.unknown_key(key, span)),
            }
            Ok(())
        })?;
        if probability == 0 {
            let message = "a sample needs a probability, from 1 to 65535";
            return Err(self.cursor.error_at(self.cursor.since(start), message));
        }
        Ok(Action::Sample(Box::new(Sample {
            probability,
            collector_set,
            obs_domain,
            obs_point,
        })))
    }

    fn sample_arg(&mut self) -> Outcome<SampleArg> {
        match *self.cursor.peek() {
            Token::PortGroup("cookie") => {
                self.cursor.advance();
                Ok(SampleArg::Cookie)
            }
            Token::Ident(_) => {
                let (field, span) = self.spanned_field()?;
                self.check_readable(field, &span)?;
                Ok(SampleArg::Field(field))
            }
            _ => self
                .cursor
                .number("a number", u32::MAX)
                .map(SampleArg::Number),
        }
    }

    fn event(&mut self) -> Outcome<Action> {
        let start = self.cursor.span().start;
        let mut event = EmptyBackends::default();
        let mut known = false;
        self.keys(|parser, key, span| {
            let at = parser.cursor.span();
            let value = parser.cursor.string("a value in double quotes")?;
            let slot = match key {
                "event" if value == "empty_lb_backends" => {
                    known = true;
                    return Ok(());
                }
                "event" => {
                    return Err(parser
                        .cursor
                        .error_at(at, "the only event is \"empty_lb_backends\""));
                }
                "meter" => &mut event.meter,
                "vip" => &mut event.vip,
                "protocol" => &mut event.protocol,
                "load_balancer" => &mut event.load_balancer,
                _ => return Err(parser.unknown_key(key, span)),
            };
            *slot = value.into();
            Ok(())
        })?;
        match known {
            true => Ok(Action::Event(Box::new(event))),
            false => Err(self
                .cursor
                .error_at(self.cursor.since(start), "the event is not named")),
        }
    }

    fn ecmp_next_hop(&mut self) -> Outcome<Action> {
        let (mut ipv6, mut proto) = (false, Name::default());
        self.keys(|parser, key, span| {
            let at = parser.cursor.span();
            let value = parser.cursor.string_or_word("a value")?;
            match (key, value.as_str()) {
                ("ipv6", "true") => ipv6 = true,
                ("ipv6", "false") => ipv6 = false,
                ("proto", "tcp" | "udp" | "sctp") => proto = value.into(),
                ("ipv6", _) => return Err(parser.cursor.error_at(at, "expected true or false")),
                ("proto", _) => {
                    return Err(parser.cursor.error_at(at, "expected tcp, udp or sctp"));
                }
                _ => return Err(parser.unknown_key(key, span)),
            }
            Ok(())
        })?;
        Ok(Action::CommitEcmpNextHop { ipv6, proto })
    }

    fn affinity(&mut self) -> Outcome<Action> {
        let start = self.cursor.span().start;
        let (mut vip, mut backend, mut proto, mut timeout) = (None, None, None, None);
        self.keys(|parser, key, span| {
            match key {
                "vip" => vip = Some(parser.endpoint()?),
                "backend" => backend = Some(parser.endpoint()?),
                "proto" => proto = Some(Name::from(parser.cursor.ident("tcp, udp or sctp")?)),
                "timeout" => timeout = Some(parser.u16("seconds")?),
                _ => return Err(parser.unknown_key(key, span)),
            }
            Ok(())
        })?;
        match (vip, backend, timeout) {
            (Some(vip), Some(backend), Some(timeout)) => {
                Ok(Action::CommitAffinity(Box::new(Affinity {
                    vip,
                    backend,
                    proto,
                    timeout,
                })))
            }
            _ => {
                let message = "vip, backend and timeout must be given";
                Err(self.cursor.error_at(self.cursor.since(start), message))
            }
        }
    }

    /// `"10.0.0.1:80"`, a string.
    fn endpoint(&mut self) -> Outcome<(IpAddr, Option<u16>)> {
        let span = self.cursor.span();
        let text = self
            .cursor
            .string("an address, perhaps with a port, in double quotes")?;
        let ip = || {
            text.trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .ok()
                .map(|ip| (ip, None))
        };
        let with_port = || {
            text.parse::<std::net::SocketAddr>()
                .ok()
                .map(|s| (s.ip(), Some(s.port())))
        };
        with_port().or_else(ip).ok_or_else(|| {
            let message = "expected an address, perhaps with a port, such as \"10.0.0.1:80\" or \"[fd00::1]:80\"";
            self.cursor.error_at(span, message)
        })
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

    fn set_queue(&mut self) -> Outcome<Action> {
        self.cursor.expect("(")?;
        let id = self.cursor.number("the id of a queue", MAX_QUEUE)?;
        self.cursor.expect(")")?;
        Ok(Action::SetQueue(id))
    }

    fn set_meter(&mut self) -> Outcome<Action> {
        self.cursor.expect("(")?;
        let rate = self
            .cursor
            .number("a rate in kilobits a second", u32::MAX)?;
        let burst = match self.cursor.accept(",") {
            true => Some(self.cursor.number("a burst in kilobits", u32::MAX)?),
            false => None,
        };
        self.cursor.expect(")")?;
        Ok(Action::SetMeter { rate, burst })
    }

    fn mirror(&mut self) -> Outcome<Action> {
        self.cursor.expect("(")?;
        let port = self.cursor.string("a port in double quotes")?;
        self.cursor.expect(")")?;
        Ok(Action::Mirror(port.into()))
    }

    fn bind_vport(&mut self) -> Outcome<Action> {
        self.cursor.expect("(")?;
        let vport = self
            .cursor
            .string("a virtual port in double quotes")?
            .into();
        self.cursor.expect(",")?;
        let (parent, span) = self.spanned_field()?;
        self.check_arg(parent, Arg::Port, &span)?;
        self.cursor.expect(")")?;
        Ok(Action::BindVport { vport, parent })
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
mod tests {
    use super::*;

    /// What a text parses to, printed, or the column and message of its error.
    fn check(text: &str, expected: &str) {
        let got = match Actions::parse(text) {
            Ok(actions) => {
                let printed = actions.to_string();
                assert_eq!(
                    Actions::parse(&printed).as_ref(),
                    Ok(&actions),
                    "{text} printed as {printed}"
                );
                printed
            }
            Err(error) => format!("{}: {}", error.column(), error.message),
        };
        assert_eq!(got, expected, "{text}");
    }

    fn same(texts: &[&str]) {
        texts.iter().for_each(|text| check(text, text));
    }

    #[test]
    fn all_kinds() {
        same(&[
            "drop;",
            "output;",
            "next;",
            "next(7);",
            "next(pipeline=egress, table=3);",
            "outport = \"lsp1\"; output;",
            "reg0[3] = 1; reg8[16..31] = 77;",
            "eth.src = 02:00:00:00:00:01; ip4.dst = 10.0.0.1; xxreg0 = fd00::1;",
            "reg0 = ip4.src; outport = inport;",
            "eth.src <-> eth.dst; inport <-> outport;",
            "push(xxreg0); pop(eth.dst);",
            "ip.ttl--;",
            "icmp4.frag_mtu = 1500; icmp6.frag_mtu = 1280;",
            "ct_next; ct_next(snat);",
            "ct_commit { };",
            "ct_commit { ct_mark.blocked = 1; ct_label.label = reg3; ct_mark = 1/0x1; };",
            "ct_commit_to_zone(dnat);",
            "ct_commit_nat; ct_commit_nat(snat);",
            "ct_dnat; ct_dnat(10.0.0.1); ct_snat(fd00::1, 1000-2000); ct_snat_in_czone; ct_dnat_in_czone(10.0.0.1);",
            "ct_clear; ct_snat_to_vip; igmp; handle_dhcpv6_reply; handle_bfd_msg(); mac_cache_use; flood_remote;",
            "ct_lb; ct_lb_mark;",
            "ct_lb_mark(backends=10.0.0.2:80,[fd00::2]:80,10.0.0.3; hash_fields=\"ip_src,ip_dst\"; skip_snat);",
            "ct_lb_mark_local(backends=\"lsp1\":10.0.0.2:80; force_snat);",
            "reg0 = ct_nw_dst(); xxreg0 = ct_ip6_dst(); reg1[0..15] = ct_tp_dst(); reg1[16..23] = ct_proto();",
            "reg4[0..7] = ct_state_save();",
            "reg8[16..31] = select(1=20, 2=30);",
            "reg8[16..31] = select(values=(1=100, 2=30); hash_fields=\"ip_src\");",
            "fwd_group(liveness=true, childports=\"a\", \"b\"); fwd_group(childports=\"a\");",
            "clone { ct_clear; next(pipeline=ingress, table=0); }; arp { eth.dst = ff:ff:ff:ff:ff:ff; output; };",
            "nd_ns { output; }; nd_na { output; }; nd_na_router { output; };",
            "icmp4 { output; }; icmp4_error { output; }; icmp6 { output; }; icmp6_error { output; };",
            "tcp_reset { output; }; sctp_abort { output; }; reject { output; };",
            "get_arp(outport, reg0); put_arp(inport, arp.spa, arp.sha); get_nd(outport, xxreg0);",
            "put_nd(inport, nd.target, nd.tll); reg9[2] = lookup_arp(inport, arp.spa, arp.sha);",
            "reg9[3] = lookup_arp_ip(inport, arp.spa); reg9[2] = lookup_nd(inport, nd.target, nd.tll);",
            "reg9[3] = lookup_nd_ip(inport, ip6.src);",
            "put_fdb(inport, eth.src); outport = get_fdb(eth.dst); remote_outport = get_remote_fdb(eth.dst);",
            "reg0[11] = lookup_fdb(inport, eth.src);",
            "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, router = 10.0.0.1, dns_server = {8.8.8.8, 7.7.7.7});",
            "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, domain_name = \"a.b\", mtu = 1442);",
            "reg0[3] = put_dhcp_opts(classless_static_route = {30.0.0.0/24, 10.0.0.4, 0.0.0.0/0, 10.0.0.1});",
            "reg0[3] = put_dhcpv6_opts(ia_addr = ae70::4, server_id = 00:00:00:00:10:02);",
            "reg0[5] = put_nd_ra_opts(addr_mode = \"slaac\", prefix = aef0::/64, slla = 00:00:00:00:10:02);",
            "reg0[4] = dns_lookup(); reg9[7] = dhcp_relay_req_chk(10.0.0.1, 10.1.0.1);",
            "reg9[8] = dhcp_relay_resp_chk(10.0.0.1, 10.1.0.1);",
            "handle_svc_check(inport); bind_vport(\"vip\", inport);",
            "trigger_event(event = \"empty_lb_backends\", vip = \"10.0.0.1:80\", protocol = \"tcp\", load_balancer = \"u\");",
            "reg0[15] = check_in_port_sec(); reg0[15] = check_out_port_sec(); reg9[1] = check_pkt_larger(1500);",
            "reg0[6] = chk_lb_hairpin(); reg0[12] = chk_lb_hairpin_reply(); reg9[6] = chk_lb_aff();",
            "reg9[5] = chk_ecmp_nh_mac(); reg9[5] = chk_ecmp_nh();",
            "commit_ecmp_nh(ipv6 = true, proto = tcp);",
            "commit_lb_aff(vip = \"10.0.0.1:80\", backend = \"[fd00::1]:80\", proto = tcp, timeout = 10);",
            "set_queue(61440); set_meter(100); set_meter(100, 200); mirror(\"lsp1\");",
            "log(name=\"acl\", verdict=allow, severity=info, meter=\"m\"); log();",
            "sample(probability=65535,collector_set=1,obs_domain=2,obs_point=@cookie);",
            "sample(probability=1,collector_set=reg8[0..7],obs_domain=0,obs_point=7);",
        ]);
    }

    #[test]
    fn other_spellings() {
        check("", "drop;");
        check("// nothing", "drop;");
        check("next(table=7);", "next(7);");
        check(
            "ct_commit(ct_mark=1,ct_label=2);",
            "ct_commit { ct_mark = 1; ct_label = 2; };",
        );
        check("ct_commit;", "ct_commit { };");
        check(
            "ct_lb(10.0.0.1:80, 10.0.0.2:80);",
            "ct_lb(backends=10.0.0.1:80,10.0.0.2:80);",
        );
        check("tcp_reset;", "tcp_reset { };");
        check("reg0[0]=1;output;", "reg0[0] = 1; output;");
        check(
            "reg8[16..31] = select(1, 2);",
            "reg8[16..31] = select(1=100, 2=100);",
        );
        check(
            "ct_label.label = 1;",
            "1: ct_label.label can be written inside ct_commit { … } only",
        );
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            ("output", "7: expected \";\", but the text ends here"),
            ("outptu;", "1: unknown action \"outptu\""),
            ("drop; next;", "5: \"drop\" must be the last action"),
            ("eth.type = 1;", "1: eth.type cannot be written"),
            (
                "ip4.src = ip6.src;",
                "11: ip4.src has 32 bits, but ip6.src has 128 bits",
            ),
            (
                "outport = 5;",
                "11: outport is the name of a port: it is compared with strings in double quotes",
            ),
            (
                "reg0 = $as;",
                "8: a field is set to one value, not to a set",
            ),
            ("reg0[3..4] = dns_lookup();", "1: expected a field of 1 bit"),
            (
                "put_arp(reg0, arp.spa, arp.sha);",
                "9: expected a field that names a port, such as inport",
            ),
            (
                "ct_commit { reg0 = 1; };",
                "13: inside ct_commit { … } only ct_mark and ct_label can be written",
            ),
            (
                "set_queue(61441);",
                "11: expected the id of a queue, at most 61440",
            ),
            (
                "reg0 = foo(1);",
                "8: \"foo\" is neither a field nor a function with a result",
            ),
            (
                "log(verdict=maybe);",
                "13: expected one of allow, deny, drop, reject, pass",
            ),
            ("reg0 = ip4;", "8: ip4 has no value that could be copied"),
            (
                "reg8[0..1] = select(1, 7);",
                "24: this does not fit reg8[0..1]",
            ),
            ("reg0--;", "1: only ip.ttl can be decremented"),
        ] {
            check(text, error);
        }
        let deep = format!("{}output;{}", "clone {".repeat(1000), "};".repeat(1000));
        assert!(
            Actions::parse(&deep)
                .unwrap_err()
                .message
                .contains("nested")
        );
    }
}
