//! How gRPC messages become bytes and come back.
//!
//! As prost does it, with two additions for messages that come in: what a request would take in
//! memory is [weighed](crate::weight) first, and a large message is read while the runtime lets
//! others work.

use std::marker::PhantomData;

use bytes::Buf;
use prost::{Message, Name};
use tokio::runtime::{Handle, RuntimeFlavor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::weight::Scale;

/// Reading more bytes than these takes long enough for others to notice.
const LARGE_BYTES: usize = 64 << 10;

/// The codec of all services of `weft.db.v1`.
#[derive(Debug)]
pub struct Bounded<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Bounded<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Bounded<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstCodec::<T, U>::default().decoder())
    }
}

/// Reads messages.
#[derive(Debug)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Name + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if buffer.remaining() < LARGE_BYTES {
            return self.0.decode(buffer);
        }
        aside(|| {
            // tonic has the whole message in one piece.
            Scale::of_requests()
                .check(&U::full_name(), buffer.chunk())
                .map_err(|error| Status::resource_exhausted(error.to_string()))?;
            self.0.decode(buffer)
        })
    }
}

/// Does what takes long; what else waits for this thread of the runtime goes to another one.
fn aside<R>(work: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
