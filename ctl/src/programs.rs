//! The programs of `weft` beside its tools: one list, out of which come the subcommands, the usage, completion, and the pages
//! of the book. What else completion and the book say of a program is in its arguments ([`crate::page`]).

use std::process::ExitCode;

use crate::explain::programs as explain;
use crate::report::Reporter;
use crate::trace::walk::Manner;
use crate::{cluster, diff, objects, page, pki, plan, token, top, trace};

/// Runs a program with its arguments.
pub type Run = fn(Vec<String>) -> ExitCode;

/// A program.
pub struct Program {
    /// The subcommands that are it. [`Program::about`] is of the first.
    pub names: &'static [&'static str],
    /// What it does, as the usage of `weft` says it.
    pub about: &'static str,
    /// Runs it under one of its names.
    pub run: fn(&str, Vec<String>) -> ExitCode,
    /// OVN's name for it, and how it runs under that.
    pub as_ovn: Option<(&'static str, Run)>,
    /// Its arguments.
    pub command: fn() -> clap::Command,
}

/// All of them, in the order of the usage.
pub static PROGRAMS: [Program; 12] = [
    Program {
        names: &["trace"],
        about: "say what would become of a packet (as ovn-trace does)",
        run: |_, arguments| traced("weft trace", Manner::Chassis, arguments),
        as_ovn: Some(("ovn-trace", |arguments| {
            traced("ovn-trace", Manner::OvnTrace, arguments)
        })),
        command: trace::daemon::command,
    },
    Program {
        names: &["why"],
        about: "say which rule decides about a packet",
        run: |_, arguments| explain::why(arguments),
        as_ovn: None,
        command: explain::why_command,
    },
    Program {
        names: &["detrace"],
        about: "say what the flows of ofproto/trace are there for (as ovn-detrace does)",
        run: |_, arguments| explain::detrace(arguments),
        as_ovn: Some(("ovn-detrace", explain::detrace)),
        command: explain::detrace_command,
    },
    Program {
        names: &["debug"],
        about: "translate between stages, tables and cookies (as ovn-debug does)",
        run: |_, arguments| explain::debug(arguments),
        as_ovn: Some(("ovn-debug", explain::debug)),
        command: explain::debug_command,
    },
    Program {
        names: &["top"],
        about: "show who has the traffic of this machine: ports, rules, load balancers, chassis",
        run: |_, arguments| top::run(arguments),
        as_ovn: None,
        command: top::command,
    },
    Program {
        names: &["cluster"],
        about: "administer the cluster of a database: members, backups, data directories",
        run: |_, arguments| cluster::run(arguments),
        as_ovn: None,
        command: cluster::command,
    },
    Program {
        names: &["apply"],
        about: "make the network be what files declare",
        run: objects::run,
        as_ovn: None,
        command: objects::command,
    },
    Program {
        names: &["get", "describe", "delete"],
        about: "print objects of the network; describe, delete: one of them",
        run: objects::run,
        as_ovn: None,
        command: objects::command,
    },
    Program {
        names: &["plan"],
        about: "say what a change would do, before it is made",
        run: |_, arguments| plan::run(arguments),
        as_ovn: None,
        command: plan::command,
    },
    Program {
        names: &["diff"],
        about: "say in what two databases, or a file and a database, differ",
        run: |_, arguments| diff::run(arguments),
        as_ovn: None,
        command: diff::command,
    },
    Program {
        names: &["pki"],
        about: "make certificates for TLS",
        run: |_, arguments| pki::run(arguments),
        as_ovn: None,
        command: pki::command,
    },
    Program {
        names: &["token"],
        about: "make, list and revoke bearer tokens for weft-api",
        run: |_, arguments| token::run(arguments),
        as_ovn: None,
        command: token::command,
    },
];

impl Program {
    /// All its names, OVN's among them.
    pub fn all_names(&self) -> impl Iterator<Item = &'static str> {
        let ovns = self.as_ovn.map(|(name, _)| name);
        self.names.iter().copied().chain(ovns)
    }

    /// What may stand behind its name, for completion.
    pub fn words(&self) -> Vec<String> {
        let mut words = page::words(&(self.command)());
        if self
            .names
            .iter()
            .any(|name| objects::COMMANDS.contains(name))
        {
            words.retain(|word| word.starts_with('-'));
            words.extend(objects::kinds());
        }
        words
    }
}

fn traced(name: &str, manner: Manner, arguments: Vec<String>) -> ExitCode {
    let reporter = Reporter {
        name: name.to_owned(),
        logs: matches!(manner, Manner::OvnTrace),
    };
    trace::daemon::run(&reporter, manner, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_well_formed_and_known_by_their_names() {
        let mut names: Vec<&str> = PROGRAMS.iter().flat_map(Program::all_names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        for program in &PROGRAMS {
            (program.command)().debug_assert();
        }
        let words = |name: &str| {
            let program = PROGRAMS
                .iter()
                .find(|program| program.names.contains(&name));
            program.expect("it is there").words()
        };
        assert!(words("cluster").contains(&"force-new".to_owned()));
        assert!(words("cluster").contains(&"--db".to_owned()));
        assert!(words("describe").contains(&"switch-ports".to_owned()));
        assert!(!words("get").contains(&"apply".to_owned()));
    }
}
