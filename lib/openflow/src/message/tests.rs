//! Round trips of every message, and agreement with `ovs-ofctl`.

use proptest::prelude::*;

use super::*;
use crate::action::PacketInReason;
use crate::testing::{any_actions, any_match, ovs_ofctl, samples};
use crate::{Action, Field, Match, Port};

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    (
        any_match(),
        any_actions(),
        any::<u16>(),
        0..255u8,
        any::<u64>(),
    )
        .prop_map(|(m, actions, priority, table, cookie)| {
            FlowMod::add(table, priority, m, actions, cookie)
        })
}

/// One message of each kind, or several where they differ much.
fn messages() -> Vec<Message> {
    let group = Group {
        id: 7,
        kind: GroupKind::Select,
        buckets: vec![
            Bucket {
                id: 0,
                weight: Some(100),
                actions: vec![Action::resubmit(9)],
            },
            Bucket {
                id: 1,
                weight: Some(50),
                actions: vec![Action::CtClear, Action::resubmit(10)],
            },
        ],
        selection: Some(SelectionMethod::Hash {
            fields: vec![Field::EthSrc, Field::IpDst],
            param: 3,
        }),
    };
    let hashed = Group {
        id: 8,
        selection: Some(SelectionMethod::DpHash { param: 0 }),
        ..group.clone()
    };
    let meter = Meter {
        id: 4,
        packets: true,
        rate: 10,
        burst: 5,
    };
    let port = PortDesc {
        port: Port(3),
        hw_addr: [2, 0, 0, 0, 0, 1],
        name: "vm1".to_owned(),
        config: 0,
        state: 4,
    };
    let tlv = TlvMap {
        option_class: 0x102,
        option_type: 0x80,
        option_len: 4,
        index: 0,
    };
    let packet_in = PacketIn {
        packet: vec![0xff; 60],
        full_len: None,
        table: 19,
        cookie: 0x1234,
        reason: Some(PacketInReason::Action),
        metadata: Match::new()
            .with(Field::InPort, 5u8)
            .with(Field::Reg14, 1u8),
        userdata: vec![0, 0, 0, 2, 1],
        continuation: Vec::new(),
    };
    let flow = FlowMod::add(
        8,
        100,
        Match::new().with(Field::Metadata, 1u8),
        vec![Action::resubmit(9)],
        5,
    );
    let kind = BundleKind::ATOMIC_ORDERED;
    let mut all = vec![
        Message::Hello { versions: 0x40 },
        Message::Error(ErrorMessage {
            kind: 5,
            code: 2,
            experimenter: None,
            data: Vec::new(),
        }),
        Message::EchoRequest(vec![1, 2, 3]),
        Message::EchoReply(Vec::new()),
        Message::FeaturesRequest,
        Message::FeaturesReply(Features {
            datapath_id: 1,
            n_buffers: 0,
            n_tables: 254,
            capabilities: 0x4f,
        }),
        Message::GetConfigRequest,
        Message::GetConfigReply(SwitchConfig {
            flags: 0,
            miss_send_len: 128,
        }),
        Message::SetConfig(SwitchConfig {
            flags: 0,
            miss_send_len: 0xffff,
        }),
        Message::PacketIn(packet_in.clone()),
        Message::FlowRemoved(FlowRemoved {
            table: 8,
            reason: FlowRemovedReason::IdleTimeout,
            priority: 100,
            cookie: 9,
            matches: Match::new().with(Field::InPort, 5u8),
        }),
        Message::PacketOut(PacketOut {
            metadata: Match::new().with(Field::InPort, Port::CONTROLLER.0),
            actions: vec![Action::set(Field::Reg15, 3u8), Action::resubmit(42)],
            packet: vec![0xff; 42],
        }),
        Message::GroupMod(GroupMod {
            command: GroupCommand::Add,
            group: group.clone(),
        }),
        Message::GroupMod(GroupMod {
            command: GroupCommand::AddOrModify,
            group: hashed.clone(),
        }),
        Message::MeterMod(MeterMod {
            command: MeterCommand::Modify,
            meter,
        }),
        Message::MultipartRequest(MultipartRequest::Flows(Box::new(FlowRequest {
            table: Some(8),
            matches: Match::new(),
        }))),
        Message::MultipartRequest(MultipartRequest::Groups),
        Message::MultipartRequest(MultipartRequest::Meters),
        Message::MultipartRequest(MultipartRequest::Ports),
        Message::MultipartReply(MultipartReply::Groups {
            more: false,
            groups: vec![group, hashed],
        }),
        Message::MultipartReply(MultipartReply::Meters {
            more: true,
            meters: vec![meter, Meter { id: 5, ..meter }],
        }),
        Message::MultipartReply(MultipartReply::Ports {
            more: false,
            ports: vec![port.clone()],
        }),
        Message::BarrierRequest,
        Message::BarrierReply,
        Message::RoleRequest(RoleState {
            role: Role::Primary,
            generation: 7,
        }),
        Message::RoleReply(RoleState {
            role: Role::Equal,
            generation: 0,
        }),
        Message::SetAsync(AsyncConfig {
            packet_in: Some(0x3f),
            port_status: Some(7),
            flow_removed: Some(0),
        }),
        Message::BundleControl(BundleControl {
            id: 1,
            op: BundleOp::Commit,
            reply: false,
            kind,
        }),
        Message::BundleControl(BundleControl {
            id: 1,
            op: BundleOp::Open,
            reply: true,
            kind,
        }),
        Message::BundleAdd(BundleAdd {
            id: 1,
            kind,
            message: Box::new(Message::FlowMod(flow)),
        }),
        Message::SetPacketInFormat(2),
        Message::SetControllerId(5),
        Message::Resume(packet_in),
        Message::CtFlushZone(5),
        Message::CtFlush(CtFlush {
            zone: Some(5),
            protocol: 6,
            original: CtTuple {
                destination: Some("172.30.0.10".parse().unwrap()),
                destination_port: Some(80),
                ..CtTuple::default()
            },
            reply: CtTuple {
                source: Some("10.0.0.1".parse().unwrap()),
                source_port: Some(8080),
                ..CtTuple::default()
            },
        }),
        Message::CtFlush(CtFlush::default()),
        Message::TlvTableMod(TlvTableCommand::Add(vec![tlv])),
        Message::TlvTableMod(TlvTableCommand::Clear),
        Message::TlvTableRequest,
        Message::TlvTableReply(TlvTable {
            max_option_space: 256,
            max_fields: 64,
            maps: vec![tlv],
        }),
    ];
    for reason in [
        PortStatusReason::Add,
        PortStatusReason::Delete,
        PortStatusReason::Modify,
    ] {
        all.push(Message::PortStatus(PortStatus {
            reason,
            port: port.clone(),
        }));
    }
    all
}

