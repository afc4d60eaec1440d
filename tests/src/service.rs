//! A service on a guest: it tells whoever connects where he is and as whom he is seen, and then says everything again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::guest::Guest;
use crate::namespace::Namespace;

/// How long an answer that will come may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A service, until it is dropped or stopped.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    guest: String,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts one on a guest, on a TCP port, over both families.
    pub fn start(guest: &Guest, port: u16) -> Result<Self> {
        let listener = guest
            .namespace()
            .inside(|| Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?))?;
        let stops = Arc::new(AtomicBool::new(false));
        let name = guest.device().to_owned();
        let serves = stops.clone();
        let thread = thread::spawn(move || serve(&listener, &name, &serves));
        Ok(Self {
            address: (Ipv6Addr::LOCALHOST, port).into(),
            guest: guest.namespace().name().to_owned(),
            stops,
            thread: Some(thread),
        })
    }

    /// Ends it: who connects from now on is refused. Connections that stand go on.
    pub fn stop(mut self, guest: &Guest) -> Result<()> {
        ensure!(
            guest.namespace().name() == self.guest,
            "another guest's service"
        );
        self.stops.store(true, Ordering::SeqCst);
        // It may wait for somebody to come.
        let _woken = guest
            .namespace()
            .inside(|| Ok(TcpStream::connect(self.address)?))?;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("serving does not panic");
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::SeqCst);
    }
}

fn serve(listener: &TcpListener, name: &str, stops: &AtomicBool) {
    for stream in listener.incoming() {
        if stops.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let name = name.to_owned();
        thread::spawn(move || {
            // A client that leaves is no fault.
            let _ended = talk(stream, &name);
        });
    }
}

fn talk(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?.ip().to_canonical();
    stream.write_all(format!("{name} {peer}\n").as_bytes())?;
    let mut buffer = [0; 64];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

/// A connection to a service.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    /// The interface of the guest on which the service is.
    pub server: String,
    /// As whom the service sees the client.
    pub seen_as: IpAddr,
}

impl Connection {
    /// Connects from a guest.
    pub fn open(from: &Guest, to: SocketAddr) -> Result<Self> {
        Self::open_within(from, to, LIMIT)
    }

    /// Connects from a guest, if that does not take longer.
    pub fn open_within(from: &Guest, to: SocketAddr, limit: Duration) -> Result<Self> {
        Self::open_from(from.namespace(), to, limit)
    }

    /// Connects from a namespace, if that does not take longer.
    pub fn open_from(from: &Namespace, to: SocketAddr, limit: Duration) -> Result<Self> {
        let stream = from
            .inside(|| Ok(TcpStream::connect_timeout(&to, limit)?))
            .with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .with_context(|| format!("{to} says nothing"))?;
        let (server, seen_as) = line
            .trim()
            .split_once(' ')
            .with_context(|| format!("{to} says {line:?}"))?;
        Ok(Self {
            server: server.to_owned(),
            seen_as: seen_as.parse()?,
            stream,
        })
    }

    /// A byte goes there and comes back.
    pub fn lives(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(b"x")?;
        let mut buffer = [0; 1];
        let server = &self.server;
        self.stream
            .read_exact(&mut buffer)
            .with_context(|| format!("a connection to {server} is dead"))
    }
}
