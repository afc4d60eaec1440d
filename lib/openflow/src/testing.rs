//! Generated flows, and `ovs-ofctl` as the judge of what they look like.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::action::{
    Action, Controller, Ct, CtZone, Learn, LearnSource, LearnSpec, Nat, NatKind, PacketInReason,
};
use crate::field::Format;
use crate::{Field, Match, Port, Prerequisite, Subfield};

/// `n` values, the same in every run.
pub(crate) fn samples<S: Strategy>(strategy: &S, n: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..n)
        .map(|_| {
            strategy
                .new_tree(&mut runner)
                .expect("strategy yields")
                .current()
        })
        .collect()
}

/// A match whose prerequisites are met: a protocol, and some fields that packets of the protocol have.
pub(crate) fn any_match() -> impl Strategy<Value = Match> {
    (
        prop::sample::select(PROTOCOLS),
        vec(
            (
                any::<prop::sample::Index>(),
                any::<u128>(),
                any::<u128>(),
                any::<bool>(),
            ),
            0..5,
        ),
    )
        .prop_map(|(protocol, picks)| {
            let mut m = Match::new();
            for &(field, value) in protocol.0 {
                m.set(field, value);
            }
            let fields = matchable(protocol.1);
            for (index, value, mask, exact) in picks {
                let field = *index.get(&fields);
                let mask = if exact || !field.is_maskable() {
                    field.full_mask()
                } else {
                    mask
                };
                let (value, mask) = if field == Field::IpFrag {
                    FRAGS[(value % 5) as usize]
                } else {
                    (value, mask)
                };
                let mask = match field {
                    // Text has names for these bits, and no other masks of IPv6 addresses than prefixes.
                    _ if field.format() == Format::Ip6 => !(u128::MAX >> (mask % 129).min(127)),
                    // Text has names for these bits only.
                    Field::CtState => mask & 0xff,
                    Field::TcpFlags => mask & 0x1ff,
                    _ => mask,
                };
                m.set_masked(field, canonical(field, value), mask);
            }
            m
        })
}

type Protocol = (&'static [(Field, u128)], &'static [Prerequisite]);

const PROTOCOLS: &[Protocol] = &[
    (&[], &[]),
    (
        &[(Field::EthType, 0x800)],
        &[Prerequisite::Ip, Prerequisite::Ip4],
    ),
    (
        &[(Field::EthType, 0x800), (Field::IpProto, 6)],
        &[Prerequisite::Ip, Prerequisite::Ip4, Prerequisite::Tcp],
    ),
    (
        &[(Field::EthType, 0x86dd), (Field::IpProto, 17)],
        &[Prerequisite::Ip, Prerequisite::Ip6, Prerequisite::Udp],
    ),
    (
        &[(Field::EthType, 0x86dd), (Field::IpProto, 132)],
        &[Prerequisite::Ip, Prerequisite::Ip6, Prerequisite::Sctp],
    ),
    (
        &[(Field::EthType, 0x800), (Field::IpProto, 1)],
        &[Prerequisite::Ip, Prerequisite::Icmp4],
    ),
    (
        &[
            (Field::EthType, 0x86dd),
            (Field::IpProto, 58),
            (Field::Icmpv6Type, 135),
            (Field::Icmpv6Code, 0),
        ],
        &[Prerequisite::Ip6, Prerequisite::Nd, Prerequisite::NdSolicit],
    ),
    (
        &[
            (Field::EthType, 0x86dd),
            (Field::IpProto, 58),
            (Field::Icmpv6Type, 136),
            (Field::Icmpv6Code, 0),
        ],
        &[Prerequisite::Ip6, Prerequisite::Nd, Prerequisite::NdAdvert],
    ),
    (&[(Field::EthType, 0x806)], &[Prerequisite::Arp]),
];

/// The values and masks of `nw_frag` that have a meaning.
const FRAGS: [(u128, u128); 5] = [(0, 3), (1, 3), (3, 3), (1, 1), (0, 2)];

