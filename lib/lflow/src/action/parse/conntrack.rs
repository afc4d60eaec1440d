//! Reading what concerns connections: tracking, translation, load balancing.

use addr::PortRange;

use super::{Outcome, Parser};
use crate::action::args::{Backend, Balance, BalanceKind};
use crate::action::{Action, NatKind, Zone};
use crate::constant::Name;
use crate::lexer::Token;

impl Parser<'_> {
    pub(super) fn zone(&mut self) -> Outcome<Option<Zone>> {
        if !self.cursor.accept("(") {
            return Ok(None);
        }
        let zone = self.cursor.ident("\"dnat\" or \"snat\"").map(Zone::named)?;
        let zone = zone.ok_or_else(|| self.cursor.expected("\"dnat\" or \"snat\" before this"))?;
        self.cursor.expect(")")?;
        Ok(Some(zone))
    }

    /// `ct_commit`, `ct_commit { … }` or, as OVN once wrote it, `ct_commit(ct_mark=…, ct_label=…)`.
    pub(super) fn ct_commit(&mut self) -> Outcome<Action> {
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

    pub(super) fn nat(&mut self, kind: NatKind) -> Outcome<Action> {
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

    pub(super) fn balance(&mut self, kind: BalanceKind) -> Outcome<Action> {
        let mut balance = Balance {
            kind,
            backends: Vec::new(),
            template: None,
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
    pub(super) fn backend(&mut self) -> Outcome<Backend> {
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
}
