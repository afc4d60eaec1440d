//! How long something learned stays without being heard of, by address: `mac_binding_age_threshold` (ovn-nb(5)).
//!
//! ```text
//! 300                                  everything after 300 seconds
//! 10.0.0.0/8:60;fd00::/16:600;3600     these networks after a minute and after ten, all others after an hour
//! ```
//!
//! The longest prefix decides. Without a number for all others they stay for ever, as with 0.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::Cidr;

/// The most networks of a text: who asks for an age goes through all of them.
const MAX_NETWORKS: usize = 64;

/// Ages in seconds by network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ages {
    /// The longest prefixes first.
    networks: Vec<(Cidr, u32)>,
    default_s: u32,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgesError {
    /// Where, in bytes from the beginning.
    pub at: usize,
    /// What.
    pub why: String,
}

impl fmt::Display for AgesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.why, self.at)
    }
}

impl std::error::Error for AgesError {}

impl Ages {
    /// After how many seconds an address is forgotten; `None` is never.
    pub fn of(&self, ip: IpAddr) -> Option<u32> {
        let mut networks = self.networks.iter();
        let network = networks.find(|(network, _)| network.contains(ip));
        let age = network.map_or(self.default_s, |(_, age)| *age);
        (age > 0).then_some(age)
    }

    /// The shortest age of all; `None` if nothing is ever forgotten.
    pub fn shortest(&self) -> Option<u32> {
        let ages = self.networks.iter().map(|(_, age)| *age);
        ages.chain([self.default_s]).filter(|age| *age > 0).min()
    }
}

impl FromStr for Ages {
    type Err = AgesError;

    fn from_str(text: &str) -> Result<Self, AgesError> {
        let mut ages = Self::default();
        let mut at = 0;
        for part in text.split(';') {
            let entry = part.trim();
            let wrong = |why: String| AgesError { at, why };
            if let Some((network, age)) = entry.rsplit_once(':') {
                let network: Cidr = network
                    .trim()
                    .parse()
                    .map_err(|error| wrong(format!("{network:?} is no network: {error}")))?;
                if ages.networks.len() == MAX_NETWORKS {
                    return Err(wrong(format!(
                        "there are more than {MAX_NETWORKS} networks"
                    )));
                }
                ages.networks
                    .push((network.network(), seconds(age, wrong)?));
            } else if !entry.is_empty() {
                ages.default_s = seconds(entry, wrong)?;
            }
            at += part.len() + 1;
        }
        ages.networks
            .sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Ok(ages)
    }
}

fn seconds(text: &str, wrong: impl Fn(String) -> AgesError) -> Result<u32, AgesError> {
    let text = text.trim();
    let seconds = text.parse();
    seconds.map_err(|_| wrong(format!("{text:?} is no number of seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        let ages: Ages = "10.0.0.0/8:60; 10.1.0.0/16:0 ;fd00::/16:600;3600;"
            .parse()
            .expect("ages");
        for (ip, age) in [
            ("10.0.0.1", Some(60)),
            ("10.1.0.1", None),
            ("9.9.9.9", Some(3600)),
            ("fd00::1", Some(600)),
            ("fd01::1", Some(3600)),
        ] {
            assert_eq!(ages.of(ip.parse().expect("an address")), age, "{ip}");
        }
        assert_eq!(ages.shortest(), Some(60));
        let none: Ages = "".parse().expect("no ages");
        assert_eq!((none.clone(), none.shortest()), (Ages::default(), None));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (text, at) in [
            ("x", 0),
            ("60;10.0.0.0/33:5", 3),
            ("10.0.0.0/8:", 0),
            ("60;-1", 3),
        ] {
            assert_eq!(
                text.parse::<Ages>().map_err(|error| error.at),
                Err(at),
                "{text}"
            );
        }
        let many = "10.0.0.0/8:1;".repeat(MAX_NETWORKS + 1);
        assert!(many.parse::<Ages>().is_err());
    }
}
