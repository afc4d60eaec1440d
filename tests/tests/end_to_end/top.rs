//! `weft top` says who has the traffic of a chassis: guests, rules, load balancers, and the chassis behind tunnels; by packets
//! that guests really send.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::implementation::{Plan, weft_binary};
use tests::lab::{CHASSIS, Lab, MEMBERS};
use tests::run::Run;
use tests::story::story;
use tests::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(20);
/// So many datagrams are sent.
const COUNT: u64 = 40;

/// A rule that datagrams meet, and a load balancer.
const NETWORK: &[&str] = &[
    "--name=no-echo acl-add dmz from-lport 1000 udp.dst==7 drop",
    "lb-add names 172.16.255.140:53 172.16.255.131:53 udp",
    "ls-lb-add dmz names",
];

#[test]
fn who_has_the_traffic_is_told() {
    story(Plan::weft(), |lab| {
        for line in NETWORK {
            let words: Vec<&str> = line.split_whitespace().collect();
            lab.rig.nb(&words)?;
        }
        lab.address_all()?;
        lab.sync()?;
        let [vm1, vm2, ..] = MEMBERS;
        let guest = lab.guest(&vm1);
        guest.ping(vm2.address)?;
        guest.know_neighbour("172.16.255.140".parse()?, vm2.mac)?;
        let before = top(lab, &[])?;
        for (address, port) in [("172.16.255.131", 7), ("172.16.255.140", 53)] {
            let send =
                format!("for n in $(seq {COUNT}); do echo $n > /dev/udp/{address}/{port}; done");
            guest.namespace().run("bash").args(["-c", &send]).output()?;
        }
        for (subject, name, column) in [
            ("ports", "dmz-vm1", 0),
            ("rules", "no-echo", 0),
            ("load balancers", "names", 0),
            ("chassis", "ubuntu3", 0),
        ] {
            let then = counted(&before, subject, name, column)?;
            let what = format!("{COUNT} packets of {name} among {subject}");
            let now = wait_for(&what, LIMIT, || {
                let now = counted(&top(lab, &[])?, subject, name, column)?;
                Ok((now >= then + COUNT).then_some(now))
            });
            now.with_context(|| top(lab, &[]).unwrap_or_default())?;
        }
        // The guest's are both sorts; those that the rule dropped have not left the chassis.
        let text = top(lab, &[])?;
        let port = counted(&text, "ports", "dmz-vm1", 0)?;
        ensure!(port >= 2 * COUNT, "dmz-vm1 has sent {port}: {text}");

        // The busiest comes first, and no more are listed than are asked for.
        let first = top(lab, &["--limit=1", "--order=packets"])?;
        let mut lines = first.lines().skip_while(|line| *line != "ports");
        let line = lines.nth(2).unwrap_or_default().to_owned();
        ensure!(line.trim_start().starts_with("dmz-vm1 "), "{first}");
        ensure!(
            lines.next().is_some_and(|more| more.contains("more")),
            "{first}"
        );

        // Rates are those of a while.
        let rates = top(lab, &["--interval=0.2"])?;
        ensure!(
            rates.contains("BYTES/S") && !rates.contains("no-echo"),
            "{rates}"
        );
        let complaint = command(lab, &[])?.complaint()?;
        ensure!(complaint.contains("--once"), "{complaint}");
        Ok(())
    });
}

fn top(lab: &Lab, options: &[&str]) -> Result<String> {
    command(lab, &["--once"])?.args(options).output()
}

fn command(lab: &Lab, options: &[&str]) -> Result<Run> {
    let door = lab.rig.plan().door;
    let dir = lab.rig.chassis(CHASSIS[0])?.dir();
    Ok(Run::new(weft_binary("weft")?)
        .arg("top")
        .arg(format!(
            "--switch=unix:{}",
            dir.join("br-int.mgmt").display()
        ))
        .arg(format!("--ovsdb=unix:{}", dir.join("db.sock").display()))
        .arg(format!("--ovnsb={}", lab.rig.southbound.local_remote(door)))
        .arg(format!("--ovnnb={}", lab.rig.northbound.local_remote(door)))
        .args(options))
}

/// A number of a line, 0 if there is no such line.
fn counted(text: &str, subject: &str, name: &str, column: usize) -> Result<u64> {
    let of_subject = text.lines().skip_while(|line| *line != subject).skip(1);
    let mut lines = of_subject.take_while(|line| line.starts_with(' '));
    let line = lines.find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
    let Some(line) = line else {
        return Ok(0);
    };
    let number = line.split_whitespace().nth(column);
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| text.to_owned())
}
