//! Template variables: `^name` in a logical flow or a load balancer's row is what this chassis' row of `Chassis_Template_Var` says, as text.
//!
//! A value may hold anything that may stand there, but no variable. What has no value stays as it is, and is told when it is parsed.

use std::borrow::Cow;

use super::{NameId, Network, Reads};

/// The text with values in the place of variables.
pub fn expand<'t>(network: &Network, reads: &Reads, text: &'t str) -> Cow<'t, str> {
    let Some((before, mut rest)) = text.split_once('^') else {
        return Cow::Borrowed(text);
    };
    let mut expanded = before.to_owned();
    loop {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
            .unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let variable = network.templates.get(reads, NameId::of(name));
        match variable.filter(|(known, _)| **known == *name) {
            Some((_, value)) => expanded.push_str(value),
            None => expanded.extend(["^", name]),
        }
        let Some((plain, next)) = behind.split_once('^') else {
            expanded.push_str(behind);
            return Cow::Owned(expanded);
        };
        expanded.push_str(plain);
        rest = next;
    }
}
