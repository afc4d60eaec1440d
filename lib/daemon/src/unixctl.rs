//! The control socket: Open vSwitch's `unixctl` protocol, as `ovs-appctl` and `ovn-appctl` speak it.
//!
//! The protocol is JSON-RPC 1.0 over a Unix stream socket. A request's method is the command, its parameters are
//! the command's arguments, all strings; the reply's result is the text to print, or its error the text of the
//! failure. Messages follow each other without a separator.
//!
//! `version`, `list-commands`, `vlog/*`, `coverage/*`, `stopwatch/*`, `memory/show` and what is about the daemon's loop are answered
//! here. Everything else that the daemon declared goes to its event loop as a [`Request`], with the number of arguments already checked.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::coverage::{self, Counter, Coverage};
use crate::event_loop::EventLoop;
use crate::stopwatch::{self, Stopwatch};
use crate::{memory, vlog, warp};

/// No request is longer; `inject-pkt` has the longest arguments.
const REQUEST_LIMIT_BYTES: usize = 1 << 20;
/// More clients wait until one of these is done.
const CLIENT_LIMIT: usize = 32;
/// How long a daemon that ends waits for clients that are slow to take their answers.
const FAREWELL: Duration = Duration::from_secs(2);
/// A client that has said nothing for so long gives its place to one that waits for a place.
const SILENCE: Duration = Duration::from_secs(30);
/// A longer request is read when it seems to be complete.
const SHORT_BYTES: usize = 4096;
/// Requests that wait for the event loop; a client beyond waits to be read.
const QUEUE_LIMIT: usize = 32;

/// A command of the daemon's own.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name, such as `inc-engine/recompute`.
    pub name: &'static str,
    /// Its arguments for people, such as `MICROFLOW`; empty for none.
    pub usage: &'static str,
    /// The least number of arguments.
    pub min_args: usize,
    /// The greatest number of arguments.
    pub max_args: usize,
}

impl Command {
    /// A command without arguments.
    pub const fn plain(name: &'static str) -> Self {
        Self {
            name,
            usage: "",
            min_args: 0,
            max_args: 0,
        }
    }

    /// Whether it takes so many arguments.
    fn check(&self, args: usize) -> Result<(), String> {
        let Self {
            name,
            min_args,
            max_args,
            ..
        } = self;
        if args < *min_args {
            return Err(format!(
                "\"{name}\" command requires at least {min_args} arguments"
            ));
        }
        if args > *max_args {
            return Err(format!(
                "\"{name}\" command takes at most {max_args} arguments"
            ));
        }
        Ok(())
    }
}

/// What a daemon answers on its control socket, beside what every daemon answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surface {
    /// Its own commands.
    pub commands: &'static [Command],
    /// Its own counters, for `coverage/*`.
    pub counters: &'static [&'static Counter],
    /// Its loop, if its steps are measured.
    pub event_loop: Option<&'static EventLoop>,
}

impl Surface {
    /// These commands, and nothing that is counted or measured.
    pub const fn of(commands: &'static [Command]) -> Self {
        Self {
            commands,
            counters: &[],
            event_loop: None,
        }
    }
}

