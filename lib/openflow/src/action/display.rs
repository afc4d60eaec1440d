//! Actions as text, in the syntax of ovs-actions(7).

use std::fmt::{Display, Formatter, Result, Write as _};
use std::net::IpAddr;

use super::{
    Action, Controller, Ct, CtZone, Learn, LearnSource, LearnSpec, Nat, NatKind, PacketInReason,
};

/// Actions separated by commas; an empty list is `drop`.
pub struct Actions<'a>(pub &'a [Action]);

impl Display for Actions<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0.is_empty() {
            f.write_str("drop")
        } else {
            list(f, self.0)
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Action::Output {
                port: crate::Port::CONTROLLER,
                max_len,
            } => write!(f, "CONTROLLER:{max_len}"),
            Action::Output { port, .. } if port.is_physical() => write!(f, "output:{port}"),
            Action::Output { port, .. } => write!(f, "{port}"),
            Action::OutputReg { port, .. } => write!(f, "output:{port}"),
            Action::Controller(c) => write!(f, "{c}"),
            Action::SetField { field, value, mask } if *mask == field.full_mask() => {
                write!(f, "set_field:{}->{field}", field.format_value(*value))
            }
            Action::SetField { field, value, mask } => {
                write!(
                    f,
                    "set_field:{}/{}->{field}",
                    field.format_value(*value),
                    field.format_value(*mask)
                )
            }
            Action::Move { src, dst } => write!(f, "move:{src}->{dst}"),
            Action::Push(s) => write!(f, "push:{s}"),
            Action::Pop(s) => write!(f, "pop:{s}"),
            Action::Resubmit { in_port, table, ct } => {
                f.write_str("resubmit(")?;
                in_port.map_or(Ok(()), |p| write!(f, "{p}"))?;
                f.write_char(',')?;
                table.map_or(Ok(()), |t| write!(f, "{t}"))?;
                f.write_str(if *ct { ",ct)" } else { ")" })
            }
            Action::Clone(actions) => {
                f.write_str("clone(")?;
                list(f, actions)?;
                f.write_char(')')
            }
            Action::Ct(ct) => write!(f, "{ct}"),
            Action::Nat(nat) => write!(f, "{nat}"),
            Action::CtClear => f.write_str("ct_clear"),
            Action::PushVlan { ethertype } => write!(f, "push_vlan:{ethertype:#06x}"),
            Action::PopVlan => f.write_str("pop_vlan"),
            Action::Group(id) => write!(f, "group:{id}"),
            Action::Meter(id) => write!(f, "meter:{id}"),
            Action::SetQueue(id) => write!(f, "set_queue:{id}"),
            Action::Sample {
                probability,
                collector_set,
                obs_domain,
                obs_point,
            } => write!(
                f,
                "sample(probability={probability},collector_set_id={collector_set},obs_domain_id={obs_domain},obs_point_id={obs_point})"
            ),
            Action::DecTtl => f.write_str("dec_ttl"),
            Action::Learn(l) => write!(f, "{l}"),
            Action::Note(bytes) => write!(f, "note:{}", hex(bytes)),
            Action::Conjunction {
                id,
                clause,
                n_clauses,
            } => {
                write!(
                    f,
                    "conjunction({id},{}/{n_clauses})",
                    u16::from(*clause) + 1
                )
            }
            Action::CheckPktLarger { packet_len, dst } => {
                write!(f, "check_pkt_larger({packet_len})->{dst}")
            }
        }
    }
}

fn list(f: &mut Formatter<'_>, actions: &[Action]) -> Result {
    for (i, action) in actions.iter().enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        write!(f, "{action}")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect::<Vec<_>>()
        .join(".")
}

impl Display for PacketInReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            PacketInReason::TableMiss => "no_match",
            PacketInReason::Action => "action",
            PacketInReason::InvalidTtl => "invalid_ttl",
            PacketInReason::ActionSet => "action_set",
            PacketInReason::Group => "group",
            PacketInReason::PacketOut => "packet_out",
        })
    }
}

impl Display for Controller {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "controller(reason={},max_len={},id={}",
            self.reason, self.max_len, self.controller_id
        )?;
        if !self.userdata.is_empty() {
            write!(f, ",userdata={}", hex(&self.userdata))?;
        }
        if self.pause {
            f.write_str(",pause")?;
        }
        if let Some(id) = self.meter_id {
            write!(f, ",meter_id={id}")?;
        }
        f.write_char(')')
    }
}

