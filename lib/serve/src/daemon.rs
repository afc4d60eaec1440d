//! The daemon: its start, its one loop, its end.

use std::path::Path;
use std::process::ExitCode;

use ::daemon::http::{self, HttpListener};
use ::daemon::signals::{Asked, Signals};
use ::daemon::unixctl::{Command, Surface};
use ::daemon::{Process, place, vlog};
use anyhow::anyhow;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use ovsdb::Listen;
use ovsdb::remote::Protocol;
use store::access::rule::ListenerConfig;
use store::server::{Server, ServerArgs, Watcher, control};

use crate::{Database, Flags};

/// Runs until it is asked to end.
pub fn run(database: &Database, flags: &Flags) -> anyhow::Result<ExitCode> {
    let process = match Process::start(&flags.common, database.program, &["store", "raft"])? {
        Ok(process) => process,
        Err(code) => return Ok(code),
    };
    let runtime =
        store::server::runtime().map_err(|error| anyhow!("cannot start the runtime: {error}"))?;
    runtime.block_on(serve(database, &flags.server, &process))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve(database: &Database, args: &ServerArgs, process: &Process) -> anyhow::Result<()> {
    let mut signals = Signals::new().map_err(|error| anyhow!("cannot receive signals: {error}"))?;
    let mut control = process.listen(env!("CARGO_PKG_VERSION"), Surface::of(commands()))?;
    let listen = Listen::Unix {
        protocol: Protocol::Ovsdb,
        path: place::run_dir().join(database.socket),
    };
    let metrics = match &args.metrics_listen {
        Some(place) => {
            let listener = HttpListener::open(place).await;
            Some(listener.map_err(|error| anyhow!("--metrics-listen {place}: {error}"))?)
        }
        None => None,
    };
    let mut flags = args.clone();
    if flags.listen.is_empty() {
        flags.listen.push(ListenerConfig::open(listen.clone()));
        flags.listen.push(ListenerConfig::open(Listen::Unix {
            protocol: Protocol::Grpc,
            path: place::run_dir().join(database.grpc_socket),
        }));
    }
    let mut server = Server::start(
        &flags,
        database.schema,
        Path::new(database.data_dir),
        listen,
    )
    .await?;
    if let Some(listener) = metrics {
        if let Ok(place) = listener.place() {
            tracing::info!("metrics at http://{place}/metrics");
        }
        let watcher = server.watcher();
        let pages = Watcher::PAGES.iter().fold(Router::new(), |pages, page| {
            let watcher = watcher.clone();
            pages.route(page, get(move || answer(watcher, page)))
        });
        tokio::spawn(listener.serve(http::with_list(pages, &Watcher::PAGES)));
    }
    process
        .ready()
        .map_err(|error| anyhow!("cannot tell that it is ready: {error}"))?;

    let result = loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Exit => break Ok(()),
                Asked::ReopenLog => vlog::reopen(),
            },
            request = control.next() => {
                if request.command == "exit" {
                    request.succeed("");
                    break Ok(());
                }
                match server.control(request.command, &request.args).await {
                    Ok(text) => request.succeed(text),
                    Err(reason) => request.fail(reason),
                }
            }
            failure = server.failed() => break Err(anyhow!(failure)),
        }
    };
    tracing::info!("shutting down");
    control.finish().await;
    tokio::task::block_in_place(|| server.stop());
    result
}

/// A page for those who watch over the server.
async fn answer(watcher: Watcher, page: &'static str) -> Response {
    match watcher.page(page).await {
        Some((status, content_type, body)) => http::answer(status, content_type, body),
        None => http::text(404, "no such page"),
    }
}

/// The commands of the control socket.
fn commands() -> &'static [Command] {
    let exit = Command::plain("exit");
    let commands = control::COMMANDS.iter().map(|command| Command {
        name: command.name,
        usage: command.usage,
        min_args: command.args,
        max_args: command.args + command.more,
    });
    // Made once, and needed as long as the process lives.
    std::iter::once(exit)
        .chain(commands)
        .collect::<Vec<_>>()
        .leak()
}
