//! Arguments and output that several families have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use northbound::matches;
use northbound::values::{Direction, Existing, Priority};
use ovsdb::Uuid;

use crate::command::Context;
use crate::error::{Outcome, fail};

/// Options, external ids: pairs of texts.
pub type Pairs = BTreeMap<Arc<str>, Arc<str>>;

/// The `KEY=VALUE` arguments from index `from` on. Of several with one key the first counts; one without `=` is left
/// out, with a warning.
pub fn pairs(context: &mut Context<'_, '_>, from: usize) -> Pairs {
    let mut pairs = BTreeMap::new();
    for argument in context.invocation.arguments.get(from..).unwrap_or_default() {
        match argument.split_once('=') {
            Some((key, value)) => {
                pairs
                    .entry(Arc::from(key))
                    .or_insert_with(|| Arc::from(value));
            }
            None => {
                let warning = format!("{argument}: not of the form KEY=VALUE, left out");
                context.warnings.push(warning);
            }
        }
    }
    pairs
}

/// Warns of the names in a match, which a rule was just made of, that are names of nothing.
pub fn warn_of_unknown_names(context: &mut Context<'_, '_>, text: &str) {
    let Ok(when) = matches::read(text) else {
        return;
    };
    let unknown = matches::unknown_names(context.draft, &when);
    let warnings = unknown.iter().map(ToString::to_string);
    context.warnings.extend(warnings);
}

/// A `KEY=VALUE` line a pair.
pub fn print_pairs(context: &mut Context<'_, '_>, pairs: &Pairs) {
    for (key, value) in pairs {
        context.print(format!("{key}={value}"));
    }
}

/// A `UUID (NAME)` line a row.
pub fn print_named(context: &mut Context<'_, '_>, rows: Vec<(Arc<str>, Uuid)>) {
    for (name, uuid) in rows {
        context.print(format!("{uuid} ({name})"));
    }
}

/// The texts as columns have them.
pub fn shared(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(text.as_str())).collect()
}

/// `enabled` or `disabled`.
pub fn parse_enabled(text: &str) -> Outcome<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("enabled") => Ok(true),
        _ if text.eq_ignore_ascii_case("disabled") => Ok(false),
        _ => fail(format!("{text}: state must be \"enabled\" or \"disabled\"")),
    }
}

/// The word for that.
pub fn enabled_text(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

/// A priority of a rule or a chassis.
pub fn parse_priority(text: &str) -> Outcome<Priority> {
    match text.parse().ok().and_then(Priority::new) {
        Some(priority) => Ok(priority),
        None => fail(format!(
            "{text}: priority must in range 0...{}",
            Priority::MAX.number()
        )),
    }
}

/// `from-lport` or `to-lport`, of which the first letter is enough.
pub fn parse_direction(text: &str) -> Outcome<Direction> {
    match text.as_bytes().first() {
        Some(b't') => Ok(Direction::ToPort),
        Some(b'f') => Ok(Direction::FromPort),
        _ => fail(format!(
            "{text}: direction must be \"to-lport\" or \"from-lport\""
        )),
    }
}

/// What `--may-exist` and `--add-duplicate` of a command that makes a switch or a router say.
pub fn existing(context: &Context<'_, '_>, has_name: bool) -> Outcome<Existing> {
    match (context.has("--may-exist"), context.has("--add-duplicate")) {
        (true, true) => fail("--may-exist and --add-duplicate may not be used together"),
        (true, false) if !has_name => fail("--may-exist requires specifying a name"),
        (false, true) if !has_name => fail("--add-duplicate requires specifying a name"),
        (true, false) => Ok(Existing::Accept),
        (false, true) => Ok(Existing::Duplicate),
        (false, false) => Ok(Existing::Refuse),
    }
}