/// The commands that every daemon answers without its event loop, beside those of the log.
const SHARED: &[Command] = &[
    Command::plain("list-commands"),
    Command::plain("version"),
    Command::plain("coverage/show"),
    Command {
        name: "coverage/read-counter",
        usage: "COUNTER",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("memory/show"),
    Command::plain("stopwatch/list"),
    Command {
        name: "stopwatch/show",
        usage: "[NAME]",
        min_args: 0,
        max_args: 1,
    },
    Command {
        name: "stopwatch/reset",
        usage: "[NAME]",
        min_args: 0,
        max_args: 1,
    },
];

/// What operators ask of loops whose steps are measured.
const OF_LOOPS: &[Command] = &[
    Command {
        name: "inc-engine/compute-log-timeout",
        usage: "MS",
        min_args: 1,
        max_args: 1,
    },
    Command::plain("inc-engine/list-stopwatches"),
    Command::plain("debug/enable-timewarp"),
];

/// What moves a loop's clock, once that is enabled.
const OF_CLOCKS: &[Command] = &[
    Command::plain("time/stop"),
    Command {
        name: WARP,
        usage: "[TOTAL_MSECS] MSECS",
        min_args: 1,
        max_args: 2,
    },
];

/// Sets the clock forward; for the loop, that it has been.
const WARP: &str = "time/warp";

/// A command to carry out. Dropping it unanswered tells the client that the daemon is going.
#[derive(Debug)]
pub struct Request {
    /// The command's name, one of those declared.
    pub command: &'static str,
    /// Its arguments; their number is right.
    pub args: Vec<String>,
    reply: oneshot::Sender<Result<String, String>>,
}

impl Request {
    /// A request that did not come from a socket, and where its answer arrives: for tests of a daemon's core.
    pub fn local(
        command: &'static str,
        args: Vec<String>,
    ) -> (Self, oneshot::Receiver<Result<String, String>>) {
        let (reply, answer) = oneshot::channel();
        (
            Self {
                command,
                args,
                reply,
            },
            answer,
        )
    }

    /// Whether it is no more than a tick, since the clock has been set ([`warp`]): deadlines may be over. To be answered with nothing.
    pub fn is_tick(&self) -> bool {
        self.command == WARP
    }

    /// Answers with the text to print.
    pub fn succeed(self, text: impl Into<String>) {
        // The client may have gone; that is its own affair.
        let _ = self.reply.send(Ok(text.into()));
    }

    /// Answers with the reason of the failure.
    pub fn fail(self, text: impl Into<String>) {
        let _ = self.reply.send(Err(text.into()));
    }
}

/// Where requests arrive.
#[derive(Debug)]
pub struct Control {
    requests: mpsc::Receiver<Request>,
    /// Keeps the channel open when there is no socket.
    _sender: Option<mpsc::Sender<Request>>,
    /// What a client holds from its request until its answer is written.
    answers: Arc<Semaphore>,
}

impl Control {
    /// Waits for the next request.
    pub async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // The listener lives as long as the runtime: there is nobody left to ask.
            None => std::future::pending().await,
        }
    }

    /// To be called before the daemon ends: returns when all answers are written, and the requests that wait are told
    /// that nobody will carry them out. A client that does not read is not waited for.
    pub async fn finish(self) {
        let Self {
            requests, answers, ..
        } = self;
        // Whoever waits for an answer learns that there will be none, and then that is its answer.
        drop(requests);
        let all = u32::try_from(CLIENT_LIMIT).expect("a small limit");
        let _ = tokio::time::timeout(FAREWELL, answers.acquire_many(all)).await;
    }
}

/// A control without a socket.
pub(crate) fn silent() -> Control {
    let (sender, requests) = mpsc::channel(1);
    Control {
        requests,
        _sender: Some(sender),
        answers: Arc::new(Semaphore::new(CLIENT_LIMIT)),
    }
}

pub(crate) fn listen(path: &Path, version: String, surface: Surface) -> io::Result<Control> {
    listen_with(path, version, surface, SILENCE)
}

fn listen_with(
    path: &Path,
    version: String,
    surface: Surface,
    silence: Duration,
) -> io::Result<Control> {
    let listener = socket::bind(path)?;
    let (sender, requests) = mpsc::channel(QUEUE_LIMIT);
    let answers = Arc::new(Semaphore::new(CLIENT_LIMIT));
    let coverage = Arc::new(Coverage::new(Instant::now(), surface.counters));
    tokio::spawn(sample(Arc::clone(&coverage)));
    let server = Server {
        version: version.into(),
        surface,
        coverage,
        requests: sender,
        answers: Arc::clone(&answers),
        places: Arc::new(Semaphore::new(CLIENT_LIMIT)),
        silence,
    };
    tokio::spawn(accept(listener, server));
    Ok(Control {
        requests,
        _sender: None,
        answers,
    })
}

