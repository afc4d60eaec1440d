//! `dns_lookup`: a guest's question goes on as the answer, if the southbound's `DNS` has one for the guest's switch.
//!
//! | question | answer |
//! | --- | --- |
//! | A, AAAA, ANY of a name with such addresses | they |
//! | A, AAAA of a name without such addresses | refused, if the row says that nobody else knows more (`options:ovn-owned`); else none |
//! | PTR of a name | the name that it has |
//! | any other, of any other name | none |
//!
//! Without an answer, the question goes on as it is, to the server that it was for. Names are the same in upper and lower
//! case. Of several rows that have a name, the first by UUID counts.
//!
//! The rows are kept as they come: a change costs what has changed, and a question two look-ups for each row of its switch.

use std::sync::Arc;

use daemon::Now;
use ovsdb::typed::Table;
use ovsdb::{Row, Uuid};
use packet::dns::{Question, QuestionError};
use packet::frame::{Frame, FrameError};
use packet::userdata::{Opcode, ResultBit};
use rustc_hash::FxHashMap;
use sb_db::tables::Dns as DnsRow;

use crate::pinctrl::fields::{logical_port, result_bit, set_result};
use crate::pinctrl::service::{Change, Effect, HandleError, Packet, Service, View};

/// The service.
#[derive(Debug, Default)]
pub struct Dns {
    rows: FxHashMap<Uuid, Arc<Row>>,
    /// The rows of each datapath, by UUID.
    by_datapath: FxHashMap<Uuid, Vec<Uuid>>,
    /// How many questions could not be read.
    malformed: u64,
}

impl Service for Dns {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::DnsLookup]
    }

    fn tables(&self) -> &'static [usize] {
        &[DnsRow::INDEX]
    }

    fn changed(&mut self, _: Now, change: Change<'_>, _: &dyn View, _: &mut Vec<Effect>) {
        let Change::Row(change) = change else {
            return;
        };
        let column = DnsRow::COLUMN.datapaths.index;
        let datapaths = |row: Option<&Arc<Row>>| row.map(|row| row.get(column).clone());
        let before = self.rows.remove(&change.uuid);
        let (before, now) = (datapaths(before.as_ref()), datapaths(change.new.as_ref()));
        relations::difference(before.as_ref(), now.as_ref(), |atom, comes| {
            let Some(datapath) = atom.as_uuid() else {
                return;
            };
            let rows = self.by_datapath.entry(datapath).or_default();
            match (rows.binary_search(&change.uuid), comes) {
                (Err(place), true) => rows.insert(place, change.uuid),
                (Ok(place), false) => drop(rows.remove(place)),
                _ => {}
            }
            if rows.is_empty() {
                self.by_datapath.remove(&datapath);
            }
        });
        if let Some(row) = &change.new {
            self.rows.insert(change.uuid, Arc::clone(row));
        }
    }

    /// Lets the packet go on: as an answer with the result bit set, or unchanged without it.
    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        view: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let result = result_bit(ResultBit::decode(packet.arguments)?)?;
        let (datapath, port) = logical_port(&packet.packet_in.metadata);
        let from = view
            .port_keyed(datapath, port)
            .ok_or(HandleError::Port { datapath, port })?;
        let mut resumed = packet.packet_in.clone();
        let answered = match self.answered(&resumed.packet, from.datapath) {
            Ok(answered) => answered,
            Err(error) => {
                self.malformed += 1;
                effects.push(Effect::Note(format!("DNS question not answered: {error}")));
                None
            }
        };
        set_result(&mut resumed.metadata, result, answered.is_some());
        if let Some(packet) = answered {
            resumed.packet = packet;
        }
        effects.push(Effect::Resume(resumed));
        Ok(())
    }

    fn dropped(&self) -> Option<(&'static str, u64)> {
        Some(("malformed DNS questions", self.malformed))
    }
}

impl Dns {
    /// The frame with the answer, if there is one.
    fn answered(&self, packet: &[u8], datapath: Uuid) -> Result<Option<Vec<u8>>, FrameError> {
        let frame = Frame::parse(packet)?;
        let udp = frame.udp().ok_or(FrameError::Missing("a UDP datagram"))?;
        let question = match Question::parse(udp.payload()) {
            Ok(question) => question,
            Err(error @ QuestionError::Malformed(_)) => {
                return Err(FrameError::Malformed(error.to_string()));
            }
            Err(_) => return Ok(None),
        };
        let Some((record, is_ours)) = self.record(datapath, &question.name) else {
            return Ok(None);
        };
        let Some(answer) = question.answer(record, is_ours) else {
            return Ok(None);
        };
        let payload = question
            .encode(&answer)
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        frame.with_udp_payload(&payload).map(Some)
    }

    /// What a name has in a datapath, and whether nobody else knows more.
    fn record(&self, datapath: Uuid, name: &str) -> Option<(&str, bool)> {
        let rows = self.by_datapath.get(&datapath)?.iter();
        let mut rows = rows.filter_map(|uuid| self.rows.get(uuid));
        rows.find_map(|row| {
            let record = row.get(DnsRow::COLUMN.records.index).get_str(name)?;
            let options = row.get(DnsRow::COLUMN.options.index);
            Some((record, ovsdb::truth(options.get_str("ovn-owned"), false)))
        })
    }
}

#[cfg(test)]
mod tests;