#[test]
fn messages_survive_the_wire() {
    for message in messages() {
        let mut bytes = Vec::new();
        message.encode(17, &mut bytes);
        assert_eq!(Message::decode(&bytes), Ok((17, message)));
    }
}

/// `ovs-ofctl` finds nothing wrong in any of them, and sees the kinds that we meant.
#[test]
fn ovs_ofctl_understands_every_message() {
    let mut bytes = Vec::new();
    let messages = messages();
    messages.iter().for_each(|m| m.encode(1, &mut bytes));
    let seen = ovs_ofctl("ofp-parse", &bytes);
    // The message within the bundle counts as one of its own.
    assert_eq!(seen.len(), messages.len() + 1, "{seen:#?}");
    for line in &seen {
        assert!(!line.contains("***") && !line.contains("error="), "{line}");
    }
    let find = |start: &str| {
        seen.iter()
            .find(|l| l.starts_with(start))
            .map_or("", String::as_str)
    };
    assert_eq!(
        find("OFPT_GROUP_MOD"),
        "OFPT_GROUP_MOD (OF1.5):\nADD group_id=7,type=select,selection_method=hash,selection_method_param=3,\
         fields(eth_src,ip_dst),bucket=bucket_id:0,weight:100,actions=resubmit(,9),\
         bucket=bucket_id:1,weight:50,actions=ct_clear,resubmit(,10)"
    );
}

proptest! {
    #[test]
    fn flows_survive_the_wire(flow in flow_mod()) {
        let desc = FlowDesc {
            table: flow.table,
            priority: flow.priority,
            cookie: flow.cookie,
            idle_timeout: 5,
            hard_timeout: 6,
            flags: FlowFlags::SEND_FLOW_REM,
            matches: flow.matches.clone(),
            actions: flow.actions.clone(),
        };
        let reply = MultipartReply::Flows { more: false, flows: vec![desc.clone(), desc], unreadable: Vec::new() };
        for message in [Message::FlowMod(flow), Message::MultipartReply(reply)] {
            let mut bytes = Vec::new();
            message.encode(3, &mut bytes);
            prop_assert_eq!(Message::decode(&bytes), Ok((3, message)));
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(which in any::<prop::sample::Index>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let all = messages();
        let mut bytes = Vec::new();
        which.get(&all).encode(1, &mut bytes);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let _ = Message::decode(&bytes);
    }
}

#[test]
fn a_flow_that_nobody_knows_does_not_hide_the_others() {
    let known = samples(&flow_mod(), 2);
    let descs = known.iter().map(|f| FlowDesc {
        table: f.table,
        priority: f.priority,
        cookie: f.cookie,
        idle_timeout: 0,
        hard_timeout: 0,
        flags: FlowFlags::default(),
        matches: f.matches.clone(),
        actions: vec![Action::CtClear],
    });
    let reply = MultipartReply::Flows {
        more: false,
        flows: descs.collect(),
        unreadable: Vec::new(),
    };
    let mut bytes = Vec::new();
    Message::MultipartReply(reply).encode(3, &mut bytes);
    // The subtype of the last action, a `ct_clear`.
    let at = bytes.len() - 8;
    bytes[at..at + 2].copy_from_slice(&999u16.to_be_bytes());
    let Ok((
        _,
        Message::MultipartReply(MultipartReply::Flows {
            flows, unreadable, ..
        }),
    )) = Message::decode(&bytes)
    else {
        panic!("the message as a whole is well-formed");
    };
    assert_eq!((flows.len(), unreadable.len()), (1, 1));
}

#[test]
fn errors_have_the_names_of_the_standard() {
    let error = |kind, code, experimenter| {
        ErrorMessage {
            kind,
            code,
            experimenter,
            data: Vec::new(),
        }
        .to_string()
    };
    assert_eq!(error(5, 2, None), "OFPFMFC_BAD_TABLE_ID");
    assert_eq!(error(17, 13, None), "OFPBFC_MSG_FAILED");
    assert_eq!(error(5, 99, None), "error type 5 code 99");
    assert_eq!(error(0xffff, 20, Some(NICIRA)), "NX_TTM_ALREADY_MAPPED");
    assert_eq!(error(0xffff, 20, Some(1)), "error 20 of experimenter 0x1");
}
