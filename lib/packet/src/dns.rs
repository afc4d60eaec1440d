//! DNS (RFC 1035): questions as the agent reads them, and its answers.
//!
//! [`hickory_proto`] does the bytes. An answer repeats the question as it was asked, upper and lower case too, so that a
//! client that hides a secret in them (draft-vixie-dnsext-dns0x20) takes it; so does each record, whole and not as a pointer
//! to the question, as OVN's agents answer. A client that speaks EDNS (RFC 6891) is answered so, and may get longer answers.
//! An answer that is too long says so and has the records that had room.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Asked, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::BinEncodable;

/// For how many seconds answers may be kept.
pub const TTL_S: u32 = 3600;
/// How long an answer may be if the client says nothing (RFC 1035, section 4.2.1), and at most: it is not to be split into
/// fragments.
const LENGTHS: std::ops::RangeInclusive<u16> = 512..=1232;
/// The part of a message before its questions (RFC 1035, section 4.1.1).
const HEADER_LEN: usize = 12;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// All addresses.
    Any,
    /// The name of an address.
    Ptr,
}

/// Why a datagram is no question to answer. It goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// It is no DNS message.
    #[error("malformed DNS message: {0}")]
    Malformed(String),
    /// It is an answer, or something else than a question (an update, for instance).
    #[error("a DNS message that asks nothing")]
    NotQuestion,
    /// It asks other than one question.
    #[error("a DNS message with {0} questions")]
    Count(usize),
    /// The question is of another class than Internet.
    #[error("a DNS question of class {0}")]
    Class(String),
    /// Of a type that is not answered.
    #[error("a DNS question of type {0}")]
    Kind(String),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in lower case, without a dot at its end. What is no text in it is replaced.
    pub name: String,
    /// What is asked for.
    pub kind: QuestionKind,
    message: Message,
}

/// What there is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// This name.
    Name(Name),
    /// Nothing, and nobody else knows either.
    Refused,
}

impl Question {
    /// Reads the payload of a UDP datagram.
    pub fn parse(payload: &[u8]) -> Result<Self, QuestionError> {
        let message = Message::from_vec(payload)
            .map_err(|error| QuestionError::Malformed(error.to_string()))?;
        let metadata = &message.metadata;
        if metadata.message_type != MessageType::Query || metadata.op_code != OpCode::Query {
            return Err(QuestionError::NotQuestion);
        }
        let [asked] = &message.queries[..] else {
            return Err(QuestionError::Count(message.queries.len()));
        };
        if !matches!(asked.query_class(), DNSClass::IN | DNSClass::ANY) {
            return Err(QuestionError::Class(asked.query_class().to_string()));
        }
        let kind = match asked.query_type() {
            RecordType::A => QuestionKind::A,
            RecordType::AAAA => QuestionKind::Aaaa,
            RecordType::ANY => QuestionKind::Any,
            RecordType::PTR => QuestionKind::Ptr,
            other => return Err(QuestionError::Kind(other.to_string())),
        };
        Ok(Self {
            name: text(asked.name()),
            kind,
            message,
        })
    }

    /// The answer in what a record says: addresses, or for a reverse name a name, separated by blanks. `None` if that is no
    /// answer to this question; of a name that is ours alone it is refused where addresses are asked for.
    pub fn answer(&self, record: &str, is_ours: bool) -> Option<Answer> {
        if self.kind == QuestionKind::Ptr {
            let mut name = Name::from_ascii(record.trim()).ok()?;
            name.set_fqdn(true);
            return Some(Answer::Name(name));
        }
        let ips: Option<Vec<IpAddr>> = record
            .split([' ', '\t', ','])
            .filter(|word| !word.is_empty())
            .map(|word| word.parse::<addr::Cidr>().ok().map(addr::Cidr::addr))
            .collect();
        let mut ips = ips?;
        ips.retain(|ip| match self.kind {
            QuestionKind::A => ip.is_ipv4(),
            QuestionKind::Aaaa => ip.is_ipv6(),
            QuestionKind::Any | QuestionKind::Ptr => true,
        });
        match (ips.is_empty(), self.kind) {
            (false, _) => Some(Answer::Addresses(ips)),
            (true, QuestionKind::A | QuestionKind::Aaaa) if is_ours => Some(Answer::Refused),
            (true, _) => None,
        }
    }

    /// The payload of the datagram that answers.
    pub fn encode(&self, answer: &Answer) -> Result<Vec<u8>, QuestionError> {
        let asked = &self.message.metadata;
        let mut reply = Message::response(asked.id, OpCode::Query);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.metadata.checking_disabled = asked.checking_disabled;
        reply.add_queries(self.message.queries.iter().cloned());
        let data: Vec<RData> = match answer {
            Answer::Addresses(ips) => {
                // IPv4 first, as in the question that asks for both.
                let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) =
                    ips.iter().partition(|ip| ip.is_ipv4());
                let data = v4.into_iter().chain(v6).map(|ip| match ip {
                    IpAddr::V4(ip) => RData::A(A(*ip)),
                    IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
                });
                data.collect()
            }
            Answer::Name(name) => vec![RData::PTR(PTR(name.clone()))],
            Answer::Refused => {
                reply.metadata.response_code = ResponseCode::Refused;
                Vec::new()
            }
        };
        let mut limit = *LENGTHS.start();
        if let Some(edns) = &self.message.edns {
            limit = edns.max_payload().clamp(*LENGTHS.start(), *LENGTHS.end());
            let mut ours = Edns::new();
            ours.set_max_payload(*LENGTHS.end());
            reply.set_edns(ours);
        }
        let unwritable = |error: hickory_proto::ProtoError| {
            QuestionError::Malformed(format!("no answer can be written: {error}"))
        };
        let name = self.message.queries.first().map(Asked::name);
        let name = name.map_or(Ok(Vec::new()), BinEncodable::to_bytes);
        let name = name.map_err(unwritable)?;
        let records: Result<Vec<Vec<u8>>, _> =
            data.iter().map(|data| record(&name, data)).collect();
        let mut records = records.map_err(unwritable)?;
        // Behind the header and the question, which is its name, a type and a class.
        let place = HEADER_LEN + name.len() + 4;
        let mut left = usize::from(limit).saturating_sub(reply.to_vec().map_err(unwritable)?.len());
        let fit = records.iter().take_while(|record| {
            let has_room = record.len() <= left;
            left = left.saturating_sub(record.len());
            has_room
        });
        let fit = fit.count();
        reply.metadata.truncation = fit < records.len();
        records.truncate(fit);
        let mut bytes = reply.to_vec().map_err(unwritable)?;
        let count = u16::try_from(fit).expect("as many as a datagram holds");
        bytes[6..8].copy_from_slice(&count.to_be_bytes());
        bytes.splice(place..place, records.concat());
        Ok(bytes)
    }
}

/// A resource record of this name, given as it is sent (RFC 1035, section 4.1.3).
fn record(name: &[u8], data: &RData) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let value = data.to_bytes()?;
    let mut record = name.to_vec();
    record.extend(u16::from(data.record_type()).to_be_bytes());
    record.extend(u16::from(DNSClass::IN).to_be_bytes());
    record.extend(TTL_S.to_be_bytes());
    let length = u16::try_from(value.len()).expect("an address or a name");
    record.extend(length.to_be_bytes());
    record.extend(value);
    Ok(record)
}

fn text(name: &Name) -> String {
    let labels = name
        .iter()
        .map(|label| String::from_utf8_lossy(label).to_ascii_lowercase());
    labels.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
