//! Who asks: the client of a connection, or whoever shows a bearer token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use northbound::Rows;
use objects::declared::Owners;
use objects::find::{find, owner_of};
use objects::tokens::{self, Token};
use objects::{Code, Kind, Refused};
use store::caller::{Caller, Role};

use super::trouble::Trouble;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Who {
    /// The client of the connection, or the one that the token makes of it.
    pub caller: Caller,
    /// The token, if one was shown.
    token: Option<Arc<Token>>,
}

/// The scheme of the header `Authorization` (RFC 6750).
const SCHEME: &str = "bearer ";

impl Who {
    /// The client of a connection, or who shows a token in the header `Authorization`.
    ///
    /// # Errors
    /// When there is no such token, or its time is over.
    pub fn new(
        caller: Caller,
        rows: &dyn Rows,
        authorization: Option<&str>,
    ) -> Result<Self, Trouble> {
        let Some(text) = authorization else {
            return Ok(Self {
                caller,
                token: None,
            });
        };
        let shown = text
            .get(..SCHEME.len())
            .filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
            .map(|_| text[SCHEME.len()..].trim());
        let Some(shown) = shown else {
            let text = "the header `authorization` is understood as `Bearer TOKEN` only";
            return Err(Trouble::Unauthenticated(text.to_owned()));
        };
        let token = tokens::check(rows, shown, now());
        let token = token.map_err(|error| Trouble::Unauthenticated(error.to_string()))?;
        let role = match token.writes {
            true => Role::Writer,
            false => Role::Reader,
        };
        Ok(Self {
            caller: Caller::new(role, &format!("token {}", token.name)),
            token: Some(Arc::new(token)),
        })
    }

    /// Whether a token was shown.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether the token is still good.
    ///
    /// # Errors
    /// When it was revoked or changed, or its time is over.
    pub fn check(&self, rows: &dyn Rows) -> Result<(), Trouble> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let valid = tokens::is_valid(rows, token, now());
        valid.map_err(|error| Trouble::Unauthenticated(error.to_string()))
    }

    /// Whose objects are looked at, of those that are asked for; empty: everybody's.
    ///
    /// # Errors
    /// When the token is not for these.
    pub fn narrowed(&self, owner: &str) -> Result<String, Trouble> {
        let Some(token) = self.limited() else {
            return Ok(owner.to_owned());
        };
        let mut owners = token.owners.iter();
        match (owner, owners.next(), owners.next()) {
            ("", Some(only), None) => Ok(only.clone()),
            ("", ..) => Err(Trouble::Denied(format!(
                "the token {} is for the objects of {}; name one of these owners",
                token.name,
                listed(token)
            ))),
            (owner, ..) => {
                self.check_owner(owner)?;
                Ok(owner.to_owned())
            }
        }
    }

    /// The owner of what is made one by one: that of a token that is for a single one's objects.
    ///
    /// # Errors
    /// When there are several.
    pub fn owner_of_new(&self) -> Result<String, Trouble> {
        self.narrowed("")
    }

    /// Whether objects of this owner may be changed.
    ///
    /// # Errors
    /// When the token is for those of others.
    pub fn check_owner(&self, owner: &str) -> Result<(), Refused> {
        match self.limited().filter(|token| !token.owners.contains(owner)) {
            None => Ok(()),
            Some(token) => {
                let whose = match owner {
                    "" => "nobody's".to_owned(),
                    owner => format!("of {owner:?}"),
                };
                let text = format!(
                    "the token {} is for the objects of {}, and this is {whose}",
                    token.name,
                    listed(token)
                );
                Err(Refused::new(Code::Denied, text))
            }
        }
    }

    /// Whether this object may be seen and changed.
    ///
    /// # Errors
    /// When it is another owner's, or there is none.
    pub fn check_object(&self, rows: &dyn Rows, kind: &Kind, name: &str) -> Result<(), Refused> {
        if self.limited().is_none() {
            return Ok(());
        }
        let uuid = find(rows, kind, name)?;
        let owner = rows.row(kind.table, uuid).map(|row| owner_of(kind, row));
        self.check_owner(owner.unwrap_or_default())
    }

    /// What counts as one client among those who watch and who ask; nothing for clients that nobody can tell apart.
    pub fn identity(&self) -> Option<String> {
        (!self.caller.name.is_empty()).then(|| self.caller.to_string())
    }

    /// The owners that the token is for, if it is not for everybody's objects.
    pub fn owners(&self) -> Owners<'_> {
        self.limited().map(|token| &token.owners)
    }

    /// Whether the token is for some owners' objects alone.
    pub fn has_owners(&self) -> bool {
        self.limited().is_some()
    }

    fn limited(&self) -> Option<&Token> {
        let token = self.token.as_deref();
        token.filter(|token| !token.owners.is_empty())
    }
}

fn listed(token: &Token) -> String {
    let owners = token.owners.iter().map(|owner| format!("{owner:?}"));
    owners.collect::<Vec<_>>().join(", ")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// So many watches one client may have.
pub const MAX_WATCHES: usize = 256;

/// How often each client watches.
#[derive(Clone, Debug, Default)]
pub struct Watches(Arc<Mutex<HashMap<String, usize>>>);

/// A client's place.
#[derive(Debug)]
pub struct Place {
    of: Watches,
    identity: Option<String>,
}

impl Watches {
    /// A place for a client.
    ///
    /// # Errors
    /// When it has too many.
    pub fn take(&self, who: &Who) -> Result<Place, Trouble> {
        let identity = who.identity();
        if let Some(identity) = &identity {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(identity.clone()).or_default();
            if *count >= MAX_WATCHES {
                return Err(Trouble::Exhausted(format!(
                    "{identity}, watches {MAX_WATCHES} times already; end some of these"
                )));
            }
            *count += 1;
        }
        Ok(Place {
            of: self.clone(),
            identity,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(identity) {
            *count -= 1;
            if *count == 0 {
                counts.remove(identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_watches_so_often_and_no_more() {
        let watches = Watches::default();
        let who = Who {
            caller: Caller::new(Role::Reader, "one"),
            token: None,
        };
        let places: Vec<Place> = (0..MAX_WATCHES)
            .map(|_| watches.take(&who).expect("there is room"))
            .collect();
        assert!(matches!(watches.take(&who), Err(Trouble::Exhausted(_))));
        let other = Who {
            caller: Caller::new(Role::Reader, "other"),
            token: None,
        };
        drop(watches.take(&other).expect("another one has room"));
        drop(places);
        assert!(watches.take(&who).is_ok());
        assert!(watches.0.lock().expect("it is not poisoned").is_empty());
    }
}
