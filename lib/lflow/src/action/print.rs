//! Printing: the canonical text of actions, which parses back to an equal list.

use std::fmt::{self, Formatter, Write};
use std::net::IpAddr;

use super::args::{Affinity, Balance, EmptyBackends, Log, Options, Sample, SampleArg, Select};
use super::{Action, Actions, Plain, Query};
use crate::constant::{Constant, print_string};
use crate::symbols::Field;

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("drop;");
        }
        separated(f, &self.0, " ", |f, action| fmt::Display::fmt(action, f))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        print(f, self)?;
        f.write_char(';')
    }
}

fn print(f: &mut Formatter<'_>, action: &Action) -> fmt::Result {
    match action {
        Action::Drop => f.write_str("drop"),
        Action::Output => f.write_str("output"),
        Action::Next { pipeline, table } => next(f, *pipeline, *table),
        Action::Assign(field, value) => write!(f, "{field} = {value}"),
        Action::Copy { to, from } => write!(f, "{to} = {from}"),
        Action::Exchange(a, b) => write!(f, "{a} <-> {b}"),
        Action::Push(field) => write!(f, "push({field})"),
        Action::Pop(field) => write!(f, "pop({field})"),
        Action::DecrementTtl => f.write_str("ip.ttl--"),
        Action::Within(transform, actions) => block(f, transform.name(), &actions.0),
        Action::Plain(Plain::HandleBfdMsg) => f.write_str("handle_bfd_msg()"),
        Action::Plain(plain) => f.write_str(plain.name()),
        Action::Call(function, args) => call(f, function.name(), args),
        Action::Query(field, query) => {
            write!(f, "{field} = ")?;
            print_query(f, query)
        }
        Action::CtNext(zone) => with_zone(f, "ct_next", *zone),
        Action::CtCommit(actions) => block(f, "ct_commit", actions),
        Action::CtCommitToZone(zone) => with_zone(f, "ct_commit_to_zone", Some(*zone)),
        Action::CtCommitNat(zone) => with_zone(f, "ct_commit_nat", *zone),
        Action::Nat { kind, ip, ports } => {
            f.write_str(kind.name())?;
            match (ip, ports) {
                (None, _) => Ok(()),
                (Some(ip), None) => write!(f, "({ip})"),
                (Some(ip), Some(ports)) => write!(f, "({ip}, {ports})"),
            }
        }
        Action::Balance(balance) => print_balance(f, balance),
        Action::BindVport { vport, parent } => {
            f.write_str("bind_vport(")?;
            print_string(f, vport)?;
            write!(f, ", {parent})")
        }
        Action::CommitEcmpNextHop { ipv6, proto } => {
            write!(f, "commit_ecmp_nh(ipv6 = {ipv6}, proto = {proto})")
        }
        Action::CommitAffinity(affinity) => print_affinity(f, affinity),
        Action::ForwardGroup { liveness, children } => {
            f.write_str("fwd_group(")?;
            if *liveness {
                f.write_str("liveness=true, ")?;
            }
            f.write_str("childports=")?;
            separated(f, children, ", ", |f, name| print_string(f, name))?;
            f.write_char(')')
        }
        Action::Log(log) => print_log(f, log),
        Action::Sample(sample) => print_sample(f, sample),
        Action::SetQueue(id) => write!(f, "set_queue({id})"),
        Action::SetMeter { rate, burst: None } => write!(f, "set_meter({rate})"),
        Action::SetMeter {
            rate,
            burst: Some(burst),
        } => write!(f, "set_meter({rate}, {burst})"),
        Action::Mirror(port) => {
            f.write_str("mirror(")?;
            print_string(f, port)?;
            f.write_char(')')
        }
        Action::Event(event) => print_event(f, event),
    }
}

fn next(
    f: &mut Formatter<'_>,
    pipeline: Option<super::Pipeline>,
    table: Option<u8>,
) -> fmt::Result {
    match (pipeline, table) {
        (None, None) => f.write_str("next"),
        (None, Some(table)) => write!(f, "next({table})"),
        (Some(pipeline), None) => write!(f, "next(pipeline={})", pipeline.name()),
        (Some(pipeline), Some(table)) => {
            write!(f, "next(pipeline={}, table={table})", pipeline.name())
        }
    }
}

fn print_query(f: &mut Formatter<'_>, query: &Query) -> fmt::Result {
    match query {
        Query::Bare(bare) => write!(f, "{}()", bare.name()),
        Query::Lookup(lookup, args) => call(f, lookup.name(), args),
        Query::PacketLarger(bytes) => write!(f, "check_pkt_larger({bytes})"),
        Query::PutOptions(kind, options) => {
            f.write_str(kind.name())?;
            print_options(f, options)
        }
        Query::RelayCheck {
            response,
            relay,
            server,
        } => {
            let what = if *response { "resp" } else { "req" };
            write!(f, "dhcp_relay_{what}_chk({relay}, {server})")
        }
        Query::Select(select) => print_select(f, select),
    }
}

/// Runs `print` for each item, with `between` in between.
fn separated<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    between: &str,
    mut print: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        print(f, item)?;
    }
    Ok(())
}

fn block(f: &mut Formatter<'_>, name: &str, actions: &[Action]) -> fmt::Result {
    f.write_str(name)?;
    f.write_str(" { ")?;
    for action in actions {
        write!(f, "{action} ")?;
    }
    f.write_char('}')
}

