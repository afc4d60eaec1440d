//! Constructors of actions, the companion of [`crate::m`].
//!
//! ```
//! use lflow::{Actions, Symbol, a};
//! let actions = Actions::from([
//!     a::exchange(Symbol::EthDst, Symbol::EthSrc),
//!     a::copy(Symbol::Outport, Symbol::Inport),
//!     a::loopback(),
//!     a::output(),
//! ]);
//! assert_eq!(actions.to_string(), "eth.dst <-> eth.src; outport = inport; flags.loopback = 1; output;");
//! ```

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::action::{
    Action, Actions, Bare, Function, Log, Lookup, Options, OptionsKind, Pipeline, Plain, Query,
    Transform,
};
use crate::constant::{Constant, Int, Name};
use crate::symbols::{Field, Symbol};

/// `drop;`
pub fn drop() -> Action {
    Action::Drop
}

/// `output;`
pub fn output() -> Action {
    Action::Output
}

/// `next;`
pub fn next() -> Action {
    Action::Next {
        pipeline: None,
        table: None,
    }
}

/// `next(table);`
pub fn next_table(table: u8) -> Action {
    Action::Next {
        pipeline: None,
        table: Some(table),
    }
}

/// `next(pipeline=…, table=…);`
pub fn next_in(pipeline: Pipeline, table: u8) -> Action {
    Action::Next {
        pipeline: Some(pipeline),
        table: Some(table),
    }
}

/// `field = constant;`
pub fn set(field: impl Into<Field>, constant: impl Into<Constant>) -> Action {
    Action::Assign(field.into(), constant.into())
}

/// `symbol[bit] = 1;`
pub fn set_bit(symbol: Symbol, bit: u8) -> Action {
    set(symbol.bit(bit), Int::new(1))
}

/// `symbol[bit] = 0;`
pub fn clear_bit(symbol: Symbol, bit: u8) -> Action {
    set(symbol.bit(bit), Int::new(0))
}

/// `outport = "name";`
pub fn set_outport(name: impl Into<Name>) -> Action {
    set(Symbol::Outport, Constant::Str(name.into()))
}

/// `inport = "name";`
pub fn set_inport(name: impl Into<Name>) -> Action {
    set(Symbol::Inport, Constant::Str(name.into()))
}

/// `flags.loopback = 1;`: the packet may leave through the port it came from.
pub fn loopback() -> Action {
    set(Symbol::FlagsLoopback, Int::new(1))
}

/// `to = from;`
pub fn copy(to: impl Into<Field>, from: impl Into<Field>) -> Action {
    Action::Copy {
        to: to.into(),
        from: from.into(),
    }
}

/// `a <-> b;`
pub fn exchange(a: impl Into<Field>, b: impl Into<Field>) -> Action {
    Action::Exchange(a.into(), b.into())
}

/// `push(field);`
pub fn push(field: impl Into<Field>) -> Action {
    Action::Push(field.into())
}

/// `pop(field);`
pub fn pop(field: impl Into<Field>) -> Action {
    Action::Pop(field.into())
}

/// `ip.ttl--;`
pub fn decrement_ttl() -> Action {
    Action::DecrementTtl
}

/// `clone { … };`
pub fn clone(actions: impl Into<Actions>) -> Action {
    within(Transform::Clone, actions)
}

/// `name { … };`
pub fn within(transform: Transform, actions: impl Into<Actions>) -> Action {
    Action::Within(transform, actions.into())
}

/// `name;`
pub fn plain(plain: Plain) -> Action {
    Action::Plain(plain)
}

/// `name(fields);`
pub fn call<const N: usize>(function: Function, args: [Symbol; N]) -> Action {
    Action::Call(function, args.map(Field::whole).into())
}

/// `put_fdb(port, mac);`
pub fn put_fdb(port: Symbol, mac: Symbol) -> Action {
    call(Function::PutFdb, [port, mac])
}

/// `field = name();`
pub fn ask(field: impl Into<Field>, question: Bare) -> Action {
    Action::Query(field.into(), Query::Bare(question))
}

/// `field = name(fields);`
pub fn lookup<const N: usize>(
    field: impl Into<Field>,
    lookup: Lookup,
    args: [Symbol; N],
) -> Action {
    let args = args.map(Field::whole).into();
    Action::Query(field.into(), Query::Lookup(lookup, args))
}

