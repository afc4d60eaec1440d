//! Errors that the switch answers (OpenFlow 1.5.1 section 7.5.4).

use std::fmt;

use crate::wire::{Put, Reader};
use crate::{DecodeError, NICIRA};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    /// The kind of error.
    pub kind: u16,
    /// The error within its kind; for [`ErrorMessage::EXPERIMENTER`] the experimenter's own number.
    pub code: u16,
    /// For [`ErrorMessage::EXPERIMENTER`] whose number it is.
    pub experimenter: Option<u32>,
    /// The beginning of the request; for a failed hello text.
    pub data: Vec<u8>,
}

impl ErrorMessage {
    /// The kind of errors that are not in the standard.
    pub const EXPERIMENTER: u16 = 0xffff;
    /// The kind of error with which a hello is refused.
    pub const HELLO_FAILED: u16 = 0;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.kind);
        out.put_u16(self.code);
        if let Some(experimenter) = self.experimenter {
            out.put_u32(experimenter);
        }
        out.extend_from_slice(&self.data);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.u16("error type")?;
        let code = r.u16("error code")?;
        let experimenter = if kind == Self::EXPERIMENTER {
            Some(r.u32("error experimenter")?)
        } else {
            None
        };
        Ok(ErrorMessage {
            kind,
            code,
            experimenter,
            data: r.rest().to_vec(),
        })
    }

    /// The names of kind and code in the standard or in Open vSwitch's extensions, if they are known.
    pub fn names(&self) -> Option<(&'static str, &'static str)> {
        let find = |table: &'static [(u16, &'static str, &'static [&'static str])]| {
            let (_, kind, codes) = table.iter().find(|(kind, ..)| *kind == self.kind)?;
            Some((*kind, *codes.get(usize::from(self.code))?))
        };
        match self.experimenter {
            None => find(STANDARD),
            Some(NICIRA) => NICIRA_CODES
                .iter()
                .find(|(code, _)| *code == self.code)
                .map(|&(_, name)| ("NX", name)),
            Some(_) => None,
        }
    }
}

impl fmt::Display for ErrorMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names(), self.experimenter) {
            (Some((kind, code)), _) => write!(f, "{kind}_{code}"),
            (None, Some(vendor)) => write!(f, "error {} of experimenter {vendor:#x}", self.code),
            (None, None) => write!(f, "error type {} code {}", self.kind, self.code),
        }
    }
}

/// The kinds that Open vSwitch uses, with the names of their codes from 0 on.
const STANDARD: &[(u16, &str, &[&str])] = &[
    (0, "OFPHFC", &["INCOMPATIBLE", "EPERM"]),
    (
        1,
        "OFPBRC",
        &[
            "BAD_VERSION",
            "BAD_TYPE",
            "BAD_MULTIPART",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "EPERM",
            "BAD_LEN",
            "BUFFER_EMPTY",
            "BUFFER_UNKNOWN",
            "BAD_TABLE_ID",
            "IS_SLAVE",
            "BAD_PORT",
            "BAD_PACKET",
            "MULTIPART_BUFFER_OVERFLOW",
            "MULTIPART_REQUEST_TIMEOUT",
            "MULTIPART_REPLY_TIMEOUT",
            "MULTIPART_BAD_SCHED",
            "PIPELINE_FIELDS_ONLY",
            "UNKNOWN",
        ],
    ),
    (
        2,
        "OFPBAC",
        &[
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "BAD_OUT_PORT",
            "BAD_ARGUMENT",
            "EPERM",
            "TOO_MANY",
            "BAD_QUEUE",
            "BAD_OUT_GROUP",
            "MATCH_INCONSISTENT",
            "UNSUPPORTED_ORDER",
            "BAD_TAG",
            "BAD_SET_TYPE",
            "BAD_SET_LEN",
            "BAD_SET_ARGUMENT",
            "BAD_SET_MASK",
            "BAD_METER",
        ],
    ),
    (
        3,
        "OFPBIC",
        &[
            "UNKNOWN_INST",
            "UNSUP_INST",
            "BAD_TABLE_ID",
            "UNSUP_METADATA",
            "UNSUP_METADATA_MASK",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "BAD_LEN",
            "EPERM",
            "DUP_INST",
        ],
    ),
    (
        4,
        "OFPBMC",
        &[
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_TAG",
            "BAD_DL_ADDR_MASK",
            "BAD_NW_ADDR_MASK",
            "BAD_WILDCARDS",
            "BAD_FIELD",
            "BAD_VALUE",
            "BAD_MASK",
            "BAD_PREREQ",
            "DUP_FIELD",
            "EPERM",
        ],
    ),
    (
        5,
        "OFPFMFC",
        &[
            "UNKNOWN",
            "TABLE_FULL",
            "BAD_TABLE_ID",
            "OVERLAP",
            "EPERM",
            "BAD_TIMEOUT",
            "BAD_COMMAND",
            "BAD_FLAGS",
            "CANT_SYNC",
            "BAD_PRIORITY",
            "IS_SYNC",
        ],
    ),
    (
        6,
        "OFPGMFC",
        &[
            "GROUP_EXISTS",
            "INVALID_GROUP",
            "WEIGHT_UNSUPPORTED",
            "OUT_OF_GROUPS",
            "OUT_OF_BUCKETS",
            "CHAINING_UNSUPPORTED",
            "WATCH_UNSUPPORTED",
            "LOOP",
            "UNKNOWN_GROUP",
            "CHAINED_GROUP",
            "BAD_TYPE",
            "BAD_COMMAND",
            "BAD_BUCKET",
            "BAD_WATCH",
            "EPERM",
            "UNKNOWN_BUCKET",
            "BUCKET_EXISTS",
        ],
    ),
    (10, "OFPSCFC", &["BAD_FLAGS", "BAD_LEN", "EPERM"]),
    (
        11,
        "OFPRRFC",
        &["STALE", "UNSUP", "BAD_ROLE", "ID_UNSUP", "ID_IN_USE"],
    ),
    (
        12,
        "OFPMMFC",
        &[
            "UNKNOWN",
            "METER_EXISTS",
            "INVALID_METER",
            "UNKNOWN_METER",
            "BAD_COMMAND",
            "BAD_FLAGS",
            "BAD_RATE",
            "BAD_BURST",
            "BAD_BAND",
            "BAD_BAND_VALUE",
            "OUT_OF_METERS",
            "OUT_OF_BANDS",
        ],
    ),
    (
        17,
        "OFPBFC",
        &[
            "UNKNOWN",
            "EPERM",
            "BAD_ID",
            "BUNDLE_EXIST",
            "BUNDLE_CLOSED",
            "OUT_OF_BUNDLES",
            "BAD_TYPE",
            "BAD_FLAGS",
            "MSG_BAD_LEN",
            "MSG_BAD_XID",
            "MSG_UNSUP",
            "MSG_CONFLICT",
            "MSG_TOO_MANY",
            "MSG_FAILED",
            "TIMEOUT",
            "BUNDLE_IN_PROGRESS",
        ],
    ),
];

const NICIRA_CODES: &[(u16, &str)] = &[
    (2, "INVALID_PACKET_IN_FORMAT"),
    (16, "TTM_BAD_COMMAND"),
    (17, "TTM_BAD_OPT_LEN"),
    (18, "TTM_BAD_FIELD_IDX"),
    (19, "TTM_TABLE_FULL"),
    (20, "TTM_ALREADY_MAPPED"),
    (21, "TTM_DUP_ENTRY"),
    (35, "TTM_INVALID_TLV_DEL"),
];
