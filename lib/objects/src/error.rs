//! Refusals: a code for programs, a sentence for people, and each field that is wrong with what to do about it.

use std::fmt;

use northbound::error::{DraftError, Refusal, RefusalKind};

/// The class of a refusal. The doors have a code of theirs for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request makes no sense, whatever the network is.
    Invalid,
    /// What is asked for is not there.
    NotFound,
    /// What is to be made is there already.
    AlreadyExists,
    /// The request does not fit the network as it is.
    Conflict,
    /// Something has changed since the client looked.
    Stale,
    /// The client has no right to the object.
    Denied,
    /// The database has no room for it: it is older than this program.
    Unsupported,
}

impl Code {
    /// A word for it, as JSON and the command line tell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "FAILED_PRECONDITION",
            Self::Stale => "ABORTED",
            Self::Denied => "PERMISSION_DENIED",
            Self::Unsupported => "UNIMPLEMENTED",
        }
    }
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which, as a path from the request, such as `object.acl.match`.
    pub field: String,
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl Violation {
    /// This of a field is wrong, and this is to be done about it.
    pub fn new(
        field: impl Into<String>,
        why: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            why: why.to_string(),
            remedy: remedy.into(),
        }
    }

    /// The same, seen from further out.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        if !place.is_empty() {
            self.field = match self.field.is_empty() {
                true => place.to_owned(),
                false if self.field.starts_with('[') => format!("{place}{}", self.field),
                false => format!("{place}.{}", self.field),
            };
        }
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, why, remedy } = self;
        write!(formatter, "{field}: {why}; {remedy}")
    }
}

/// A request is refused, as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The class.
    pub code: Code,
    /// In a sentence.
    pub message: String,
    /// The fields, if it is about fields.
    pub violations: Vec<Violation>,
}

/// So many fields are told of one request.
pub const MAX_VIOLATIONS: usize = 32;

impl Refused {
    /// A refusal that is about no field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            violations: Vec::new(),
        }
    }

    /// A refusal for these fields, of which there is at least one.
    pub fn fields(code: Code, mut violations: Vec<Violation>) -> Self {
        let count = violations.len();
        let mut message = violations
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        if count > 1 {
            message.push_str(&format!(" (and {} more)", count - 1));
        }
        violations.truncate(MAX_VIOLATIONS);
        Self {
            code,
            message,
            violations,
        }
    }

    /// A refusal for a field.
    pub fn field(code: Code, violation: Violation) -> Self {
        Self::fields(code, vec![violation])
    }

    /// The same, with fields seen from further out.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        match self.violations.is_empty() {
            true => self,
            false => {
                let violations = self.violations.into_iter();
                Self::fields(
                    self.code,
                    violations
                        .map(|violation| violation.within(place))
                        .collect(),
                )
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl From<DraftError> for Refused {
    fn from(error: DraftError) -> Self {
        let code = match error.kind() {
            RefusalKind::NotFound => Code::NotFound,
            RefusalKind::AlreadyExists => Code::AlreadyExists,
            RefusalKind::Invalid => Code::Invalid,
            RefusalKind::Conflict => Code::Conflict,
            RefusalKind::Unsupported => Code::Unsupported,
        };
        Self::new(code, format!("{error}; upgrade the database server"))
    }
}
