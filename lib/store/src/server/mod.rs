//! The server: sockets, threads and clocks around the core. The only asynchronous part.
//!
//! ```text
//!   process ──▶ listeners (net) ──▶ ovsdb sessions ─┐            ┌──▶ disk thread
//!                              └──▶ grpc calls ─────┴─▶ engine: the core's task
//!                                   peers ──────────┘            └──▶ streams to other members
//! ```
//!
//! The rooms, each of which uses only those above it:
//!
//! | room | what it is |
//! | --- | --- |
//! | `limits` | quotas, rate limits, and the threads for what is large |
//! | `databases` | what can be served |
//! | `net` | sockets, TLS, listeners |
//! | `engine` | the core's task and the disk's thread |
//! | `peers` | other members |
//! | `ovsdb`, `grpc` | the two protocols of clients |
//! | `process` | a whole server |

pub mod args;
mod databases;
mod engine;
mod grpc;
mod limits;
mod net;
mod ovsdb;
pub mod peers;
pub mod process;

pub use self::args::ServerArgs;
pub use self::databases::{Databases, Served};
pub use self::engine::outputs::Outputs;
pub use self::engine::{ConnectError, Engine, EngineError, Session};
pub use self::limits::Stopped;
pub use self::peers::{Change, ChangeError, Cluster};
pub use self::process::{Server, StartError, Watcher, control};

use std::num::NonZero;

/// The runtime that a server wants: at least two threads, so that a long step of the core leaves one
/// to the sessions.
///
/// # Errors
/// The operating system's, when it gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .build()
}
