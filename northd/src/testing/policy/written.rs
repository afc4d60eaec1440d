//! Some of the policies as a file, for the test on real switches: what there is, and what becomes of packets that begin connections.
//!
//! ```text
//! policy NUMBER passes|drops            what has no verdict
//! group NAME GUEST,GUEST
//! rule s|g NUMBER DIRECTION TIER PRIORITY ACTION before|after MATCH
//! packet FROM TO ip4|ip6 PROTO SOURCE SERVICE heard|dropped|rejected
//! ```

use std::fmt::Write as _;

use super::{Fate, Owner, Policy, Sent};

/// Where the test on real switches reads them.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/policies.txt");

/// Those so far.
#[derive(Default)]
pub(super) struct Written(String);

impl Written {
    pub(super) fn policy(&mut self, number: usize, policy: &Policy, sent: &[Sent]) {
        let otherwise = match policy.drops_by_default {
            true => "drops",
            false => "passes",
        };
        let mut line = |line: String| writeln!(self.0, "{line}").expect("a string");
        line(format!("policy {number} {otherwise}"));
        for (group, members) in policy.groups.iter().enumerate() {
            let members: Vec<String> = members.iter().map(|guest| format!("p{guest}")).collect();
            line(format!("group g{group} {}", members.join(",")));
        }
        for rule in &policy.rules {
            let (kind, of) = match rule.owner {
                Owner::Switch(switch) => ('s', switch),
                Owner::Group(group) => ('g', group),
            };
            let (row, when) = (rule.row(), if rule.after_lb { "after" } else { "before" });
            line(format!(
                "rule {kind} {of} {} {} {} {} {when} {}",
                row.direction, row.tier, row.priority, row.action, row.r#match
            ));
        }
        for packet in sent {
            let fate = match policy.fate(packet) {
                Fate::Heard => "heard",
                Fate::Dropped => "dropped",
                Fate::Rejected => "rejected",
            };
            let family = if packet.is_ip4 { "ip4" } else { "ip6" };
            line(format!(
                "packet {} {} {family} {} {} {} {fate}",
                packet.from, packet.to, packet.proto, packet.source, packet.service
            ));
        }
    }

    /// The file says the same; with `BLESS=1` it does from now on.
    pub(super) fn check(&self) {
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(FILE, &self.0).expect("a file that can be written");
        }
        let known = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(known == self.0, "{FILE} is stale: BLESS=1 writes it anew");
    }
}
