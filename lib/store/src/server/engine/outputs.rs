//! What the core has said to a session, and the session has not taken.
//!
//! The core never waits, so the queue has an end: a session that leaves so much unread is cut off.
//! In practice other limits come first: the core refuses requests of a session that has many bytes
//! of answers to read ([`Backlog::held`]), merges the updates of its monitors, and the services limit
//! how much may be asked at a time.
//!
//! **Updates that many want** do not go through the queue. To wake a session's task for each of 500
//! subscribers takes longer than to write to them. So a session may have a [wire](Writes), and who has its
//! *pen* may write there: the session's task, from when it takes an output until it has written all
//! that it has; or, while the session has nothing to write, whoever [delivers](Lent::deliver) an
//! update that is [lent](OutputSender::lend) to it. What the client has no room for goes to the queue's
//! front, and the session's task carries on with it. What is said while the pen is lent waits in the
//! queue, so that everything keeps its order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use ovsdb::Uuid;
use ovsdb::operation::OpResult;
use tokio::task::coop;

use crate::event::Output;
use crate::monitor::Update;
use crate::session::{Backlog, MonitorId};

/// So many outputs may wait: more than a session can have requests unanswered and updates queued.
const MAX_QUEUED: usize = 8192;
/// A queue that is empty keeps room for so many.
const KEPT: usize = 16;
/// Of an answer with more results, every second or tenth or so is weighed for the others.
const MOST_COUNTED: usize = 1000;
/// About what a row, and a column of one, costs in memory besides the text that it shares.
const ROW_BYTES: usize = 96;
const COLUMN_BYTES: usize = 48;

/// A new queue, whose bytes `backlog` counts.
pub fn queue(backlog: &Arc<Backlog>) -> (OutputSender, Outputs) {
    let queue = Arc::new(Queue {
        state: Mutex::default(),
        wire: OnceLock::new(),
        backlog: backlog.clone(),
    });
    (OutputSender(queue.clone()), Outputs(queue))
}

/// The core's end.
#[derive(Debug)]
pub struct OutputSender(Arc<Queue>);

/// The session's end.
#[derive(Debug)]
pub struct Outputs(Arc<Queue>);

/// An update, and the pen of the session that it is for.
#[derive(Debug)]
pub struct Lent {
    queue: Arc<Queue>,
    /// What is still to be written.
    left: Option<Next>,
}

/// A way to write to a client without its session's task.
pub trait Writes: Send + Sync {
    /// Writes an update as far as there is room, by way of a buffer with any content.
    fn write(
        &self,
        monitor: MonitorId,
        state: Uuid,
        update: &Update,
        buffer: &mut Vec<u8>,
    ) -> Written;
}

/// How much of an update was written.
#[derive(Debug, Eq, PartialEq)]
pub enum Written {
    /// All.
    All,
    /// All but this, or what is written waits for a flush.
    Begun(Vec<u8>),
    /// Nothing.
    Nothing,
}

/// What a session takes from the queue.
#[derive(Debug)]
pub enum Next {
    /// The core said it.
    Output(Output),
    /// An update that was begun on the session's wire has still to be written from here.
    Rest(Vec<u8>),
}

/// The session does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overflow;

struct Queue {
    state: Mutex<State>,
    wire: OnceLock<Arc<dyn Writes>>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Told>,
    pen: Pen,
    /// The session's task, when it waits: for something to be said, or for the pen.
    task: Option<Waker>,
    /// It waits for the pen.
    wants_pen: bool,
    /// The core says nothing more.
    is_over: bool,
    /// The session takes nothing more.
    is_deserted: bool,
}

/// Who may write to the client.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Pen {
    #[default]
    Free,
    Session,
    Lent,
}

#[derive(Debug)]
struct Told {
    said: Next,
    bytes: usize,
}

impl OutputSender {
    /// Says something.
    ///
    /// # Errors
    /// When too much waits: the session hears nothing any more.
    pub fn say(&self, output: Output) -> Result<(), Overflow> {
        self.push(self.0.state(), output)
    }

    /// Says something that others are told as well: lends an update to whoever will deliver it, if
    /// the session has a wire and nothing to write there.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn lend(&self, output: Output) -> Result<Option<Lent>, Overflow> {
        let mut queue = self.0.state();
        let idle = queue.pen == Pen::Free && queue.waiting.is_empty() && !queue.is_deserted;
        let is_update = matches!(output, Output::Updated { .. });
        if !(is_update && idle && self.0.wire.get().is_some()) {
            return self.push(queue, output).map(|()| None);
        }
        queue.pen = Pen::Lent;
        Ok(Some(Lent {
            queue: self.0.clone(),
            left: Some(Next::Output(output)),
        }))
    }

    fn push(&self, mut queue: MutexGuard<'_, State>, output: Output) -> Result<(), Overflow> {
        if queue.is_deserted {
            // A session that is just ending has nobody to tell.
            return Ok(());
        }
        if queue.waiting.len() >= MAX_QUEUED {
            self.0.backlog.cut_off();
            return Err(Overflow);
        }
        let bytes = weight(&output);
        self.0.backlog.hold(bytes);
        let said = Next::Output(output);
        queue.waiting.push_back(Told { said, bytes });
        if queue.pen != Pen::Lent {
            queue.wake();
        }
        Ok(())
    }
}