fn matchable(prerequisites: &[Prerequisite]) -> Vec<Field> {
    // Fields that a switch refuses in flows, or that would contradict the protocol.
    let excluded = [
        Field::EthType,
        Field::IpProto,
        Field::RecircId,
        Field::DpHash,
        Field::PacketType,
        Field::VlanTci,
        Field::ActsetOutput,
    ];
    let has = |p| p == Prerequisite::None || prerequisites.contains(&p);
    Field::ALL
        .iter()
        .copied()
        .filter(|f| !excluded.contains(f) && has(f.prerequisite()))
        .collect()
}

/// A value that a switch accepts.
fn canonical(field: Field, value: u128) -> u128 {
    match field {
        Field::InPort => value % 0xff00,
        Field::CtState => value & 0xff,
        Field::TcpFlags => value & 0x1ff,
        Field::VlanVid => value | 0x1000,
        Field::IpTos => value & 0xfc,
        Field::ArpOp => value & 0xff,
        Field::TunGbpFlags => 0,
        _ => value & field.full_mask(),
    }
}

fn subfield() -> impl Strategy<Value = Subfield> {
    let fields = vec![
        Field::Reg0,
        Field::Reg15,
        Field::Xreg1,
        Field::Xxreg1,
        Field::Metadata,
        Field::EthSrc,
        Field::CtLabel,
    ];
    (prop::sample::select(fields), any::<u16>(), any::<u16>()).prop_map(|(field, a, b)| {
        let offset = a % field.width();
        Subfield::new(field, offset, b % (field.width() - offset) + 1).expect("within the field")
    })
}

fn register_bit() -> impl Strategy<Value = Subfield> {
    (0..32u16).prop_map(|bit| Subfield::new(Field::Reg3, bit, 1).expect("within the field"))
}

fn set_field() -> impl Strategy<Value = Action> {
    let fields = [
        Field::Reg1,
        Field::Xreg2,
        Field::Xxreg1,
        Field::Metadata,
        Field::TunId,
        Field::TunSrc,
        Field::TunDst,
        Field::EthSrc,
        Field::EthDst,
        Field::PktMark,
        Field::InPort,
        Field::TunMetadata0,
    ];
    (
        prop::sample::select(fields.to_vec()),
        any::<u128>(),
        any::<u128>(),
        any::<bool>(),
    )
        .prop_map(|(field, value, mask, exact)| {
            let mask = if exact || !field.is_maskable() {
                field.full_mask()
            } else {
                (mask & field.full_mask()).max(1)
            };
            Action::set_masked(field, canonical(field, value), mask)
        })
}

fn nat() -> impl Strategy<Value = Action> {
    let address = prop_oneof![
        (any::<u32>(), any::<u8>()).prop_map(|(low, n)| {
            let low = low.clamp(1, u32::MAX - 255);
            (
                IpAddr::from(Ipv4Addr::from_bits(low)),
                IpAddr::from(Ipv4Addr::from_bits(low + u32::from(n))),
            )
        }),
        (any::<u128>(), any::<u8>()).prop_map(|(low, n)| {
            let low = low.clamp(1, u128::MAX - 255);
            (
                IpAddr::from(Ipv6Addr::from_bits(low)),
                IpAddr::from(Ipv6Addr::from_bits(low + u128::from(n))),
            )
        }),
    ];
    let ports = (1..60_000u16, 0..1000u16).prop_map(|(low, n)| (low, low + n));
    let kind = prop::sample::select(vec![NatKind::Src, NatKind::Dst]);
    prop_oneof![
        Just(Action::Nat(Box::default())),
        (
            kind,
            address,
            prop::option::of(ports),
            any::<bool>(),
            0..3u8
        )
            .prop_map(|(kind, addrs, ports, persistent, how)| {
                Action::Nat(Box::new(Nat {
                    kind: Some(kind),
                    persistent,
                    hash: how == 1,
                    random: how == 2,
                    addrs: Some(addrs),
                    ports,
                }))
            }),
    ]
}