#[derive(Clone)]
struct Server {
    version: Arc<str>,
    surface: Surface,
    coverage: Arc<Coverage>,
    requests: mpsc::Sender<Request>,
    answers: Arc<Semaphore>,
    places: Arc<Semaphore>,
    silence: Duration,
}

/// Takes samples for the rates of counters, as long as the runtime lives.
async fn sample(coverage: Arc<Coverage>) {
    let mut beat = tokio::time::interval(coverage::SAMPLE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    beat.tick().await;
    loop {
        beat.tick().await;
        coverage.sample(Instant::now());
    }
}

async fn accept(listener: UnixListener, server: Server) {
    loop {
        let Ok(place) = server.places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    // A client that broke off or sent nonsense has been told, if it still listens.
                    let _ = serve(stream, &server).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: a pause lets some come free instead of spinning.
                tracing::warn!(target: "unixctl", "cannot accept a client of the control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, server: &Server) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let is_worth_reading = buffer.len() < SHORT_BYTES || ends(&buffer);
        let text = if is_worth_reading { &*buffer } else { &[] };
        let mut requests = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        match requests.next() {
            Some(Ok(request)) => {
                let taken = requests.byte_offset();
                // There are as many as clients, so nobody waits here; and the semaphore is never closed.
                let _answer = server.answers.acquire().await;
                let reply = answer(&request, server).await;
                buffer.drain(..taken);
                stream.write_all(reply.to_string().as_bytes()).await?;
                continue;
            }
            Some(Err(error)) if !error.is_eof() => {
                let reply = json!({"id": null, "result": null, "error": format!("not a JSON-RPC request: {error}")});
                return stream.write_all(reply.to_string().as_bytes()).await;
            }
            Some(Err(_)) | None => {}
        }
        if buffer.len() > REQUEST_LIMIT_BYTES {
            let error =
                format!("a request may have {REQUEST_LIMIT_BYTES} bytes, this one has more");
            return stream
                .write_all(
                    json!({"id": null, "result": null, "error": error})
                        .to_string()
                        .as_bytes(),
                )
                .await;
        }
        let read = loop {
            match tokio::time::timeout(server.silence, stream.read_buf(&mut buffer)).await {
                Ok(read) => break read?,
                // Nobody else needs the place.
                Err(_) if server.places.available_permits() > 0 => {}
                Err(_) => return Ok(()),
            }
        };
        if read == 0 {
            return Ok(());
        }
    }
}

/// Whether a request may end here: a long one is not read again from its beginning for each piece that comes.
fn ends(text: &[u8]) -> bool {
    matches!(text.trim_ascii_end().last(), Some(b'}' | b']'))
}

async fn answer(request: &Value, server: &Server) -> Value {
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    coverage::UNIXCTL_RECEIVED.add(1);
    let outcome = run(request, server).await;
    coverage::UNIXCTL_REPLIED.add(1);
    // Open vSwitch's server ends every text with a line.
    let line = |mut text: String| {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    };
    match outcome.map(line).map_err(line) {
        Ok(text) => json!({"id": id, "result": text, "error": null}),
        Err(text) => json!({"id": id, "result": null, "error": text}),
    }
}

async fn run(request: &Value, server: &Server) -> Result<String, String> {
    let method = request
        .get("method")
        .and_then(Value::as_str)
        .ok_or("the request names no method")?;
    let mut args = Vec::new();
    for argument in request
        .get("params")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        args.push(
            argument
                .as_str()
                .ok_or_else(|| format!("argument {argument} is not a string"))?
                .to_owned(),
        );
    }
    if let Some(result) = vlog::command(method, &args) {
        return result;
    }
    // What a daemon answers itself is its own affair.
    let own = server.surface.commands;
    let is_own = |name: &str| own.iter().any(|command| command.name == name);
    let of_loop = match server.surface.event_loop {
        Some(_) => OF_LOOPS,
        None => &[],
    };
    let of_clock = match warp::is_enabled() {
        true => OF_CLOCKS,
        false => &[],
    };
    let shared = SHARED.iter().chain(of_loop).chain(of_clock);
    let shared = shared.filter(|command| !is_own(command.name));
    let all = own.iter().chain(shared);
    let command = all
        .clone()
        .find(|command| command.name == method)
        .ok_or_else(|| format!("\"{method}\" is not a valid command (use list-commands to see a list of valid commands)"))?;
    command.check(args.len())?;
    let name = args.first().map(String::as_str);
    let event_loop = server.surface.event_loop;
    match (event_loop, method) {
        (Some(event_loop), "inc-engine/list-stopwatches") => return Ok(event_loop.list()),
        (Some(event_loop), "inc-engine/compute-log-timeout") => {
            return event_loop.tell_from(name.unwrap_or_default());
        }
        _ => {}
    }
    match method {
        "debug/enable-timewarp" => {
            warp::enable();
            return Ok(String::new());
        }
        "time/stop" => {
            warp::stop();
            return Ok(String::new());
        }
        WARP => return set_forward(&args, server).await,
        _ => {}
    }
    let stopwatches: Vec<&Stopwatch> = event_loop.iter().map(|of| &of.stopwatch).collect();
    let stopwatches = stopwatches.as_slice();
    match method {
        own if is_own(own) => {}
        "version" => return Ok(server.version.to_string()),
        "list-commands" => return Ok(list(all)),
        "coverage/show" => return Ok(server.coverage.show()),
        "coverage/read-counter" => return server.coverage.read(name.unwrap_or_default()),
        "memory/show" => return memory::show().map_err(|error| error.to_string()),
        "stopwatch/list" => return Ok(stopwatch::list(stopwatches)),
        "stopwatch/show" => return stopwatch::show(stopwatches, name),
        "stopwatch/reset" => return stopwatch::reset(stopwatches, name),
        _ => {}
    }
    ask(command.name, args, server).await
}

/// Has the event loop carry a request out.
async fn ask(command: &'static str, args: Vec<String>, server: &Server) -> Result<String, String> {
    let (reply, answer) = oneshot::channel();
    let request = Request {
        command,
        args,
        reply,
    };
    let gone = || "the daemon is ending".to_owned();
    server.requests.send(request).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// `time/warp`: the loop has its turn after each step, and has done what was due when this is answered.
async fn set_forward(args: &[String], server: &Server) -> Result<String, String> {
    let (mut left, step) = warp::steps(args)?;
    while left > 0 {
        let ms = left.min(step);
        warp::advance(Duration::from_millis(ms));
        left -= ms;
        ask(WARP, Vec::new(), server).await?;
    }
    // What the last step brought about is done before the next request.
    ask(WARP, Vec::new(), server).await?;
    Ok("warped".to_owned())
}

fn list(commands: impl Iterator<Item = &'static Command>) -> String {
    let mut lines: Vec<(&str, &str)> = commands
        .map(|command| (command.name, command.usage))
        .chain(vlog::COMMANDS)
        .collect();
    lines.sort_unstable();
    let mut text = "The available commands are:\n".to_owned();
    for (name, usage) in lines {
        text += format!("  {name:<25} {usage}").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};

    use super::*;

    const COMMANDS: &[Command] = &[Command {
        name: "echo",
        usage: "TEXT",
        min_args: 1,
        max_args: 1,
    }];

    async fn ask(path: &Path, bytes: &[u8]) -> Vec<Value> {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let mut reply = Vec::new();
        let asked = async {
            stream.write_all(bytes).await?;
            stream.shutdown().await?;
            stream.read_to_end(&mut reply).await
        };
        if let Err(error) = asked.await {
            let is_shown_out = matches!(error.kind(), BrokenPipe | ConnectionReset);
            assert!(is_shown_out, "{error}");
        }
        serde_json::Deserializer::from_slice(&reply)
            .into_iter::<Value>()
            .map(Result::unwrap)
            .collect()
    }

    #[tokio::test]
    async fn commands_are_answered_and_nonsense_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ctl");
        let mut control = listen(&path, "x (Weft) 1".to_owned(), Surface::of(COMMANDS)).unwrap();
        tokio::spawn(async move {
            loop {
                let request = control.next().await;
                let text = request.args.join(" ");
                request.succeed(text);
            }
        });
        let both =
            br#"{"method":"version","params":[],"id":1}{"method":"echo","params":["a"],"id":2}"#;
        let replies = ask(&path, both).await;
        assert_eq!(
            replies[0],
            json!({"id": 1, "result": "x (Weft) 1\n", "error": null})
        );
        assert_eq!(replies[1], json!({"id": 2, "result": "a\n", "error": null}));
        let wrong = ask(&path, br#"{"method":"echo","params":[],"id":3}"#).await;
        assert_eq!(
            wrong[0]["error"],
            "\"echo\" command requires at least 1 arguments\n"
        );
        let nonsense = ask(&path, b"}").await;
        assert!(
            nonsense[0]["error"]
                .as_str()
                .unwrap()
                .starts_with("not a JSON-RPC request")
        );
        let half = ask(&path, br#"{"method":"#).await;
        assert_eq!(half, [] as [Value; 0]);
    }

    #[tokio::test]
    async fn who_says_nothing_gives_its_place_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ctl");
        let surface = Surface::of(COMMANDS);
        let silence = Duration::from_millis(10);
        let _control = listen_with(&path, "x".to_owned(), surface, silence).unwrap();
        let mut silent = Vec::new();
        for _ in 0..2 * CLIENT_LIMIT {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        // Who is slow to ask counts as silent, too, on a machine that is busy.
        let version = br#"{"method":"version","params":[],"id":1}"#;
        let reply = loop {
            if let Some(reply) = ask(&path, version).await.pop() {
                break reply;
            }
        };
        assert_eq!(reply["result"], "x\n");
    }

    #[tokio::test]
    async fn a_long_request_is_read_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ctl");
        let mut control = listen(&path, "x".to_owned(), Surface::of(COMMANDS)).unwrap();
        tokio::spawn(async move {
            loop {
                let request = control.next().await;
                let length = request.args[0].len();
                request.succeed(length.to_string());
            }
        });
        let text = "}".repeat(3 * SHORT_BYTES) + &"x".repeat(SHORT_BYTES);
        let request = json!({"method": "echo", "params": [text], "id": 1}).to_string() + "\n";
        let mut stream = UnixStream::connect(&path).await.unwrap();
        for piece in request.as_bytes().chunks(SHORT_BYTES / 2) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.shutdown().await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let length = format!("{}\n", 4 * SHORT_BYTES);
        assert_eq!(
            serde_json::from_str::<Value>(&reply).unwrap()["result"],
            length
        );
    }

    #[tokio::test]
    async fn who_asks_for_the_end_is_answered_before_it() {
        const EXIT: &[Command] = &[Command::plain("exit"), Command::plain("wait")];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ctl");
        let mut control = listen(&path, "x".to_owned(), Surface::of(EXIT)).unwrap();
        // One that waits for an answer, one that will ask nothing, and the one that asks for the end.
        let mut waiting = UnixStream::connect(&path).await.unwrap();
        let wait = br#"{"method":"wait","params":[],"id":1}"#;
        waiting.write_all(wait).await.unwrap();
        let waits = control.next().await;
        let silent = UnixStream::connect(&path).await.unwrap();
        let mut ending = UnixStream::connect(&path).await.unwrap();
        let exit = br#"{"method":"exit","params":[],"id":2}"#;
        ending.write_all(exit).await.unwrap();
        control.next().await.succeed("");
        drop(waits);
        control.finish().await;
        // Both answers are there though nothing runs any more: reading does not wait.
        let read = |stream: UnixStream| {
            let mut buffer = [0; 200];
            let n = io::Read::read(&mut stream.into_std().unwrap(), &mut buffer).unwrap();
            serde_json::from_slice::<Value>(&buffer[..n]).unwrap()
        };
        assert_eq!(read(ending), json!({"id": 2, "result": "", "error": null}));
        assert_eq!(read(waiting)["error"], "the daemon is ending\n");
        drop(silent);
    }
}
