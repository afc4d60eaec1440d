//! Who speaks another protocol than the port's: told apart by the first bytes, so that the error
//! can say what is wrong.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ovsdb::{Error, jsonrpc};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::listen::Io;

/// With this every client that speaks HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So long it may take to come.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// So long somebody who is to be sent away may take to listen.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// So much is read of what he says meanwhile.
const FAREWELL_BYTES: usize = 1 << 20;

/// What somebody speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// OVSDB's JSON-RPC.
    Json,
    /// HTTP/2, and so gRPC.
    Http2,
    /// HTTP/1, as browsers and scripts do.
    Http1,
    /// TLS.
    Tls,
    /// None of these.
    Unknown,
}

impl Protocol {
    /// What a connection that begins with these bytes speaks.
    pub fn of(first: &[u8]) -> Self {
        const METHODS: [&[u8]; 6] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE"];
        let begins = |with: &[u8]| first.starts_with(with);
        if begins(b"PRI ") {
            Self::Http2
        } else if METHODS.into_iter().any(begins) {
            Self::Http1
        } else if begins(&[0x16, 0x03]) {
            Self::Tls
        } else if matches!(first.trim_ascii_start().first(), Some(b'{')) {
            Self::Json
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Json => "OVSDB (JSON-RPC)",
            Self::Http2 => "gRPC (HTTP/2)",
            Self::Http1 => "HTTP/1",
            Self::Tls => "TLS",
            Self::Unknown => "no protocol that is known here",
        })
    }
}

/// What to tell somebody who speaks something else to an OVSDB port, if it is recognised.
pub fn not_ovsdb(first: &[u8]) -> Option<String> {
    match Protocol::of(first) {
        spoken @ (Protocol::Http2 | Protocol::Http1 | Protocol::Tls) => Some(format!(
            "this is an OVSDB port, and the client speaks {spoken}: connect with unix:, tcp: or \
             ssl: as the server listens, or to one of its gRPC ports"
        )),
        Protocol::Json | Protocol::Unknown => None,
    }
}

/// Reads the beginning of a connection on a gRPC port. Gives the connection back, with what was
/// read still to be read, if the client speaks HTTP/2; tells the client otherwise, as well as it
/// can be told.
///
/// # Errors
/// What the client does instead.
pub async fn expect_http2(mut io: Box<dyn Io>) -> Result<Box<dyn Io>, String> {
    let mut first = [0; PREFACE.len()];
    let mut count = 0;
    let reading = async {
        while count < first.len() && first[..count] == PREFACE[..count] {
            match io.read(&mut first[count..]).await {
                Ok(0) => return Err("closed before it began to speak".to_owned()),
                Ok(more) => count += more,
                Err(error) => return Err(format!("connection lost: {error}")),
            }
        }
        Ok(())
    };
    match tokio::time::timeout(PREFACE_TIMEOUT, reading).await {
        Ok(read) => read?,
        Err(_) => {
            return Err(format!(
                "no beginning of HTTP/2 within {PREFACE_TIMEOUT:?}; closed"
            ));
        }
    }
    if first[..count] == PREFACE[..] {
        return Ok(Box::new(Replay { first, read: 0, io }));
    }
    let spoken = Protocol::of(&first[..count]);
    let text = format!(
        "this is a gRPC port, and the client speaks {spoken}: connect with grpc:, grpcs: or \
         grpc+unix: as the server listens, or to one of its OVSDB ports"
    );
    let answer = match spoken {
        Protocol::Json => jsonrpc::error_response(&Value::Null, &Error::syntax(&*text)),
        Protocol::Http1 => format!(
            "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain\r\nUpgrade: h2c\r\n\
             Connection: close, Upgrade\r\nContent-Length: {}\r\n\r\n{text}\n",
            text.len() + 1
        )
        .into_bytes(),
        Protocol::Http2 | Protocol::Tls | Protocol::Unknown => Vec::new(),
    };
    farewell(&mut io, &answer).await;
    Err(text)
}

/// Writes some last bytes, if the client takes them soon.
pub async fn farewell(io: &mut Box<dyn Io>, bytes: &[u8]) {
    let writing = async {
        io.write_all(bytes).await?;
        io.shutdown().await?;
        // What the client still sends is read, because the client may not get the reason otherwise.
        let mut rest = [0; 4096];
        let mut left = FAREWELL_BYTES;
        while left > 0 {
            match io.read(&mut rest).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        std::io::Result::Ok(())
    };
    // Whoever does not listen, or has gone, misses the reason and nothing else.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, writing).await;
}

/// A stream of which the first bytes were read already.
struct Replay {
    first: [u8; PREFACE.len()],
    read: usize,
    io: Box<dyn Io>,
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let left = &self.first[self.read..];
        if left.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn spoken_to_grpc(bytes: &[u8]) -> (Result<String, String>, String) {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let welcomed = match expect_http2(Box::new(server)).await {
            Err(error) => Err(error),
            Ok(mut io) => {
                let mut read = Vec::new();
                io.read_to_end(&mut read).await.unwrap();
                Ok(String::from_utf8_lossy(&read).into_owned())
            }
        };
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (welcomed, answer)
    }

    #[tokio::test]
    async fn who_speaks_something_else_is_told() {
        let whole = [PREFACE.as_slice(), b"and more"].concat();
        let (welcomed, answer) = spoken_to_grpc(&whole).await;
        assert_eq!(welcomed.unwrap().as_bytes(), whole);
        assert_eq!(answer, "");
        for (bytes, log, told) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "HTTP/1", "HTTP/1.1 426 "),
            (b"{\"id\":1,\"method\"", "OVSDB", "syntax error"),
            (&[0x16, 0x03, 0x01, 0x02], "TLS", ""),
            (b"PRI * HTTP/2.0\r\n\r\nSX", "gRPC (HTTP/2)", ""),
            (b"PRI * HT", "closed before", ""),
            (b"", "closed before", ""),
        ] {
            let (welcomed, answer) = spoken_to_grpc(bytes).await;
            let error = welcomed.unwrap_err();
            assert!(error.contains(log), "{error}");
            assert!(answer.contains(told), "{answer}");
            assert_eq!(answer.is_empty(), told.is_empty(), "{answer}");
        }
    }

    #[test]
    fn who_speaks_something_else_to_an_ovsdb_port_is_recognised() {
        let told = |first: &[u8]| not_ovsdb(first).unwrap_or_default();
        assert!(told(PREFACE).contains("gRPC"));
        assert!(told(b"POST /x").contains("HTTP/1"));
        assert!(told(&[0x16, 0x03, 0x03]).contains("TLS"));
        assert_eq!(told(b" {}"), "");
        assert_eq!(told(b"xyz"), "");
    }
}
