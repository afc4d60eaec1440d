//! The commands of a database server's control socket. Those that Open vSwitch's server has too
//! go by its names.

use crate::event::Status;
use crate::server::engine::Engine;
use crate::server::peers::{Change, Cluster};

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct ControlCommand {
    /// Its name.
    pub name: &'static str,
    /// Its arguments for people; each word is one.
    pub usage: &'static str,
    /// How many arguments it needs.
    pub args: usize,
    /// How many more it may have.
    pub more: usize,
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
    plain("metrics/show"),
    of_member("cluster/kick", "DB MEMBER"),
    of_database("cluster/leave"),
    of_member("cluster/change-election-timer", "DB MS"),
    ControlCommand {
        args: 3,
        ..of_member("cluster/set-backlog-threshold", "DB N_MSGS N_BYTES")
    },
    ControlCommand {
        more: 1,
        usage: "[DB]",
        ..plain("ovsdb-server/compact")
    },
    of_database("ovsdb-server/get-db-storage-status"),
    ControlCommand {
        usage: "on|off",
        args: 1,
        ..plain("ovsdb-server/memory-trim-on-compaction")
    },
    plain("ovsdb-server/sync-status"),
];

const fn plain(name: &'static str) -> ControlCommand {
    ControlCommand {
        name,
        usage: "",
        args: 0,
        more: 0,
    }
}

const fn of_database(name: &'static str) -> ControlCommand {
    ControlCommand {
        name,
        usage: "DB",
        args: 1,
        more: 0,
    }
}

const fn of_member(name: &'static str, usage: &'static str) -> ControlCommand {
    ControlCommand {
        name,
        usage,
        args: 2,
        more: 0,
    }
}

/// Carries out one of [`COMMANDS`]: the text to print, or why it failed.
pub async fn handle(
    engine: &Engine,
    cluster: &Cluster,
    remotes: &[String],
    command: &str,
    args: &[String],
) -> Result<String, String> {
    let name = &engine.identity.database;
    if command == "ovsdb-server/memory-trim-on-compaction" {
        return match args {
            [on] if on == "on" || on == "off" => Ok(String::new()),
            _ => Err("invalid argument".to_owned()),
        };
    }
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
        "metrics/show" => {
            let metrics = engine.render_metrics().await;
            metrics.map_err(|error| error.to_string())
        }
        "ovsdb-server/compact" => Ok(
            "nothing to do: the log is cut and the file kept small all the time, without a pause\n"
                .to_owned(),
        ),
        "cluster/change-election-timer" => Ok(
            "nothing to do: elections take as long as they have to, and there is no timer to set\n"
                .to_owned(),
        ),
        "cluster/set-backlog-threshold" => Ok(
            "nothing to do: what waits for a member is bounded by its frames, and there is no threshold to set\n"
                .to_owned(),
        ),
        // A server whose disk has failed ends (see `engine::disk`): one that answers has a disk.
        "ovsdb-server/get-db-storage-status" => Ok("status: ok\n".to_owned()),
        "ovsdb-server/sync-status" => Ok("state: active\n".to_owned()),
        "cluster/kick" => kick(engine, cluster, &args[1]).await,
        "cluster/leave" => remove(cluster, engine.identity.member).await,
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

/// Removes a member, given its number or how its server's identity begins.
async fn kick(engine: &Engine, cluster: &Cluster, name: &str) -> Result<String, String> {
    let status = engine.status().await.map_err(|error| error.to_string())?;
    let members = &status.raft.membership;
    let servers = members.servers.iter();
    let named = |server: &ovsdb::Uuid| {
        let plain = server.simple().to_string();
        name.len() >= 4 && (server.to_string() == name || plain.starts_with(name))
    };
    let mut by_server = servers
        .filter(|(_, server)| named(server))
        .map(|(member, _)| *member);
    let by_number = name.parse().ok().filter(|member| members.contains(*member));
    match by_number.or_else(|| by_server.next_back()) {
        Some(member) => remove(cluster, member).await,
        None => Err(format!(
            "{name}: not the number or the server ID of a member"
        )),
    }
}

async fn remove(cluster: &Cluster, member: u64) -> Result<String, String> {
    let removed = cluster.change(&Change::Remove { member }).await;
    removed.map_err(|error| error.to_string())?;
    Ok(format!("member {member} is removed\n"))
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