impl Display for Ct {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut parts = Vec::new();
        if self.commit {
            parts.push("commit".to_owned());
        }
        if self.force {
            parts.push("force".to_owned());
        }
        if let Some(table) = self.table {
            parts.push(format!("table={table}"));
        }
        match self.zone {
            CtZone::Imm(0) => {}
            CtZone::Imm(zone) => parts.push(format!("zone={zone}")),
            CtZone::Field(s) => parts.push(format!("zone={s}")),
        }
        let is_nat = |a: &&Action| matches!(a, Action::Nat(_));
        parts.extend(self.exec.iter().filter(is_nat).map(ToString::to_string));
        let exec = self
            .exec
            .iter()
            .filter(|a| !is_nat(a))
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        if !exec.is_empty() {
            parts.push(format!("exec({})", exec.join(",")));
        }
        match self.alg {
            0 => {}
            21 => parts.push("alg=ftp".to_owned()),
            69 => parts.push("alg=tftp".to_owned()),
            port => parts.push(format!("alg={port}")),
        }
        write!(f, "ct({})", parts.join(","))
    }
}

impl Display for Nat {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Some(kind) = self.kind else {
            return f.write_str("nat");
        };
        f.write_str(if kind == NatKind::Src {
            "nat(src"
        } else {
            "nat(dst"
        })?;
        let bracket = |ip: IpAddr| match ip {
            IpAddr::V6(a) if self.ports.is_some() => format!("[{a}]"),
            _ => ip.to_string(),
        };
        match self.addrs {
            Some((low, high)) if low == high => write!(f, "={}", bracket(low))?,
            Some((low, high)) => write!(f, "={}-{}", bracket(low), bracket(high))?,
            None if self.ports.is_some() => f.write_char('=')?,
            None => {}
        }
        match self.ports {
            Some((low, high)) if low == high => write!(f, ":{low}")?,
            Some((low, high)) => write!(f, ":{low}-{high}")?,
            None => {}
        }
        for (set, name) in [
            (self.persistent, "persistent"),
            (self.hash, "hash"),
            (self.random, "random"),
        ] {
            if set {
                write!(f, ",{name}")?;
            }
        }
        f.write_char(')')
    }
}

impl Display for Learn {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "learn(table={},priority={}", self.table, self.priority)?;
        let numbers = [
            ("idle_timeout", u64::from(self.idle_timeout)),
            ("hard_timeout", u64::from(self.hard_timeout)),
            ("fin_idle_timeout", u64::from(self.fin_idle_timeout)),
            ("fin_hard_timeout", u64::from(self.fin_hard_timeout)),
            ("limit", u64::from(self.limit)),
            ("cookie", self.cookie),
        ];
        for (name, n) in numbers.into_iter().filter(|&(_, n)| n != 0) {
            write!(f, ",{name}={n}")?;
        }
        if self.send_flow_removed {
            f.write_str(",send_flow_rem")?;
        }
        if self.delete_learned {
            f.write_str(",delete_learned")?;
        }
        if let Some(result) = self.result {
            write!(f, ",result_dst={result}")?;
        }
        for spec in &self.specs {
            write!(f, ",{spec}")?;
        }
        f.write_char(')')
    }
}

impl Display for LearnSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            LearnSpec::Match {
                src: LearnSource::Field(src),
                dst,
            } if src == dst => write!(f, "{dst}"),
            LearnSpec::Match {
                src: LearnSource::Field(src),
                dst,
            } => write!(f, "{dst}={src}"),
            LearnSpec::Match {
                src: LearnSource::Imm(value),
                dst,
            } if dst.width == dst.field.width() => {
                write!(f, "{}={}", dst.field, dst.field.format_value(*value))
            }
            LearnSpec::Match {
                src: LearnSource::Imm(value),
                dst,
            } => write!(f, "{dst}={value:#x}"),
            LearnSpec::Load {
                src: LearnSource::Field(src),
                dst,
            } => write!(f, "load:{src}->{dst}"),
            LearnSpec::Load {
                src: LearnSource::Imm(value),
                dst,
            } => write!(f, "load:{value:#x}->{dst}"),
            LearnSpec::Output(port) => write!(f, "output:{port}"),
        }
    }
}
