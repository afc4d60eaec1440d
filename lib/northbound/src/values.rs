//! Values that several verbs take.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::words::words;

/// A value together with the text that says it.
///
/// The database keeps addresses as people have written them (`0A:…` as `0A:…`), and so do the verbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelled<T> {
    value: T,
    text: Arc<str>,
}

impl<T> Spelled<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// How it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl<T: FromStr> FromStr for Spelled<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            value: text.parse()?,
            text: text.into(),
        })
    }
}

impl<T: fmt::Display> From<T> for Spelled<T> {
    fn from(value: T) -> Self {
        let text = value.to_string().into();
        Self { value, text }
    }
}

impl<T> fmt::Display for Spelled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rank of a rule or a chassis, 0 to 32,767; the highest decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u16);

impl Priority {
    /// The highest.
    pub const MAX: Self = Self(32_767);

    /// The priority with this number, if there is one.
    pub fn new(number: i64) -> Option<Self> {
        let number = u16::try_from(number).ok()?;
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// Its number, as columns hold it.
    pub fn number(self) -> i64 {
        self.0.into()
    }
}

words! {
    /// Which packets of a switch a rule is about (`ACL.direction`, `QoS.direction`).
    pub enum Direction {
        /// Those that logical ports send.
        FromPort = "from-lport",
        /// Those that logical ports receive.
        ToPort = "to-lport",
    }
}

words! {
    /// A family of addresses.
    pub enum Family {
        /// IPv4.
        Ipv4 = "ipv4",
        /// IPv6.
        Ipv6 = "ipv6",
    }
}

impl Family {
    /// The family of an address.
    pub fn of(ip: std::net::IpAddr) -> Self {
        if ip.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// As texts call it: `IPv4` or `IPv6`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

/// What to do when what is to be made, a thing with a name that need not be unique, is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    #[default]
    Refuse,
    /// Leave it at that.
    Accept,
    /// Make another of the same name.
    Duplicate,
}

/// The row that a verb has made, or found to be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The row.
    pub uuid: ovsdb::Uuid,
    /// Whether the verb has made it.
    pub is_new: bool,
}