fn ct() -> impl Strategy<Value = Action> {
    let zone = prop_oneof![
        any::<u16>().prop_map(CtZone::Imm),
        Just(CtZone::Field(
            Subfield::new(Field::Reg13, 0, 16).expect("fits")
        )),
    ];
    let mark =
        (any::<u32>(), 1..=u32::MAX).prop_map(|(v, m)| Action::set_masked(Field::CtMark, v, m));
    let label = any::<u128>().prop_map(|v| Action::set(Field::CtLabel, v));
    (
        any::<bool>(),
        zone,
        prop::option::of(0..255u8),
        prop::option::of(nat()),
        prop::option::of(mark),
        prop::option::of(label),
    )
        .prop_map(|(force, zone, table, nat, mark, label)| {
            Action::Ct(Box::new(Ct {
                commit: true,
                force,
                zone,
                table,
                alg: 0,
                exec: nat.into_iter().chain(mark).chain(label).collect(),
            }))
        })
}

fn controller() -> impl Strategy<Value = Action> {
    let reason = prop::sample::select(vec![
        PacketInReason::Action,
        PacketInReason::TableMiss,
        PacketInReason::InvalidTtl,
    ]);
    (
        any::<u16>(),
        any::<u16>(),
        reason,
        vec(any::<u8>(), 0..20),
        any::<bool>(),
        prop::option::of(1..1000u32),
    )
        .prop_map(
            |(max_len, controller_id, reason, userdata, pause, meter_id)| {
                Action::Controller(Box::new(Controller {
                    max_len,
                    controller_id,
                    reason,
                    userdata,
                    pause,
                    meter_id,
                }))
            },
        )
}

fn learn() -> impl Strategy<Value = Action> {
    let spec = prop_oneof![
        Just(LearnSpec::Match {
            src: LearnSource::Field(Field::EthSrc.into()),
            dst: Field::EthDst.into()
        }),
        Just(LearnSpec::Match {
            src: LearnSource::Field(Field::Metadata.into()),
            dst: Field::Metadata.into()
        }),
        Just(LearnSpec::Match {
            src: LearnSource::Imm(0x800),
            dst: Field::EthType.into()
        }),
        any::<u32>().prop_map(|v| LearnSpec::Load {
            src: LearnSource::Imm(v.into()),
            dst: Field::Reg5.into()
        }),
        register_bit().prop_map(|dst| LearnSpec::Load {
            src: LearnSource::Imm(1),
            dst
        }),
        Just(LearnSpec::Load {
            src: LearnSource::Field(Field::Reg1.into()),
            dst: Field::Reg2.into()
        }),
        Just(LearnSpec::Output(Field::InPort.into())),
    ];
    (
        any::<[u16; 3]>(),
        any::<u64>(),
        0..255u8,
        any::<bool>(),
        prop::option::of(register_bit()),
        vec(spec, 1..5),
    )
        .prop_map(
            |([idle_timeout, hard_timeout, priority], cookie, table, flag, result, specs)| {
                Action::Learn(Box::new(Learn {
                    idle_timeout,
                    hard_timeout,
                    priority,
                    cookie,
                    table,
                    send_flow_removed: flag,
                    delete_learned: flag,
                    fin_idle_timeout: hard_timeout,
                    fin_hard_timeout: 0,
                    limit: if result.is_some() { 7 } else { 0 },
                    result,
                    specs,
                }))
            },
        )
}

