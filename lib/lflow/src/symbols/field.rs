//! [`Field`]: a symbol, or some of its bits, as matches and actions write it.

use std::fmt;

use smallvec::SmallVec;

use super::{Base, Kind, Symbol};

/// A symbol or a range of its bits: `ip4.src`, `reg0[3]`, `reg9[16..31]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    symbol: Symbol,
    lsb: u8,
    width: u8,
}

/// Bits of a [`Base`] that are bits of a field: `field[at..]` is `base[lsb..]`, `width` bits long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The storage.
    pub base: Base,
    /// The lowest bit of the storage.
    pub lsb: u8,
    /// How many bits.
    pub width: u8,
    /// The lowest bit of the field.
    pub at: u8,
}

impl Field {
    /// All bits of a symbol.
    pub fn whole(symbol: Symbol) -> Self {
        Self {
            symbol,
            lsb: 0,
            width: symbol.width(),
        }
    }

    /// `width` bits of a symbol from `lsb` on, or nothing when it has not so many.
    pub fn new(symbol: Symbol, lsb: u8, width: u8) -> Option<Self> {
        let end = lsb.checked_add(width)?;
        (width > 0 && end <= symbol.width()).then_some(Self { symbol, lsb, width })
    }

    /// The symbol.
    pub fn symbol(self) -> Symbol {
        self.symbol
    }

    /// The lowest bit.
    pub fn lsb(self) -> u8 {
        self.lsb
    }

    /// The number of bits.
    pub fn width(self) -> u8 {
        self.width
    }

    /// A mask of as many ones as the field has bits.
    pub fn full_mask(self) -> u128 {
        u128::MAX >> (128 - u32::from(self.width))
    }

    /// True when it is the whole symbol.
    pub fn is_whole(self) -> bool {
        self.width == self.symbol.width()
    }

    /// True for names of ports.
    pub fn is_string(self) -> bool {
        self.symbol.is_string()
    }

    /// The storage of the field, from its low bits to its high bits. Empty for what has no storage: predicates and
    /// the fields that only actions know.
    pub fn segments(self) -> SmallVec<[Segment; 1]> {
        match self.symbol.kind() {
            Kind::Field(base) | Kind::Port(base) => SmallVec::from_iter([Segment {
                base,
                lsb: self.lsb,
                width: self.width,
                at: 0,
            }]),
            Kind::Bits { parent, lsb } => Self {
                symbol: parent,
                lsb: lsb + self.lsb,
                width: self.width,
            }
            .segments(),
            Kind::Registers { first, count } => self.register_segments(first, count),
            Kind::Predicate(_) | Kind::MtuOfError => SmallVec::new(),
        }
    }

    /// The bits of registers `first` to `first + count - 1`, the last of which holds the lowest bits.
    fn register_segments(self, first: u8, count: u8) -> SmallVec<[Segment; 1]> {
        let mut segments = SmallVec::new();
        let mut at = 0;
        while at < self.width {
            let bit = self.lsb + at;
            let width = (32 - bit % 32).min(self.width - at);
            segments.push(Segment {
                base: Base::reg(first + count - 1 - bit / 32),
                lsb: bit % 32,
                width,
                at,
            });
            at += width;
        }
        segments
    }
}

impl From<Symbol> for Field {
    fn from(symbol: Symbol) -> Self {
        Self::whole(symbol)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol.name())?;
        match self.width {
            _ if self.is_whole() => Ok(()),
            1 => write!(f, "[{}]", self.lsb),
            _ => write!(f, "[{}..{}]", self.lsb, self.lsb + self.width - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaid_registers() {
        let field = Symbol::Xxreg1.bits(30, 65);
        let got: Vec<_> = field
            .segments()
            .iter()
            .map(|s| format!("{:?}[{}+{}]@{}", s.base, s.lsb, s.width, s.at))
            .collect();
        assert_eq!(got, ["Reg7[30+2]@0", "Reg6[0+32]@2", "Reg5[0+2]@34"]);
    }

    #[test]
    fn prints() {
        assert_eq!(Symbol::Reg0.bit(3).to_string(), "reg0[3]");
        assert_eq!(Symbol::Reg0.bits(0, 31).to_string(), "reg0");
        assert_eq!(Symbol::Reg0.bits(4, 40).to_string(), "reg0[4..31]");
        assert_eq!(Symbol::CtEst.whole().to_string(), "ct.est");
        assert_eq!(Field::new(Symbol::Reg0, 30, 3), None);
        assert_eq!(Field::new(Symbol::Reg0, 0, 0), None);
    }
}
