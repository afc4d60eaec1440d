//! One connection that speaks OVSDB.

use std::time::Instant;

use ovsdb::Remote;
use ovsdb::client::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::Stream;
use super::{End, Link, Reason};
use crate::core::{Command, not_sent};
use crate::event::Event;

/// How much is read at once.
const READ_SIZE: usize = 128 << 10;

impl<E, W> Link<E, W>
where
    E: Send + 'static,
    W: Fn(Event) -> E + Send + 'static,
{
    /// Talks until the connection ends.
    pub(super) async fn converse_in_ovsdb(
        &mut self,
        remote: &Remote,
        stream: Box<dyn Stream>,
    ) -> End {
        let mut session = Session::new(self.core.session_config(), Instant::now());
        // OVSDB has no names for transactions.
        self.core.take_again(Instant::now(), false);
        match self.talk(&mut session, remote, stream).await {
            Ok(never) => match never {},
            Err(Reason::Closed) => End::Closed,
            Err(Reason::Lost(reason)) => End::Lost {
                reason,
                conditions_in_effect: session.conditions_in_effect(),
            },
        }
    }

    async fn talk(
        &mut self,
        session: &mut Session,
        remote: &Remote,
        stream: Box<dyn Stream>,
    ) -> Result<std::convert::Infallible, Reason> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut input = vec![0; READ_SIZE];
        let mut output = session.take_output();
        let mut written = 0;
        let mut flushed = true;
        loop {
            // While the owner has no room for what it is to be told, nothing is read: then the kernel's buffers fill,
            // and the server waits.
            let telling = self.core.has_events();
            let timer = session.next_timer();
            tokio::select! {
                told = self.out.reserve(), if telling => {
                    self.tell(told.map_err(|_| Reason::Closed)?);
                    if !self.core.has_events() {
                        session.forgive_silence(Instant::now());
                    }
                }
                count = reader.read(&mut input), if !telling => match count {
                    Ok(0) => return Err(Reason::Lost("connection closed by peer".to_owned())),
                    Ok(count) => self.received(session, &input[..count])?,
                    Err(error) => return Err(lost("receive error", &error)),
                },
                step = write_some(&mut writer, &output[written..]), if written < output.len() || !flushed => {
                    let count = step.map_err(|error| lost("send error", &error))?;
                    written += count;
                    flushed = count == 0;
                }
                command = self.commands.next(), if self.core.has_room() => {
                    self.command(session, remote, command.ok_or(Reason::Closed)?)?;
                }
                () = sleep_until(timer), if !telling => {
                    session
                        .handle_timer(Instant::now())
                        .map_err(|error| Reason::Lost(error.to_string()))?;
                }
                () = self.out.sender.closed() => return Err(Reason::Closed),
            }
            if written == output.len() {
                session.exchange_output(&mut output);
                written = 0;
            }
        }
    }

    fn received(&mut self, session: &mut Session, bytes: &[u8]) -> Result<(), Reason> {
        let now = Instant::now();
        let result = session.receive(now, bytes);
        // What came before the error counts.
        while let Some(event) = session.next_event() {
            self.core
                .session_event(now, event, session.conditions_in_effect())
                .map_err(|error| Reason::Lost(error.to_string()))?;
        }
        result.map_err(|error| Reason::Lost(error.to_string()))
    }

    fn command(
        &mut self,
        session: &mut Session,
        remote: &Remote,
        command: Command,
    ) -> Result<(), Reason> {
        match command {
            Command::Transact { id, operations } => {
                let sent = session.transact(id, operations).map_err(not_sent);
                self.core.transaction_sent(id, sent, None);
            }
            Command::SetConditions(number, conditions) => {
                let changed = self.core.set_conditions(number, conditions, true);
                session.set_conditions(changed);
                if session.is_live() && session.conditions_in_effect() {
                    self.core.conditions_in_effect();
                }
            }
            Command::SetRemotes(remotes) => {
                if self.core.set_remotes(remotes, Some(remote)) {
                    return Err(Reason::Lost("the remotes were changed".to_owned()));
                }
            }
            Command::Reconnect => {
                self.core.hurry();
                return Err(Reason::Lost("reconnecting on request".to_owned()));
            }
        }
        Ok(())
    }
}

fn lost(what: &str, error: &std::io::Error) -> Reason {
    Reason::Lost(format!("{what}: {error}"))
}

/// Writes some bytes, or flushes if there are none. May be dropped and called again at any time.
async fn write_some(
    writer: &mut (impl AsyncWriteExt + Unpin),
    bytes: &[u8],
) -> std::io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(bytes).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
