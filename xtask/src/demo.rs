//! The labs before the eyes of whoever looks. First two chassis, virtual machines and containers, described with the commands
//! that an operator would type; then who has got which lease and who reaches whom. Then a router, the outside, and a gateway
//! that dies.
//!
//! `cargo xtask demo` builds as whoever calls it and then runs itself again as root. A shell stands between the two, so
//! that an interrupted demo is cleaned up as well.

mod routed;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use rig::folder::{Sweep, sweep};
use rig::guest::{DhcpClient, Guest, Lease};
use rig::implementation::Plan;
use rig::lab::{CHASSIS, Lab, MEMBERS, Member, Observer};
use rig::process::tail;
use rig::rig::Rig;

use crate::setup;
use crate::workspace::{Profile, build_binaries, is_root, privileged, succeed};

/// Runs its arguments, survives an interrupt that ends them, and cleans up after them.
const SURVIVE: &str =
    r#"trap : INT TERM; "$0" demo --stage "$@"; status=$?; "$0" demo --sweep; exit $status"#;

/// A lab that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Virtual machines and containers on one switch, with DHCP
    Containers,
    /// Two switches, a router, the outside, and a gateway that dies
    Routed,
}

/// How to show it.
#[derive(Args)]
pub struct Options {
    /// What to show; all of it in turn, if left out
    #[arg(value_enum)]
    scene: Option<Scene>,

    /// Leave everything running and say how to look inside
    #[arg(long)]
    keep: bool,

    /// Remove what `--keep` has left running
    #[arg(long, conflicts_with = "keep")]
    down: bool,

    /// Use an optimised build
    #[arg(long)]
    release: bool,

    /// Everything is built and we are root: show it
    #[arg(long, hide = true)]
    stage: bool,

    /// Remove what an interrupted demo has left
    #[arg(long, hide = true)]
    sweep: bool,
}

/// Shows the lab.
pub fn run(options: &Options) -> Result<()> {
    let this = std::env::current_exe()?;
    match options {
        Options {
            stage: true,
            keep,
            scene,
            ..
        } => show(*scene, *keep),
        Options { sweep: true, .. } => sweep(Sweep::Abandoned).map(drop),
        Options { down: true, .. } if !is_root()? => {
            succeed(privileged(this)?.args(["demo", "--down"]))
        }
        Options { down: true, .. } => {
            println!("removed: {}", sweep(Sweep::Kept)?);
            Ok(())
        }
        _ => {
            setup::run()?;
            let profile = if options.release {
                Profile::Release
            } else {
                Profile::Dev
            };
            let binaries = build_binaries(profile)?;
            let mut stage = privileged("env")?;
            stage
                .arg(format!("WEFT_BIN_DIR={}", binaries.display()))
                .args(["sh", "-c", SURVIVE])
                .arg(this);
            let scene = options.scene.and_then(|scene| scene.to_possible_value());
            if let Some(scene) = scene {
                stage.arg(scene.get_name());
            }
            succeed(stage.args(options.keep.then_some("--keep")))
        }
    }
}

fn show(scene: Option<Scene>, keep: bool) -> Result<()> {
    let started = Instant::now();
    let mut progress = Progress::new();
    let mut folders = Vec::new();
    if scene != Some(Scene::Routed) {
        let lab = show_containers(&mut progress)?;
        if keep {
            print_where_to_look(&lab.rig, lab.guest(&MEMBERS[0]));
            folders.push(lab.keep()?);
        }
    }
    if scene != Some(Scene::Containers) {
        let lab = routed::show(&mut progress)?;
        if keep {
            print_where_to_look(&lab.rig, lab.guest(&rig::routed::MEMBERS[0]));
            folders.push(lab.keep()?);
        }
    }
    progress.end();
    println!(
        "\nEverybody reaches everybody, {:.1} s after the start.",
        started.elapsed().as_secs_f64()
    );
    for folder in &folders {
        println!("\nIts folder is {}.", folder.display());
    }
    if keep {
        println!("`cargo xtask demo --down` removes it all.");
    }
    Ok(())
}

fn show_containers(progress: &mut Progress) -> Result<Lab> {
    let lab = Lab::build(Plan::under_test(), progress)?;
    let shown = meet(&lab, progress);
    progress.end();
    if shown.is_err() {
        show_logs(&lab.rig);
    }
    shown?;
    Ok(lab)
}

fn show_logs(rig: &Rig) {
    for log in rig.logs() {
        println!("---- {}\n{}", log.display(), tail(&log, 10));
    }
}

/// Leases for all, then everybody pings everybody; prints both.
fn meet(lab: &Lab, progress: &mut Progress) -> Result<()> {
    progress.doing("guests ask for their leases");
    let leases = lab.lease_all(DhcpClient::Dhclient)?;
    progress.doing("guests ping each other");
    let pings = lab.ping_all()?;
    progress.end();
    println!("\nLeases, as dhclient got them:\n{}", lease_table(&leases));
    println!(
        "\nWho reaches whom, and in how many milliseconds:\n{}",
        ping_table(&pings)
    );
    for (member, lease) in leases {
        ensure!(
            lease == member.expected_lease(),
            "{} should have got {:?}",
            member.port,
            member.expected_lease()
        );
    }
    Ok(())
}

