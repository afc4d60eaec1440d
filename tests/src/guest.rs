//! A virtual machine or a container: a namespace whose interface is a port of some bridge.
//!
//! It knows nothing of the logical network but its own MAC address: what else it has, a DHCP client has told it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::capture::Capture;
use crate::chassis::Chassis;
use crate::namespace::Namespace;
use crate::rig::Rig;
use crate::wait::wait_for;

/// What fits, with tunnel headers, into an underlay of 1,500 bytes.
const MTU: &str = "1400";

/// What a DHCP client calls with what it has learned: one script for all clients, which name things differently.
const DHCP_SCRIPT: &str = r#"#!/bin/sh
case "${1:-$reason}" in
PREINIT) ip link set dev "$interface" up ;;
bound | BOUND | renew | RENEW | REBOOT)
    address=${new_ip_address:-$ip}
    mask=${new_subnet_mask:-$subnet}
    router=${new_routers:-$router}
    ip address replace "$address/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "$router" dev "$interface"
    echo "$address $mask ${router:--} ${new_dhcp_lease_time:-$lease} ${new_dhcp_server_identifier:-$serverid}" >"$LEASE_FILE"
    ;;
esac
"#;

/// `dhclient` asks at once, and again soon.
const DHCLIENT_SETTINGS: &str = "\
timeout 30; retry 1; initial-interval 1; backoff-cutoff 1; initial-delay 0;
request subnet-mask, routers, dhcp-lease-time, dhcp-server-identifier, interface-mtu;
";

/// A DHCP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpClient {
    /// ISC's.
    Dhclient,
    /// BusyBox's.
    Udhcpc,
    /// Roy Marples'.
    Dhcpcd,
}

/// What a DHCP client was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The mask of its network.
    pub mask: Ipv4Addr,
    /// Its default router.
    pub router: Option<Ipv4Addr>,
    /// How long it may keep the address.
    pub lease_time_s: u32,
    /// Who says so.
    pub server: Ipv4Addr,
}

/// A guest, plugged in or not.
#[derive(Debug)]
pub struct Guest {
    namespace: Namespace,
    device: String,
    mac: String,
    dir: PathBuf,
}

