//! Requests cost their connection what they weigh, from their first byte to their answer.
//!
//! Only transactions are counted: no other request of `weft.db.v1` is large, and a monitor's call
//! reads what its client sends as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Request, Status};

use super::Guest;
use crate::server::limits::budget::{Charge, Exhausted};

/// The path of the calls that are counted.
const PATH: &str = "/weft.db.v1.Database/Transact";

/// Puts [`Charged`] bodies into the requests.
#[derive(Clone, Copy, Debug)]
pub struct Layer;

impl<S> tower::Layer<S> for Layer {
    type Service = Weigh<S>;

    fn layer(&self, inner: S) -> Weigh<S> {
        Weigh { inner }
    }
}

/// See [`Layer`].
#[derive(Clone, Debug)]
pub struct Weigh<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for Weigh<S>
where
    S: Service<http::Request<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        let budget = request
            .extensions()
            .get::<Guest>()
            .map(|guest| guest.requests.clone());
        match budget.filter(|_| request.uri().path() == PATH) {
            None => self.inner.call(request),
            Some(budget) => self.inner.call(request.map(|body| {
                Body::new(Charged {
                    body,
                    bytes: 0,
                    charge: Charge::new(budget),
                })
            })),
        }
    }
}

/// A request on its way in.
struct Charged {
    body: Body,
    bytes: usize,
    charge: Charge,
}

impl http_body::Body for Charged {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.bytes += data.len();
            let bytes = self.bytes;
            if let Err(error) = self.charge.set(bytes) {
                return Poll::Ready(Some(Err(exhausted(error))));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The charge for a request that is here as a whole.
pub fn of_request(
    request: &Request<rpc::shared::TransactRequest>,
) -> Result<Option<Charge>, Status> {
    let Some(guest) = request.extensions().get::<Guest>() else {
        return Ok(None);
    };
    let mut charge = Charge::new(guest.requests.clone());
    let bytes = request.get_ref().encoded_len();
    charge.set(bytes).map_err(exhausted)?;
    Ok(Some(charge))
}

fn exhausted(exhausted: Exhausted) -> Status {
    Status::resource_exhausted(exhausted.to_string())
}
