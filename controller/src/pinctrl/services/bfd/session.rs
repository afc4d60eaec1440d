//! One BFD session: the state machine of RFC 5880, asynchronous mode, without echo and authentication.
//!
//! | section | what |
//! | --- | --- |
//! | 6.8.3 | while the session is not up, a packet a second at most; a change of a time is told by a poll sequence, and until that has ended the more careful of old and new counts |
//! | 6.8.4 | after as long as the neighbour's multiplier says without a packet, the session is down |
//! | 6.8.6 | what a packet does |
//! | 6.8.7 | when packets are sent: a quarter of the time at random earlier, and at once when the state is another |
//!
//! A session that another process of the agent, or another chassis, has had up goes on: it is up, and silent, until the
//! neighbour's next packet tells what has to be known of it, or none comes in time.

use std::time::{Duration, Instant};

use packet::bfd::{Control, Diagnostic, State};

use crate::flow::digest_in_every_process;

/// How long at least between packets while the session is not up (section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// How long who takes a session over waits at least: the neighbour's times are not known yet, and may be those of a slow one.
const TAKEN_OVER: Duration = Duration::from_secs(3);

/// What a row says of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The least time between two packets of ours that we want.
    pub(super) min_tx: Duration,
    /// The least time between two of the neighbour's that we can take.
    pub(super) min_rx: Duration,
    /// After how many missed packets the neighbour takes us for dead.
    pub(super) detect_mult: u8,
}

/// What the neighbour has said last.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    state: State,
    number: u32,
    min_rx: Duration,
    demand: bool,
}

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    settings: Settings,
    /// Those before, until the neighbour has confirmed the present ones.
    before: Option<Settings>,
    number: u32,
    state: State,
    diagnostic: Diagnostic,
    neighbour: Option<Neighbour>,
    is_polling: bool,
    sends_at: Instant,
    expires_at: Option<Instant>,
    sent: u32,
}

impl Session {
    /// A session with this number. `is_up`: it is known to have been up a moment ago.
    pub(super) fn new(now: Instant, number: u32, settings: Settings, is_up: bool) -> Self {
        let silence = settings.min_tx.max(settings.min_rx) * settings.detect_mult.into();
        let silence = silence.max(TAKEN_OVER);
        Self {
            settings,
            before: None,
            number,
            state: if is_up { State::Up } else { State::Down },
            diagnostic: Diagnostic::None,
            neighbour: None,
            is_polling: false,
            sends_at: now,
            expires_at: is_up.then(|| now + silence),
            sent: 0,
        }
    }

    /// Its state.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The row says something else of times.
    pub(super) fn set(&mut self, now: Instant, settings: Settings) {
        if settings == self.settings {
            return;
        }
        if self.state == State::Up {
            self.before.get_or_insert(self.settings);
            self.is_polling = true;
        }
        self.settings = settings;
        self.sends_at = now;
    }

    /// When [`Session::due`] is to be asked.
    pub(super) fn deadline(&self) -> Instant {
        match self.expires_at {
            Some(expires_at) if self.sends() => expires_at.min(self.sends_at),
            Some(expires_at) => expires_at,
            // Nothing can end what sends nothing and waits for nothing, but a packet.
            None if !self.sends() => self.sends_at + 60 * SLOW,
            None => self.sends_at,
        }
    }

    /// What is to be done by now: the packet that is to be sent.
    pub(super) fn due(&mut self, now: Instant) -> Option<Control> {
        if self.expires_at.is_some_and(|at| at <= now) {
            self.expires_at = None;
            self.neighbour = None;
            if matches!(self.state, State::Init | State::Up) {
                self.leave(now, Diagnostic::TimeExpired);
            }
        }
        if self.sends_at > now {
            return None;
        }
        let sends = self.sends();
        self.sends_at = now + self.pace();
        sends.then(|| {
            self.sent = self.sent.wrapping_add(1);
            self.control(self.is_polling, false)
        })
    }

