//! A client of `weft-api`: the calls of `weft.northbound.v1` as they are generated, with what every program would write
//! around them: connecting, a bearer token, retries where nothing can be done twice, and a watch that goes on after a
//! reconnect.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, v1};
//!
//! let client = Client::connect("unix:/var/run/ovn/weft-api-grpc.sock")?;
//! let switch = v1::Object {
//!     name: "dmz".to_owned(),
//!     spec: Some(v1::object::Spec::LogicalSwitch(v1::LogicalSwitch::default())),
//!     ..Default::default()
//! };
//! client.apply("me", vec![switch]).await?;
//! let mut watch = client.watch(vec![v1::Kind::LogicalSwitch], "me");
//! loop {
//!     let change = watch.next().await?;
//!     println!("{} changed, {} gone", change.changed.len(), change.gone.len());
//! }
//! # }
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | [`v1`] | the generated messages and calls |
//! | [`connection`] | remotes, tokens, and the calls with their retries |
//! | [`retry`] | which failures are tried again, and after which pause |
//! | [`watch`] | changes of objects, across reconnects |

/// The generated messages and calls of package `weft.northbound.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::semicolon_if_nothing_returned,
    reason = "generated from the .proto files, whose comments become the documentation"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/weft.northbound.v1.rs"));
}

pub mod connection;
pub mod retry;
pub mod watch;

pub use connection::{Client, Error};
pub use retry::Retry;
pub use watch::Watch;
