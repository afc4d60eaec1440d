//! Registers and flags, declared with the stages between which they are alive.
//!
//! A packet carries a few registers through a pipeline, and every feature wants some bits of them. Each declares its own
//! here: from the stage that writes them to the last one that reads them. Two declarations that share a bit at a stage fail
//! a test, and so does a flow that uses a bit which nobody has declared there.

use lflow::{Expr, Field, Int, Symbol, m};

use super::stage::Stage;

/// Bits of a register, from the stage that writes them to the last that reads them.
#[derive(Debug, Clone, Copy)]
pub struct Bits {
    /// What they say, for messages.
    pub name: &'static str,
    /// The register.
    pub symbol: Symbol,
    /// The lowest bit.
    pub low: u8,
    /// How many bits.
    pub width: u8,
    /// The stage that writes them.
    pub from: Stage,
    /// The last stage that reads them, in the same pipeline.
    pub to: Stage,
    /// Whether who writes them puts back what was there, in the same actions, or who reads them writes anew what belongs there:
    /// they are in nobody's way.
    pub is_put_back: bool,
}

impl Bits {
    /// One bit.
    pub const fn bit(name: &'static str, symbol: Symbol, bit: u8, from: Stage, to: Stage) -> Self {
        Self {
            name,
            symbol,
            low: bit,
            width: 1,
            from,
            to,
            is_put_back: false,
        }
    }

    /// A whole register of 32 bits.
    pub const fn whole(name: &'static str, symbol: Symbol, from: Stage, to: Stage) -> Self {
        Self::some(name, symbol, (0, 32), from, to)
    }

    /// Four registers, for an IPv6 address.
    pub const fn wide(name: &'static str, symbol: Symbol, from: Stage, to: Stage) -> Self {
        Self::some(name, symbol, (0, 128), from, to)
    }

    /// Some bits: `width` from `low` on.
    pub const fn some(
        name: &'static str,
        symbol: Symbol,
        (low, width): (u8, u8),
        from: Stage,
        to: Stage,
    ) -> Self {
        Self {
            name,
            symbol,
            low,
            width,
            from,
            to,
            is_put_back: false,
        }
    }

    /// The same, put back by who writes them, or written anew by who reads them.
    #[must_use]
    pub const fn put_back(self) -> Self {
        Self {
            is_put_back: true,
            ..self
        }
    }

    /// The bits as a field of matches and actions.
    pub fn field(self) -> Field {
        self.symbol.bits(self.low, self.low + self.width - 1)
    }

    /// The bit is set.
    pub fn is_set(self) -> Expr {
        m::bit(self.symbol, self.low)
    }

    /// The bit is not set.
    pub fn is_clear(self) -> Expr {
        m::eq(self.field(), Int::new(0))
    }

    /// Whether both use a bit at a stage.
    pub fn collides(&self, other: &Self) -> bool {
        let pipeline = |bits: &Self| (bits.from.datapath(), bits.from.pipeline());
        self.symbol == other.symbol
            && !self.is_put_back
            && !other.is_put_back
            && pipeline(self) == pipeline(other)
            && self.low < other.low + other.width
            && other.low < self.low + self.width
            && self.from <= other.to
            && other.from <= self.to
    }

    /// Whether a flow of `stage` may use this bit.
    pub fn covers(&self, stage: Stage, symbol: Symbol, bit: u8) -> bool {
        self.symbol == symbol
            && (self.low..self.low + self.width).contains(&bit)
            && (self.from..=self.to).contains(&stage)
    }
}
