//! Packets that wait for next hops, within limits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use addr::Mac;
use openflow::Match;
use openflow::message::PacketIn;
use rustc_hash::FxHashMap;

use super::{PER_NEIGHBOUR, PER_PORT, TOTAL, TOTAL_BYTES, WAIT};
use crate::pinctrl::fields::pipeline_fields;

/// For how long a neighbour is remembered that became known: longer than its flow takes into the switch.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// How many such neighbours are remembered. Packets for others wait in vain, and the next one finds the flow.
const KNOWN: usize = 4_096;

/// Who is asked: an address behind a port of a router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Neighbour {
    /// The name of the port.
    pub(super) port: Arc<str>,
    /// The address.
    pub(super) ip: IpAddr,
}

/// A packet that waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// What it starts with when it goes on.
    pub(super) metadata: Match,
    /// The frame.
    pub(super) packet: Vec<u8>,
}

impl Kept {
    pub(super) fn of(packet_in: &PacketIn) -> Self {
        Self {
            metadata: pipeline_fields(&packet_in.metadata),
            packet: packet_in.packet.clone(),
        }
    }
}

/// The packets, each with the time at which it came; and the neighbours that have answered lately.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    packets: FxHashMap<Neighbour, VecDeque<(Instant, Kept)>>,
    /// How many next hops are waited for behind each port.
    of_port: FxHashMap<Arc<str>, usize>,
    bytes: usize,
    /// When packets came, in that order, also of those that do not wait any more.
    came: VecDeque<(Instant, Neighbour)>,
    known: FxHashMap<Neighbour, (Instant, Mac)>,
    /// When neighbours became known, in that order.
    known_since: VecDeque<(Instant, Neighbour)>,
    dropped: u64,
}

impl Waiting {
    /// Keeps a packet, or drops it, or one that has waited longer for the same.
    pub(super) fn keep(&mut self, now: Instant, neighbour: Neighbour, kept: Kept) {
        self.expire(now);
        let size = kept.packet.len();
        let is_new = !self.packets.contains_key(&neighbour);
        let others = self.of_port.get(&neighbour.port).copied().unwrap_or(0);
        let is_full = is_new && (others >= PER_PORT || self.packets.len() >= TOTAL);
        // What is in `came` without waiting is bounded by time only.
        let is_busy = self.came.len() >= 4 * TOTAL * PER_NEIGHBOUR;
        if is_full || is_busy || self.bytes + size > TOTAL_BYTES {
            self.dropped += 1;
            return;
        }
        if is_new {
            *self.of_port.entry(neighbour.port.clone()).or_default() += 1;
        }
        let queue = self.packets.entry(neighbour.clone()).or_default();
        if queue.len() >= PER_NEIGHBOUR
            && let Some((_, oldest)) = queue.pop_front()
        {
            self.bytes -= oldest.packet.len();
            self.dropped += 1;
        }
        self.bytes += size;
        queue.push_back((now, kept));
        self.came.push_back((now, neighbour));
    }

    /// A neighbour is known: what waited for it.
    pub(super) fn resolved(
        &mut self,
        now: Instant,
        neighbour: Neighbour,
        mac: Mac,
    ) -> impl Iterator<Item = Kept> + use<> {
        let queue = self.take(&neighbour);
        self.known.insert(neighbour.clone(), (now, mac));
        self.known_since.push_back((now, neighbour));
        self.forget_old(now);
        let fresh = queue.into_iter().filter(move |(at, _)| now < *at + WAIT);
        fresh.map(|(_, kept)| kept)
    }

    /// The address of a neighbour that answered lately.
    pub(super) fn known(&self, now: Instant, neighbour: &Neighbour) -> Option<Mac> {
        let (since, mac) = self.known.get(neighbour)?;
        (now < *since + KNOWN_FOR).then_some(*mac)
    }

    /// A neighbour is known no longer.
    pub(super) fn forget_known(&mut self, neighbour: &Neighbour) {
        self.known.remove(neighbour);
    }

