//! Bearer tokens: what lets a program in at the doors without a certificate of its own.
//!
//! A token is a name and a secret, `weft.NAME.SECRET`. The northbound has no secrets: each token is a pair in
//! `NB_Global.external_ids`, `weft-token:NAME` with what it allows and the SHA-256 of its secret, 256 bits of chance that
//! nobody guesses. Databases of OVN's can hold it as well.
//!
//! ```json
//! {"role": "writer", "owners": ["web"], "expires": 1790000000, "sha256": "…"}
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;

use nb_db::tables::NbGlobal;
use northbound::{Draft, Rows};
use ovsdb::{Atom, Datum, Mutation, Mutator, Table, Uuid};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::declared::check_name;
use crate::error::{Code, Refused, Violation};

/// What is in front of a token's name in `NB_Global.external_ids`.
pub const KEY: &str = "weft-token:";
/// What a token begins with.
const PREFIX: &str = "weft.";
/// So many bytes of chance a secret has.
const SECRET_BYTES: usize = 32;
/// The longest name of a token.
const MAX_NAME: usize = 63;

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// Whether it allows changes, or reading alone.
    pub writes: bool,
    /// Whose objects it is for; empty: everybody's.
    pub owners: BTreeSet<String>,
    /// Until when it is good, in seconds since the epoch; for ever, if nothing is said.
    pub expires: Option<i64>,
    /// The SHA-256 of its secret, in hexadecimal digits.
    hash: String,
}

/// A token does not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, there is none of that name, or the secret is another.
    #[error("there is no such token; `weft token create` makes one")]
    Unknown,
    /// Its time is over.
    #[error("the token {0} has expired; `weft token create` makes another")]
    Expired(String),
}

