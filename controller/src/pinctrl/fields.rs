//! The fields of a packet's metadata.

use openflow::{Field, Match, Port, Subfield};
use packet::userdata::ResultBit;

use super::service::HandleError;
use crate::layout;

/// The logical port by which a packet came, and its datapath, as [`packet::userdata`] says: (datapath, port).
pub fn logical_port(metadata: &Match) -> (u32, u32) {
    (datapath(metadata), value(metadata, layout::IN_PORT) as u32)
}

/// The logical port by which a packet is to leave, and its datapath: (datapath, port).
pub fn logical_output(metadata: &Match) -> (u32, u32) {
    (datapath(metadata), value(metadata, layout::OUT_PORT) as u32)
}

/// The key is 24 bits wide; flows may use the others.
fn datapath(metadata: &Match) -> u32 {
    (value(metadata, layout::DATAPATH) & u128::from(layout::DATAPATH_KEY)) as u32
}

/// What a field of the metadata holds. What is absent is zero.
pub fn value(metadata: &Match, field: Field) -> u128 {
    metadata.get(field).map_or(0, |term| term.value)
}

/// The bit of a field in which a flow expects an answer.
pub fn result_bit(result: ResultBit) -> Result<Subfield, HandleError> {
    let ResultBit { oxm_header, bit } = result;
    let (class, number) = ((oxm_header >> 16) as u16, ((oxm_header >> 9) & 0x7f) as u8);
    u16::try_from(bit)
        .ok()
        .and_then(|bit| Subfield::new(Field::from_oxm(class, number)?, bit, 1))
        .ok_or(HandleError::Result { oxm_header, bit })
}

/// Puts an answer where the flow expects it.
pub fn set_result(metadata: &mut Match, result: Subfield, yes: bool) {
    let others = value_of_registers(metadata, result.field) & !result.mask();
    let answer = if yes { result.mask() } else { 0 };
    metadata.set(result.field, others | answer);
}

/// What a field holds that may lie over several registers, which metadata keep apart.
pub fn value_of_registers(metadata: &Match, field: Field) -> u128 {
    match field.overlaid_regs() {
        [] => value(metadata, field),
        registers => registers
            .iter()
            .fold(0, |all, &register| all << 32 | value(metadata, register)),
    }
}

/// The fields with which a packet-out may start (OpenFlow 1.5.1, section 7.2.3.8, "pipeline fields"), of those that a
/// logical pipeline uses.
pub fn pipeline_fields(metadata: &Match) -> Match {
    // It comes from the agent: a switch sends nothing out by the port that it came in by, and many an answer goes there.
    let mut kept = Match::new().with(Field::InPort, Port::CONTROLLER.0);
    for term in metadata.terms() {
        let register = Field::Reg0 <= term.field && term.field <= Field::Reg15;
        if register || matches!(term.field, Field::Metadata | Field::TunId) {
            kept.set(term.field, term.value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_put_into_its_bit_and_no_other() {
        let result = |oxm_header, bit| result_bit(ResultBit { oxm_header, bit });
        // reg0: NXM class 1, field 0, four bytes; xreg0: OXM class 0x8001, field 0, eight bytes.
        let bit = result(0x0001_0004, 3).expect("reg0");
        let mut metadata = Match::new().with(Field::Reg0, 0x0a00_0001_u32);
        set_result(&mut metadata, bit, true);
        assert_eq!(value(&metadata, Field::Reg0), 0x0a00_0009);
        set_result(&mut metadata, bit, false);
        assert_eq!(value(&metadata, Field::Reg0), 0x0a00_0001);
        let wide = result(0x8001_0008, 32).expect("xreg0");
        set_result(&mut metadata, wide, false);
        assert_eq!(value(&metadata, Field::Reg0), 0x0a00_0000);
        assert!(matches!(
            result(0x0001_0004, 32),
            Err(HandleError::Result { .. })
        ));
        assert!(matches!(
            result(0x7777_0004, 0),
            Err(HandleError::Result { .. })
        ));
    }
}