fn lease_table(leases: &[(&Member, Lease)]) -> Table {
    let mut table = empty_table();
    table.set_header([
        "port", "chassis", "MAC", "address", "mask", "router", "seconds",
    ]);
    for (member, lease) in leases {
        let place = match member.tag {
            Some(tag) => format!("{}, VLAN {tag} of vm5", CHASSIS[member.chassis]),
            None => CHASSIS[member.chassis].to_owned(),
        };
        let router = lease
            .router
            .map_or("none".to_owned(), |router| router.to_string());
        table.add_row([
            member.port.to_owned(),
            place,
            member.mac.to_owned(),
            lease.address.to_string(),
            lease.mask.to_string(),
            router,
            lease.lease_time_s.to_string(),
        ]);
    }
    table
}

fn ping_table(pings: &[(&Member, &Member, Duration)]) -> Table {
    let times: BTreeMap<(&str, &str), Duration> = pings
        .iter()
        .map(|(from, to, time)| ((from.port, to.port), *time))
        .collect();
    let mut table = empty_table();
    table.set_header(std::iter::once("from \\ to").chain(MEMBERS.iter().map(|member| member.port)));
    for from in &MEMBERS {
        let cells = MEMBERS
            .iter()
            .map(|to| milliseconds(times.get(&(from.port, to.port))));
        table.add_row(std::iter::once(from.port.to_owned()).chain(cells));
    }
    table
}

fn milliseconds(time: Option<&Duration>) -> String {
    match time {
        Some(time) => format!("{:.2}", time.as_secs_f64() * 1000.0),
        None => "-".to_owned(),
    }
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn print_where_to_look(rig: &Rig, guest: &Guest) {
    let folder = rig.dir().display();
    let chassis = &rig.chassis[0];
    let binaries = std::env::var("WEFT_BIN_DIR").unwrap_or_default();
    println!("\nIt is all still running. To look inside, as root:");
    for (what, line) in [
        (
            "the network",
            format!("{binaries}/weft nb --db=unix:{folder}/nb.sock show"),
        ),
        (
            "bindings",
            format!("{binaries}/weft sb --db=unix:{folder}/sb.sock show"),
        ),
        (
            "logical flows",
            format!("{binaries}/weft sb --db=unix:{folder}/sb.sock lflow-list"),
        ),
        (
            "a switch",
            format!(
                "ovs-vsctl --db=unix:{}/db.sock show",
                chassis.dir().display()
            ),
        ),
        (
            "its flows",
            format!(
                "ovs-ofctl -O OpenFlow15 dump-flows unix:{}/br-int.mgmt",
                chassis.dir().display()
            ),
        ),
        (
            "inside a guest",
            format!("nsenter --net=/run/netns/{} bash", guest.namespace().name()),
        ),
        (
            "the underlay",
            format!(
                "nsenter --net=/run/netns/{} tcpdump -ni underlay",
                rig.namespace().name()
            ),
        ),
        ("logs", format!("ls {folder}/*.log {folder}/*/*.log")),
    ] {
        println!("  {what:<15} {line}");
    }
}

/// Shows where the building is: a spinner on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    step: Option<(String, Instant)>,
}

impl Progress {
    fn new() -> Self {
        let style =
            ProgressStyle::with_template("{spinner} {msg}").expect("the template is well formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, step: None }
    }

    /// The step that is under way is done.
    fn end(&mut self) {
        if let Some((what, since)) = self.step.take() {
            self.print(&format!("{:5.1} s  {what}", since.elapsed().as_secs_f64()));
        }
        self.bar.set_message("");
    }

    fn print(&self, line: &str) {
        // A hidden bar, as without a terminal, would swallow it.
        self.bar.suspend(|| println!("{line}"));
    }
}

impl Observer for Progress {
    fn doing(&mut self, what: &str) {
        self.end();
        self.bar.set_message(what.to_owned());
        self.step = Some((what.to_owned(), Instant::now()));
    }

    fn command(&mut self, line: &str) {
        self.print(&format!("         $ {line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_pair() {
        let pings: Vec<_> = rig::lab::pairs()
            .map(|(from, to)| (from, to, Duration::from_millis(2)))
            .collect();
        let table = ping_table(&pings).to_string();
        assert_eq!(
            table.matches("2.00").count(),
            MEMBERS.len() * (MEMBERS.len() - 1),
            "{table}"
        );
    }

    #[test]
    fn the_stage_is_shell() {
        let checked = std::process::Command::new("sh")
            .args(["-n", "-c", SURVIVE])
            .status()
            .unwrap();
        assert!(checked.success());
    }
}