fn call(f: &mut Formatter<'_>, name: &str, args: &[Field]) -> fmt::Result {
    f.write_str(name)?;
    f.write_char('(')?;
    separated(f, args, ", ", |f, field| fmt::Display::fmt(field, f))?;
    f.write_char(')')
}

fn with_zone(f: &mut Formatter<'_>, name: &str, zone: Option<super::Zone>) -> fmt::Result {
    match zone {
        None => f.write_str(name),
        Some(zone) => write!(f, "{name}({})", zone.name()),
    }
}

/// `10.0.0.1:80` or `[fd00::1]:80`.
fn endpoint(f: &mut impl Write, ip: IpAddr, port: Option<u16>) -> fmt::Result {
    match (ip, port) {
        (ip, None) => write!(f, "{ip}"),
        (IpAddr::V4(ip), Some(port)) => write!(f, "{ip}:{port}"),
        (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
    }
}

fn print_balance(f: &mut Formatter<'_>, balance: &Balance) -> fmt::Result {
    f.write_str(balance.kind.name())?;
    if balance.backends.is_empty() && balance.template.is_none() {
        return Ok(());
    }
    f.write_str("(backends=")?;
    f.write_str(balance.template.as_deref().unwrap_or_default())?;
    separated(f, &balance.backends, ",", |f, backend| {
        if let Some(lport) = &backend.lport {
            print_string(f, lport)?;
            f.write_char(':')?;
        }
        endpoint(f, backend.ip, backend.port)
    })?;
    if let Some(fields) = &balance.hash_fields {
        f.write_str("; hash_fields=")?;
        print_string(f, fields)?;
    }
    if balance.skip_snat {
        f.write_str("; skip_snat")?;
    }
    if balance.force_snat {
        f.write_str("; force_snat")?;
    }
    f.write_char(')')
}

fn print_options(f: &mut Formatter<'_>, options: &Options) -> fmt::Result {
    f.write_char('(')?;
    separated(f, options, ", ", |f, (name, values)| {
        write!(f, "{name} = ")?;
        print_set(f, values)
    })?;
    f.write_char(')')
}

/// One constant, or several in braces.
fn print_set(f: &mut Formatter<'_>, values: &[Constant]) -> fmt::Result {
    match values {
        [one] => fmt::Display::fmt(one, f),
        several => {
            f.write_char('{')?;
            separated(f, several, ", ", |f, value| fmt::Display::fmt(value, f))?;
            f.write_char('}')
        }
    }
}

fn print_select(f: &mut Formatter<'_>, select: &Select) -> fmt::Result {
    f.write_str("select(")?;
    if select.hash_fields.is_some() {
        f.write_str("values=(")?;
    }
    separated(f, &select.values, ", ", |f, (value, weight)| {
        write!(f, "{value}={weight}")
    })?;
    if let Some(fields) = &select.hash_fields {
        f.write_str("); hash_fields=")?;
        print_string(f, fields)?;
    }
    f.write_char(')')
}

fn print_affinity(f: &mut Formatter<'_>, affinity: &Affinity) -> fmt::Result {
    f.write_str("commit_lb_aff(vip = \"")?;
    endpoint(f, affinity.vip.0, affinity.vip.1)?;
    f.write_str("\", backend = \"")?;
    endpoint(f, affinity.backend.0, affinity.backend.1)?;
    f.write_char('"')?;
    if let Some(proto) = &affinity.proto {
        write!(f, ", proto = {proto}")?;
    }
    write!(f, ", timeout = {})", affinity.timeout)
}

fn print_log(f: &mut Formatter<'_>, log: &Log) -> fmt::Result {
    f.write_str("log(")?;
    let mut sign = "";
    if !log.name.is_empty() {
        f.write_str("name=")?;
        print_string(f, &log.name)?;
        sign = ", ";
    }
    for (key, word) in [("verdict", &log.verdict), ("severity", &log.severity)] {
        if !word.is_empty() {
            write!(f, "{sign}{key}={word}")?;
            sign = ", ";
        }
    }
    if !log.meter.is_empty() {
        write!(f, "{sign}meter=")?;
        print_string(f, &log.meter)?;
    }
    f.write_char(')')
}

fn print_sample(f: &mut Formatter<'_>, sample: &Sample) -> fmt::Result {
    let arg = |arg: SampleArg| match arg {
        SampleArg::Number(number) => number.to_string(),
        SampleArg::Cookie => "@cookie".to_owned(),
        SampleArg::Field(field) => field.to_string(),
    };
    write!(
        f,
        "sample(probability={},collector_set={},obs_domain={},obs_point={})",
        sample.probability,
        arg(sample.collector_set),
        sample.obs_domain,
        arg(sample.obs_point)
    )
}

fn print_event(f: &mut Formatter<'_>, event: &EmptyBackends) -> fmt::Result {
    f.write_str("trigger_event(event = \"empty_lb_backends\"")?;
    let pairs = [
        ("meter", &event.meter),
        ("vip", &event.vip),
        ("protocol", &event.protocol),
        ("load_balancer", &event.load_balancer),
    ];
    for (key, value) in pairs {
        if !value.is_empty() {
            write!(f, ", {key} = ")?;
            print_string(f, value)?;
        }
    }
    f.write_char(')')
}
