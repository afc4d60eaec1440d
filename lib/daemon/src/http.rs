//! What a daemon answers over HTTP: its metrics, and whether it is well. For those who watch over it: nothing can be
//! changed here, and everybody who reaches the port may ask.
//!
//! Plain HTTP/1.1. There are few connections at a time, and none may dawdle.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
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

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code, such as 200.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A line of text.
    pub fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{text}\n"),
        }
    }

    /// There is no such page; these there are.
    pub fn not_found(pages: &[&str]) -> Self {
        Self::text(
            404,
            &format!("no such page; there are {}", pages.join(", ")),
        )
    }
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

    /// Serves for ever: `answer` gets the path of each GET request.
    pub async fn serve<A, F>(self, answer: A)
    where
        A: Fn(String) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
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
            let answer = answer.clone();
            let service = service_fn(move |request| respond(request, answer.clone()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                // Who breaks the connection off does not want an answer.
                let _ = tokio::time::timeout(LIFETIME, connection).await;
                drop(place);
            });
        }
    }
}

async fn respond<A, F>(
    request: Request<Incoming>,
    answer: A,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    A: Fn(String) -> F,
    F: Future<Output = Answer>,
{
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let answer = match is_read {
        true => answer(request.uri().path().to_owned()).await,
        false => Answer::text(405, "only GET is answered"),
    };
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if !is_read {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(place: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(place).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_are_served_and_nothing_else() {
        let listener = HttpListener::open("127.0.0.1:0").await.unwrap();
        let place = listener.place().unwrap();
        tokio::spawn(listener.serve(|path| async move {
            match path.as_str() {
                "/a" => Answer::text(200, "yes"),
                _ => Answer::not_found(&["/a"]),
            }
        }));
        let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = ask(place, &format!("GET /a?x=1 {head}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain") && answer.ends_with("\r\n\r\nyes\n"),
            "{answer}"
        );
        let answer = ask(place, &format!("GET /b {head}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("there are /a\n"),
            "{answer}"
        );
        let answer = ask(place, &format!("POST /a {head}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"),
            "{answer}"
        );
        let answer = ask(
            place,
            &format!("GET /{} {head}", "x".repeat(MAX_HEAD_BYTES)),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        let answer = ask(place, "nonsense\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}
