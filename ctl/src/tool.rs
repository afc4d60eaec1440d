//! What a tool is made of: its database, its commands and its options.

use std::sync::Arc;

use ovsdb::schema::DatabaseSchema;

use crate::command::{Command, Family, GlobalOption, OptionValue};

/// A tool: `weft nb`, `weft sb`.
#[derive(Debug)]
pub struct Tool {
    /// Its name as a subcommand of `weft`.
    pub name: &'static str,
    /// The name of the OVN tool that it is.
    pub ovn_name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The name of its database.
    pub database: &'static str,
    /// Our schema of it.
    pub schema: fn() -> &'static Arc<DatabaseSchema>,
    /// The tables of it that OVN does not have.
    pub additions: &'static [&'static str],
    /// The table of the one row that says everything of the whole.
    pub global_table: &'static str,
    /// The environment variable with the default of `--db`.
    pub remote_variable: &'static str,
    /// The socket in OVN's run directory that `--db` means without it.
    pub socket: &'static str,
    /// The socket in OVN's run directory on which its server listens for gRPC.
    pub grpc_socket: &'static str,
    /// Its server.
    pub server: &'static str,
    /// The environment variable with options to put in front.
    pub options_variable: &'static str,
    /// The environment variable with the control socket of a running tool.
    pub daemon_variable: &'static str,
    /// Whether one can wait for the southbound database and the chassis.
    pub can_wait: bool,
    /// Its commands, its own first.
    pub families: &'static [&'static [&'static Family]],
}

impl Tool {
    /// All commands, the tool's own first.
    pub fn commands(&self) -> impl Iterator<Item = &'static Command> {
        self.all_families().flat_map(|family| family.commands)
    }

    /// All families of commands, the tool's own first.
    pub fn all_families(&self) -> impl Iterator<Item = &'static Family> {
        self.families
            .iter()
            .flat_map(|families| families.iter().copied())
    }

    /// The options of a whole line.
    pub fn options(&self) -> impl Iterator<Item = &'static GlobalOption> {
        WAIT_OPTIONS.iter().chain(&OPTIONS)
    }
}

const fn flag(long: &'static str, help: &'static str) -> GlobalOption {
    GlobalOption {
        long,
        short: None,
        value: OptionValue::None,
        placeholder: "",
        help,
    }
}

const fn valued(
    long: &'static str,
    short: Option<char>,
    placeholder: &'static str,
    help: &'static str,
) -> GlobalOption {
    GlobalOption {
        long,
        short,
        value: OptionValue::Required,
        placeholder,
        help,
    }
}

const fn optional(
    long: &'static str,
    short: Option<char>,
    placeholder: &'static str,
    help: &'static str,
) -> GlobalOption {
    GlobalOption {
        value: OptionValue::Optional,
        ..valued(long, short, placeholder, help)
    }
}

static WAIT_OPTIONS: [GlobalOption; 3] = [
    valued(
        "--wait",
        None,
        "none|sb|hv",
        "after a change, wait for the southbound database (sb) or for all chassis (hv)",
    ),
    flag("--no-wait", "the same as --wait=none, the default"),
    flag("--print-wait-time", "print how long the waiting took"),
];

static OPTIONS: [GlobalOption; 39] = [
    valued("--db", None, "REMOTE", "the database to connect to"),
    flag(
        "--leader-only",
        "insist on the cluster's leader (the default)",
    ),
    flag("--no-leader-only", "accept any member of the cluster"),
    flag(
        "--shuffle-remotes",
        "try the remotes in random order (the default)",
    ),
    flag("--no-shuffle-remotes", "try the remotes in the order given"),
    valued("--timeout", Some('t'), "SECONDS", "give up after SECONDS"),
    flag("--dry-run", "do everything but commit"),
    flag("--oneline", "print one line of output a command"),
    valued(
        "--format",
        Some('f'),
        "FORMAT",
        "tables as table, list, html, csv or json",
    ),
    valued(
        "--data",
        Some('d'),
        "FORMAT",
        "cells as string, bare or json",
    ),
    flag("--no-headings", "leave out the heading row"),
    flag("--pretty", "print JSON on several lines"),
    flag(
        "--bare",
        "the same as --format=list --data=bare --no-headings",
    ),
    valued(
        "--max-column-width",
        None,
        "N",
        "cut columns of tables to N characters",
    ),
    valued(
        "--private-key",
        Some('p'),
        "FILE",
        "PEM file with the key to identify with",
    ),
    valued(
        "--certificate",
        Some('c'),
        "FILE",
        "PEM file with the certificate for it",
    ),
    valued(
        "--ca-cert",
        Some('C'),
        "FILE",
        "PEM file with the CA that the server is checked against",
    ),
    valued(
        "--bootstrap-ca-cert",
        None,
        "FILE",
        "take the CA from the first server if FILE is missing",
    ),
    valued("--ssl-protocols", None, "LIST", "TLS versions to offer"),
    valued("--ssl-ciphers", None, "LIST", "cipher suites for TLS 1.2"),
    valued(
        "--ssl-ciphersuites",
        None,
        "LIST",
        "cipher suites for TLS 1.3",
    ),
    valued(
        "--ssl-server-name",
        None,
        "NAME",
        "ask the server for this name (SNI) instead of the host of REMOTE",
    ),
    optional("--verbose", Some('v'), "SPEC", "what is logged where"),
    optional("--log-file", None, "FILE", "log to FILE, too"),
    flag("--no-syslog", "do not log to the system log"),
    valued("--syslog-method", None, "METHOD", ""),
    valued("--syslog-target", None, "HOST:PORT", ""),
    valued(
        "--unixctl",
        Some('u'),
        "SOCKET",
        "have the daemon at this control socket run the line; with --detach, the socket of the daemon",
    ),
    flag(
        "--detach",
        "stay in the background, print the control socket, and run the lines that come over it",
    ),
    flag("--monitor", ""),
    flag("--no-chdir", ""),
    flag("--no-self-confinement", ""),
    optional("--pidfile", None, "FILE", ""),
    flag("--overwrite-pidfile", ""),
    valued("--user", None, "USER[:GROUP]", ""),
    flag("--commands", "print the commands, for completion"),
    flag("--options", "print the options, for completion"),
    optional(
        "--help",
        Some('h'),
        "COMMAND",
        "print this, or the help of one command",
    ),
    GlobalOption {
        short: Some('V'),
        ..flag("--version", "print the version")
    },
];
