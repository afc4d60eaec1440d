//! [`Constant`]: what a field is compared with or set to.
//!
//! Integers have up to 128 bits and may carry a mask. How one was written (decimal, address, …) is kept for printing
//! and is no part of its value: `0xa000001` equals `10.0.0.1`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use addr::{AddrError, Cidr, Mac, MaskedIp};

/// A name in a match or action: of a port, an address set, a port group, a meter.
pub type Name = Arc<str>;

/// How an integer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `42`
    #[default]
    Decimal,
    /// `0x2a`
    Hex,
    /// `10.0.0.1`
    Ip4,
    /// `fd00::1`
    Ip6,
    /// `02:00:00:00:00:01`
    Mac,
}

/// An integer with an optional mask. Bits outside the mask are zero.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    /// The value.
    pub value: u128,
    /// The bits that count; all ones for an unmasked integer.
    pub mask: u128,
    /// How it is written.
    pub format: Format,
}

/// What a field may be compared with or set to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// An integer, perhaps masked.
    Int(Int),
    /// A string in double quotes: the name of a port or multicast group.
    Str(Name),
    /// `$name`: the members of an `Address_Set`.
    AddressSet(Name),
    /// `@name`: the ports of a `Port_Group`.
    PortGroup(Name),
    /// `^name`: a chassis template variable that is yet to be replaced.
    Template(Name),
}

impl Int {
    /// An unmasked decimal.
    pub const fn new(value: u128) -> Self {
        Self::exact(value, Format::Decimal)
    }

    /// An unmasked integer, written in `format`.
    pub const fn exact(value: u128, format: Format) -> Self {
        Self {
            value,
            mask: u128::MAX,
            format,
        }
    }

    /// `value/mask`; bits outside the mask are cleared.
    pub const fn masked(value: u128, mask: u128, format: Format) -> Self {
        Self {
            value: value & mask,
            mask,
            format,
        }
    }

    /// Reads a member of an address set: an Ethernet address, an IP address, or a network; host bits are cleared.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse_address(text: &str) -> Result<Self, AddrError> {
        match text.parse::<Mac>() {
            Ok(mac) => Ok(mac.into()),
            Err(_) => text.parse::<MaskedIp>().map(Self::from),
        }
    }

    /// True when no bit is masked out.
    pub const fn is_exact(&self) -> bool {
        self.mask == u128::MAX
    }

    /// The number of bits that value, and mask if there is one, need.
    pub const fn bits(&self) -> u32 {
        let all = if self.is_exact() {
            self.value
        } else {
            self.value | self.mask
        };
        128 - all.leading_zeros()
    }
}

impl PartialEq for Int {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.mask == other.mask
    }
}

impl Eq for Int {}

impl Hash for Int {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
        self.mask.hash(state);
    }
}

impl From<u128> for Int {
    fn from(value: u128) -> Self {
        Self::new(value)
    }
}

impl From<u64> for Int {
    fn from(value: u64) -> Self {
        Self::new(value.into())
    }
}

impl From<u32> for Int {
    fn from(value: u32) -> Self {
        Self::new(value.into())
    }
}

impl From<u16> for Int {
    fn from(value: u16) -> Self {
        Self::new(value.into())
    }
}

impl From<u8> for Int {
    fn from(value: u8) -> Self {
        Self::new(value.into())
    }
}

impl From<bool> for Int {
    fn from(value: bool) -> Self {
        Self::new(value.into())
    }
}

impl From<Mac> for Int {
    fn from(mac: Mac) -> Self {
        Self::exact(mac.to_u64().into(), Format::Mac)
    }
}