/// `outport = get_fdb(mac);`
pub fn get_fdb(mac: Symbol) -> Action {
    lookup(Symbol::Outport, Lookup::GetFdb, [mac])
}

/// `field = check_pkt_larger(bytes);`
pub fn check_pkt_larger(field: impl Into<Field>, bytes: u16) -> Action {
    Action::Query(field.into(), Query::PacketLarger(bytes))
}

/// `field = put_dhcp_opts(…);` and its kin.
pub fn put_options(field: impl Into<Field>, kind: OptionsKind, options: Options) -> Action {
    Action::Query(field.into(), Query::PutOptions(kind, options))
}

/// `name = value`, an option for [`put_options`].
pub fn option(
    name: impl Into<Name>,
    value: impl Into<Constant>,
) -> (Name, SmallVec<[Constant; 1]>) {
    (name.into(), SmallVec::from_iter([value.into()]))
}

/// `name = {values}`, an option for [`put_options`].
pub fn options<C: Into<Constant>>(
    name: impl Into<Name>,
    values: impl IntoIterator<Item = C>,
) -> (Name, SmallVec<[Constant; 1]>) {
    (name.into(), values.into_iter().map(Into::into).collect())
}

/// A string constant, for options whose value is a text.
pub fn text(value: impl Into<Name>) -> Constant {
    Constant::Str(value.into())
}

/// `ct_next;`
pub fn ct_next() -> Action {
    Action::CtNext(None)
}

/// `ct_clear;`
pub fn ct_clear() -> Action {
    Action::Plain(Plain::CtClear)
}

/// `ct_commit { … };`
pub fn ct_commit(assignments: impl Into<Vec<Action>>) -> Action {
    Action::CtCommit(assignments.into())
}

/// `set_queue(id);`
pub fn set_queue(id: u32) -> Action {
    Action::SetQueue(id)
}

/// `set_meter(rate);` or `set_meter(rate, burst);`: in kbit/s and kbit.
pub fn set_meter(rate: u32, burst: Option<u32>) -> Action {
    Action::SetMeter { rate, burst }
}

/// `mirror("port");`
pub fn mirror(port: impl Into<Name>) -> Action {
    Action::Mirror(port.into())
}

/// `log(…);`
pub fn log(log: Log) -> Action {
    Action::Log(Box::new(log))
}

/// The source address becomes `ip`: `ip4.src = …;` or `ip6.src = …;`
pub fn set_ip_src(ip: IpAddr) -> Action {
    set(crate::m::ip_src_field(ip), ip)
}

/// The destination address becomes `ip`: `ip4.dst = …;` or `ip6.dst = …;`
pub fn set_ip_dst(ip: IpAddr) -> Action {
    set(crate::m::ip_dst_field(ip), ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints() {
        let ip: std::net::Ipv4Addr = "10.0.0.2".parse().unwrap();
        let list = |actions: Vec<Action>| Actions(actions).to_string();
        assert_eq!(list(vec![]), "drop;");
        assert_eq!(list(vec![drop()]), "drop;");
        assert_eq!(
            list(vec![put_options(
                Symbol::Reg0.bit(3),
                OptionsKind::Dhcp4,
                vec![
                    option("offerip", ip),
                    options("dns_server", [ip, ip]),
                    option("domain_name", text("a.b"))
                ],
            )]),
            "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, dns_server = {10.0.0.2, 10.0.0.2}, domain_name = \"a.b\");"
        );
        assert_eq!(
            list(vec![within(
                Transform::NdNa,
                [copy(Symbol::EthSrc, Symbol::EthDst), output()]
            )]),
            "nd_na { eth.src = eth.dst; output; };"
        );
        assert_eq!(
            list(vec![
                get_fdb(Symbol::EthDst),
                ask(Symbol::Reg0.bit(15), Bare::CheckInPortSec),
                next_table(7)
            ]),
            "outport = get_fdb(eth.dst); reg0[15] = check_in_port_sec(); next(7);"
        );
        assert_eq!(
            list(vec![
                set_outport("_MC_flood"),
                clone([]),
                ct_commit([]),
                next_in(Pipeline::Ingress, 2)
            ]),
            "outport = \"_MC_flood\"; clone { }; ct_commit { }; next(pipeline=ingress, table=2);"
        );
    }
}
