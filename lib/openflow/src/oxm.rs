//! OXM type-length-values (OpenFlow 1.5.1 section 7.2.3.2): the header that names a field, and the value and mask after it.

use crate::field::CLASS_NXM_0;
use crate::wire::{Put, Reader};
use crate::{DecodeError, Field, Port};

/// Class and number of `NXM_OF_IN_PORT`.
const IN_PORT_16: (u16, u8) = (CLASS_NXM_0, 0);

/// Appends the header that names a field, as `copy field` and Nicira's actions use it. `masked` is clear.
pub(crate) fn put_header(out: &mut Vec<u8>, field: Field) {
    header(out, field, false);
}

/// Appends a field with its value, and with its mask unless that is all ones.
pub(crate) fn put_masked(out: &mut Vec<u8>, field: Field, value: u128, mask: u128) {
    let masked = mask != field.full_mask();
    header(out, field, masked);
    out.put_uint(value, field.byte_len());
    if masked {
        out.put_uint(mask, field.byte_len());
    }
}

/// Appends what a `set field` action writes. OpenFlow forbids it to write `in_port`; Open vSwitch allows it under the 16-bit
/// field of OpenFlow 1.0.
pub(crate) fn put_for_action(out: &mut Vec<u8>, field: Field, value: u128, mask: u128) {
    if field != Field::InPort {
        return put_masked(out, field, value, mask);
    }
    out.put_u16(IN_PORT_16.0);
    out.put_u8(IN_PORT_16.1 << 1);
    out.put_u8(2);
    out.put_u16(Port(value as u32).to_u16().unwrap_or_default());
}

/// Reads a header that names a field, without value.
pub(crate) fn take_header(r: &mut Reader<'_>) -> Result<Field, DecodeError> {
    take(r).map(|h| h.field)
}

/// Reads a field with value and mask; without a mask on the wire it is all ones.
pub(crate) fn take_masked(r: &mut Reader<'_>) -> Result<(Field, u128, u128), DecodeError> {
    if r.rest().starts_with(&[0, 0, 0, 2]) {
        r.skip(4, "OXM")?;
        let port = Port::from_u16(r.u16("OXM value")?);
        return Ok((Field::InPort, port.0.into(), Field::InPort.full_mask()));
    }
    let Header {
        field,
        masked,
        length,
    } = take(r)?;
    let each = if masked { length / 2 } else { length };
    if each == 0 || (masked && length % 2 != 0) {
        return Err(DecodeError::Length {
            what: "OXM",
            length,
        });
    }
    let value = take_value(r, each)?;
    let mask = if masked {
        take_value(r, each)?
    } else {
        field.full_mask()
    };
    Ok((field, value, mask))
}

/// Like [`take_masked`]; a field that Weft does not know is skipped and gives `None`.
pub(crate) fn take_known(r: &mut Reader<'_>) -> Result<Option<(Field, u128, u128)>, DecodeError> {
    let mut ahead = r.clone();
    let class = ahead.u16("OXM class")?;
    let number = ahead.u8("OXM field")?;
    let length = usize::from(ahead.u8("OXM length")?);
    if Field::from_oxm(class, number >> 1).is_some() {
        return take_masked(r).map(Some);
    }
    r.skip(4 + length, "OXM")?;
    Ok(None)
}

struct Header {
    field: Field,
    masked: bool,
    length: usize,
}

fn header(out: &mut Vec<u8>, field: Field, masked: bool) {
    let (class, number) = field.oxm();
    out.put_u16(class);
    out.put_u8(number << 1 | u8::from(masked));
    out.put_u8((field.byte_len() << u8::from(masked)) as u8);
}

fn take(r: &mut Reader<'_>) -> Result<Header, DecodeError> {
    let class = r.u16("OXM class")?;
    let number = r.u8("OXM field")?;
    let length = usize::from(r.u8("OXM length")?);
    let field = Field::from_oxm(class, number >> 1).ok_or(DecodeError::Unknown {
        what: "OXM field",
        value: u64::from(class) << 16 | u64::from(number) << 8 | length as u64,
    })?;
    Ok(Header {
        field,
        masked: number & 1 == 1,
        length,
    })
}

/// A value of `n` bytes. Tunnel metadata may be longer than any number here; what does not fit must be zero.
fn take_value(r: &mut Reader<'_>, n: usize) -> Result<u128, DecodeError> {
    if n > 16 {
        let high = r.take(n - 16, "OXM value")?;
        if high.iter().any(|&b| b != 0) {
            return Err(DecodeError::Length {
                what: "OXM value",
                length: n,
            });
        }
    }
    r.uint(n.min(16), "OXM value")
}
