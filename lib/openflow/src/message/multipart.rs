//! Requests whose answer may take several messages (OpenFlow 1.5.1 section 7.3.5).

use super::{FlowDesc, FlowRequest, Group, Meter, PortDesc};
use crate::wire::{Put, Reader};
use crate::{DecodeError, Port};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartRequest {
    /// Flows.
    Flows(Box<FlowRequest>),
    /// All ports.
    Ports,
    /// All groups.
    Groups,
    /// All meters.
    Meters,
}

/// A part of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartReply {
    /// Flows.
    Flows {
        /// More parts follow.
        more: bool,
        /// The flows.
        flows: Vec<FlowDesc>,
        /// What was wrong with flows that have parts that Weft does not know. They are left out of `flows`.
        unreadable: Vec<DecodeError>,
    },
    /// Ports.
    Ports {
        /// More parts follow.
        more: bool,
        /// The ports.
        ports: Vec<PortDesc>,
    },
    /// Groups.
    Groups {
        /// More parts follow.
        more: bool,
        /// The groups.
        groups: Vec<Group>,
    },
    /// Meters.
    Meters {
        /// More parts follow.
        more: bool,
        /// The meters.
        meters: Vec<Meter>,
    },
    /// Something else.
    Other {
        /// More parts follow.
        more: bool,
        /// What it is.
        kind: u16,
        /// The bytes.
        body: Vec<u8>,
    },
}

mod kind {
    pub(super) const FLOW_DESC: u16 = 1;
    pub(super) const GROUP_DESC: u16 = 7;
    pub(super) const METER_DESC: u16 = 10;
    pub(super) const PORT_DESC: u16 = 13;
}

const ALL_GROUPS: u32 = 0xffff_fffc;
const ALL_METERS: u32 = 0xffff_ffff;
const FLAG_MORE: u16 = 1;

impl MultipartRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, argument) = match self {
            MultipartRequest::Flows(request) => {
                header(out, kind::FLOW_DESC, false);
                request.encode(out);
                return;
            }
            MultipartRequest::Ports => (kind::PORT_DESC, Port::ANY.0),
            MultipartRequest::Groups => (kind::GROUP_DESC, ALL_GROUPS),
            MultipartRequest::Meters => (kind::METER_DESC, ALL_METERS),
        };
        header(out, kind, false);
        out.put_u32(argument);
        out.put_zeros(4);
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, _) = take_header(&mut r)?;
        match kind {
            kind::FLOW_DESC => {
                FlowRequest::decode(r).map(|request| MultipartRequest::Flows(Box::new(request)))
            }
            kind::PORT_DESC => Ok(MultipartRequest::Ports),
            kind::GROUP_DESC => Ok(MultipartRequest::Groups),
            kind::METER_DESC => Ok(MultipartRequest::Meters),
            _ => Err(DecodeError::Unknown {
                what: "multipart type",
                value: u64::from(kind),
            }),
        }
    }
}

impl MultipartReply {
    /// Whether more parts follow.
    pub fn more(&self) -> bool {
        match self {
            MultipartReply::Flows { more, .. }
            | MultipartReply::Ports { more, .. }
            | MultipartReply::Groups { more, .. }
            | MultipartReply::Meters { more, .. }
            | MultipartReply::Other { more, .. } => *more,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            MultipartReply::Flows { more, flows, .. } => {
                header(out, kind::FLOW_DESC, *more);
                flows.iter().for_each(|f| f.encode(out));
            }
            MultipartReply::Ports { more, ports } => {
                header(out, kind::PORT_DESC, *more);
                ports.iter().for_each(|p| p.encode(out));
            }
            MultipartReply::Groups { more, groups } => {
                header(out, kind::GROUP_DESC, *more);
                groups.iter().for_each(|g| g.encode_desc(out));
            }
            MultipartReply::Meters { more, meters } => {
                header(out, kind::METER_DESC, *more);
                meters.iter().for_each(|m| m.encode_desc(out));
            }
            MultipartReply::Other { more, kind, body } => {
                header(out, *kind, *more);
                out.extend_from_slice(body);
            }
        }
    }

    pub(super) fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, more) = take_header(&mut r)?;
        Ok(match kind {
            kind::FLOW_DESC => {
                let (mut flows, mut unreadable) = (Vec::new(), Vec::new());
                while !r.is_empty() {
                    match FlowDesc::decode(&mut r)? {
                        Ok(flow) => flows.push(flow),
                        Err(e) => unreadable.push(e),
                    }
                }
                MultipartReply::Flows {
                    more,
                    flows,
                    unreadable,
                }
            }
            kind::PORT_DESC => MultipartReply::Ports {
                more,
                ports: list(r, PortDesc::decode)?,
            },
            kind::GROUP_DESC => MultipartReply::Groups {
                more,
                groups: list(r, Group::decode_desc)?,
            },
            kind::METER_DESC => MultipartReply::Meters {
                more,
                meters: list(r, Meter::decode_desc)?,
            },
            _ => MultipartReply::Other {
                more,
                kind,
                body: r.rest().to_vec(),
            },
        })
    }
}

fn header(out: &mut Vec<u8>, kind: u16, more: bool) {
    out.put_u16(kind);
    out.put_u16(if more { FLAG_MORE } else { 0 });
    out.put_zeros(4);
}

fn take_header(r: &mut Reader<'_>) -> Result<(u16, bool), DecodeError> {
    let kind = r.u16("multipart type")?;
    let flags = r.u16("multipart flags")?;
    r.skip(4, "multipart")?;
    Ok((kind, flags & FLAG_MORE != 0))
}

/// All of a kind. What has parts that Weft does not know is somebody else's and passed over.
fn list<'a, T>(
    mut r: Reader<'a>,
    one: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    while !r.is_empty() {
        match one(&mut r) {
            Ok(thing) => all.push(thing),
            Err(DecodeError::Unknown { .. } | DecodeError::TooDeep { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
