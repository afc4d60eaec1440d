//! What a daemon answers over HTTP: its metrics, and whether it is well. For those who watch over it: nothing can be
//! changed here, and everybody who reaches the port may ask.
//!
//! Pages are axum's; what is ours is the limits. There are few connections at a time, and none may dawdle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// So many connections are served at a time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// So long the head of a request may take, and the pause between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// So long a connection lives at most.
const LIFETIME: Duration = Duration::from_secs(600);
/// The head of a request is at most so large.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// After a failure to accept, the listener rests so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer: a status code such as 200, and a body of the media type.
pub fn answer(status: u16, content_type: &'static str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

/// A line of text.
pub fn text(status: u16, text: &str) -> Response {
    answer(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// The pages, and for all others the word that these there are.
pub fn with_list(pages: Router, paths: &'static [&'static str]) -> Router {
    pages.fallback(move || async move {
        let there_are = paths.join(", ");
        text(404, &format!("no such page; there are {there_are}"))
    })
}

/// A listening socket.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
}

impl HttpListener {
    /// Listens at `HOST:PORT`.
    pub async fn open(place: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(place).await?;
        Ok(Self { listener })
    }

    /// Where it listens, with the port that the system chose, if it did.
    pub fn place(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the pages for ever.
    pub async fn serve(self, pages: Router) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("metrics: cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(
                    TokioIo::new(stream),
                    TowerToHyperService::new(pages.clone()),
                );
            tokio::spawn(async move {
                // Who breaks the connection off does not want an answer.
                let _ = tokio::time::timeout(LIFETIME, connection).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const HEAD: &str = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    async fn served() -> SocketAddr {
        let listener = HttpListener::open("127.0.0.1:0").await.unwrap();
        let place = listener.place().unwrap();
        let pages = Router::new().route("/a", get(|| async { text(200, "yes") }));
        tokio::spawn(listener.serve(with_list(pages, &["/a"])));
        place
    }

    async fn ask(place: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(place).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_are_served_and_nothing_else() {
        let place = served().await;
        let answer = ask(place, &format!("GET /a?x=1 {HEAD}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain") && answer.ends_with("\r\n\r\nyes\n"),
            "{answer}"
        );
        let answer = ask(place, &format!("GET /b {HEAD}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("there are /a\n"),
            "{answer}"
        );
        let answer = ask(place, &format!("POST /a {HEAD}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET,HEAD"),
            "{answer}"
        );
        let large = "x".repeat(MAX_HEAD_BYTES);
        let answer = ask(place, &format!("GET /{large} {HEAD}")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        let answer = ask(place, "nonsense\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    #[tokio::test]
    async fn who_comes_beyond_the_limit_waits_for_a_place() {
        let place = served().await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(place).await.unwrap());
        }
        let mut late = TcpStream::connect(place).await.unwrap();
        let request = format!("GET /a {HEAD}");
        late.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 1];
        // Nothing else runs that could make a place.
        assert!(late.try_read(&mut buffer).is_err());
        drop(silent.pop());
        let mut answer = String::new();
        late.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}