    /// A packet of the neighbour came; what answers it at once.
    pub(super) fn receive(&mut self, now: Instant, control: &Control) -> Option<Control> {
        if control.yours != 0 && control.yours != self.number {
            return None;
        }
        // Who does not know our number ends a session that is up only as the neighbour that it is with: anybody can guess the rest.
        let known = self.neighbour.map(|neighbour| neighbour.number);
        if self.state == State::Up
            && control.yours == 0
            && known.is_some_and(|known| known != control.mine)
        {
            return None;
        }
        self.neighbour = Some(Neighbour {
            state: control.state,
            number: control.mine,
            min_rx: control.required_min_rx,
            demand: control.demand,
        });
        if control.is_final {
            self.is_polling = false;
            self.before = None;
        }
        let min_rx = self.settings.min_rx;
        let min_rx = self
            .before
            .map_or(min_rx, |before| before.min_rx.max(min_rx));
        let silence = min_rx.max(control.desired_min_tx) * control.detect_mult.into();
        self.expires_at = Some(now + silence);
        match (self.state, control.state) {
            (State::AdminDown, _) => return None,
            (State::Down, State::Down) => self.enter(now, State::Init),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(now, State::Up);
            }
            (State::Init, State::AdminDown) | (State::Up, State::AdminDown | State::Down) => {
                self.leave(now, Diagnostic::NeighbourDown);
            }
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up) => {}
        }
        control.poll.then(|| self.control(false, true))
    }

    fn enter(&mut self, now: Instant, state: State) {
        if state == State::Up {
            // From now on packets come more often, which the neighbour has to confirm.
            self.is_polling = true;
            self.diagnostic = Diagnostic::None;
        }
        self.state = state;
        self.sends_at = now;
    }

    fn leave(&mut self, now: Instant, diagnostic: Diagnostic) {
        self.state = State::Down;
        self.diagnostic = diagnostic;
        self.is_polling = false;
        self.before = None;
        self.sends_at = now;
    }

    /// Whether anything is sent now.
    fn sends(&self) -> bool {
        let is_up = self.state == State::Up;
        match &self.neighbour {
            // To say that the neighbour is heard, one has to know its number.
            None => !is_up,
            Some(neighbour) => {
                let is_demanded = neighbour.demand && is_up && neighbour.state == State::Up;
                !neighbour.min_rx.is_zero() && (!is_demanded || self.is_polling)
            }
        }
    }

    fn desired_min_tx(&self) -> Duration {
        match self.state {
            State::Up => self.settings.min_tx,
            _ => self.settings.min_tx.max(SLOW),
        }
    }

    /// How long until the next packet.
    fn pace(&self) -> Duration {
        let own = self.desired_min_tx();
        let own = self.before.map_or(own, |before| before.min_tx.min(own));
        let theirs = self.neighbour.map_or(Duration::ZERO, |known| known.min_rx);
        let seed = digest_in_every_process(&(self.number, self.sent));
        let most = if self.settings.detect_mult == 1 {
            16
        } else {
            26
        };
        own.max(theirs) * (75 + seed % most) / 100
    }

    fn control(&self, poll: bool, is_final: bool) -> Control {
        Control {
            state: self.state,
            diagnostic: self.diagnostic,
            poll,
            is_final,
            demand: false,
            detect_mult: self.settings.detect_mult,
            mine: self.number,
            yours: self.neighbour.map_or(0, |neighbour| neighbour.number),
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.settings.min_rx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Settings = Settings {
        min_tx: Duration::from_millis(100),
        min_rx: Duration::from_millis(100),
        detect_mult: 3,
    };

    /// Two sessions with each other over a link that may be cut, in virtual time.
    struct Pair {
        now: Instant,
        ends: [Session; 2],
        is_cut: bool,
        packets: usize,
    }

    impl Pair {
        fn new(settings: [Settings; 2]) -> Self {
            let now = Instant::now();
            let [a, b] = settings;
            Self {
                now,
                ends: [
                    Session::new(now, 7, a, false),
                    Session::new(now, 9, b, false),
                ],
                is_cut: false,
                packets: 0,
            }
        }

        fn run(&mut self, time: Duration) {
            let until = self.now + time;
            loop {
                let next = self.ends.iter().map(Session::deadline).min().expect("two");
                if next > until {
                    self.now = until;
                    return;
                }
                self.now = self.now.max(next);
                for at in 0..2 {
                    let mut said = self.ends[at].due(self.now);
                    let mut to = 1 - at;
                    while let Some(control) = said.filter(|_| !self.is_cut) {
                        self.packets += 1;
                        said = self.ends[to].receive(self.now, &control);
                        to = 1 - to;
                    }
                }
            }
        }

        fn states(&self) -> [State; 2] {
            [self.ends[0].state(), self.ends[1].state()]
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn both_come_up_and_tell_their_times() {
        let mut pair = Pair::new([FAST, FAST]);
        pair.run(3 * SECOND);
        assert_eq!(pair.states(), [State::Up; 2]);
        assert!(pair.ends.iter().all(|end| !end.is_polling), "confirmed");
        pair.packets = 0;
        pair.run(10 * SECOND);
        // Two ends, each a packet in 75 to 100 milliseconds.
        assert!((200..=270).contains(&pair.packets), "{}", pair.packets);
    }

    #[test]
    fn silence_ends_it_in_time_and_both_come_back() {
        let mut pair = Pair::new([FAST, FAST]);
        pair.run(3 * SECOND);
        pair.is_cut = true;
        pair.run(Duration::from_millis(199));
        assert_eq!(pair.states(), [State::Up; 2], "two may be lost");
        pair.run(Duration::from_millis(110));
        assert_eq!(pair.states(), [State::Down; 2]);
        assert_eq!(pair.ends[0].diagnostic, Diagnostic::TimeExpired);
        pair.is_cut = false;
        pair.run(3 * SECOND);
        assert_eq!(pair.states(), [State::Up; 2]);
    }

    #[test]
    fn the_slower_of_two_sets_the_pace() {
        let slow = Settings {
            min_rx: Duration::from_millis(500),
            ..FAST
        };
        let mut pair = Pair::new([FAST, slow]);
        pair.run(3 * SECOND);
        let sent = pair.ends[0].sent;
        pair.run(10 * SECOND);
        assert!((20..=27).contains(&(pair.ends[0].sent - sent)));
    }

    #[test]
    fn new_times_are_told_without_leaving() {
        let mut pair = Pair::new([FAST, FAST]);
        pair.run(3 * SECOND);
        let now = pair.now;
        let other = Settings {
            min_tx: Duration::from_millis(700),
            min_rx: Duration::from_millis(20),
            detect_mult: 2,
        };
        pair.ends[0].set(now, other);
        assert!(pair.ends[0].pace() <= FAST.min_tx, "not confirmed");
        for _ in 0..200 {
            pair.run(Duration::from_millis(50));
            assert_eq!(pair.states(), [State::Up; 2]);
        }
        assert!(pair.ends[0].before.is_none() && !pair.ends[0].is_polling);
    }

    #[test]
    fn a_neighbour_that_leaves_is_left() {
        let mut pair = Pair::new([FAST, FAST]);
        pair.run(3 * SECOND);
        for state in [State::AdminDown, State::Down] {
            let mut end = pair.ends[0].clone();
            let mut said = pair.ends[1].control(false, false);
            said.state = state;
            end.receive(pair.now, &said);
            assert_eq!(end.state(), State::Down);
            assert_eq!(end.diagnostic, Diagnostic::NeighbourDown);
        }
    }

    #[test]
    fn who_takes_a_session_over_does_not_leave_it() {
        let slow = Settings {
            min_tx: SECOND,
            ..FAST
        };
        let mut pair = Pair::new([FAST, slow]);
        pair.run(5 * SECOND);
        assert_eq!(pair.states(), [State::Up; 2]);
        let now = pair.now;
        pair.ends[0] = Session::new(now, 7, FAST, true);
        for _ in 0..100 {
            pair.run(Duration::from_millis(50));
            assert_eq!(pair.states(), [State::Up; 2]);
        }
        let mut alone = Session::new(now, 7, FAST, true);
        assert_eq!(alone.due(now), None, "it does not know whom to speak to");
        alone.due(now + TAKEN_OVER);
        assert_eq!(alone.state(), State::Down);
    }

    #[test]
    fn what_is_for_another_session_does_nothing() {
        let mut pair = Pair::new([FAST, FAST]);
        pair.run(3 * SECOND);
        let mut said = pair.ends[1].control(true, false);
        (said.yours, said.state) = (8, State::Down);
        let now = pair.now;
        assert_eq!(pair.ends[0].receive(now, &said), None);
        assert_eq!(pair.ends[0].state(), State::Up);
    }

    #[test]
    fn a_stranger_ends_no_session() {
        let mut pair = Pair::new([FAST, FAST]);
        pair.run(3 * SECOND);
        let mut said = pair.ends[1].control(false, false);
        (said.yours, said.state, said.mine) = (0, State::Down, 1_000);
        let now = pair.now;
        assert_eq!(pair.ends[0].receive(now, &said), None);
        assert_eq!(pair.ends[0].state(), State::Up);
        said.mine = 9;
        pair.ends[0].receive(now, &said);
        assert_eq!(pair.ends[0].state(), State::Down, "it has begun anew");
    }

    #[test]
    fn who_wants_nothing_is_sent_nothing() {
        let silent = Settings {
            min_rx: Duration::ZERO,
            ..FAST
        };
        let mut pair = Pair::new([FAST, silent]);
        pair.run(3 * SECOND);
        let sent = pair.ends[0].sent;
        pair.run(10 * SECOND);
        assert_eq!(pair.ends[0].sent, sent);
    }
}
