//! Reading actions with arguments by name: options, choices, observation.

use std::net::IpAddr;

use super::{Outcome, Parser};
use crate::action::args::{Affinity, EmptyBackends, Log, Options, Sample, SampleArg, Select};
use crate::action::{Action, Arg, Query};
use crate::constant::Name;
use crate::expr::constants;
use crate::lexer::Token;
use crate::symbols::Field;

/// The largest queue id.
const MAX_QUEUE: u32 = 61_440;

impl Parser<'_> {
    pub(super) fn options(&mut self) -> Outcome<Options> {
        let mut options = Options::new();
        self.keys(|parser, key, _| {
            options.push((key.into(), constants(&mut parser.cursor)?));
            Ok(())
        })?;
        Ok(options)
    }

    pub(super) fn relay_check(&mut self, response: bool) -> Outcome<Query> {
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

    pub(super) fn select(&mut self, to: Field) -> Outcome<Select> {
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

    pub(super) fn forward_group(&mut self) -> Outcome<Action> {
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

    pub(super) fn log(&mut self) -> Outcome<Action> {
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

    pub(super) fn sample(&mut self) -> Outcome<Action> {
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

    pub(super) fn sample_arg(&mut self) -> Outcome<SampleArg> {
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

    pub(super) fn event(&mut self) -> Outcome<Action> {
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

    pub(super) fn ecmp_next_hop(&mut self) -> Outcome<Action> {
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

    pub(super) fn affinity(&mut self) -> Outcome<Action> {
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
    pub(super) fn endpoint(&mut self) -> Outcome<(IpAddr, Option<u16>)> {
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

    pub(super) fn set_queue(&mut self) -> Outcome<Action> {
        self.cursor.expect("(")?;
        let id = self.cursor.number("the id of a queue", MAX_QUEUE)?;
        self.cursor.expect(")")?;
        Ok(Action::SetQueue(id))
    }

    pub(super) fn set_meter(&mut self) -> Outcome<Action> {
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

    pub(super) fn mirror(&mut self) -> Outcome<Action> {
        self.cursor.expect("(")?;
        let port = self.cursor.string("a port in double quotes")?;
        self.cursor.expect(")")?;
        Ok(Action::Mirror(port.into()))
    }

    pub(super) fn bind_vport(&mut self) -> Outcome<Action> {
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
