//! The process: a replica of the northbound, listeners, a control socket and signals around [`Network`].

use std::sync::Arc;

use daemon::Process;
use daemon::signals::{Asked, Signals};
use daemon::unixctl::{Command, Surface};
use ovsdb::Remote;
use replica::{Spec, Tls};
use store::access::rule::ListenerConfig;
use tokio::sync::{Semaphore, mpsc};

use crate::doors::listen::{self, MAX_CONNECTIONS};
use crate::doors::network::Network;
use crate::doors::{grpc, rest};
use crate::error::Error;
use crate::live::{Live, tables};

/// So many events of the replica wait.
const QUEUE: usize = 64;

/// What the daemon was told when it was started.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the northbound database is.
    pub north: Vec<Remote>,
    /// The files for TLS, for clients and for the database alike.
    pub tls: Option<Tls>,
    /// Where gRPC is spoken.
    pub listen: Vec<ListenerConfig>,
    /// Where REST is.
    pub rest_listen: Vec<ListenerConfig>,
    /// Whether TCP may be without TLS.
    pub plaintext: bool,
}

/// What is answered on the control socket, beside what every daemon answers.
pub const COMMANDS: &[Command] = &[Command::plain("exit"), Command::plain("connection-status")];

/// Runs until told to end.
///
/// # Errors
/// When the surroundings of a daemon cannot be had. A database that cannot be reached is waited for.
pub async fn run(config: Config, process: &Process) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(|error| Error::System {
        what: "signals",
        error,
    })?;
    let mut control = process.listen(env!("CARGO_PKG_VERSION"), Surface::of(COMMANDS))?;
    let (sender, mut events) = mpsc::channel(QUEUE);
    let spec = Spec {
        tables: tables(),
        leader_only: true,
        resend: true,
        tls: config.tls.clone(),
        chance: Spec::any_chance(),
        ..Spec::new(nb_db::schema().clone(), config.north.clone())
    };
    let handle = replica::spawn(spec, sender, |event| event);
    let network = Network::new(Live::new(ovsdb::Uuid::new_v4()), handle.clone());
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    const HTTP2: &[&[u8]] = &[b"h2"];
    const HTTP1: &[&[u8]] = &[b"http/1.1"];
    let doors = [
        (&config.listen, grpc::start(network.clone()), HTTP2, "gRPC"),
        (
            &config.rest_listen,
            rest::start(network.clone()),
            HTTP1,
            "REST",
        ),
    ];
    for (listeners, connections, alpn, what) in doors {
        for listener in listeners {
            let opened = listen::open(
                listener,
                config.plaintext,
                config.tls.as_ref(),
                alpn,
                places.clone(),
                connections.clone(),
            );
            tracing::info!("{what}: listening on {}", opened.await?);
        }
    }
    process.ready().map_err(|error| Error::System {
        what: "the word to the parent process",
        error,
    })?;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => network.event(event),
                None => return Ok(()),
            },
            asked = signals.next() => match asked {
                Asked::ReopenLog => daemon::vlog::reopen(),
                Asked::Exit => break,
            },
            request = control.next() => match request.command {
                "exit" => {
                    request.succeed("");
                    break;
                }
                _ => match handle.status().state.is_connected() {
                    true => request.succeed("connected\n"),
                    false => request.succeed("not connected\n"),
                },
            },
        }
    }
    control.finish().await;
    Ok(())
}
