//! The operations of a transaction before they are read.
//!
//! A million operations are some hundred megabytes of text, and ten times as much as a tree of JSON values. So they
//! stay text, which is gone through twice: first to see that it is JSON to the end, to count the operations, and to
//! collect the names that inserts give to their rows (which may be used before the insert); then, when the database is
//! known, to read one operation after the other, with never more than one of them as a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, ErrorKind};

/// So many operations a transaction may have at most.
pub const MAX_OPERATIONS: usize = 1_000_000;

/// A name for a row, and the identity that the row is to have if that was said, too.
pub(super) type Name<'a> = (Cow<'a, str>, Option<Uuid>);

/// Operations that were counted and are JSON, but were not read yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Operations<'a> {
    /// An array.
    text: &'a str,
    /// How many of its elements come before the first operation.
    before: usize,
    count: usize,
    names: Vec<Name<'a>>,
}

impl<'a> Operations<'a> {
    /// The `params` of a `transact`: the name of the database, and operations. `None` if there is no such name.
    ///
    /// # Errors
    /// "syntax error" for what is no JSON array, "resources exhausted" for more than [`MAX_OPERATIONS`].
    pub fn of_transact(params: &'a str) -> Result<Option<(String, Self)>, Error> {
        let mut database = None;
        let operations = Self::scan(params, Some(&mut database), MAX_OPERATIONS);
        let operations = operations
            .map_err(|error| Error::syntax(format!("transact request params: {error}")))?;
        if operations.count > MAX_OPERATIONS {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                format!(
                    "The transaction has {} operations, more than the limit of {MAX_OPERATIONS}; make it several \
                     transactions.",
                    operations.count
                ),
            ));
        }
        Ok(database.map(|database| (database, operations)))
    }

    /// An array of operations, however many.
    ///
    /// # Errors
    /// What is no JSON array.
    pub fn of_array(text: &'a str) -> Result<Self, serde_json::Error> {
        Self::scan(text, None, usize::MAX)
    }

    fn scan(
        text: &'a str,
        database: Option<&mut Option<String>>,
        limit: usize,
    ) -> Result<Self, serde_json::Error> {
        let mut operations = Self {
            text,
            before: usize::from(database.is_some()),
            count: 0,
            names: Vec::new(),
        };
        let scan = Scan {
            operations: &mut operations,
            database,
            limit,
        };
        through(text, scan)?;
        Ok(operations)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The names that inserts give, in their order.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = Name<'a>> + '_ {
        self.names.iter().cloned()
    }

    /// Passes one operation after the other as a tree, until one is refused.
    pub(super) fn each(
        &self,
        read: &mut dyn FnMut(&Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut refused = None;
        let each = Each {
            before: self.before,
            read,
            refused: &mut refused,
        };
        let done = through(self.text, each);
        match refused {
            Some(error) => Err(error),
            None => done.map_err(|error| Error::syntax(error.to_string())),
        }
    }
}

/// Goes through the whole of `text`, which is an array.
fn through<'a, V: Visitor<'a>>(text: &'a str, visitor: V) -> Result<V::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserializer.deserialize_seq(visitor)?;
    deserializer.end()?;
    Ok(value)
}

/// Counts the operations and collects names.
struct Scan<'s, 'a> {
    operations: &'s mut Operations<'a>,
    /// Where the name of the database goes, if that comes first.
    database: Option<&'s mut Option<String>>,
    /// So many are looked at.
    limit: usize,
}

impl<'a> Visitor<'a> for Scan<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut elements: S) -> Result<(), S::Error> {
        if let Some(database) = self.database {
            match elements.next_element_seed(Look::default())? {
                Some(name) => *database = name.map(Cow::into_owned),
                None => return Ok(()),
            }
        }
        let Operations { count, names, .. } = self.operations;
        while *count <= self.limit {
            let mut name = None;
            let look = Look {
                name: Some(&mut name),
            };
            if elements.next_element_seed(look)?.is_none() {
                return Ok(());
            }
            names.extend(name);
            *count += 1;
        }
        // The rest is too much, and counted only.
        *names = Vec::new();
        while elements.next_element::<IgnoredAny>()?.is_some() {
            *count += 1;
        }
        Ok(())
    }
}

/// Reads the operations, each for itself.
struct Each<'s> {
    before: usize,
    read: &'s mut dyn FnMut(&Value) -> Result<(), Error>,
    refused: &'s mut Option<Error>,
}

impl<'a> Visitor<'a> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut elements: S) -> Result<(), S::Error> {
        for _ in 0..self.before {
            elements.next_element::<IgnoredAny>()?;
        }
        while let Some(operation) = elements.next_element::<Value>()? {
            if let Err(error) = (self.read)(&operation) {
                *self.refused = Some(error);
                // What comes after it is not looked at.
                return Err(S::Error::custom("an operation was refused"));
            }
        }
        Ok(())
    }
}

/// Looks at a value as closely as if a tree were made of it, so that the same is refused, and keeps its text if it is
/// a string.
#[derive(Default)]
struct Look<'s, 'a> {
    /// If the value is an operation: where the name goes that it gives to a row.
    name: Option<&'s mut Option<Name<'a>>>,
}

impl<'a> DeserializeSeed<'a> for Look<'_, 'a> {
    type Value = Option<Cow<'a, str>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Look<'_, 'a> {
    type Value = Option<Cow<'a, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        let (mut insert, mut name, mut uuid) = (false, None, None);
        // Of several members with one name, the last counts.
        while let Some(key) = members.next_key_seed(Look::default())? {
            let value = members.next_value_seed(Look::default())?;
            match key.as_deref() {
                Some("op") => insert = value.as_deref() == Some("insert"),
                Some("uuid-name") => name = value,
                Some("uuid") => uuid = value,
                _ => {}
            }
        }
        if let Some(place) = self.name
            && insert
        {
            let uuid = uuid.and_then(|uuid| Uuid::try_parse(&uuid).ok());
            *place = name.map(|name| (name, uuid));
        }
        Ok(None)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut elements: S) -> Result<Self::Value, S::Error> {
        while elements.next_element_seed(Look::default())?.is_some() {}
        Ok(None)
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