impl Guest {
    /// Makes a guest that is not plugged in yet. Its interface will be called `device`.
    pub fn new(rig: &Rig, device: &str, mac: &str) -> Result<Self> {
        let namespace = rig.new_namespace(device)?;
        let dir = rig.dir().join(format!("guest-{device}"));
        fs::create_dir(&dir)?;
        let script = dir.join("dhcp-script");
        fs::write(&script, DHCP_SCRIPT)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        fs::write(dir.join("dhclient.conf"), DHCLIENT_SETTINGS)?;
        Ok(Self {
            namespace,
            device: device.to_owned(),
            mac: mac.to_owned(),
            dir,
        })
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its MAC address.
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// Its interface's name, in its namespace as in the switch.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Plugs it into a bridge of a chassis. `settings` are columns of the port and its interface, each with its table:
    /// `["Port", "tag=51"]`, `["Interface", "external_ids:iface-id=x"]`.
    pub fn plug(&self, chassis: &Chassis, bridge: &str, settings: &[[&str; 2]]) -> Result<()> {
        let device = &self.device;
        let mut command = vec![
            "add-port",
            bridge,
            device,
            "--",
            "set",
            "Interface",
            device,
            "type=internal",
        ];
        for [table, setting] in settings {
            command.extend(["--", "set", table, device, setting]);
        }
        chassis.vsctl(&command)?;
        chassis
            .namespace()
            .ip(&["link", "set", device, "netns", self.namespace.name()])?;
        // The move gives it another address.
        self.set_mac(&self.mac)?;
        self.namespace.ip(&["link", "set", device, "mtu", MTU])?;
        self.namespace.disable_checksum_offload(device)?;
        self.namespace.ip(&["link", "set", device, "up"]).map(drop)
    }

    /// Gives its interface a MAC address, which may be a wrong one.
    pub fn set_mac(&self, mac: &str) -> Result<()> {
        self.namespace
            .ip(&["link", "set", &self.device, "address", mac])
            .map(drop)
    }

    /// Lets a DHCP client ask for a lease and take what it is given.
    pub fn lease(&self, client: DhcpClient) -> Result<Lease> {
        let file = self.dir.join("lease");
        let (script, pidfile) = (self.dir.join("dhcp-script"), self.dir.join("dhclient.pid"));
        if pidfile.exists() {
            self.namespace
                .run("dhclient")
                .args(["-x", "-pf"])
                .arg(&pidfile)
                .output()?;
        }
        self.namespace
            .ip(&["address", "flush", "dev", &self.device])?;
        let _absent = fs::remove_file(&file);
        let run = match client {
            DhcpClient::Dhclient => self
                .namespace
                .run("dhclient")
                .args(["-4", "-1", "-v", "-cf"])
                .arg(self.dir.join("dhclient.conf"))
                .arg("-lf")
                .arg(self.dir.join("dhclient.leases"))
                .arg("-pf")
                .arg(&pidfile)
                .arg("-sf")
                .arg(&script)
                .arg("-e")
                .arg(format!("LEASE_FILE={}", file.display()))
                .arg(&self.device),
            DhcpClient::Udhcpc => self
                .namespace
                .run("udhcpc")
                .args([
                    "-f",
                    "-n",
                    "-q",
                    "-t",
                    "10",
                    "-T",
                    "1",
                    "-i",
                    &self.device,
                    "-s",
                ])
                .arg(&script)
                .env("LEASE_FILE", &file),
            // In the foreground until it has a lease, without asking whether somebody else has the address.
            DhcpClient::Dhcpcd => self
                .namespace
                .run("dhcpcd")
                .args(["-4", "-1", "-B", "-A", "-t", "30", "-f", "/dev/null"])
                .args(["-o", "routers", "-o", "interface_mtu", "-c"])
                .arg(&script)
                .arg("-e")
                .arg(format!("LEASE_FILE={}", file.display()))
                .arg(&self.device),
        };
        let said = run
            .output()
            .with_context(|| format!("{} got no lease", self.device))?;
        let line = fs::read_to_string(&file)
            .with_context(|| format!("the DHCP client of {} said: {said}", self.device))?;
        parse_lease(&line)
            .with_context(|| format!("{} was given something odd: {line}", self.device))
    }

    /// Whether one ping to `target` comes back.
    pub fn reaches(&self, target: Ipv4Addr) -> Result<bool> {
        self.namespace
            .run("ping")
            .args(["-n", "-c", "1", "-W", "1", &target.to_string()])
            .succeeds()
    }

    /// Whether one ping to `target` comes back that may pass `hops` - 1 routers.
    pub fn reaches_within(&self, target: IpAddr, hops: u8) -> Result<bool> {
        let (target, hops) = (target.to_string(), hops.to_string());
        self.namespace
            .run("ping")
            .args(["-n", "-c", "1", "-W", "1", "-t", &hops, &target])
            .succeeds()
    }

    /// Waits until pings to `target` come back: how long one of them took.
    pub fn ping(&self, target: impl Into<IpAddr>) -> Result<Duration> {
        let target = target.into();
        wait_for(
            &format!("{} to reach {target}", self.device),
            Duration::from_secs(30),
            || {
                let ping = self.namespace.run("ping").args([
                    "-n",
                    "-c",
                    "1",
                    "-W",
                    "1",
                    &target.to_string(),
                ]);
                Ok(Some(parse_round_trip(&ping.output()?)?))
            },
        )
    }

    /// Begins to ping `target` every 50 ms, until the returned value is asked how it went.
    pub fn keep_pinging(&self, target: Ipv4Addr) -> Result<Pinging> {
        let output = self.dir.join("pinging");
        let mut command = self
            .namespace
            .run("ping")
            .args(["-n", "-i", "0.05", &target.to_string()])
            .command();
        let child = command
            .stdout(fs::File::create(&output)?)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Pinging { child, output })
    }