impl From<IpAddr> for Int {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

impl From<Ipv4Addr> for Int {
    fn from(ip: Ipv4Addr) -> Self {
        Self::exact(ip.to_bits().into(), Format::Ip4)
    }
}

impl From<Ipv6Addr> for Int {
    fn from(ip: Ipv6Addr) -> Self {
        Self::exact(ip.to_bits(), Format::Ip6)
    }
}

/// The network: host bits are cleared.
impl From<Cidr> for Int {
    fn from(cidr: Cidr) -> Self {
        cidr.masked().into()
    }
}

/// The bits under the mask.
impl From<MaskedIp> for Int {
    fn from(ip: MaskedIp) -> Self {
        let exact = Self::from(ip.addr());
        let mask = Self::from(ip.mask()).value;
        let full = match ip.addr() {
            IpAddr::V4(_) => u128::from(u32::MAX),
            IpAddr::V6(_) => u128::MAX,
        };
        if mask == full {
            exact
        } else {
            Self::masked(exact.value, mask, exact.format)
        }
    }
}

impl<T: Into<Int>> From<T> for Constant {
    fn from(value: T) -> Self {
        Self::Int(value.into())
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_value(f, self.value, self.format)?;
        if self.is_exact() {
            return Ok(());
        }
        f.write_str("/")?;
        match prefix_len(self.mask, self.format) {
            Some(len) => write!(f, "{len}"),
            None if self.format == Format::Decimal => write!(f, "{:#x}", self.mask),
            None => print_value(f, self.mask, self.format),
        }
    }
}

/// Prints a value as `format` demands, or in hexadecimal where it does not fit the format.
fn print_value(f: &mut fmt::Formatter<'_>, value: u128, format: Format) -> fmt::Result {
    match format {
        Format::Decimal => write!(f, "{value}"),
        Format::Ip4 => match u32::try_from(value) {
            Ok(bits) => write!(f, "{}", Ipv4Addr::from_bits(bits)),
            Err(_) => write!(f, "{value:#x}"),
        },
        Format::Ip6 => write!(f, "{}", Ipv6Addr::from_bits(value)),
        Format::Mac => match u64::try_from(value) {
            Ok(bits) if bits >> 48 == 0 => write!(f, "{}", Mac::from_u64(bits)),
            _ => write!(f, "{value:#x}"),
        },
        Format::Hex => write!(f, "{value:#x}"),
    }
}

/// The length of the prefix that an IP mask is, if it is one.
fn prefix_len(mask: u128, format: Format) -> Option<u32> {
    let width = match format {
        Format::Ip4 => 32,
        Format::Ip6 => 128,
        _ => return None,
    };
    let ones = mask.count_ones();
    let prefix = match ones {
        0 => 0,
        _ => (u128::MAX >> (128 - ones)) << (width - ones.min(width)),
    };
    (ones <= width && mask == prefix).then_some(ones)
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => fmt::Display::fmt(int, f),
            Self::Str(name) => print_string(f, name),
            Self::AddressSet(name) => write!(f, "${name}"),
            Self::PortGroup(name) => write!(f, "@{name}"),
            Self::Template(name) => write!(f, "^{name}"),
        }
    }
}

/// Prints a string as JSON does (RFC 8259, section 7).
pub(crate) fn print_string(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        f.write_str(text)?;
        return f.write_char('"');
    }
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints() {
        let cidr = |text: &str| Int::from(text.parse::<MaskedIp>().unwrap()).to_string();
        assert_eq!(cidr("10.0.0.9/24"), "10.0.0.0/24");
        assert_eq!(cidr("10.0.0.9/32"), "10.0.0.9");
        assert_eq!(cidr("0.0.0.0/0"), "0.0.0.0/0");
        assert_eq!(cidr("10.0.0.9/0.0.0.255"), "0.0.0.9/0.0.0.255");
        assert_eq!(cidr("fd00::1/64"), "fd00::/64");
        assert_eq!(cidr("::/0"), "::/0");
        assert_eq!(Int::masked(4, 4, Format::Decimal).to_string(), "4/0x4");
        let mac = Int::masked(1 << 40, 1 << 40, Format::Mac);
        assert_eq!(mac.to_string(), "01:00:00:00:00:00/01:00:00:00:00:00");
        let text = Constant::Str("a\"\\\u{1}é".into());
        assert_eq!(text.to_string(), "\"a\\\"\\\\\\u0001é\"");
    }
}
