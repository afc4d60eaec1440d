//! Packets at a steady rate between two namespaces, each answered: what a fault costs those who are talking meanwhile.
//!
//! The packets are UDP datagrams with a number; the far end sends each back. Sockets stay in the namespace in which they
//! were opened, so each side is one thread that enters its namespace first.

use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fd::AsFd as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::namespace::Namespace;

/// Where the far end answers.
const PORT: u16 = 7777;
/// How long a reader sleeps before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(50);

/// What came of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// So many were sent, from the first that was answered to the last.
    pub sent: u64,
    /// So many of these were not answered.
    pub lost: u64,
    /// So many answers came once more.
    pub repeated: u64,
    /// The longest time in which no answer came.
    pub silence: Duration,
}

/// Packets on their way, until they are asked what came of them.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    receiver: Option<JoinHandle<Vec<(u64, Instant)>>>,
}

impl Traffic {
    /// Begins to send a packet each `interval` out of the namespace `from` to `address`, which leads to the namespace `to`.
    ///
    /// # Errors
    ///
    /// If a socket cannot be opened in one of the namespaces.
    pub fn start(
        from: &Namespace,
        to: &Namespace,
        address: Ipv4Addr,
        interval: Duration,
    ) -> Result<Self> {
        let far = open(to, PORT)?;
        let near = open(from, 0)?;
        near.connect((address, PORT))?;
        let sender = near.try_clone()?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let echoing = {
            let stop = stop.clone();
            std::thread::spawn(move || echo(&far, &stop))
        };
        let sending = {
            let stop = stop.clone();
            std::thread::spawn(move || send(&sender, interval, &stop))
        };
        let receiver = {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || receive(&near, &stop, &answered))
        };
        Ok(Self {
            stop,
            answered,
            threads: vec![echoing, sending],
            receiver: Some(receiver),
        })
    }

    /// Has what comes to another namespace answered, too: the far end may move there.
    ///
    /// # Errors
    ///
    /// If a socket cannot be opened there.
    pub fn answer_at(&mut self, to: &Namespace) -> Result<()> {
        let (far, stop) = (open(to, PORT)?, self.stop.clone());
        let echoing = std::thread::spawn(move || echo(&far, &stop));
        self.threads.push(echoing);
        Ok(())
    }

    /// How many were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends them: what came of them.
    ///
    /// # Errors
    ///
    /// If none was answered.
    pub fn stop(mut self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let receiver = self.receiver.take().context("they are ended once")?;
        let answers = receiver.join().expect("receiving does not panic");
        outcome(answers)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("neither sending nor echoing panics");
        }
    }
}

/// Sends more than `offered` bit/s of UDP out of the namespace `from` to `address`, which leads to the namespace `to`, and measures
/// for a while, once what had gathered has passed, how much comes there.
///
/// The packets come in bursts: with each that it looks at, the meter of Open vSwitch's userspace datapath (3.1) forgets what was under a
/// millisecond since the last.
///
/// # Errors
///
/// If a socket cannot be opened in one of the namespaces.
pub fn measure(from: &Namespace, to: &Namespace, address: Ipv4Addr, offered: u64) -> Result<u64> {
    const SIZE: usize = 1400;
    const BURST: Duration = Duration::from_millis(100);
    /// Headers of Ethernet, IPv4 and UDP, which are part of the rate.
    const HEADERS: usize = 14 + 20 + 8;
    const GATHERED: Duration = Duration::from_secs(2);
    const MEASURED: Duration = Duration::from_secs(4);
    let far = open(to, PORT)?;
    let near = open(from, 0)?;
    near.connect((address, PORT))?;
    let stop = Arc::new(AtomicBool::new(false));
    let sending = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let (start, packet) = (Instant::now(), [0; SIZE]);
            let bytes = u128::from(offered) * BURST.as_millis() / 8000;
            let burst = bytes / (SIZE + HEADERS) as u128;
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                for _ in 0..burst {
                    // A packet that cannot be sent is a lost one.
                    let _lost = near.send(&packet);
                }
                let due = start + BURST * number;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        })
    };
    let (mut packet, mut received) = ([0; SIZE], 0);
    let start = Instant::now();
    while start.elapsed() < GATHERED + MEASURED {
        if let Ok(size) = far.recv(&mut packet)
            && start.elapsed() > GATHERED
        {
            received += (size + HEADERS) as u64 * 8;
        }
    }
    stop.store(true, Ordering::Relaxed);
    sending.join().expect("sending does not panic");
    Ok(received / MEASURED.as_secs())
}

/// A UDP socket in a namespace.
fn open(namespace: &Namespace, port: u16) -> Result<UdpSocket> {
    let path = Path::new("/run/netns").join(namespace.name());
    let place = File::open(&path).with_context(|| path.display().to_string())?;
    let opening = std::thread::spawn(move || {
        // This thread alone moves there, and ends.
        move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?;
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
    });
    let socket = opening.join().expect("opening a socket does not panic");
    let socket = socket.with_context(|| format!("a socket in {}", namespace.name()))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) {
    let mut packet = [0; 8];
    while !stop.load(Ordering::Relaxed) {
        // Nothing came for a while, or an ICMP error about an earlier answer.
        if let Ok((size, from)) = socket.recv_from(&mut packet) {
            // An answer that cannot be sent is a lost one.
            let _lost = socket.send_to(&packet[..size], from);
        }
    }
}

fn send(socket: &UdpSocket, interval: Duration, stop: &AtomicBool) {
    let start = Instant::now();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        // A packet that cannot be sent is a lost one.
        let _lost = socket.send(&number.to_be_bytes());
        number += 1;
        let due = start + interval * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, answered: &AtomicU64) -> Vec<(u64, Instant)> {
    let mut answers = Vec::new();
    let mut packet = [0; 8];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(8) = socket.recv(&mut packet) {
            answers.push((u64::from_be_bytes(packet), Instant::now()));
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    answers
}

fn outcome(mut answers: Vec<(u64, Instant)>) -> Result<Outcome> {
    ensure!(!answers.is_empty(), "nothing was answered");
    let pauses = answers.windows(2).map(|pair| pair[1].1 - pair[0].1);
    let silence = pauses.max().unwrap_or_default();
    answers.sort_by_key(|(number, _)| *number);
    let all = answers.len();
    answers.dedup_by_key(|(number, _)| *number);
    let sent = answers[answers.len() - 1].0 - answers[0].0 + 1;
    Ok(Outcome {
        sent,
        lost: sent - answers.len() as u64,
        repeated: (all - answers.len()) as u64,
        silence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_counted_once() {
        let start = Instant::now();
        let answer = |(number, after)| (number, start + Duration::from_millis(after));
        let answers = [(3, 0), (4, 1), (9, 31), (8, 32), (8, 33)].map(answer);
        let told = outcome(answers.to_vec()).unwrap();
        let expected = Outcome {
            sent: 7,
            lost: 3,
            repeated: 1,
            silence: Duration::from_millis(30),
        };
        assert_eq!(told, expected);
        assert!(outcome(Vec::new()).is_err());
    }
}