impl Drop for OutputSender {
    fn drop(&mut self) {
        let mut queue = self.0.state();
        queue.is_over = true;
        queue.wake();
    }
}

impl Lent {
    /// Delivers the update, and gives the pen back.
    pub fn deliver(mut self, buffer: &mut Vec<u8>) {
        let (
            Some(wire),
            Some(Next::Output(Output::Updated {
                monitor,
                state,
                update,
            })),
        ) = (self.queue.wire.get(), &self.left)
        else {
            return;
        };
        match wire.write(*monitor, *state, update, buffer) {
            Written::All => {
                // The core asks for that of a session with hundreds of updates in its queue, and
                // none of those is taken as long as the pen is here.
                let wanted = self.queue.backlog.remove();
                debug_assert!(!wanted, "nobody waits for the queue to be empty");
                self.left = None;
            }
            Written::Begun(rest) => self.left = Some(Next::Rest(rest)),
            Written::Nothing => {}
        }
    }
}

/// Gives the pen back, and what was not written.
impl Drop for Lent {
    fn drop(&mut self) {
        let left = self.left.take();
        let mut queue = self.queue.state();
        queue.pen = Pen::Free;
        if let Some(said) = left.filter(|_| !queue.is_deserted) {
            queue.waiting.push_front(Told { said, bytes: 0 });
        }
        if !queue.waiting.is_empty() || queue.wants_pen || queue.is_over {
            queue.wake();
        }
    }
}

impl Outputs {
    /// Gives the session a wire. From then on it has to say when it is [done](Self::done).
    pub fn connect(&self, wire: Arc<dyn Writes>) {
        // A session has one client.
        let _ = self.0.wire.set(wire);
    }

    /// The next output; `None` when the core is gone or has cut this session off. For sessions
    /// without a wire.
    pub async fn recv(&mut self) -> Option<Output> {
        loop {
            if let Next::Output(output) = self.next().await? {
                return Some(output);
            }
        }
    }

    /// The next output, if it is there. For sessions without a wire.
    pub fn try_recv(&mut self) -> Option<Output> {
        loop {
            if let Next::Output(output) = self.try_next()? {
                return Some(output);
            }
        }
    }

    /// What comes next, and the pen; `None` when the core is gone or has cut this session off.
    pub async fn next(&mut self) -> Option<Next> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Next>> {
        if self.is_cut_off() {
            return Poll::Ready(None);
        }
        let turn = ready!(coop::poll_proceed(context));
        let mut queue = self.0.state();
        if queue.pen != Pen::Lent {
            if let Some(said) = queue.take(&self.0.backlog) {
                turn.made_progress();
                return Poll::Ready(Some(said));
            }
            if queue.is_over {
                return Poll::Ready(None);
            }
        }
        queue.wait(context)
    }

    /// What comes next, if it is there, for a session that has the pen.
    pub fn try_next(&mut self) -> Option<Next> {
        self.0.state().take(&self.0.backlog)
    }

    /// Takes the pen, for what the session has to say by itself. What comes back is the rest of an
    /// update, which goes before: as with [`Next::Rest`].
    pub async fn take_pen(&mut self) -> Option<Vec<u8>> {
        std::future::poll_fn(|context| {
            let mut queue = self.0.state();
            queue.wants_pen = queue.pen == Pen::Lent;
            if queue.wants_pen {
                return queue.wait(context);
            }
            queue.pen = Pen::Session;
            let is_rest = |told: &mut Told| matches!(told.said, Next::Rest(_));
            let rest = queue.waiting.pop_front_if(is_rest);
            Poll::Ready(rest.and_then(|told| match told.said {
                Next::Rest(rest) => Some(rest),
                Next::Output(_) => None,
            }))
        })
        .await
    }

    /// The session has written all that it had taken.
    pub fn done(&mut self) {
        let mut queue = self.0.state();
        if queue.pen == Pen::Session {
            queue.pen = Pen::Free;
        }
    }

    /// Whether the core gave up on this session, because it did not take what was said.
    pub fn is_cut_off(&self) -> bool {
        self.0.backlog.is_cut_off()
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        let mut queue = self.0.state();
        queue.is_deserted = true;
        queue.waiting = VecDeque::new();
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is ever half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Queue({:?})", self.state)
    }
}

