//! `tcpdump`, read while it runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::wait::{wait_for, wait_until};

/// How long `tcpdump` may take to begin, and a packet to be seen.
const LIMIT: Duration = Duration::from_secs(15);

/// A running capture on one device.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    heard: PathBuf,
    device: String,
}

impl Capture {
    /// Begins to capture what passes `filter` on `device`; when this returns, it is listening.
    ///
    /// `dir` is where its output is kept meanwhile.
    pub fn start(namespace: &Namespace, device: &str, filter: &str, dir: &Path) -> Result<Self> {
        let base = dir.join(format!("capture-{}-{device}", namespace.name()));
        let (heard, said) = (base.with_extension("heard"), base.with_extension("said"));
        // Names and ports as numbers, link-level headers, tunnelled content, each packet printed at once.
        let arguments = [
            "-n",
            "-e",
            "-v",
            "-l",
            "--immediate-mode",
            "-Z",
            "root",
            "-i",
            device,
            filter,
        ];
        let mut command = namespace.run("tcpdump").args(arguments).command();
        let child = command
            .stdout(File::create(&heard)?)
            .stderr(File::create(&said)?)
            .stdin(Stdio::null())
            .spawn();
        let capture = Self {
            child: child.context("cannot start tcpdump")?,
            heard,
            device: device.to_owned(),
        };
        wait_until("tcpdump to listen", LIMIT, || {
            Ok(std::fs::read_to_string(&said)?.contains("listening on"))
        })?;
        Ok(capture)
    }

    /// The packets heard so far, each as one line.
    pub fn heard(&self) -> Result<Vec<String>> {
        Ok(packets(&std::fs::read_to_string(&self.heard)?))
    }

    /// Waits for a packet whose description holds all of `parts`.
    pub fn wait_for(&self, parts: &[&str]) -> Result<String> {
        wait_for(
            &format!("a packet on {} with {}", self.device, parts.join(", ")),
            LIMIT,
            || {
                Ok(self
                    .heard()?
                    .into_iter()
                    .find(|packet| parts.iter().all(|part| packet.contains(part))))
            },
        )
        .with_context(|| format!("heard were: {:#?}", self.heard().unwrap_or_default()))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("cannot end tcpdump on {}: {error}", self.device);
        }
    }
}

/// The packets that `tcpdump` has printed, each as one line.
fn packets(text: &str) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in text.lines() {
        // A packet begins with its time, 08:06:24.491; what is below belongs to it.
        let begins = line.get(2..3) == Some(":") && line.get(8..9) == Some(".");
        match packets.last_mut() {
            Some(packet) if !begins => {
                packet.push(' ');
                packet.push_str(line.trim());
            }
            _ => packets.push(line.to_owned()),
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_packet_carries_belongs_to_it() {
        let text = "08:06:24.491757 a > b, VXLAN, vni 4097\n02:ac:10:ff:01:30 > c, length 98: (tos 0x0)\n    1.2.3.4 > 1.2.3.5: ICMP\n08:06:25.491757 next\n";
        let heard = packets(text);
        assert_eq!(heard.len(), 2);
        assert!(
            heard[0].contains("vni 4097") && heard[0].contains("1.2.3.4"),
            "{heard:?}"
        );
    }
}
