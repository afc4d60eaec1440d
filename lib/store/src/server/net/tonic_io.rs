//! A connection as tonic wants it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::listen::Connection;

/// A connection, and what each call on it finds among its extensions.
#[derive(Debug)]
pub struct TonicIo<I> {
    connection: Connection,
    info: I,
}

impl<I> TonicIo<I> {
    /// The connection, with what its calls should know.
    pub fn new(connection: Connection, info: I) -> Self {
        Self { connection, info }
    }
}

impl<I: Clone + Send + Sync + 'static> Connected for TonicIo<I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<I: Unpin> AsyncRead for TonicIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection.io).poll_read(context, buffer)
    }
}

impl<I: Unpin> AsyncWrite for TonicIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.connection.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection.io).poll_shutdown(context)
    }
}