impl Token {
    /// The role, in a word.
    pub fn role(&self) -> &'static str {
        match self.writes {
            true => "writer",
            false => "reader",
        }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({"role": self.role(), "sha256": self.hash});
        if !self.owners.is_empty() {
            value["owners"] = json!(self.owners);
        }
        if let Some(expires) = self.expires {
            value["expires"] = json!(expires);
        }
        value
    }

    /// A pair of `external_ids`, if it is a token. What cannot be understood allows nothing.
    fn read(key: &str, text: &str) -> Option<Self> {
        let name = key.strip_prefix(KEY)?;
        let value: Value = serde_json::from_str(text).ok()?;
        let writes = match value["role"].as_str()? {
            "writer" => true,
            "reader" => false,
            _ => return None,
        };
        let owners = match &value["owners"] {
            Value::Null => BTreeSet::new(),
            owners => {
                let owners = owners.as_array()?.iter();
                let owners = owners.map(|owner| owner.as_str().map(str::to_owned));
                let owners: BTreeSet<String> = owners.collect::<Option<_>>()?;
                // Somebody took the last one away: that is not everybody's.
                if owners.is_empty() {
                    return None;
                }
                owners
            }
        };
        let expires = match &value["expires"] {
            Value::Null => None,
            expires => Some(expires.as_i64()?),
        };
        Some(Self {
            name: name.to_owned(),
            writes,
            owners,
            expires,
            hash: value["sha256"].as_str()?.to_owned(),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash(secret: &str) -> String {
    hexadecimal(digest(&SHA256, secret.as_bytes()).as_ref())
}

fn check_token_name(name: &str) -> Result<(), Refused> {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    match name.len() {
        1..=MAX_NAME if name.chars().all(is_good) => Ok(()),
        _ => {
            let remedy = format!("give 1 to {MAX_NAME} letters, digits, - and _");
            let violation =
                Violation::new("name", format!("{name:?} is no name of a token"), remedy);
            Err(Refused::field(Code::Invalid, violation))
        }
    }
}

fn pairs(rows: &dyn Rows) -> Option<(Uuid, Datum)> {
    let column = NbGlobal::COLUMN.external_ids.index;
    let (uuid, row) = rows.rows(NbGlobal::INDEX).next()?;
    Some((uuid, row.get(column).clone()))
}

/// All tokens, by their names.
pub fn list(rows: &dyn Rows) -> Vec<Token> {
    let Some((_, pairs)) = pairs(rows) else {
        return Vec::new();
    };
    let texts = pairs.pairs().iter();
    let texts = texts.filter_map(|(key, value)| Some((key.as_str()?, value.as_str()?)));
    texts
        .filter_map(|(key, value)| Token::read(key, value))
        .collect()
}

/// The names of tokens that cannot be understood, and so let nobody in.
pub fn unreadable(rows: &dyn Rows) -> Vec<String> {
    let Some((_, pairs)) = pairs(rows) else {
        return Vec::new();
    };
    let texts = pairs.pairs().iter();
    let texts = texts.filter_map(|(key, value)| Some((key.as_str()?, value.as_str()?)));
    let wrong = texts.filter(|(key, value)| Token::read(key, value).is_none());
    wrong
        .filter_map(|(key, _)| Some(key.strip_prefix(KEY)?.to_owned()))
        .collect()
}

/// The token with this name, if it has the very contents.
pub fn is_valid(rows: &dyn Rows, token: &Token, now: i64) -> Result<(), TokenError> {
    let known = named(rows, &token.name).filter(|known| known == token);
    match known.ok_or(TokenError::Unknown)?.expires {
        Some(expires) if expires <= now => Err(TokenError::Expired(token.name.clone())),
        _ => Ok(()),
    }
}

fn named(rows: &dyn Rows, name: &str) -> Option<Token> {
    let key = format!("{KEY}{name}");
    let (_, pairs) = pairs(rows)?;
    Token::read(&key, pairs.get_str(&key)?)
}

/// What somebody who shows this may do, at this time in seconds since the epoch.
///
/// # Errors
/// When it is no token that is there, or its time is over.
pub fn check(rows: &dyn Rows, shown: &str, now: i64) -> Result<Token, TokenError> {
    let parts = shown
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('.'));
    let (name, secret) = parts.ok_or(TokenError::Unknown)?;
    let token = named(rows, name).ok_or(TokenError::Unknown)?;
    // Of hashes, the time that a comparison takes says nothing about the secret.
    if token.hash != hash(secret) {
        return Err(TokenError::Unknown);
    }
    is_valid(rows, &token, now)?;
    Ok(token)
}

/// Makes a token, and says what to show for it: it is told this once.
///
/// # Errors
/// When there is one of that name, or a name makes no sense.
pub fn create(
    draft: &mut Draft<'_>,
    name: &str,
    writes: bool,
    owners: &BTreeSet<String>,
    expires: Option<i64>,
) -> Result<String, Refused> {
    check_token_name(name)?;
    owners
        .iter()
        .try_for_each(|owner| check_name("owner", owner))?;
    let rows = draft.before();
    let key = format!("{KEY}{name}");
    let Some((uuid, pairs)) = pairs(rows) else {
        let text = "the database has no row of NB_Global; `weft nb init` makes it";
        return Err(Refused::new(Code::Conflict, text));
    };
    if pairs.get_str(&key).is_some() {
        let text = format!("there is a token {name}; revoke it, or choose another name");
        return Err(Refused::new(Code::AlreadyExists, text));
    }
    let mut bytes = [0; SECRET_BYTES];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        let text = "the system gives no random numbers; try again";
        return Err(Refused::new(Code::Conflict, text));
    }
    let secret = hexadecimal(&bytes);
    let token = Token {
        name: name.to_owned(),
        writes,
        owners: owners.clone(),
        expires,
        hash: hash(&secret),
    };
    let column = NbGlobal::COLUMN.external_ids.index;
    draft.verify(NbGlobal::INDEX, uuid, column);
    mutate(
        draft,
        uuid,
        Mutator::Insert,
        &key,
        &token.to_json().to_string(),
    );
    Ok(format!("{PREFIX}{name}.{secret}"))
}

/// Takes a token back.
///
/// # Errors
/// When there is none of that name.
pub fn revoke(draft: &mut Draft<'_>, name: &str) -> Result<(), Refused> {
    let key = format!("{KEY}{name}");
    let known = pairs(draft.before());
    let known = known.and_then(|(uuid, pairs)| Some((uuid, pairs.get_str(&key)?.to_owned())));
    let Some((uuid, value)) = known else {
        let text = format!("there is no token {name}; `weft token list` says which there are");
        return Err(Refused::new(Code::NotFound, text));
    };
    // If somebody writes it anew meanwhile, that one goes.
    let column = NbGlobal::COLUMN.external_ids.index;
    draft.verify(NbGlobal::INDEX, uuid, column);
    mutate(draft, uuid, Mutator::Delete, &key, &value);
    Ok(())
}

fn mutate(draft: &mut Draft<'_>, uuid: Uuid, mutator: Mutator, key: &str, value: &str) {
    let pair = Datum::map([(Atom::from(key), Atom::from(value))]);
    let mutation = Mutation::new(NbGlobal::COLUMN.external_ids.index, mutator, pair);
    draft.mutate(NbGlobal::INDEX, uuid, mutation);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use northbound::Snapshot;
    use ovsdb::RowChange;

    use super::*;

    fn global(rows: &mut Snapshot, draft: &[(String, String)]) {
        let global = NbGlobal {
            external_ids: draft
                .iter()
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect(),
            ..NbGlobal::default()
        };
        rows.apply(RowChange {
            table: NbGlobal::INDEX,
            uuid: Uuid::from_u128(1),
            old: None,
            new: Some(Arc::new(ovsdb::TableDefinition::to_row(&global))),
        });
    }

    fn with(changes: impl FnOnce(&mut Draft<'_>) -> String) -> (Snapshot, String) {
        let mut rows = Snapshot::empty(Arc::clone(nb_db::schema()));
        global(&mut rows, &[("other".to_owned(), "x".to_owned())]);
        let (shown, pairs) = {
            let mut draft = Draft::new(&rows);
            let shown = changes(&mut draft);
            let after: NbGlobal = draft.typed(Uuid::from_u128(1)).expect("it is there");
            let pairs = after.external_ids.iter();
            let pairs = pairs.map(|(key, value)| (key.to_string(), value.to_string()));
            (shown, pairs.collect::<Vec<_>>())
        };
        global(&mut rows, &pairs);
        (rows, shown)
    }

    #[test]
    fn who_shows_a_token_is_let_in_until_it_is_over() {
        let owners = BTreeSet::from(["web".to_owned()]);
        let (rows, shown) =
            with(|draft| create(draft, "ci", true, &owners, Some(100)).expect("it is made"));
        let token = check(&rows, &shown, 99).expect("it is good");
        assert_eq!((token.role(), &token.owners), ("writer", &owners));
        let expired = TokenError::Expired("ci".to_owned());
        assert_eq!(check(&rows, &shown, 100), Err(expired));
        let (first, rest) = shown.split_at(shown.len() - 1);
        let other = format!("{first}{}", if rest == "0" { "1" } else { "0" });
        let longer = format!("{shown}0");
        for wrong in [
            &other,
            &longer,
            "",
            "weft.ci.",
            "weft.ci",
            "weft.other.0",
            "ci",
        ] {
            assert_eq!(check(&rows, wrong, 0), Err(TokenError::Unknown), "{wrong}");
        }
        // The database does not know the secret.
        let (_, kept) = pairs(&rows).expect("there are pairs");
        let secret = shown.rsplit('.').next().expect("there is one");
        assert!(!format!("{kept:?}").contains(secret));
        let mut draft = Draft::new(&rows);
        let again = create(&mut draft, "ci", false, &BTreeSet::new(), None);
        assert_eq!(again.expect_err("it is there").code, Code::AlreadyExists);
        revoke(&mut draft, "ci").expect("it is there");
        let after: NbGlobal = draft.typed(Uuid::from_u128(1)).expect("it is there");
        assert_eq!(after.external_ids.len(), 1);
        let unknown = revoke(&mut draft, "none").expect_err("there is none");
        assert_eq!(unknown.code, Code::NotFound);
        for name in ["", "a.b", "a b", &"x".repeat(64)] {
            let refused = create(&mut draft, name, true, &BTreeSet::new(), None);
            assert_eq!(refused.expect_err("no name").code, Code::Invalid, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_understood_allows_nothing() {
        for text in [
            "",
            "x",
            "{}",
            r#"{"role": "admin", "sha256": "0"}"#,
            r#"{"role": "writer", "sha256": "0", "owners": []}"#,
            r#"{"role": "writer", "sha256": "0", "owners": "web"}"#,
            r#"{"role": "writer", "sha256": "0", "expires": "never"}"#,
            r#"{"role": "writer"}"#,
        ] {
            assert_eq!(Token::read("weft-token:a", text), None, "{text}");
        }
    }
}
