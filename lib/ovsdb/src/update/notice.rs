//! Reading a whole notification of a monitor's update in one go.
//!
//! Every other message is read by its envelope first, and what is inside later: its text is looked at three times. What comes of
//! the transactions of a northd is worth a way of its own.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::TableUpdates;
use super::read::{ReadPlan, UpdatesSeed, UuidSeed};

/// What a frame tells of the monitor `monitor`, and the last transaction in it, nil if that is not said.
///
/// `None` if it is another message, has its members in an order that does not tell early what it is, or makes no sense: the
/// envelope says what it is then.
pub(crate) fn updates(
    plan: &ReadPlan,
    monitor: &str,
    frame: &[u8],
) -> Option<(Uuid, TableUpdates)> {
    let text = std::str::from_utf8(frame).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let notice = Notice { plan, monitor };
    let told = deserializer.deserialize_map(notice).ok()?;
    deserializer.end().ok()?;
    Some(told)
}

#[derive(Clone, Copy)]
struct Notice<'a> {
    plan: &'a ReadPlan,
    monitor: &'a str,
}

impl<'de> Visitor<'de> for Notice<'_> {
    type Value = (Uuid, TableUpdates);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a notification")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tells_transaction = None;
        let mut told = None;
        while let Some(member) = map.next_key::<&str>()? {
            match (member, tells_transaction) {
                ("id", _) => map.next_value::<()>()?,
                ("method", _) => {
                    tells_transaction = match map.next_value::<&str>()? {
                        "update3" => Some(true),
                        "update" | "update2" => Some(false),
                        _ => return Err(A::Error::custom("another method")),
                    };
                }
                ("params", Some(tells_transaction)) => {
                    told = Some(map.next_value_seed(Parameters {
                        of: self,
                        tells_transaction,
                    })?);
                }
                _ => return Err(A::Error::custom("another message")),
            }
        }
        told.ok_or_else(|| A::Error::missing_field("params"))
    }
}

struct Parameters<'a> {
    of: Notice<'a>,
    tells_transaction: bool,
}

impl<'de> DeserializeSeed<'de> for Parameters<'_> {
    type Value = (Uuid, TableUpdates);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Parameters<'_> {
    type Value = (Uuid, TableUpdates);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parameters of an update")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        if elements.next_element::<&str>()? != Some(self.of.monitor) {
            return Err(A::Error::custom("another monitor"));
        }
        let missing = || A::Error::custom("too few parameters");
        let last = match self.tells_transaction {
            true => elements.next_element_seed(UuidSeed)?.ok_or_else(missing)?,
            false => Uuid::nil(),
        };
        let updates = elements.next_element_seed(UpdatesSeed(self.of.plan))?;
        let updates = updates.ok_or_else(missing)?;
        if elements.next_element::<()>()?.is_some() {
            return Err(A::Error::custom("too many parameters"));
        }
        Ok((last, updates))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::DatabaseSchema;

    #[test]
    fn updates_are_read_where_they_are_told_from_other_messages() {
        let json = json!({"name": "T", "tables": {"A": {"columns": {"a": {"type": "integer"}}}}});
        let schema = DatabaseSchema::from_json(&json).unwrap();
        let plan = ReadPlan::between(&schema, &schema);
        let uuid = "00000000-0000-0000-0000-00000000000a";
        let rows = format!(r#"{{"A":{{"{uuid}":{{"insert":{{"a":7}}}}}}}}"#);
        let whole = |last: u128, text: &str| {
            let read = updates(&plan, "m", text.as_bytes());
            let (known, updates) = read.unwrap_or_else(|| panic!("{text}"));
            assert_eq!(known, Uuid::from_u128(last), "{text}");
            assert_eq!(serde_json::to_string(&updates.with(&schema)).unwrap(), rows);
        };
        whole(
            10,
            &format!(r#"{{"id":null,"method":"update3","params":["m","{uuid}",{rows}]}}"#),
        );
        whole(
            0,
            &format!(r#"{{"method":"update2","params":["m",{rows}],"id":null}}"#),
        );
        for other in [
            format!(r#"{{"params":["m",{rows}],"method":"update2","id":null}}"#),
            format!(r#"{{"id":null,"method":"update2","params":["n",{rows}]}}"#),
            format!(r#"{{"id":null,"method":"update2","params":[["m"],{rows}]}}"#),
            format!(r#"{{"id":null,"method":"update3","params":["m",{rows}]}}"#),
            format!(r#"{{"id":null,"method":"update2","params":["m",{rows},null]}}"#),
            format!(r#"{{"id":null,"method":"update2","params":["m",{rows}]"#),
            format!(r#"{{"id":3,"method":"update2","params":["m",{rows}]}}"#),
            format!(r#"{{"id":null,"method":"update2","params":["m",{rows}],"x":1}}"#),
            r#"{"id":null,"method":"update2","params":["m"]}"#.to_owned(),
            r#"{"id":null,"method":"echo","params":[]}"#.to_owned(),
            r#"{"id":3,"result":{},"error":null}"#.to_owned(),
            r#"{"id":null,"method":"update2"}"#.to_owned(),
        ] {
            assert_eq!(updates(&plan, "m", other.as_bytes()), None, "{other}");
        }
    }
}
