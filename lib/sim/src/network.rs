//! The streams between members, two for each direction: ordered, until they break; then what was on its way is lost.

use std::collections::BTreeMap;

use store::peer::Purpose;

use crate::random::Random;

/// From whom, to whom.
pub type Direction = (u64, u64);

/// All streams.
#[derive(Debug, Default)]
pub struct Network {
    streams: BTreeMap<(Direction, Purpose), Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Nothing gets through.
    cut: bool,
    /// Counts how often it broke.
    epoch: u64,
    /// It is set up anew then.
    broken_until: u64,
    /// When the last message arrives.
    last: u64,
    /// How long messages take at least.
    delay: u64,
}

/// What becomes of a message.
#[derive(Debug, Eq, PartialEq)]
pub enum Fate {
    /// It arrives at this time, if the stream has not broken until then, which the number tells.
    Arrives(u64, u64),
    /// It is lost, and the sender notices.
    Lost,
    /// It is lost, and the sender knew it.
    Dropped,
}

impl Network {
    fn stream(&mut self, direction: Direction, purpose: Purpose) -> &mut Stream {
        self.streams.entry((direction, purpose)).or_default()
    }

    fn both(&mut self, direction: Direction, change: impl Fn(&mut Stream)) {
        for purpose in Purpose::ALL {
            change(self.stream(direction, purpose));
        }
    }

    /// A message is sent, which takes so long to be written.
    pub fn send(
        &mut self,
        (direction, purpose): (Direction, Purpose),
        (now, takes): (u64, u64),
        random: &mut Random,
    ) -> Fate {
        let stream = self.stream(direction, purpose);
        if now < stream.broken_until {
            return Fate::Dropped;
        }
        if stream.cut {
            return Fate::Lost;
        }
        let jitter = match random.percent(2) {
            true => random.range(0..100),
            false => random.range(0..3),
        };
        stream.last = (stream.last + takes).max(now + takes + 1 + stream.delay + jitter);
        Fate::Arrives(stream.last, stream.epoch)
    }

    /// Whether what was sent at this epoch arrives now.
    pub fn arrives(&mut self, direction: Direction, purpose: Purpose, epoch: u64) -> bool {
        let stream = self.stream(direction, purpose);
        !stream.cut && stream.epoch == epoch
    }

    /// Whether anything gets through.
    pub fn is_open(&mut self, direction: Direction) -> bool {
        !self.stream(direction, Purpose::Raft).cut
    }

    /// Breaks a stream, for a while.
    pub fn break_stream(&mut self, direction: Direction, purpose: Purpose, until: u64) {
        let stream = self.stream(direction, purpose);
        stream.epoch += 1;
        stream.broken_until = until;
        stream.last = 0;
    }

    /// Lets nothing through, or everything.
    pub fn cut(&mut self, direction: Direction, cut: bool) {
        self.both(direction, |stream| {
            if cut && !stream.cut {
                stream.epoch += 1;
                stream.last = 0;
            }
            stream.cut = cut;
        });
    }

    /// Makes a stream slow.
    pub fn delay(&mut self, direction: Direction, delay: u64) {
        self.both(direction, |stream| stream.delay = delay);
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        for stream in self.streams.values_mut() {
            stream.cut = false;
            stream.delay = 0;
        }
    }
}