/// Actions that a switch accepts with any match.
pub(crate) fn any_actions() -> impl Strategy<Value = Vec<Action>> {
    let leaf = prop_oneof![
        (1..0xff00u32).prop_map(|p| Action::output(Port(p))),
        prop::sample::select(vec![Port::IN_PORT, Port::LOCAL, Port::FLOOD, Port::NORMAL])
            .prop_map(Action::output),
        subfield().prop_map(|s| Action::OutputReg {
            port: Subfield {
                width: s.width.min(32),
                ..s
            },
            max_len: u16::MAX
        }),
        set_field(),
        (subfield(), subfield()).prop_map(|(src, dst)| {
            // Only `ct` may write the label.
            let dst = if dst.field == Field::CtLabel {
                Field::Reg1.into()
            } else {
                dst
            };
            let width = src.width.min(dst.width);
            Action::Move {
                src: Subfield { width, ..src },
                dst: Subfield { width, ..dst },
            }
        }),
        subfield().prop_map(Action::Push),
        subfield().prop_map(Action::Pop),
        (prop::option::of(1..0xff00u32), 0..255u8, any::<bool>()).prop_map(|(p, table, ct)| {
            Action::Resubmit {
                in_port: p.map(Port),
                table: Some(table),
                ct,
            }
        }),
        Just(Action::CtClear),
        Just(Action::PushVlan { ethertype: 0x8100 }),
        Just(Action::PopVlan),
        any::<u32>().prop_map(|id| Action::Group(id % 0xffff_ff00)),
        any::<u32>().prop_map(Action::SetQueue),
        (1..=u16::MAX, any::<[u32; 3]>()).prop_map(
            |(probability, [collector_set, obs_domain, obs_point])| Action::Sample {
                probability,
                collector_set,
                obs_domain,
                obs_point,
            }
        ),
        vec(any::<u8>(), 6).prop_map(Action::Note),
        (any::<u16>(), register_bit())
            .prop_map(|(packet_len, dst)| Action::CheckPktLarger { packet_len, dst }),
        controller(),
        ct(),
        learn(),
    ];
    let nested = leaf
        .clone()
        .prop_recursive(2, 8, 3, |inner| vec(inner, 1..3).prop_map(Action::Clone));
    vec(prop_oneof![4 => leaf, 1 => nested], 0..5)
}

/// Leaves out the actions that a switch refuses beside a match.
pub(crate) fn fitting(actions: &[Action], m: &Match) -> Vec<Action> {
    let eth_type = m.get(Field::EthType).map(|t| t.value);
    let fits = |action: &Action| match action {
        Action::PopVlan => m
            .get(Field::VlanVid)
            .is_some_and(|t| t.mask == Field::VlanVid.full_mask()),
        Action::Ct(_) => {
            matches!(eth_type, Some(0x800 | 0x86dd))
                && m.get(Field::IpProto).is_none_or(|t| t.value != 132)
        }
        Action::Nat(nat) => nat
            .addrs
            .is_none_or(|(a, _)| a.is_ipv4() == (eth_type == Some(0x800))),
        Action::Resubmit { ct, .. } => !ct,
        _ => true,
    };
    let nested = |action: &Action| match action {
        Action::Clone(inner) => Action::Clone(fitting(inner, m)),
        Action::Ct(ct) => Action::Ct(Box::new(Ct {
            exec: fitting(&ct.exec, m),
            ..(**ct).clone()
        })),
        other => other.clone(),
    };
    actions.iter().filter(|a| fits(a)).map(nested).collect()
}

/// Runs `ovs-ofctl` on a file; what it prints of each message, without xids. Needs Open vSwitch (`cargo xtask setup`).
pub(crate) fn ovs_ofctl(command: &str, input: &[u8]) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(input).expect("write");
    let output = Command::new("ovs-ofctl")
        .args(["-O", "OpenFlow15", "--no-names", "-vconsole:off", command])
        .arg(file.path())
        .output()
        .expect("ovs-ofctl is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let mut messages: Vec<String> = Vec::new();
    for line in text.lines().map(without_xid) {
        match messages.last_mut() {
            _ if line.starts_with("OFP") || line.starts_with("NXT") => messages.push(line),
            Some(message) => *message += &format!("\n{}", line.trim()),
            None => {}
        }
    }
    messages
}

fn without_xid(line: &str) -> String {
    match (line.find(" (xid="), line.find("):")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &line[..from], &line[to + 1..]),
        _ => line.to_owned(),
    }
}