    /// Sends one ping of `size` bytes from `source` to `target`, which may be a broadcast address, and does not care
    /// for an answer.
    pub fn shout(&self, source: Ipv4Addr, target: Ipv4Addr, size: u16) -> Result<()> {
        let (source, target, size) = (source.to_string(), target.to_string(), size.to_string());
        let arguments = [
            "-n", "-b", "-c", "1", "-W", "0.1", "-s", &size, "-I", &source, &target,
        ];
        self.namespace
            .run("ping")
            .args(arguments)
            .succeeds()
            .map(drop)
    }

    /// Tells it the MAC address of a neighbour, so that it need not ask.
    pub fn know_neighbour(&self, address: Ipv4Addr, mac: &str) -> Result<()> {
        let address = address.to_string();
        let entry = [
            "neighbour",
            "replace",
            &address,
            "lladdr",
            mac,
            "dev",
            &self.device,
            "nud",
            "permanent",
        ];
        self.namespace.ip(&entry).map(drop)
    }

    /// Listens on its interface for what passes `filter`.
    pub fn listen(&self, filter: &str) -> Result<Capture> {
        Capture::start(&self.namespace, &self.device, filter, &self.dir)
    }

    /// Lets it be: it will outlive this value.
    pub fn forget(self) {
        self.namespace.forget();
    }
}

/// Pings that go on while something else happens.
#[derive(Debug)]
pub struct Pinging {
    child: Child,
    output: PathBuf,
}

impl Pinging {
    /// How many came back so far.
    pub fn received(&self) -> Result<usize> {
        Ok(fs::read_to_string(&self.output)?
            .matches("bytes from")
            .count())
    }

    /// Ends them: the numbers of those that did not come back, before the last one that did. Those after it may have been on
    /// their way.
    pub fn stop(mut self) -> Result<Vec<u32>> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::INT,
        )?;
        self.child.wait()?;
        missing(&fs::read_to_string(&self.output)?)
    }
}

impl Drop for Pinging {
    fn drop(&mut self) {
        // Ended already by `stop`, unless the test failed on the way there.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn parse_lease(line: &str) -> Result<Lease> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [address, mask, router, lease_time, server] = words[..] else {
        anyhow::bail!("five words expected");
    };
    let router = (router != "-").then(|| router.parse()).transpose()?;
    Ok(Lease {
        address: address.parse()?,
        mask: mask.parse()?,
        router,
        lease_time_s: lease_time.parse()?,
        server: server.parse()?,
    })
}

/// The numbers that no line `64 bytes from 10.0.0.1: icmp_seq=1 …` has, below the highest of one that has.
fn missing(output: &str) -> Result<Vec<u32>> {
    let lines = output.lines().filter(|line| line.contains("bytes from"));
    let numbers = lines.map(|line| {
        let number = line.split("icmp_seq=").nth(1);
        let number = number.and_then(|rest| rest.split_whitespace().next());
        Ok(number.with_context(|| line.to_owned())?.parse()?)
    });
    let came: BTreeSet<u32> = numbers.collect::<Result<_>>()?;
    let last = came.last().copied().context("no ping came back")?;
    Ok((1..last).filter(|number| !came.contains(number)).collect())
}

/// The time in `64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.512 ms`.
pub(crate) fn parse_round_trip(output: &str) -> Result<Duration> {
    let time = output
        .split("time=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let milliseconds: f64 = time.context("ping printed no time")?.parse()?;
    Ok(Duration::from_secs_f64(milliseconds / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_understood() {
        let line = "64 bytes from 172.16.255.131: icmp_seq=1 ttl=64 time=0.512 ms";
        assert_eq!(parse_round_trip(line).unwrap(), Duration::from_micros(512));
        let came =
            |number: u32| format!("64 bytes from 10.0.0.1: icmp_seq={number} ttl=64 time=0.5 ms\n");
        let lines: String = [1, 2, 4, 4, 7].map(came).concat();
        let pending = "no answer yet for icmp_seq=8\n";
        assert_eq!(missing(&(lines + pending)).unwrap(), [3, 5, 6]);
        assert!(missing(pending).is_err());
        let lease = parse_lease("172.16.255.130 255.255.255.192 - 3600 172.16.255.129\n").unwrap();
        assert_eq!((lease.router, lease.lease_time_s), (None, 3600));
        assert!(parse_lease("nothing").is_err());
    }
}
