//! The commands of a database server's control socket. Those that Open vSwitch's server has too
//! go by its names.

use super::engine::Engine;
use crate::event::Status;

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct ControlCommand {
    /// Its name.
    pub name: &'static str,
    /// Its arguments for people; each word is one.
    pub usage: &'static str,
    /// How many arguments it takes.
    pub args: usize,
}

/// The commands, beside those of all daemons.
pub const COMMANDS: &[ControlCommand] = &[
    plain("status"),
    plain("connection-status"),
    plain("memory/show"),
    plain("ovsdb-server/list-dbs"),
    plain("ovsdb-server/list-remotes"),
    of_database("cluster/status"),
    of_database("cluster/cid"),
    of_database("cluster/sid"),
];

const fn plain(name: &'static str) -> ControlCommand {
    ControlCommand {
        name,
        usage: "",
        args: 0,
    }
}

const fn of_database(name: &'static str) -> ControlCommand {
    ControlCommand {
        name,
        usage: "DB",
        args: 1,
    }
}

/// Carries out one of [`COMMANDS`]: the text to print, or why it failed.
pub async fn handle(
    engine: &Engine,
    remotes: &[String],
    command: &str,
    args: &[String],
) -> Result<String, String> {
    let name = &engine.identity.database;
    if let Some(database) = args.first()
        && database != name
    {
        return Err(format!(
            "{database}: no such database; this server has {name}"
        ));
    }
    match command {
        "ovsdb-server/list-dbs" => Ok(lines(&engine.databases.names())),
        "ovsdb-server/list-remotes" => Ok(lines(remotes)),
        "cluster/cid" => Ok(format!("{}\n", engine.identity.cluster)),
        "cluster/sid" => Ok(format!("{}\n", engine.identity.server)),
        command => {
            let status = engine.status().await.map_err(|error| error.to_string())?;
            Ok(match command {
                "status" => status_text(&status),
                "connection-status" => connection_text(&status),
                "memory/show" => memory_text(&status),
                _ => cluster_text(&status),
            })
        }
    }
}

fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

fn status_text(status: &Status) -> String {
    let rows: usize = status.rows.iter().map(|(_, rows)| rows).sum();
    format!(
        "database: {}\nrole: {}\nterm: {}\ncommitted: {}\nrows: {rows}\nsessions: {}\nmonitors: {}\n",
        status.identity.database,
        status.raft.role.name(),
        status.raft.term,
        status.raft.commit,
        status.sessions,
        status.monitors,
    )
}

/// Whether this server belongs to a cluster that can commit.
fn connection_text(status: &Status) -> String {
    let text = if status.raft.leader == 0 {
        "not connected\n"
    } else {
        "connected\n"
    };
    text.to_owned()
}

fn memory_text(status: &Status) -> String {
    let rows: usize = status.rows.iter().map(|(_, rows)| rows).sum();
    format!(
        "monitors:{} raft-log:{} rows:{rows} sessions:{} txns-blocked:{} txns-pending:{}\n",
        status.monitors,
        status.raft.last + 1 - status.raft.first,
        status.sessions,
        status.blocked,
        status.pending,
    )
}

/// In the form of ovsdb-server's `cluster/status`, which scripts read.
fn cluster_text(status: &Status) -> String {
    let short = |id: ovsdb::Uuid| id.simple().to_string()[..4].to_owned();
    let raft = &status.raft;
    let name = |member: u64| match member {
        0 => "unknown".to_owned(),
        member if member == raft.member => "self".to_owned(),
        member => member.to_string(),
    };
    let servers: String = raft
        .membership
        .voters
        .iter()
        .map(|member| {
            let own = if *member == raft.member {
                " (self)"
            } else {
                ""
            };
            format!("    {member}{own}\n")
        })
        .collect();
    format!(
        "{}\nName: {}\nCluster ID: {} ({})\nServer ID: {} ({})\nStatus: cluster member\nRole: {}\n\
         Term: {}\nLeader: {}\nVote: {}\n\nLog: [{}, {}]\nEntries not yet committed: {}\n\
         Entries not yet applied: {}\nServers:\n{servers}",
        short(status.identity.server),
        status.identity.database,
        short(status.identity.cluster),
        status.identity.cluster,
        short(status.identity.server),
        status.identity.server,
        raft.role.name(),
        raft.term,
        name(raft.leader),
        name(raft.leader),
        raft.first,
        raft.last + 1,
        raft.last - raft.commit,
        raft.commit - raft.applied,
    )
}
