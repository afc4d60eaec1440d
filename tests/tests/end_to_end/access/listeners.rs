//! Listeners that the database asks for, and certificates that change while they are used.

use std::fs;

use anyhow::{Result, ensure};
use tests::wait::wait_until;

use super::rig::{Database, PATIENCE, Pki};

#[test]
fn listeners_come_change_and_go_with_their_rows() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let pki = Pki::new(&dir.path().join("pki"))?;
    pki.run(&["member", "server"])?;
    pki.run(&["client", "writer", "--role=writer"])?;
    pki.run(&["client", "reader"])?;
    let nb = Database::start("nb", dir.path(), &[])?;
    ensure!(nb.tls_port()?.is_none());

    let [key, certificate, ca] = pki.files("server");
    nb.admin(&[
        "set-ssl",
        &key,
        &certificate,
        &ca,
        "--",
        "set-connection",
        "pssl:0:127.0.0.1",
    ])?;
    let port = nb.wait_for_tls(None)?;
    // Without a role everybody with a certificate may do everything.
    nb.client(port, &pki, "reader", &["ls-add", "sw0"])
        .output()?;

    nb.admin(&["set", "connection", ".", "other_config:role=certificate"])?;
    let port = nb.wait_for_tls(Some(port))?;
    let denied = nb
        .client(port, &pki, "reader", &["ls-add", "sw1"])
        .complaint()?;
    ensure!(denied.contains("permission error"), "{denied}");
    ensure!(
        denied.contains("role reader, may not insert table Logical_Switch"),
        "{denied}"
    );
    let switches = nb.client(port, &pki, "reader", &["ls-list"]).output()?;
    ensure!(
        switches.contains("sw0") && !switches.contains("sw1"),
        "{switches}"
    );
    nb.client(port, &pki, "writer", &["ls-add", "sw1"])
        .output()?;
    let denied = nb
        .client(port, &pki, "writer", &["del-connection"])
        .complaint()?;
    ensure!(denied.contains("permission error"), "{denied}");
    // The listener says more about a name than the certificate.
    nb.admin(&[
        "set",
        "connection",
        ".",
        "other_config:\"role:writer\"=reader",
    ])?;
    let port = nb.wait_for_tls(Some(port))?;
    let denied = nb
        .client(port, &pki, "writer", &["ls-add", "sw2"])
        .complaint()?;
    ensure!(denied.contains("permission error"), "{denied}");

    nb.admin(&["del-connection"])?;
    wait_until("the listener to close", PATIENCE, || {
        Ok(nb.tls_port()?.is_none())
    })?;
    ensure!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    Ok(())
}

#[test]
fn what_cannot_be_opened_is_told_and_tried_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let pki = Pki::new(&dir.path().join("pki"))?;
    pki.run(&["member", "server"])?;
    let nb = Database::start("nb", dir.path(), &[])?;
    let [key, certificate, ca] = pki.files("server");
    let missing = dir.path().join("missing.pem").display().to_string();
    nb.admin(&[
        "set-ssl",
        &missing,
        &certificate,
        &ca,
        "--",
        "set-connection",
        "pssl:0:127.0.0.1",
    ])?;
    wait_until("a complaint", PATIENCE, || {
        Ok(nb.log()?.contains(&format!("{missing}: cannot be read")))
    })?;
    fs::copy(&key, &missing)?;
    nb.wait_for_tls(None)?;
    nb.admin(&["set-connection", "ssl:127.0.0.1:6641"])?;
    wait_until("a complaint", PATIENCE, || {
        Ok(nb.log()?.contains("this server only listens"))
    })?;
    Ok(())
}

#[test]
fn certificates_are_replaced_without_a_break() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let old = Pki::new(&dir.path().join("old"))?;
    let new = Pki::new(&dir.path().join("new"))?;
    for pki in [&old, &new] {
        pki.run(&["member", "server"])?;
        pki.run(&["client", "client", "--role=admin"])?;
    }
    let mut flags = vec!["--listen=pssl:0:127.0.0.1".to_owned()];
    flags.extend(old.flags("server"));
    let nb = Database::start("nb", dir.path(), &flags)?;
    let port = nb.wait_for_tls(None)?;
    let works = |pki: &Pki| {
        nb.client(port, pki, "client", &["--no-leader-only", "ls-list"])
            .succeeds()
    };
    ensure!(works(&old)? && !works(&new)?);

    // Something wrong first: the old ones stay.
    let [key, certificate, ca] = old.files("server");
    let saved = fs::read(&certificate)?;
    fs::write(&certificate, "nonsense")?;
    wait_until("a complaint", PATIENCE, || {
        Ok(nb.log()?.contains("still use the old ones"))
    })?;
    ensure!(works(&old)?);
    fs::write(&certificate, saved)?;

    let sessions = || -> Result<String> {
        let status = nb.daemon.control(&["status"])?;
        let mut lines = status.lines().filter(|line| line.starts_with("sessions"));
        Ok(lines.next().unwrap_or_default().to_owned())
    };
    let before = sessions()?;
    let mut connected = nb
        .client(
            port,
            &old,
            "client",
            &["--no-leader-only", "wait-until", "logical_switch", "sw0"],
        )
        .command()
        .spawn()?;
    wait_until("a client", PATIENCE, || Ok(sessions()? != before))?;
    for (from, to) in new.files("server").iter().zip([&key, &certificate, &ca]) {
        fs::copy(from, to)?;
    }
    wait_until("the new certificates", PATIENCE, || works(&new))?;
    // The client's own idea of the authority has been replaced with the file; its certificate is still of the old one.
    ensure!(!works(&old)?);
    // Who was connected before is so still.
    nb.client(port, &new, "client", &["ls-add", "sw0"])
        .output()?;
    ensure!(connected.wait()?.success());
    Ok(())
}
