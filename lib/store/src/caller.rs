//! Who a client is: its role, and the name that its certificate vouches for.
//!
//! What a role may do is the business of [`crate::access`].

use std::fmt;
use std::sync::Arc;

use ovsdb::{Error, ErrorKind};

/// Who a client is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Caller {
    /// What it may do.
    pub role: Role,
    /// The common name of its certificate; empty if it has none. For [`Role::Chassis`] the name of the chassis.
    pub name: Arc<str>,
}

impl Caller {
    /// A client that may do everything: one on a Unix socket, or on a listener without a role.
    pub fn unrestricted() -> Self {
        Self {
            role: Role::Admin,
            name: "".into(),
        }
    }

    /// The client with this name in this role.
    pub fn new(role: Role, name: &str) -> Self {
        Self {
            role,
            name: name.into(),
        }
    }

    /// Whether the client may administer the cluster: change its members, pass on its leadership, copy all of it.
    /// `what` goes into the refusal, such as "add a member".
    pub fn check_administers(&self, what: &str) -> Result<(), Error> {
        match self.role {
            Role::Admin => Ok(()),
            _ => Err(refusal(self, what, "that is for the role admin")),
        }
    }

    /// Whether the client may see how the cluster is.
    pub fn check_sees_cluster(&self) -> Result<(), Error> {
        match self.role {
            Role::Admin | Role::Writer | Role::Reader | Role::Northd => Ok(()),
            Role::Chassis | Role::Unknown(_) => {
                let what = "ask for the state of the cluster";
                Err(refusal(self, what, "this role has no right to it"))
            }
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.name {
            "" => write!(formatter, "a client without a name, role {}", self.role),
            name => write!(formatter, "client \"{name}\", role {}", self.role),
        }
    }
}

/// What sort of client one is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// Everything, the cluster's administration among it.
    Admin,
    /// Reads and writes everything but who may connect: `Connection`, `SSL`, and the references to them.
    Writer,
    /// Reads everything.
    Reader,
    /// `northd`: writes the southbound as a writer does, and of the northbound what it reports back.
    Northd,
    /// `ovn-controller`: a chassis, which writes its own rows.
    Chassis,
    /// A role that nobody knows: nothing is listed for it.
    Unknown(Arc<str>),
}

impl Role {
    /// The roles that there are.
    pub const ALL: [Self; 5] = [
        Self::Admin,
        Self::Writer,
        Self::Reader,
        Self::Northd,
        Self::Chassis,
    ];

    /// Its name, in `Connection.role` and everywhere else.
    pub fn name(&self) -> &str {
        match self {
            Self::Admin => "admin",
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Northd => "northd",
            Self::Chassis => "ovn-controller",
            Self::Unknown(name) => name,
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Self {
        let mut known = Self::ALL.into_iter();
        let known = known.find(|role| role.name() == name);
        known.unwrap_or_else(|| Self::Unknown(name.into()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A refusal: who, what, why, and what would help.
pub fn refusal(caller: &Caller, what: &str, why: &str) -> Error {
    let remedy = match caller.role {
        Role::Chassis => "use the certificate of the chassis that it concerns",
        _ => "connect with a certificate, or to a listener, of a role that may",
    };
    let details = format!("{caller}, may not {what}: {why}; {remedy}.");
    Error::new(ErrorKind::PermissionError, details)
}
