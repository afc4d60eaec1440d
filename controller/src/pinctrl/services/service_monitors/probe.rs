//! One service that is probed again and again: what was asked, what that has told so far, and what is next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::Now;
use ovsdb::Uuid;
use packet::frame::FrameError;
use packet::probe::{Ends, tcp_syn, udp};

use crate::flow::digest_in_every_process;

/// The least number of an asker's port (RFC 6335, section 6: dynamic ports begin at 49152; the Linux kernel's begin here).
const FIRST_PORT: u16 = 32_768;

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// What is known of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Online,
    Offline,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Offline => "offline",
        }
    }
}

/// How often it is asked, and what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    interval: Duration,
    timeout: Duration,
    success_count: u32,
    failure_count: u32,
}

impl Settings {
    /// From a row's options, ovn-controller's defaults where they say nothing that makes sense.
    pub(super) fn of(options: &BTreeMap<Arc<str>, Arc<str>>) -> Self {
        let number = |key: &str, default: u32| {
            let given = options.get(key).and_then(|text| text.parse::<u32>().ok());
            given.unwrap_or(default).max(1)
        };
        Settings {
            interval: Duration::from_secs(number("interval", 5).into()),
            timeout: Duration::from_secs(number("timeout", 3).into()),
            success_count: number("success_count", 1),
            failure_count: number("failure_count", 1),
        }
    }
}

/// The probe.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The keys of datapath and port.
    pub(super) port: (u32, u32),
    pub(super) protocol: Protocol,
    /// The service's port.
    pub(super) number: u16,
    pub(super) ends: Ends,
    pub(super) settings: Settings,
    /// It was asked, and has not answered.
    pub(super) waits: bool,
    /// The asker's port, and the number of its first byte.
    pub(super) source_port: u16,
    pub(super) sequence: u32,
    /// When the next thing is to be done: to give up waiting, or to ask.
    pub(super) due: Instant,
    asks_at: Instant,
    successes: u32,
    failures: u32,
}

impl Probe {
    /// A probe that is to be made at once.
    pub(super) fn new(
        now: Instant,
        (port, protocol, number): ((u32, u32), Protocol, u16),
        settings: Settings,
        ends: Ends,
    ) -> Self {
        Probe {
            port,
            protocol,
            number,
            ends,
            settings,
            waits: false,
            source_port: FIRST_PORT,
            sequence: 0,
            due: now,
            asks_at: now,
            successes: 0,
            failures: 0,
        }
    }

    /// Asks: the packet.
    pub(super) fn ask(&mut self, now: Now, row: Uuid) -> Result<Vec<u8>, FrameError> {
        // Others than the last time, so that an answer that is late is not taken for one to this.
        let seed = (row, now.unix_ms, self.sequence);
        self.sequence = digest_in_every_process(&seed);
        self.source_port = FIRST_PORT | (self.sequence >> 16) as u16;
        self.waits = true;
        self.due = now.at + self.settings.timeout;
        self.asks_at = now.at + self.settings.interval;
        let ports = (self.source_port, self.number);
        match self.protocol {
            Protocol::Tcp => tcp_syn(self.ends, ports, self.sequence),
            Protocol::Udp => udp(self.ends, ports),
        }
    }

    /// The service is there, or not. What is known of it now, once enough probes said so.
    pub(super) fn answered(&mut self, now: Instant, is_there: bool) -> Option<Status> {
        self.waits = false;
        self.due = self.asks_at.max(now);
        let (count, enough, status) = match is_there {
            true => (
                &mut self.successes,
                self.settings.success_count,
                Status::Online,
            ),
            false => (
                &mut self.failures,
                self.settings.failure_count,
                Status::Offline,
            ),
        };
        *count += 1;
        if *count < enough {
            return None;
        }
        (self.successes, self.failures) = (0, 0);
        Some(status)
    }
}
