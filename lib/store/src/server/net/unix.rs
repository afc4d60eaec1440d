//! A client's Unix socket, watched for bytes that come, and not for room to write.
//!
//! Linux tells whoever watches a Unix socket for room of every message that the other end has read.
//! A server that watches all of its sockets for room, as the runtime's own type does, is woken over
//! and over while 500 clients read the same update, on the cores that they want to read on. So a
//! socket is watched for room only while somebody waits for it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::task::coop;

/// The socket.
#[derive(Debug)]
pub struct UnixSocket {
    /// There is one, unless the system did not let it be watched otherwise.
    watched: Option<AsyncFd<UnixStream>>,
    /// Whether it is watched for room.
    for_room: bool,
    /// Who waits for bytes: the runtime forgets that when a socket is to be watched otherwise.
    reader: Option<Waker>,
}

impl UnixSocket {
    /// A socket that was accepted.
    ///
    /// # Errors
    /// The operating system's, when it does not watch the socket.
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        Ok(Self {
            watched: Some(watch(stream.into_std()?, false)?),
            for_room: false,
            reader: None,
        })
    }

    /// Watches it for room as well, or no longer.
    fn watch(&mut self, for_room: bool) -> io::Result<()> {
        let watched = self.watched.take().ok_or(ErrorKind::BrokenPipe)?;
        self.watched = Some(watch(watched.into_inner(), for_room)?);
        self.for_room = for_room;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, because a type may not tell the truth about its descriptor; this one does"
)]
fn watch(stream: UnixStream, for_room: bool) -> io::Result<AsyncFd<UnixStream>> {
    let interest = match for_room {
        true => Interest::READABLE | Interest::WRITABLE,
        false => Interest::READABLE,
    };
    AsyncFd::with_interest(stream, interest)
}

/// The socket, if there is one.
fn present(watched: &Option<AsyncFd<UnixStream>>) -> io::Result<&AsyncFd<UnixStream>> {
    watched.as_ref().ok_or_else(|| ErrorKind::BrokenPipe.into())
}

impl AsyncRead for UnixSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let socket = present(&this.watched)?;
        loop {
            let Poll::Ready(ready) = socket.poll_read_ready(context) else {
                let waker = context.waker();
                match &mut this.reader {
                    Some(reader) => reader.clone_from(waker),
                    None => this.reader = Some(waker.clone()),
                }
                return Poll::Pending;
            };
            let mut ready = ready?;
            let room = buffer.initialize_unfilled();
            let wanted = room.len();
            // Nothing there: the loop waits.
            let Ok(read) = ready.try_io(|socket| socket.get_ref().read(room)) else {
                continue;
            };
            let count = read?;
            if (1..wanted).contains(&count) {
                // That was all; the system need not be asked to know.
                ready.clear_ready();
            }
            buffer.advance(count);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for UnixSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let socket = present(&self.watched)?;
            if self.for_room {
                let mut ready = ready!(socket.poll_write_ready(context))?;
                let Ok(written) = ready.try_io(|socket| socket.get_ref().write(bytes)) else {
                    continue;
                };
                self.watch(false)?;
                return Poll::Ready(written);
            }
            let turn = ready!(coop::poll_proceed(context));
            match socket.get_ref().write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.watch(true)?,
                written => {
                    turn.made_progress();
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(present(&self.watched)?.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (UnixSocket, tokio::net::UnixStream) {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        (UnixSocket::new(ours).unwrap(), theirs)
    }

    /// Writes as much as there is room for.
    async fn fill(socket: &mut UnixSocket) -> usize {
        let mut written = 0;
        std::future::poll_fn(|context| {
            while let Poll::Ready(count) = Pin::new(&mut *socket).poll_write(context, &[7; 4096]) {
                written += count.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        written
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_room_and_then_room_is_no_longer_watched() {
        let (mut ours, mut theirs) = pair();
        let written = tokio::task::unconstrained(fill(&mut ours)).await;
        assert!(ours.for_room, "it waits");
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; written + 5];
            theirs.read_exact(&mut bytes).await.unwrap();
            (bytes, theirs)
        });
        ours.write_all(b"after").await.unwrap();
        let (bytes, mut theirs) = reading.await.unwrap();
        assert!(bytes.ends_with(b"\x07after"));
        assert!(!ours.for_room);

        theirs.write_all(b"still heard").await.unwrap();
        let mut heard = [0; 11];
        ours.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still heard");
        drop(theirs);
        assert_eq!(ours.read(&mut heard).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_bytes_hears_of_them_though_the_socket_is_watched_anew() {
        let (ours, mut theirs) = pair();
        let (mut reader, mut writer) = tokio::io::split(ours);
        let (asked, asks) = tokio::sync::oneshot::channel();
        let reading = tokio::spawn(async move {
            let mut asked = Some(asked);
            let mut bytes = [0; 4];
            std::future::poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut bytes);
                let read = Pin::new(&mut reader).poll_read(context, &mut buffer);
                asked.take().map(|asked| asked.send(()));
                read
            })
            .await
            .unwrap();
            bytes
        });
        asks.await.unwrap();
        // Until there is no room, and it is watched for room.
        let mut full = Box::pin(async { while writer.write(&[7; 4096]).await.is_ok() {} });
        tokio::task::unconstrained(std::future::poll_fn(|context| {
            assert!(full.as_mut().poll(context).is_pending());
            Poll::Ready(())
        }))
        .await;
        theirs.write_all(b"word").await.unwrap();
        let limit = std::time::Duration::from_secs(60);
        let heard = tokio::time::timeout(limit, reading).await;
        assert_eq!(&heard.expect("it is woken").unwrap(), b"word");
    }
}
