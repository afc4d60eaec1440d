//! The numbers that stand for actions and their parts on the wire.

/// The experimenter id of Nicira, under which Open vSwitch has its extensions.
pub(crate) const NICIRA: u32 = 0x0000_2320;
/// The action type that says: an experimenter id follows.
pub(crate) const EXPERIMENTER: u16 = 0xffff;
/// In `resubmit`, the input port that stands for "as it is".
pub(crate) const RESUBMIT_IN_PORT: u16 = 0xfff8;
/// In `resubmit` and `ct`, the table that stands for "this one" or "none".
pub(crate) const NO_TABLE: u8 = 0xff;

/// OpenFlow's own action types (OpenFlow 1.5.1 section 7.2.6).
pub(crate) mod of {
    pub(crate) const OUTPUT: u16 = 0;
    pub(crate) const PUSH_VLAN: u16 = 17;
    pub(crate) const POP_VLAN: u16 = 18;
    pub(crate) const SET_QUEUE: u16 = 21;
    pub(crate) const GROUP: u16 = 22;
    pub(crate) const DEC_TTL: u16 = 24;
    pub(crate) const SET_FIELD: u16 = 25;
    pub(crate) const COPY_FIELD: u16 = 28;
    pub(crate) const METER: u16 = 29;
}

/// Nicira's action subtypes.
pub(crate) mod nx {
    pub(crate) const RESUBMIT: u16 = 1;
    pub(crate) const NOTE: u16 = 8;
    pub(crate) const RESUBMIT_TABLE: u16 = 14;
    pub(crate) const OUTPUT_REG: u16 = 15;
    pub(crate) const LEARN: u16 = 16;
    pub(crate) const STACK_PUSH: u16 = 27;
    pub(crate) const STACK_POP: u16 = 28;
    pub(crate) const SAMPLE: u16 = 29;
    pub(crate) const CONJUNCTION: u16 = 34;
    pub(crate) const CT: u16 = 35;
    pub(crate) const NAT: u16 = 36;
    pub(crate) const CONTROLLER2: u16 = 37;
    pub(crate) const CLONE: u16 = 42;
    pub(crate) const CT_CLEAR: u16 = 43;
    pub(crate) const RESUBMIT_TABLE_CT: u16 = 44;
    pub(crate) const LEARN2: u16 = 45;
    pub(crate) const CHECK_PKT_LARGER: u16 = 49;
}

/// Property types of `controller`.
pub(crate) mod ctrl_prop {
    pub(crate) const MAX_LEN: u16 = 0;
    pub(crate) const CONTROLLER_ID: u16 = 1;
    pub(crate) const REASON: u16 = 2;
    pub(crate) const USERDATA: u16 = 3;
    pub(crate) const PAUSE: u16 = 4;
    pub(crate) const METER_ID: u16 = 5;
}

/// Bits that say which parts of a NAT range follow, in their order on the wire.
pub(crate) mod nat_range {
    pub(crate) const IPV4_MIN: u16 = 1;
    pub(crate) const IPV4_MAX: u16 = 2;
    pub(crate) const IPV6_MIN: u16 = 4;
    pub(crate) const IPV6_MAX: u16 = 8;
    pub(crate) const PROTO_MIN: u16 = 16;
    pub(crate) const PROTO_MAX: u16 = 32;
}

/// NAT flags.
pub(crate) mod nat_flag {
    pub(crate) const SRC: u16 = 1;
    pub(crate) const DST: u16 = 2;
    pub(crate) const PERSISTENT: u16 = 4;
    pub(crate) const HASH: u16 = 8;
    pub(crate) const RANDOM: u16 = 16;
}

/// Learn flags.
pub(crate) mod learn_flag {
    pub(crate) const SEND_FLOW_REM: u16 = 1;
    pub(crate) const DELETE_LEARNED: u16 = 2;
    pub(crate) const WRITE_RESULT: u16 = 4;
}

/// The header of a learn spec: source kind, destination kind, and the number of bits.
pub(crate) mod learn_header {
    pub(crate) const SRC_IMMEDIATE: u16 = 1 << 13;
    pub(crate) const DST_MATCH: u16 = 0;
    pub(crate) const DST_LOAD: u16 = 1 << 11;
    pub(crate) const DST_OUTPUT: u16 = 2 << 11;
    pub(crate) const DST_MASK: u16 = 3 << 11;
    pub(crate) const N_BITS_MASK: u16 = 0x3ff;
}
