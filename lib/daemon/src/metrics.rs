//! The figures of a daemon that is a loop over events between databases: northd and the controller. The database servers
//! have figures of their own.
//!
//! `/metrics` gives them as OpenMetrics text, `/healthz` says that the process lives, `/readyz` whether all its databases
//! are there.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use clap::Args;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::coverage;
use crate::http::{self, HttpListener};

/// The media type of the figures.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of the buckets of steps, in seconds.
const BOUNDS_SECONDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0,
];
const PAGES: &[&str] = &["/metrics", "/healthz", "/readyz"];

/// Where figures are told.
#[derive(Args, Clone, Debug, Default)]
pub struct MetricsArgs {
    /// Tell metrics (/metrics) and health (/healthz, /readyz) over HTTP here, to everybody who asks
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_listen: Option<String>,
}

/// Why figures cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("--metrics-listen {place}: {error}")]
pub struct ListenError {
    place: String,
    #[source]
    error: std::io::Error,
}

type Label = [(&'static str, &'static str); 1];

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    since: Instant,
    uptime: Gauge<f64, AtomicU64>,
    step: Histogram,
    connected: Family<Label, Gauge>,
    transactions: Family<Label, Counter>,
    failed: Family<Label, Counter>,
    dropped: Family<Label, Counter>,
}

impl Metrics {
    /// Of the daemon `program`, whose databases are `databases`, none of which is there yet.
    pub fn new(program: &str, version: &str, databases: &[&'static str]) -> Self {
        let mut registry = Registry::default();
        let who = Info::new([
            ("program", program.to_owned()),
            ("version", version.to_owned()),
        ]);
        registry.register("weft_daemon", "The daemon", who);
        let uptime = Gauge::default();
        let help = "How long the daemon has run";
        registry.register_with_unit("weft_daemon_uptime", help, Unit::Seconds, uptime.clone());
        let step = Histogram::new(BOUNDS_SECONDS);
        let help = "One step of the loop, in which nothing else is done";
        registry.register_with_unit("weft_daemon_step", help, Unit::Seconds, step.clone());
        let connected = Family::<Label, Gauge>::default();
        let help = "1 if the content of a database is there and current";
        registry.register("weft_daemon_connected", help, connected.clone());
        let transactions = Family::<Label, Counter>::default();
        let help = "Transactions that a database has answered";
        registry.register("weft_daemon_transactions", help, transactions.clone());
        let failed = Family::<Label, Counter>::default();
        let help = "Transactions that a database has answered with an error";
        registry.register("weft_daemon_transactions_failed", help, failed.clone());
        let dropped = Family::<Label, Counter>::default();
        let help = "Packets that were not handled: too many were waiting, or nobody serves them";
        registry.register("weft_daemon_packets_dropped", help, dropped.clone());
        for database in databases {
            connected.get_or_create(&[("database", database)]).set(0);
            transactions
                .get_or_create(&[("database", database)])
                .inc_by(0);
            failed.get_or_create(&[("database", database)]).inc_by(0);
        }
        Self {
            registry: Arc::new(registry),
            since: Instant::now(),
            uptime,
            step,
            connected,
            transactions,
            failed,
            dropped,
        }
    }

    /// The loop took a step.
    pub fn stepped(&self, duration: Duration) {
        self.step.observe(duration.as_secs_f64());
    }

    /// The content of a database is there, or is no longer.
    pub fn connected(&self, database: &'static str, is_connected: bool) {
        let gauge = self.connected.get_or_create(&[("database", database)]);
        gauge.set(i64::from(is_connected));
    }

    /// A database has answered a transaction; with an error, if `failed`.
    pub fn transacted(&self, database: &'static str, failed: bool) {
        let label = [("database", database)];
        self.transactions.get_or_create(&label).inc();
        match failed {
            true => coverage::TXN_ERROR.add(1),
            false => coverage::TXN_SUCCESS.add(1),
        }
        if failed {
            self.failed.get_or_create(&label).inc();
        }
    }

    /// How many packets were dropped since the start, for a reason.
    pub fn dropped(&self, reason: &'static str, total: u64) {
        let counter = self.dropped.get_or_create(&[("reason", reason)]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// The figures as OpenMetrics text.
    pub fn render(&self) -> String {
        self.uptime.set(self.since.elapsed().as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// Whether all of these databases are there.
    fn lacks(&self, databases: &[&'static str]) -> Vec<&'static str> {
        let is_away = |database: &&&'static str| {
            self.connected
                .get_or_create(&[("database", **database)])
                .get()
                == 0
        };
        databases.iter().filter(is_away).copied().collect()
    }

    /// Opens the listener, if there is to be one, and serves from then on. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The place is not to be had.
    pub async fn listen(
        &self,
        args: &MetricsArgs,
        databases: &'static [&'static str],
    ) -> Result<(), ListenError> {
        let Some(place) = &args.metrics_listen else {
            return Ok(());
        };
        let failed = |error| ListenError {
            place: place.clone(),
            error,
        };
        let listener = HttpListener::open(place).await.map_err(failed)?;
        let at = listener.place().map_err(failed)?;
        tracing::info!(target: "main", "metrics at http://{at}/metrics");
        tokio::spawn(listener.serve(self.pages(databases)));
        Ok(())
    }

    fn pages(&self, databases: &'static [&'static str]) -> Router {
        let (figures, ready) = (self.clone(), self.clone());
        let metrics = move || {
            let text = figures.render();
            async move { http::answer(200, CONTENT_TYPE, text) }
        };
        let readiness = move || {
            let away = ready.lacks(databases);
            async move {
                match away.is_empty() {
                    true => http::text(200, "ready"),
                    false => http::text(503, &format!("waiting for {}", away.join(", "))),
                }
            }
        };
        let pages = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { http::text(200, "alive") }))
            .route("/readyz", get(readiness));
        http::with_list(pages, PAGES)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(place: std::net::SocketAddr, page: &str) -> String {
        let mut stream = TcpStream::connect(place).await.unwrap();
        let request = format!("GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn figures_and_readiness_are_told() {
        const DATABASES: &[&str] = &["northbound", "southbound"];
        let metrics = Metrics::new("weft-northd", "1.2", DATABASES);
        let listener = HttpListener::open("127.0.0.1:0").await.unwrap();
        let place = listener.place().unwrap();
        tokio::spawn(listener.serve(metrics.pages(DATABASES)));

        metrics.connected("northbound", true);
        let answer = ask(place, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("waiting for southbound\n"),
            "{answer}"
        );
        metrics.connected("southbound", true);
        metrics.transacted("southbound", true);
        metrics.stepped(Duration::from_millis(3));
        let answer = ask(place, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = ask(place, "/metrics").await;
        for line in [
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r",
            "weft_daemon_info{program=\"weft-northd\",version=\"1.2\"} 1",
            "weft_daemon_connected{database=\"northbound\"} 1",
            "weft_daemon_transactions_total{database=\"southbound\"} 1",
            "weft_daemon_transactions_failed_total{database=\"southbound\"} 1",
            "weft_daemon_transactions_failed_total{database=\"northbound\"} 0",
            "weft_daemon_step_seconds_bucket{le=\"0.002\"} 0",
            "weft_daemon_step_seconds_bucket{le=\"0.005\"} 1",
            "# EOF",
        ] {
            assert!(
                answer.split('\n').any(|told| told == line),
                "{line}: {answer}"
            );
        }
        let answer = ask(place, "/nothing").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}
