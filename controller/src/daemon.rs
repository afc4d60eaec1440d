//! The shell: sockets, signals and the clock around [`controller::core::Core`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use controller::core::{Core, Effects, Event, Now, SouthConnection, SwitchEvent};
use controller::error::RunError;
use controller::record::{self, ReplayError};
use controller::vswitch;
use daemon::coverage::{self, Counter};
use daemon::event_loop::EventLoop;
use daemon::metrics::{Metrics, MetricsArgs};
use daemon::signals::{Asked, Signals};
use daemon::unixctl::{Command, Request, Surface};
use daemon::{Process, Recorder, Recording, place, vlog, warp};
use ovsdb::Remote;
use replica::{Handle, Spec, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Args;

const MODULES: &[&str] = &[
    "main",
    "binding",
    "ofctrl",
    "lflow",
    "pinctrl",
    "inc_engine",
    "connection",
    "acl_log",
];

const COMMANDS: &[Command] = &[
    Command {
        name: "exit",
        usage: "[--restart]",
        min_args: 0,
        max_args: 1,
    },
    Command::plain("connection-status"),
    Command::plain("status"),
    Command::plain("ct-zone-list"),
    Command {
        name: "inject-pkt",
        usage: "MICROFLOW",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("debug/pause"),
    Command::plain("debug/resume"),
    Command::plain("debug/status"),
    Command::plain("debug/dump-local-bindings"),
    Command::plain("debug/dump-related-ports"),
    Command {
        name: "debug/delay-nb-cfg-report",
        usage: "SECONDS",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("debug/dump-lflow-conj-ids"),
    Command::plain("debug/dump-local-datapaths"),
    Command::plain("debug/dump-local-template-vars"),
    Command::plain("debug/dump-mac-bindings"),
    Command::plain("debug/dump-peer-ports"),
    Command::plain("debug/ignore-startup-delay"),
    Command::plain("evpn/remote-vtep-list"),
    Command::plain("evpn/vtep-arp-list"),
    Command::plain("evpn/vtep-binding-list"),
    Command::plain("evpn/vtep-fdb-list"),
    Command::plain("evpn/vtep-multicast-group-list"),
    Command::plain("group-table-list"),
    Command::plain("meter-table-list"),
    Command::plain("lflow-cache/flush"),
    Command::plain("lflow-cache/show-stats"),
    Command::plain("flush-lflow-cache"),
    Command::plain(RECONNECT),
    Command::plain("recompute"),
    Command::plain("inc-engine/recompute"),
    Command {
        name: "inc-engine/show-stats",
        usage: "[NODE [COUNTER]]",
        min_args: 0,
        max_args: 2,
    },
    Command::plain("inc-engine/clear-stats"),
];

/// The command that is carried out here, not by the core: it is about a connection.
const RECONNECT: &str = "sb-cluster-state-reset";

/// A step of the loop makes flows of all that has come.
static LOOP: EventLoop = EventLoop::new("flow-generation");
/// Packets that were dropped because too many were waiting to be handled.
static DROPPED: Counter = Counter::new("pinctrl_drop_packets");
/// Packets that waited for a next hop and were dropped.
static DROPPED_WAITING: Counter = Counter::new("pinctrl_drop_buffered_packets_map");
/// Events of balancers that were dropped.
static DROPPED_EVENTS: Counter = Counter::new("pinctrl_drop_controller_event");

/// What OVN's controllers count and this one does not: it is nothing here, and no mistake to ask for.
static UNCOUNTED: [Counter; 27] = [
    Counter::new("lflow_cache_add"),
    Counter::new("lflow_cache_add_expr"),
    Counter::new("lflow_cache_add_matches"),
    Counter::new("lflow_cache_delete"),
    Counter::new("lflow_cache_flush"),
    Counter::new("lflow_cache_free_expr"),
    Counter::new("lflow_cache_free_matches"),
    Counter::new("lflow_cache_full"),
    Counter::new("lflow_cache_hit"),
    Counter::new("lflow_cache_made_room"),
    Counter::new("lflow_cache_mem_full"),
    Counter::new("lflow_cache_miss"),
    Counter::new("lflow_cache_trim"),
    Counter::new("lflow_conj_alloc"),
    Counter::new("lflow_conj_alloc_specified"),
    Counter::new("lflow_conj_conflict"),
    Counter::new("lflow_conj_free"),
    Counter::new("lflow_conj_free_unexpected"),
    Counter::new("pinctrl_drop_put_mac_binding"),
    Counter::new("pinctrl_drop_put_vport_binding"),
    Counter::new("pinctrl_notify_main_thread"),
    Counter::new("txn_aborted"),
    Counter::new("txn_incomplete"),
    Counter::new("txn_not_locked"),
    Counter::new("txn_try_again"),
    Counter::new("txn_uncommitted"),
    Counter::new("txn_unchanged"),
];

/// What is counted.
static COUNTED: [&Counter; 9] = [
    &controller::core::CONSIDERED,
    &controller::core::LFLOW_RUN,
    &controller::core::PHYSICAL_RUN,
    &controller::core::PACKETS,
    &DROPPED,
    &DROPPED_WAITING,
    &DROPPED_EVENTS,
    &coverage::TXN_SUCCESS,
    &coverage::TXN_ERROR,
];

/// What is told on the control socket: to be asked for once in a process.
fn surface() -> Surface {
    let counters: Vec<&'static Counter> = COUNTED.into_iter().chain(&UNCOUNTED).collect();
    Surface {
        commands: COMMANDS,
        counters: counters.leak(),
        event_loop: Some(&LOOP),
    }
}

/// The databases, as metrics call them.
const DATABASES: &[&str] = &["switch", "southbound"];

/// Events that wait for the core; who sends more waits.
const QUEUE_LIMIT: usize = 256;
/// The most that is read from the switch at once.
const READ_LIMIT_BYTES: usize = 256 * 1024;
/// When less than the first waits to be written to the switch, or more than the second, the core is told.
const BACKLOG_BYTES: (usize, usize) = (256 * 1024, 4 * 1024 * 1024);
/// The pause after a failed attempt to reach the switch, at first and at most.
const SWITCH_RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Runs until somebody asks for the end.
pub fn run(args: &Args) -> Result<ExitCode, RunError> {
    let local_remote = match &args.remote {
        Some(remote) => Remote::parse_list(remote)?,
        None => Remote::parse_list(&format!(
            "unix:{}",
            place::switch_run_dir().join("db.sock").display()
        ))?,
    };
    let tls = ClientTls {
        files: args.tls.files()?,
        server_name: args.common.ssl_server_name.clone(),
    };
    let process = match Process::start(&args.common, "weft-controller", MODULES)? {
        Ok(process) => process,
        Err(code) => return Ok(code),
    };
    if let Some(path) = &args.replay_events {
        let recording = Recording::open(path).map_err(ReplayError::File)?;
        let commands = COMMANDS.iter().map(|command| command.name);
        print!("{}", record::replay(recording, commands)?);
        return Ok(ExitCode::SUCCESS);
    }
    let chassis = args.chassis.clone().or_else(chassis_of_file);
    let recorder = args.record_events.as_ref().map(|path| {
        let about = record::about(&hostname(), chassis.as_deref());
        let recorder = Recorder::create(path, &about);
        recorder.map_err(|error| RunError::System {
            what: "cannot record events",
            error,
        })
    });
    let recorder = recorder.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::System {
            what: "cannot start the runtime",
            error,
        })?;
    let mut core = Core::new(hostname());
    if let Some(name) = chassis {
        core.set_chassis_name(name);
    }
    runtime.block_on(serve(
        &process,
        local_remote,
        core,
        tls,
        &args.metrics,
        recorder,
    ))
}

async fn serve(
    process: &Process,
    local_remote: Vec<Remote>,
    core: Core,
    tls: ClientTls,
    metrics_args: &MetricsArgs,
    mut recorder: Option<Recorder>,
) -> Result<ExitCode, RunError> {
    let mut control = process.listen(env!("CARGO_PKG_VERSION"), surface())?;
    let system = |what| move |error| RunError::System { what, error };
    let mut signals = Signals::new().map_err(system("cannot receive signals"))?;
    let (sender, mut events) = mpsc::channel(QUEUE_LIMIT);
    let local = replica::spawn(
        Spec::new(vswitch::schema().clone(), local_remote),
        sender.clone(),
        Event::Local,
    );
    let mut shell = Shell {
        core,
        tls,
        sender,
        local,
        south: None,
        link: None,
        soon: VecDeque::new(),
    };
    tracing::info!("OVN internal version is : [{}]", controller::core::VERSION);
    let metrics = Metrics::new(&process.program, env!("CARGO_PKG_VERSION"), DATABASES);
    metrics.listen(metrics_args, DATABASES).await?;
    process
        .ready()
        .map_err(system("cannot tell that all is ready"))?;

    let mut wake_at = None;
    let mut again = false;
    loop {
        let tick = async move {
            match wake_at {
                Some(at) => warp::until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = match shell.soon.pop_front() {
            Some(event) => event,
            None => tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Exit => break,
                    Asked::ReopenLog => {
                        vlog::reopen();
                        continue;
                    }
                },
                request = control.next() => match shell.carry_out(request) {
                    Some(request) if request.is_tick() => {
                        request.succeed("");
                        Event::Tick
                    }
                    Some(request) => Event::Request(request),
                    None => continue,
                },
                // All others have their turn: none of them can keep the rest waiting.
                event = async {
                    tokio::select! {
                        Some(event) = next_of(&mut shell.link) => event,
                        Some(event) = events.recv() => event,
                        () = std::future::ready(()), if again => Event::Tick,
                        () = tick => Event::Tick,
                    }
                } => event,
            },
        };
        count(&metrics, &event);
        let now = Now::read();
        if let Some(recorder) = &mut recorder {
            recorder.add(now, &record::to_json(&event));
        }
        let began = Instant::now();
        let effects = shell.core.step(now, event);
        LOOP.stepped(&metrics, began.elapsed());
        metrics.dropped("waiting", shell.core.packets_dropped());
        DROPPED.set(shell.core.packets_dropped());
        metrics.dropped("unserved", shell.core.packets_unserved());
        for (reason, count) in shell.core.packets_dropped_by_services() {
            metrics.dropped(reason, count);
            match reason {
                "unresolved" => DROPPED_WAITING.set(count),
                "events" => DROPPED_EVENTS.set(count),
                _ => {}
            }
        }
        wake_at = effects.wake_at;
        again = effects.again;
        if effects.exit {
            break;
        }
        shell.apply(effects);
    }
    control.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// What metrics tell of an event.
fn count(metrics: &Metrics, event: &Event) {
    let (database, event) = match event {
        Event::Local(event) => (DATABASES[0], event),
        Event::South(_, event) => (DATABASES[1], event),
        _ => return,
    };
    match event {
        replica::Event::Synced => metrics.connected(database, true),
        replica::Event::Disconnected { .. } => metrics.connected(database, false),
        replica::Event::TransactReply { result, .. } => {
            metrics.transacted(database, result.is_err());
        }
        _ => {}
    }
}

/// What the command line says of TLS.
struct ClientTls {
    /// The files, if they are named.
    files: Option<Tls>,
    /// The name to ask servers for, also with the files that the switch's database names.
    server_name: Option<String>,
}

/// The core, and its arms.
struct Shell {
    core: Core,
    tls: ClientTls,
    sender: mpsc::Sender<Event>,
    local: Handle,
    /// With the number of the replica.
    south: Option<(u64, Handle)>,
    link: Option<Link>,
    /// What the core hears next: transactions that were not even sent, and that the switch does not keep up.
    soon: VecDeque<Event>,
}

impl Shell {
    /// Carries a request out that is not for the core; gives all others back.
    fn carry_out(&self, request: Request) -> Option<Request> {
        if request.command != RECONNECT {
            return Some(request);
        }
        if let Some((_, south)) = &self.south {
            south.force_reconnect();
        }
        request.succeed("");
        None
    }

    fn apply(&mut self, effects: Effects) {
        for (id, operations) in effects.local {
            if let Err(error) = self.local.transact(id, operations) {
                let result = Err(error);
                self.soon
                    .push_back(Event::Local(replica::Event::TransactReply { id, result }));
            }
        }
        if let Some(connection) = effects.connect_south {
            let epoch = connection.epoch;
            self.south = Some((epoch, self.connect_south(connection)));
        }
        if let Some((epoch, south)) = &self.south {
            if let Some(remotes) = effects.south_remotes {
                south.set_remotes(remotes);
            }
            if !effects.conditions.is_empty() {
                south.set_conditions(effects.conditions);
            }
            for (id, operations) in effects.south {
                if let Err(error) = south.transact(id, operations) {
                    let result = Err(error);
                    let answer = replica::Event::TransactReply { id, result };
                    self.soon.push_back(Event::South(*epoch, answer));
                }
            }
        }
        if let Some(path) = effects.connect_switch {
            self.link = Some(Link::new(path));
        } else if effects.reconnect_switch {
            self.link = self.link.take().map(|link| Link::new(link.path.clone()));
        }
        if let Some(link) = self.link.as_ref().filter(|_| !effects.to_switch.is_empty())
            && link.backlog.add(effects.to_switch.len())
        {
            self.soon.push_back(Event::Switch(SwitchEvent::Full));
        }
        if let Some(link) = self.link.as_ref().filter(|_| !effects.to_switch.is_empty()) {
            // The writer has ended if nobody receives; then the end of the connection is being told.
            let _ = link.output.send(effects.to_switch);
        }
    }

    fn connect_south(&self, connection: SouthConnection) -> Handle {
        let SouthConnection {
            epoch,
            target,
            tables,
        } = connection;
        let spec = Spec {
            tables,
            tls: target
                .tls
                .or_else(|| self.tls.files.clone())
                .map(|files| Tls {
                    server_name: self.tls.server_name.clone(),
                    ..files
                }),
            chance: Spec::any_chance(),
            ..Spec::new(sb_db::schema().clone(), target.remotes)
        };
        let event = move |event| Event::South(epoch, event);
        replica::spawn(spec, self.sender.clone(), event)
    }
}

/// What the switch says next; never, while there is none.
async fn next_of(link: &mut Option<Link>) -> Option<Event> {
    match link {
        Some(link) => link.events.recv().await,
        None => std::future::pending().await,
    }
}

/// The task that keeps the connection to the switch. It ends with this, and with it what it has said and nobody has heard yet.
///
/// The core never waits for the switch to read, nor the switch for the core: each would wait for the other. So what waits to be
/// written has no limit here, but the core is told when it is too much, and then makes no more but answers to probes.
struct Link {
    path: PathBuf,
    output: mpsc::UnboundedSender<Vec<u8>>,
    /// Packets do not wait behind what the databases say.
    events: mpsc::Receiver<Event>,
    backlog: Arc<Backlog>,
    task: JoinHandle<()>,
}

impl Link {
    fn new(path: PathBuf) -> Self {
        let (output, queue) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::channel(QUEUE_LIMIT);
        let backlog = Arc::new(Backlog::default());
        let task = keep_connected(path.clone(), queue, sender, backlog.clone());
        Link {
            path,
            output,
            events,
            backlog,
            task: tokio::spawn(task),
        }
    }
}

/// How much waits to be written to the switch.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    is_full: AtomicBool,
}

impl Backlog {
    /// The core said so many bytes more. Whether that is too much now.
    fn add(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before + bytes > BACKLOG_BYTES.1 && !self.is_full.swap(true, Ordering::Relaxed)
    }

    /// Nothing waits any more, whatever became of it.
    fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.is_full.store(false, Ordering::Relaxed);
    }

    /// So many bytes were written. Whether it was too much, and is not any more.
    fn take(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        before - bytes < BACKLOG_BYTES.0 && self.is_full.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_connected(
    path: PathBuf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    events: mpsc::Sender<Event>,
    backlog: Arc<Backlog>,
) {
    let (mut pause, longest) = SWITCH_RETRY;
    loop {
        match socket::connect(&path).await {
            Ok(stream) => {
                tracing::info!(target: "ofctrl", "unix:{}: connected", path.display());
                pause = SWITCH_RETRY.0;
                // Bytes for an earlier connection mean nothing to this one.
                while queue.try_recv().is_ok() {}
                // What was being written when that one ended is lost, too.
                backlog.reset();
                if events
                    .send(Event::Switch(SwitchEvent::Connected))
                    .await
                    .is_err()
                {
                    return;
                }
                let reason = converse(stream, &mut queue, &events, &backlog).await;
                if events
                    .send(Event::Switch(SwitchEvent::Closed(reason)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => tracing::debug!(target: "ofctrl", "unix:{}: {error}", path.display()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Carries bytes both ways until the connection ends; says why it did.
async fn converse(
    stream: UnixStream,
    queue: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    events: &mpsc::Sender<Event>,
    backlog: &Backlog,
) -> String {
    let (mut reader, mut writer) = stream.into_split();
    let reading = async {
        let mut buffer = vec![0; READ_LIMIT_BYTES];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => return "closed by the switch".to_owned(),
                Ok(n) => {
                    let data = Event::Switch(SwitchEvent::Data(buffer[..n].to_vec()));
                    if events.send(data).await.is_err() {
                        return "the agent ends".to_owned();
                    }
                }
                Err(error) => return error.to_string(),
            }
        }
    };
    let writing = async {
        while let Some(bytes) = queue.recv().await {
            let written = writer.write_all(&bytes).await;
            let is_drained = backlog.take(bytes.len());
            if let Err(error) = written {
                return error.to_string();
            }
            if is_drained {
                let drained = Event::Switch(SwitchEvent::Drained);
                // Whoever does not hear this has ended.
                let _ = events.send(drained).await;
            }
        }
        "the agent ends".to_owned()
    };
    tokio::select! {
        reason = reading => reason,
        reason = writing => reason,
    }
}

/// The chassis' name in a file beside OVN's configuration, which counts more than the switch's database.
fn chassis_of_file() -> Option<String> {
    let text = std::fs::read_to_string(place::config_dir().join("system-id-override")).ok()?;
    let name = text.lines().next()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::net::UnixListener;

    use super::*;

    /// Levels can be set before the first record of a module, and are its own.
    #[test]
    fn every_module_that_logs_is_known_from_the_start() {
        let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the sources") {
                let path = entry.expect("a file").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("text");
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for rest in text.split("target: \"").skip(1) {
                    let target = rest.split('"').next().unwrap_or_default();
                    assert!(MODULES.contains(&target), "{target} in {}", path.display());
                    found += 1;
                }
            }
        }
        assert!(found > 10, "{found}");
    }

    /// What test suites subtract must be numbers.
    #[test]
    fn counters_of_ovn_are_there_once() {
        let shown = surface().counters.iter().map(|counter| {
            let text = format!("{counter:?}");
            text.split('"').nth(1).expect("a name").to_owned()
        });
        let names: Vec<String> = shown.collect();
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(names.len(), different.len());
        for name in ["consider_logical_flow", "lflow_conj_alloc", "txn_unchanged"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn a_connection_begins_without_what_the_last_one_left() {
        let backlog = Backlog::default();
        assert!(!backlog.add(BACKLOG_BYTES.1));
        assert!(backlog.add(1) && !backlog.add(1), "told once");
        // The connection ends in the middle of it.
        backlog.reset();
        assert!(!backlog.add(BACKLOG_BYTES.1) && backlog.add(1));
        assert!(
            backlog.take(BACKLOG_BYTES.1) && !backlog.take(1),
            "told once"
        );
    }

    #[tokio::test]
    async fn a_switch_that_ends_in_the_middle_of_a_bundle_is_not_full_for_ever() {
        let dir = std::env::temp_dir().join(format!("weft-link-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let path = dir.join("switch");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut link = Some(Link::new(path));
        let (first, _) = listener.accept().await.expect("a connection");
        next_of(&mut link).await.expect("connected");
        let chunk = vec![0; BACKLOG_BYTES.0 * 4];
        let there = link.as_ref().expect("there");
        there.backlog.add(chunk.len());
        there.output.send(chunk).expect("taken");
        // It has read nothing of it.
        tokio::task::yield_now().await;
        drop(first);
        let (_second, _) = listener.accept().await.expect("another connection");
        let events = [next_of(&mut link).await, next_of(&mut link).await];
        assert!(
            matches!(
                events,
                [
                    Some(Event::Switch(SwitchEvent::Closed(_))),
                    Some(Event::Switch(SwitchEvent::Connected)),
                ]
            ),
            "{events:?}"
        );
        let there = link.as_ref().expect("there");
        assert_eq!(there.backlog.bytes.load(Ordering::Relaxed), 0);
        let _ = std::fs::remove_dir_all(&dir);
    }
}