    /// Drops what has waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, neighbour)) = self.came.pop_front_if(|(at, _)| *at + WAIT <= now) {
            let Some(queue) = self.packets.get_mut(&neighbour) else {
                continue;
            };
            while let Some((_, kept)) = queue.pop_front_if(|(came, _)| *came <= at) {
                self.bytes -= kept.packet.len();
                self.dropped += 1;
            }
            if queue.is_empty() {
                self.take(&neighbour);
            }
        }
    }

    /// When the next packet will have waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.came.front().map(|(at, _)| *at + WAIT)
    }

    /// How many packets came to nothing.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take(&mut self, neighbour: &Neighbour) -> VecDeque<(Instant, Kept)> {
        let Some(queue) = self.packets.remove(neighbour) else {
            return VecDeque::new();
        };
        self.bytes -= queue.iter().map(|(_, k)| k.packet.len()).sum::<usize>();
        if let Some(count) = self.of_port.get_mut(&neighbour.port) {
            *count -= 1;
            if *count == 0 {
                self.of_port.remove(&neighbour.port);
            }
        }
        queue
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((since, _)) = self.known_since.front() {
            if now < *since + KNOWN_FOR && self.known_since.len() <= KNOWN {
                return;
            }
            let Some((since, neighbour)) = self.known_since.pop_front() else {
                return;
            };
            // It may have become known again.
            if self
                .known
                .get(&neighbour)
                .is_some_and(|(at, _)| *at == since)
            {
                self.known.remove(&neighbour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(port: &str, n: u32) -> Neighbour {
        let ip = std::net::Ipv4Addr::from_bits(n).into();
        let port = port.into();
        Neighbour { port, ip }
    }

    fn kept(size: usize) -> Kept {
        Kept {
            metadata: Match::new(),
            packet: vec![0; size],
        }
    }

    #[test]
    fn who_scans_a_network_leaves_room_for_others() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for n in 0..10_000 {
            waiting.keep(now, neighbour("scanner", n), kept(60));
        }
        assert_eq!(waiting.dropped(), 10_000 - PER_PORT as u64);
        waiting.keep(now, neighbour("other", 1), kept(60));
        let mac = Mac::BROADCAST;
        assert_eq!(waiting.resolved(now, neighbour("other", 1), mac).count(), 1);
        for port in 0..100 {
            for n in 0..PER_PORT as u32 {
                waiting.keep(now, neighbour(&port.to_string(), n), kept(60));
            }
        }
        assert_eq!(waiting.packets.len(), TOTAL);
        waiting.expire(now + WAIT);
        assert!(waiting.packets.is_empty() && waiting.of_port.is_empty());
        assert_eq!((waiting.bytes, waiting.deadline()), (0, None));
    }

    #[test]
    fn bytes_are_limited_and_the_oldest_packet_of_a_neighbour_gives_way() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for n in 0..TOTAL as u32 {
            let port = (n / 64).to_string();
            waiting.keep(now, neighbour(&port, n), kept(TOTAL_BYTES / 16));
        }
        assert_eq!((waiting.packets.len(), waiting.bytes), (16, TOTAL_BYTES));
        waiting.expire(now + WAIT);
        for size in 1..=6 {
            waiting.keep(now + WAIT, neighbour("p", 0), kept(size));
        }
        let later = now + WAIT + Duration::from_secs(1);
        let sizes = waiting.resolved(later, neighbour("p", 0), Mac::ZERO);
        let sizes: Vec<usize> = sizes.map(|kept| kept.packet.len()).collect();
        assert_eq!(sizes, [3, 4, 5, 6]);
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn packets_that_came_later_outlive_the_first() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let second = now + Duration::from_secs(4);
        waiting.keep(now, neighbour("p", 0), kept(1));
        waiting.keep(second, neighbour("p", 0), kept(2));
        waiting.expire(now + WAIT);
        assert_eq!(waiting.deadline(), Some(second + WAIT));
        let rest = waiting.resolved(now + WAIT, neighbour("p", 0), Mac::ZERO);
        assert_eq!(rest.map(|kept| kept.packet.len()).collect::<Vec<_>>(), [2]);
        waiting.expire(second + WAIT);
        assert_eq!(waiting.deadline(), None);
    }

    #[test]
    fn who_answered_lately_is_remembered_for_a_while() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let mac = Mac::BROADCAST;
        drop(waiting.resolved(now, neighbour("p", 0), mac));
        assert_eq!(waiting.known(now, &neighbour("p", 0)), Some(mac));
        assert_eq!(waiting.known(now + KNOWN_FOR, &neighbour("p", 0)), None);
        for n in 1..20_000 {
            drop(waiting.resolved(now, neighbour("p", n), mac));
        }
        assert_eq!(waiting.known.len(), KNOWN);
        assert_eq!(waiting.known(now, &neighbour("p", 0)), None);
        waiting.forget_known(&neighbour("p", 19_999));
        assert_eq!(waiting.known(now, &neighbour("p", 19_999)), None);
    }
}
