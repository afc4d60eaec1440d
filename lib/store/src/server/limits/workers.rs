//! Worker threads for what is large.
//!
//! To read a transaction of a hundred megabytes takes a second, and so does writing down a large answer, or letting go
//! of either. On a thread of the runtime, whatever other clients have to do there would wait for it. Here are a few
//! threads for such work (for every second processor one, and at most [`MAX_THREADS`]), which give way to all others
//! where the processor is scarce: so few large messages are taken apart at a time, whoever sends them, and small ones
//! never wait for them. Sessions get their turns in the order in which they asked.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::Stopped;

/// What has more bytes is large: it takes longer than sending it to another thread.
pub const LARGE_BYTES: usize = 64 << 10;
/// So much is done on a thread of the runtime at one go; then it is the turn of others.
pub const TURN_BYTES: usize = 64 << 10;
/// So many jobs wait at most; whoever comes then waits to get in.
const MAX_JOBS: usize = 64;
/// How the threads give way: beside one that does not, each gets a tenth of a processor.
const NICE: i32 = 10;
/// The most threads, on however large a machine: each may hold a large message in several forms.
pub const MAX_THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// See the module.
#[derive(Clone, Debug)]
pub struct Workers {
    jobs: mpsc::Sender<Job>,
}

impl Workers {
    /// Starts the threads, which end when this and all its clones are dropped.
    ///
    /// # Errors
    /// The operating system's, when it gives no threads.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(MAX_JOBS);
        let queue = Arc::new(Mutex::new(queue));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..(cores / 2).clamp(1, MAX_THREADS) {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name("large".to_owned());
            thread.spawn(move || work(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Has something done when its turn comes, and waits for it. Nothing is done for who has stopped waiting.
    ///
    /// # Errors
    /// When the threads are gone, or this work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, result) = oneshot::channel();
        let job = Box::new(move || {
            if !answer.is_closed() {
                // Who has gone meanwhile wants no answer.
                let _ = answer.send(work());
            }
        });
        self.jobs.send(job).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Has something done here and now, unless it is large.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_if<T: Send + 'static>(
        &self,
        large: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        match large {
            true => self.run(work).await,
            false => Ok(work()),
        }
    }

    /// Drops something large, here if there is no room.
    pub fn discard(&self, what: impl Send + 'static) {
        if let Err(error) = self.jobs.try_send(Box::new(move || drop(what))) {
            drop(error);
        }
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("large messages take as much of the processors as small ones: {error}");
    }
    loop {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let job = queue.blocking_recv();
        drop(queue);
        let Some(job) = job else {
            return;
        };
        // Whoever waits for it learns that it came to nothing.
        if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("the work on a large message panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_unless_nobody_waits_for_it() {
        let workers = Workers::start().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let done = Arc::new(AtomicUsize::new(0));
        let count = |by: usize| {
            let done = done.clone();
            move || done.fetch_add(by, Ordering::SeqCst)
        };
        // Every thread is busy until it is told.
        let busy = (0..MAX_THREADS).map(|_| {
            let held = held.clone();
            workers.run(move || held.lock().unwrap().recv().is_err())
        });
        let mut busy: Vec<_> = busy.map(Box::pin).collect();
        for job in &mut busy {
            assert!(futures_now(job.as_mut()).await.is_none());
        }
        let mut given_up = Box::pin(workers.run(count(100)));
        assert!(futures_now(given_up.as_mut()).await.is_none());
        drop(given_up);
        let mut wanted = Box::pin(workers.run(count(1)));
        assert!(futures_now(wanted.as_mut()).await.is_none());
        drop(release);
        assert_eq!(wanted.await.unwrap(), 0);
        for job in busy {
            assert!(job.await.unwrap());
        }
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_panic_ends_one_job() {
        let workers = Workers::start().unwrap();
        let failed = workers.run(|| panic!("as it should")).await;
        assert!(matches!(failed, Err(Stopped)));
        assert_eq!(workers.run(|| 3).await.unwrap(), 3);
    }

    /// What comes of a future that is looked at once.
    async fn futures_now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            let polled = std::pin::Pin::new(&mut future).poll(context);
            std::task::Poll::Ready(match polled {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
