//! How a listener tells who its clients are.
//!
//! | role of the listener | role of its clients |
//! | --- | --- |
//! | none | all may do everything, as with Open vSwitch's server |
//! | `certificate` | the one that the listener lists for the certificate's name (common name); else the one that the certificate itself says, as its organisational unit, which is where `weft pki` puts it |
//! | any other | that one |
//!
//! With `certificate`, a client whose role is told by neither has none, and may do nothing.

use std::collections::BTreeMap;
use std::str::FromStr;

use ovsdb::Listen;
use ovsdb::remote::RemoteError;
use x509_parser::parse_x509_certificate;

use super::{Caller, Role};

/// The role of a listener whose clients have those of their certificates.
pub const BY_CERTIFICATE: &str = "certificate";
/// What `weft pki` writes into the organisational unit of a member's certificate.
pub const MEMBER: &str = "member";
/// What a listener with [`BY_CERTIFICATE`] calls the role of a client that has none.
const NO_ROLE: &str = "none";

/// The rule of a listener.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// The listener's role.
    pub role: Option<String>,
    /// Roles by the names of certificates, for [`BY_CERTIFICATE`].
    pub names: BTreeMap<String, String>,
}

impl Rule {
    /// The rule of a listener with this role; none if it is empty.
    pub fn new(role: &str) -> Self {
        Self {
            role: Some(role.to_owned()).filter(|role| !role.is_empty()),
            names: BTreeMap::new(),
        }
    }

    /// Who a client is, by its certificate.
    pub fn caller(&self, certificate: &Subject) -> Caller {
        let role = match self.role.as_deref() {
            None => Role::Admin,
            Some(BY_CERTIFICATE) => {
                let listed = self.names.get(&certificate.name);
                let said = listed.or(certificate.unit.as_ref());
                Role::from_name(said.map_or(NO_ROLE, String::as_str))
            }
            Some(role) => Role::from_name(role),
        };
        Caller::new(role, &certificate.name)
    }
}

/// Whom a certificate is for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// The common name; empty without a certificate, or in one without a name.
    pub name: String,
    /// The organisational unit.
    pub unit: Option<String>,
}

impl Subject {
    /// Reads a certificate, in DER form. One that cannot be read is nobody's.
    pub fn read(certificate: &[u8]) -> Self {
        let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
            return Self::default();
        };
        let subject = certificate.subject();
        let mut names = subject.iter_common_name();
        let mut units = subject.iter_organizational_unit();
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().ok().map(str::to_owned)
        };
        Self {
            name: names.next().and_then(text).unwrap_or_default(),
            unit: units.next().and_then(text),
        }
    }

    /// Whether this is a member of a cluster: its certificate has a name, and says so. One that says nothing may be
    /// anybody's whom the same authority knows, and must not vote.
    pub fn is_member(&self) -> bool {
        !self.name.is_empty() && self.unit.as_deref() == Some(MEMBER)
    }
}

/// A listener as a flag asks for it: `[role=ROLE ]REMOTE`, as `set-connection` of OVN's tools has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerConfig {
    /// Where.
    pub listen: Listen,
    /// Who its clients are.
    pub rule: Rule,
}

impl ListenerConfig {
    /// A listener whose clients may do everything.
    pub fn open(listen: Listen) -> Self {
        Self {
            listen,
            rule: Rule::default(),
        }
    }
}

impl FromStr for ListenerConfig {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let (role, remote) = match text.strip_prefix("role=") {
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
            None => ("", text),
        };
        Ok(Self {
            listen: remote.trim().parse()?,
            rule: Rule::new(role),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str, unit: Option<&str>) -> Subject {
        Subject {
            name: name.to_owned(),
            unit: unit.map(str::to_owned),
        }
    }

    #[test]
    fn a_listener_tells_who_its_clients_are() {
        let mut by_certificate = Rule::new("certificate");
        let neutron = ("neutron".to_owned(), "writer".to_owned());
        by_certificate.names.extend([neutron]);
        for (rule, name, unit, expected) in [
            (&Rule::new(""), "hv1", None, "admin"),
            (&Rule::new(""), "", Some("reader"), "admin"),
            (&Rule::new("ovn-controller"), "hv1", None, "ovn-controller"),
            (&Rule::new("reader"), "hv1", Some("admin"), "reader"),
            (&Rule::new("typo"), "hv1", Some("admin"), "typo"),
            (&by_certificate, "neutron", Some("reader"), "writer"),
            (&by_certificate, "other", Some("reader"), "reader"),
            (&by_certificate, "other", None, "none"),
            (&by_certificate, "", None, "none"),
        ] {
            let caller = rule.caller(&subject(name, unit));
            assert_eq!((caller.role.name(), &*caller.name), (expected, name));
        }
    }

    #[test]
    fn members_are_known_by_name_and_unit() {
        for (name, unit, expected) in [
            ("nb1", Some("member"), true),
            ("", Some("member"), false),
            ("nb1", Some("Open vSwitch"), false),
            ("nb1", None, false),
            ("hv1", Some("ovn-controller"), false),
            ("nb1", Some("admin"), false),
        ] {
            assert_eq!(subject(name, unit).is_member(), expected, "{name} {unit:?}");
        }
    }

    #[test]
    fn listeners_are_written_as_ovn_writes_them() {
        let config: ListenerConfig = "role=ovn-controller pssl:6642".parse().unwrap();
        assert_eq!(config.listen.to_string(), "pssl:6642");
        assert_eq!(config.rule.role.as_deref(), Some("ovn-controller"));
        let config: ListenerConfig = "punix:/tmp/a b".parse().unwrap();
        assert_eq!((config.listen.is_tls(), config.rule.role), (false, None));
        assert!("role=reader".parse::<ListenerConfig>().is_err());
    }
}
