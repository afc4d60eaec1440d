//! A transfer of many bytes by TCP, from one namespace to another.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// So long nothing may move.
const LIMIT: Duration = Duration::from_secs(20);

/// Sends so many bytes to an address that is in the namespace `to`, and sees that all of them arrive.
pub fn transfer(from: &Namespace, to: &Namespace, address: IpAddr, bytes: usize) -> Result<()> {
    transfer_by(from, to, address, address, bytes)
}

/// The same to an address by which somebody is reached who has another one, `own`, himself.
pub fn transfer_by(
    from: &Namespace,
    to: &Namespace,
    address: IpAddr,
    own: IpAddr,
    bytes: usize,
) -> Result<()> {
    let listener = to.inside(|| Ok(TcpListener::bind((own, 0))?))?;
    let target = SocketAddr::new(address, listener.local_addr()?.port());
    let mut sender = from
        .inside(|| Ok(TcpStream::connect_timeout(&target, LIMIT)?))
        .with_context(|| format!("connecting to {target}"))?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(LIMIT))?;
    sender.set_write_timeout(Some(LIMIT))?;
    let sending = std::thread::spawn(move || sender.write_all(&vec![b'x'; bytes]));
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let read = receiver.read(&mut buffer);
        match read.with_context(|| format!("{target} got {received} of {bytes} bytes"))? {
            0 => break,
            count => received += count,
        }
    }
    let sent = sending.join().expect("no panic");
    sent.with_context(|| format!("{target} took {received} of {bytes} bytes"))?;
    ensure!(received == bytes, "{received} of {bytes} bytes arrived");
    Ok(())
}
