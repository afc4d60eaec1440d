//! Who is refused before all has been read is heard out. Otherwise the connection ends while the rest is still being sent, and
//! whoever sends it learns that it broke, not why.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::doors::grpc::MAX_MESSAGE_BYTES;

/// So long is waited for the next part of what is refused, and so long for all of it.
const PATIENCE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);

/// Answers a request; if it is refused, what is left of its body is read before that.
pub(super) async fn hear_out(request: Request, next: Next) -> Response {
    // Such a client sends its body when it is asked for it.
    let waits = request.headers().contains_key(EXPECT);
    let (back, mut given_back) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent::new(body, back)));
    let response = next.run(request).await;
    if !response.status().is_success()
        && !waits
        && let Ok(rest) = given_back.try_recv()
    {
        // Too much, too slow or broken off: it has been refused already.
        drop(timeout(LIMIT, skip(rest)).await);
    }
    response
}

/// Reads what comes, and keeps nothing of it.
async fn skip(mut body: Body) {
    let mut left = MAX_MESSAGE_BYTES;
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let Ok(Some(Ok(frame))) = timeout(PATIENCE, frame).await else {
            return;
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length > left {
            return;
        }
        left -= length;
    }
}

/// A body that goes back to its owner when who reads it wants no more.
struct Lent {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

impl Lent {
    fn new(body: Body, back: oneshot::Sender<Body>) -> Self {
        let (body, back) = (Some(body), Some(back));
        Self { body, back }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it if the connection is gone.
            drop(back.send(body));
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}
