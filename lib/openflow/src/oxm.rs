//! OXM type-length-values (OpenFlow 1.5.1 section 7.2.3.2): the header that names a field, and the value and mask after it.

use crate::wire::{Put, Reader};
use crate::{DecodeError, Field};

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

/// Reads a header that names a field, without value.
pub(crate) fn take_header(r: &mut Reader<'_>) -> Result<Field, DecodeError> {
    take(r).map(|h| h.field)
}

/// Reads a field with value and mask; without a mask on the wire it is all ones.
pub(crate) fn take_masked(r: &mut Reader<'_>) -> Result<(Field, u128, u128), DecodeError> {
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
