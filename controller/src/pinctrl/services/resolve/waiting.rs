//! Packets that wait for next hops, within limits.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use openflow::Match;
use openflow::message::PacketIn;
use rustc_hash::FxHashMap;

use super::{PER_NEIGHBOUR, PER_PORT, TOTAL, TOTAL_BYTES, WAIT};
use crate::pinctrl::fields::pipeline_fields;

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

/// The packets for one next hop.
#[derive(Debug)]
struct Queue {
    /// Each with the time at which it came.
    packets: VecDeque<(Instant, Kept)>,
    /// Its place among those whose first packets will have waited too long.
    turn: Turn,
}

/// When the first packet of a queue came, and a number by which no two turns are the same.
type Turn = (Instant, u64);

/// The packets, by next hop.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: FxHashMap<Neighbour, Queue>,
    /// The next hops by when their first packets came: one entry each, however many packets have given way.
    turns: BTreeMap<Turn, Neighbour>,
    next_turn: u64,
    /// How many next hops are waited for behind each port.
    of_port: FxHashMap<Arc<str>, usize>,
    bytes: usize,
    dropped: u64,
}

impl Waiting {
    /// Keeps a packet, or drops it, or one that has waited longer for the same.
    pub(super) fn keep(&mut self, now: Instant, neighbour: Neighbour, kept: Kept) {
        self.expire(now);
        let size = kept.packet.len();
        let is_new = !self.queues.contains_key(&neighbour);
        let others = self.of_port.get(&neighbour.port).copied().unwrap_or(0);
        let is_full = is_new && (others >= PER_PORT || self.queues.len() >= TOTAL);
        let waits = self.queues.get(&neighbour);
        if waits.is_some_and(|queue| queue.packets.len() >= PER_NEIGHBOUR) {
            self.drop_first(&neighbour);
        }
        if is_full || self.bytes + size > TOTAL_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += size;
        let Some(queue) = self.queues.get_mut(&neighbour) else {
            *self.of_port.entry(neighbour.port.clone()).or_default() += 1;
            let turn = self.take_turn(now, neighbour.clone());
            let packets = VecDeque::from([(now, kept)]);
            self.queues.insert(neighbour, Queue { packets, turn });
            return;
        };
        queue.packets.push_back((now, kept));
    }

    /// A neighbour is known: what waited for it.
    pub(super) fn resolved(
        &mut self,
        now: Instant,
        neighbour: &Neighbour,
    ) -> impl Iterator<Item = Kept> + use<> {
        let packets = self.take(neighbour);
        let fresh = packets.into_iter().filter(move |(at, _)| now < *at + WAIT);
        fresh.map(|(_, kept)| kept)
    }

    /// Drops what has waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(first) = self.turns.first_entry() {
            if first.key().0 + WAIT > now {
                return;
            }
            let neighbour = first.get().clone();
            self.drop_first(&neighbour);
        }
    }

    /// When the next packet will have waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.turns.first_key_value().map(|((at, _), _)| *at + WAIT)
    }

    /// How many packets came to nothing.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops the packet that has waited longest for a next hop.
    fn drop_first(&mut self, neighbour: &Neighbour) {
        let Some(queue) = self.queues.get_mut(neighbour) else {
            return;
        };
        if let Some((_, kept)) = queue.packets.pop_front() {
            self.bytes -= kept.packet.len();
            self.dropped += 1;
        }
        let Some((at, _)) = queue.packets.front() else {
            self.take(neighbour);
            return;
        };
        let (at, old) = (*at, queue.turn);
        self.turns.remove(&old);
        let turn = self.take_turn(at, neighbour.clone());
        if let Some(queue) = self.queues.get_mut(neighbour) {
            queue.turn = turn;
        }
    }

    fn take_turn(&mut self, at: Instant, neighbour: Neighbour) -> Turn {
        self.next_turn += 1;
        let turn = (at, self.next_turn);
        self.turns.insert(turn, neighbour);
        turn
    }

    fn take(&mut self, neighbour: &Neighbour) -> VecDeque<(Instant, Kept)> {
        let Some(Queue { packets, turn }) = self.queues.remove(neighbour) else {
            return VecDeque::new();
        };
        self.turns.remove(&turn);
        self.bytes -= packets.iter().map(|(_, k)| k.packet.len()).sum::<usize>();
        if let Some(count) = self.of_port.get_mut(&neighbour.port) {
            *count -= 1;
            if *count == 0 {
                self.of_port.remove(&neighbour.port);
            }
        }
        packets
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(waiting.resolved(now, &neighbour("other", 1)).count(), 1);
        for port in 0..100 {
            for n in 0..PER_PORT as u32 {
                waiting.keep(now, neighbour(&port.to_string(), n), kept(60));
            }
        }
        assert_eq!(waiting.queues.len(), TOTAL);
        waiting.expire(now + WAIT);
        assert!(waiting.queues.is_empty() && waiting.of_port.is_empty());
        assert_eq!((waiting.bytes, waiting.deadline()), (0, None));
    }

    #[test]
    fn bytes_are_limited_and_the_oldest_packet_of_a_neighbour_gives_way() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for n in 0..TOTAL as u32 {
            let port = (n / 64).to_string();
            waiting.keep(now, neighbour(&port, n), kept(TOTAL_BYTES / 16));
        }
        assert_eq!((waiting.queues.len(), waiting.bytes), (16, TOTAL_BYTES));
        waiting.expire(now + WAIT);
        for size in 1..=6 {
            waiting.keep(now + WAIT, neighbour("p", 0), kept(size));
        }
        // Also when there is no room for one more.
        for n in 1..=15 {
            waiting.keep(now + WAIT, neighbour("q", n), kept(TOTAL_BYTES / 16));
        }
        let rest = TOTAL_BYTES - waiting.bytes;
        waiting.keep(now + WAIT, neighbour("q", 16), kept(rest));
        waiting.keep(now + WAIT, neighbour("p", 0), kept(3));
        let later = now + WAIT + Duration::from_secs(1);
        let sizes = waiting.resolved(later, &neighbour("p", 0));
        let sizes: Vec<usize> = sizes.map(|kept| kept.packet.len()).collect();
        assert_eq!(sizes, [4, 5, 6, 3]);
    }

    #[test]
    fn packets_that_came_later_outlive_the_first() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let second = now + Duration::from_secs(4);
        waiting.keep(now, neighbour("p", 0), kept(1));
        waiting.keep(second, neighbour("p", 0), kept(2));
        waiting.expire(now + WAIT);
        assert_eq!(waiting.deadline(), Some(second + WAIT));
        let rest = waiting.resolved(now + WAIT, &neighbour("p", 0));
        assert_eq!(rest.map(|kept| kept.packet.len()).collect::<Vec<_>>(), [2]);
        waiting.expire(second + WAIT);
        assert_eq!(waiting.deadline(), None);
    }

    #[test]
    fn packets_that_gave_way_count_against_nobody() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for _ in 0..100_000 {
            waiting.keep(now, neighbour("busy", 0), kept(60));
        }
        waiting.keep(now, neighbour("other", 1), kept(60));
        assert_eq!(waiting.resolved(now, &neighbour("other", 1)).count(), 1);
        assert_eq!(waiting.turns.len(), 1);
        waiting.expire(now + WAIT);
        assert_eq!((waiting.turns.len(), waiting.dropped()), (0, 100_000));
    }
}