impl State {
    fn take(&mut self, backlog: &Backlog) -> Option<Next> {
        let Told { said, bytes } = self.waiting.pop_front()?;
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT);
        }
        backlog.release(bytes);
        self.pen = Pen::Session;
        Some(said)
    }

    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        match &mut self.task {
            Some(task) => task.clone_from(context.waker()),
            None => self.task = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// About how much memory waits with an answer. Updates are counted apart, see [`Backlog::add`].
fn weight(output: &Output) -> usize {
    match output {
        Output::Transacted { outcome, .. } => {
            let done = match outcome {
                Ok(done) => done,
                Err(failure) => &failure.done,
            };
            // A million results would take milliseconds to look through, and it is the core that counts.
            let step = done.len() / MOST_COUNTED + 1;
            let counted = done.iter().step_by(step).map(weight_of_result);
            counted.sum::<usize>() * step
        }
        Output::MonitorStarted { update, .. } => {
            let tables = update.tables.iter();
            tables.map(|(_, rows)| rows.len() * ROW_BYTES).sum()
        }
        Output::Repeated { results, .. } => results.len(),
        _ => 0,
    }
}

fn weight_of_result(result: &OpResult) -> usize {
    match result {
        OpResult::Rows(rows) => {
            let columns = rows.first().map_or(0, Vec::len);
            rows.len() * (ROW_BYTES + columns * COLUMN_BYTES)
        }
        OpResult::Selected(selected) => {
            selected.rows.len() * (ROW_BYTES + selected.columns.len() * COLUMN_BYTES)
        }
        OpResult::Empty | OpResult::Inserted(_) | OpResult::Count(_) => COLUMN_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;
    use crate::session::RequestId;

    fn answer(rows: usize) -> Output {
        let row = vec![("a".into(), ovsdb::Datum::from(1))];
        Output::Transacted {
            request: RequestId(1),
            asked: 1,
            outcome: Ok(vec![OpResult::Rows(vec![row; rows])]),
            state: None,
        }
    }

    #[tokio::test]
    async fn what_waits_is_counted_until_it_is_taken() {
        let backlog = Arc::new(Backlog::default());
        let (sender, mut outputs) = queue(&backlog);
        for _ in 0..3 {
            sender.say(answer(1000)).unwrap();
        }
        assert_eq!(backlog.held(), 3 * 1000 * (ROW_BYTES + COLUMN_BYTES));
        outputs.recv().await.unwrap();
        outputs.try_recv().unwrap();
        outputs.try_recv().unwrap();
        assert_eq!(backlog.held(), 0);
        assert!(outputs.try_recv().is_none());
        drop(sender);
        assert!(outputs.recv().await.is_none() && !outputs.is_cut_off());
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off() {
        let (sender, mut outputs) = queue(&Arc::default());
        for _ in 0..MAX_QUEUED {
            sender.say(answer(0)).unwrap();
        }
        assert_eq!(sender.say(answer(0)), Err(Overflow));
        assert!(outputs.is_cut_off());
        assert!(outputs.recv().await.is_none());
    }

    /// Frames of eight bytes, of which the client has room for some.
    #[derive(Default)]
    struct Pipe(Mutex<(Vec<u8>, usize)>);

    impl Pipe {
        fn push(&self, bytes: &[u8]) {
            self.0.lock().unwrap().0.extend_from_slice(bytes);
        }

        fn frames(&self) -> Vec<u64> {
            let pipe = self.0.lock().unwrap();
            let frames = pipe.0.chunks(8);
            frames
                .map(|frame| u64::from_be_bytes(frame.try_into().unwrap()))
                .collect()
        }
    }

    impl Writes for Pipe {
        fn write(&self, monitor: MonitorId, _: Uuid, _: &Update, _: &mut Vec<u8>) -> Written {
            let (written, room) = &mut *self.0.lock().unwrap();
            let bytes = monitor.0.to_be_bytes();
            let (fits, rest) = bytes.split_at(8.min(*room));
            *room -= fits.len();
            written.extend_from_slice(fits);
            match (fits.len(), rest.len()) {
                (0, _) => Written::Nothing,
                (_, 0) => Written::All,
                _ => Written::Begun(rest.to_vec()),
            }
        }
    }

    fn update(number: u64) -> Output {
        Output::Updated {
            monitor: MonitorId(number),
            state: Uuid::nil(),
            update: Arc::default(),
        }
    }

    /// What the session's task does with what it takes.
    fn write(pipe: &Pipe, backlog: &Backlog, said: Next) {
        match said {
            Next::Output(Output::Updated { monitor, .. }) => {
                pipe.push(&monitor.0.to_be_bytes());
                backlog.remove();
            }
            Next::Output(output) => pipe.push(&output.answers().unwrap().0.to_be_bytes()),
            Next::Rest(rest) => {
                pipe.push(&rest);
                backlog.remove();
            }
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    fn deliver(lent: Option<Lent>) {
        if let Some(lent) = lent {
            lent.deliver(&mut Vec::new());
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Answer,
        /// An update that few want, or that many want.
        Update(bool),
        /// What was lent is delivered to a client that has this room.
        Deliver(usize),
        /// The session takes something, and is done with it or not yet.
        Take(bool),
        /// The session has something to say by itself.
        Speak,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Answer),
            any::<bool>().prop_map(Step::Update),
            (0_usize..17).prop_map(Step::Deliver),
            any::<bool>().prop_map(Step::Take),
            Just(Step::Speak),
        ]
    }

    /// What the session says by itself.
    const OWN: u64 = u64::MAX;

    proptest! {
        /// Whoever writes, and however little room there is: the client gets what was said to it,
        /// in this order, and each message whole.
        #[test]
        fn everything_keeps_its_order(steps in proptest::collection::vec(step(), 0..200)) {
            let backlog = Arc::new(Backlog::default());
            let (sender, mut outputs) = queue(&backlog);
            let pipe = Arc::new(Pipe::default());
            outputs.connect(pipe.clone());
            let (mut said, mut spoken) = (0, 0);
            let mut lent = None;
            for step in steps {
                match step {
                    Step::Answer => {
                        said += 1;
                        let request = RequestId(said);
                        sender.say(Output::Done { request }).unwrap();
                    }
                    Step::Update(by_many) => {
                        said += 1;
                        backlog.add();
                        if by_many {
                            let new = sender.lend(update(said)).unwrap();
                            prop_assert!(lent.is_none() || new.is_none(), "there is one pen");
                            lent = lent.or(new);
                        } else {
                            sender.say(update(said)).unwrap();
                        }
                    }
                    Step::Deliver(room) => {
                        pipe.0.lock().unwrap().1 = room;
                        deliver(lent.take());
                    }
                    Step::Take(is_done) => {
                        if let Some(said) = now(outputs.next()) {
                            prop_assert!(lent.is_none());
                            write(&pipe, &backlog, said.unwrap());
                        }
                        if is_done {
                            outputs.done();
                        }
                    }
                    Step::Speak => {
                        if let Some(rest) = now(outputs.take_pen()) {
                            prop_assert!(lent.is_none());
                            if let Some(rest) = rest {
                                write(&pipe, &backlog, Next::Rest(rest));
                            }
                            spoken += 1;
                            pipe.push(&OWN.to_be_bytes());
                            outputs.done();
                        }
                    }
                }
            }
            pipe.0.lock().unwrap().1 = 3;
            deliver(lent);
            while let Some(said) = now(outputs.next()) {
                write(&pipe, &backlog, said.unwrap());
            }
            let (own, others): (Vec<_>, Vec<_>) =
                pipe.frames().into_iter().partition(|frame| *frame == OWN);
            prop_assert_eq!(own.len(), spoken);
            prop_assert_eq!(others, (1..=said).collect::<Vec<_>>());
            prop_assert_eq!((backlog.queued(), backlog.held()), (0, 0));
        }
    }

    struct Bell(AtomicBool);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_for_the_pen_is_woken_when_it_comes_back() {
        let backlog = Arc::new(Backlog::default());
        let (sender, mut outputs) = queue(&backlog);
        outputs.connect(Arc::new(Pipe(Mutex::new((Vec::new(), 8)))));
        backlog.add();
        let lent = sender.lend(update(1)).unwrap();
        let bell = Arc::new(Bell(AtomicBool::new(false)));
        let waker = Waker::from(bell.clone());
        let mut taking = Box::pin(outputs.take_pen());
        let taken = taking.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(taken.is_pending());
        deliver(lent);
        assert!(bell.0.load(Ordering::Relaxed));
        assert_eq!(now(taking), Some(None));
    }

    #[test]
    fn a_session_that_ends_while_its_pen_is_lent_gets_nothing_back() {
        let backlog = Arc::new(Backlog::default());
        let (sender, outputs) = queue(&backlog);
        outputs.connect(Arc::new(Pipe::default()));
        backlog.add();
        let lent = sender.lend(update(1)).unwrap().unwrap();
        let queue = outputs.0.clone();
        drop(outputs);
        lent.deliver(&mut Vec::new());
        assert!(queue.state().waiting.is_empty());
        assert!(sender.lend(update(2)).unwrap().is_none());
        sender.say(update(3)).unwrap();
        assert!(queue.state().waiting.is_empty());
    }

    #[test]
    fn without_a_wire_nothing_is_lent() {
        let (sender, mut outputs) = queue(&Arc::default());
        assert!(sender.lend(update(1)).unwrap().is_none());
        assert!(outputs.try_recv().is_some());
    }
}
