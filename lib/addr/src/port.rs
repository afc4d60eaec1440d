//! [`PortRange`]: an inclusive range of TCP, UDP or SCTP ports.

use std::fmt;
use std::str::FromStr;

use crate::AddrError;

/// `LO` or `LO-HI`, both ends included, `LO <= HI`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    lo: u16,
    hi: u16,
}

impl PortRange {
    /// The range, or nothing when `hi < lo`.
    pub fn new(lo: u16, hi: u16) -> Option<Self> {
        (lo <= hi).then_some(Self { lo, hi })
    }

    /// The first port.
    pub fn lo(self) -> u16 {
        self.lo
    }

    /// The last port.
    pub fn hi(self) -> u16 {
        self.hi
    }

    /// True when `port` is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.lo..=self.hi).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lo == self.hi {
            write!(f, "{}", self.lo)
        } else {
            write!(f, "{}-{}", self.lo, self.hi)
        }
    }
}

impl FromStr for PortRange {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let (lo, hi) = text.split_once('-').unwrap_or((text, text));
        let port = |word: &str| word.parse::<u16>().ok().filter(|_| !word.starts_with('+'));
        port(lo)
            .zip(port(hi))
            .and_then(|(lo, hi)| Self::new(lo, hi))
            .ok_or_else(|| {
                AddrError::new(
                    text,
                    "a port range",
                    "expected PORT or LOW-HIGH, 0 to 65535",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, printed) in [
            ("80", Some("80")),
            ("80-90", Some("80-90")),
            ("80-80", Some("80")),
            ("90-80", None),
            ("80-", None),
            ("65536", None),
            ("+1", None),
        ] {
            let got = text.parse::<PortRange>().ok().map(|r| r.to_string());
            assert_eq!(got.as_deref(), printed, "{text}");
        }
    }
}
