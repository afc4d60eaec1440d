//! Faults, drawn from a seed, and their end.
//!
//! A fault lasts until so many operations were answered, or for so long if none are. A second one may come before the
//! first has ended, so that for a while there may be no majority. What harms a file comes alone: it takes the member
//! for good, and a second one would take the majority.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sim::random::Random;
use tests::cluster::Cluster;
use tests::wait::wait_until;

use super::workload::Load;

/// How long a member may take to do what it is told.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest that a fault lasts while nobody is answered.
const LONGEST_MS: u64 = 1500;
/// The most answers that a fault lasts.
const MOST_ANSWERS: u64 = 150;
/// What a member says whose disk is full.
const DISK_FULL: &str = "No space left on device";

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// `kill -9`.
    Kill,
    /// A member ends in good order, and is started again.
    Restart,
    /// Each member in turn.
    RollingRestart,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// Two members do not hear each other.
    Cut,
    /// One member does not hear another, which hears it.
    OneWayCut,
    /// One member hears nobody, and nobody it.
    Isolation,
    /// Not a byte is free.
    DiskFull,
    /// One bit of a stopped member's file is another.
    BitFlip,
    /// The end of a stopped member's file is gone.
    Truncation,
    /// A member is removed, and a new one joins in its place.
    Replacement,
    /// The leadership is passed on.
    Transfer,
}

impl Fault {
    /// Whether it takes a majority to get over it.
    fn comes_alone(self) -> bool {
        matches!(
            self,
            Self::RollingRestart
                | Self::BitFlip
                | Self::Truncation
                | Self::Replacement
                | Self::Transfer
        )
    }
}

/// How often each comes, relative to the others.
const FREQUENCIES: &[(Fault, u64)] = &[
    (Fault::Kill, 6),
    (Fault::Restart, 2),
    (Fault::RollingRestart, 1),
    (Fault::Pause, 3),
    (Fault::Cut, 2),
    (Fault::OneWayCut, 3),
    (Fault::Isolation, 3),
    (Fault::DiskFull, 2),
    (Fault::BitFlip, 1),
    (Fault::Truncation, 1),
    (Fault::Replacement, 1),
    (Fault::Transfer, 2),
];

/// What has begun and not ended: the fault, and the member that it hit.
type Active = (Fault, usize);

/// Hurts a cluster.
#[derive(Debug)]
pub struct Injector {
    random: Random,
    active: Vec<Active>,
    /// Members whose disk was full and is not, and who have not been seen to end of it.
    was_full: BTreeSet<usize>,
    /// What was done.
    log: Vec<String>,
    counts: BTreeMap<Fault, usize>,
    /// What became of members whose file was harmed.
    outcomes: BTreeMap<&'static str, usize>,
    recoveries: Vec<Duration>,
    began: Instant,
}

impl Injector {
    /// One that has done nothing.
    pub fn new(random: Random) -> Self {
        Self {
            random,
            active: Vec::new(),
            was_full: BTreeSet::new(),
            log: Vec::new(),
            counts: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            recoveries: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Numbers for somebody else.
    pub fn random(&mut self) -> Random {
        Random::new(self.random.number())
    }

    /// How many faults there were.
    pub fn count(&self) -> usize {
        self.counts.values().sum()
    }

    /// What was done, and how long it took until everybody was served again.
    pub fn summary(&self) -> String {
        let mut recoveries = self.recoveries.clone();
        recoveries.sort();
        let median = recoveries
            .get(recoveries.len() / 2)
            .copied()
            .unwrap_or_default();
        format!(
            "{} faults {:?}, harmed files: {:?}, served again after the last fault of a round: median {median:.1?}, at \
             most {:.1?}",
            self.count(),
            self.counts,
            self.outcomes,
            recoveries.last().copied().unwrap_or_default(),
        )
    }

    /// Prints what was done.
    pub fn show(&self) {
        self.log.iter().for_each(|line| eprintln!("{line}"));
    }

    /// Everybody was served again after so long.
    pub fn recovered(&mut self, after: Duration) {
        self.recoveries.push(after);
    }

    /// So many faults, of which the last may not have ended.
    pub fn hurt(&mut self, cluster: &mut Cluster, load: &Load, faults: usize) -> Result<()> {
        for _ in 0..faults {
            let fault = self.draw();
            self.begin(cluster, fault)
                .with_context(|| format!("cannot inject {fault:?}"))?;
            *self.counts.entry(fault).or_default() += 1;
            self.let_be(load)?;
            let overlaps = self.active.len() == 1 && self.random.percent(30);
            if !overlaps {
                self.heal(cluster)?;
            }
            self.revive(cluster)?;
        }
        Ok(())
    }

    /// Ends everything that has begun.
    pub fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        while let Some((fault, at)) = self.active.pop() {
            self.note(&format!("end of {fault:?} of member {}", at + 1));
            let member = &mut cluster.members[at];
            match fault {
                Fault::Kill | Fault::Restart => member.daemon.start_again()?,
                Fault::Pause => member.daemon.resume()?,
                Fault::Cut | Fault::OneWayCut | Fault::Isolation => cluster.mend()?,
                Fault::DiskFull => {
                    member.volume.free()?;
                    self.was_full.insert(at);
                }
                Fault::RollingRestart
                | Fault::BitFlip
                | Fault::Truncation
                | Fault::Replacement
                | Fault::Transfer => {}
            }
        }
        self.revive(cluster)
    }

    /// No member has ended but those that were to. One whose disk was full may take its time to end: it is started again.
    pub fn revive(&mut self, cluster: &mut Cluster) -> Result<()> {
        for (at, member) in cluster.members.iter_mut().enumerate() {
            let may_end = |(fault, hit): &Active| {
                *hit == at && matches!(fault, Fault::Kill | Fault::Restart | Fault::DiskFull)
            };
            if self.active.iter().any(may_end) || member.daemon.ended()?.is_none() {
                continue;
            }
            let words = member.daemon.last_words();
            let last = words.lines().last().unwrap_or_default();
            let was_full = self.was_full.remove(&at);
            ensure!(
                was_full && last.contains(DISK_FULL),
                "member {} has ended: {words}",
                at + 1
            );
            self.log.push(format!(
                "{:9.3} member {} had ended: {last}",
                self.began.elapsed().as_secs_f64(),
                at + 1
            ));
            member.daemon.start_again()?;
        }
        Ok(())
    }

    fn draw(&mut self) -> Fault {
        let all: u64 = FREQUENCIES.iter().map(|(_, weight)| weight).sum();
        let mut number = self.random.range(0..all);
        for (fault, weight) in FREQUENCIES {
            if number < *weight {
                return *fault;
            }
            number -= weight;
        }
        Fault::Kill
    }

    /// The leader as often as anybody.
    fn target(&mut self, cluster: &Cluster) -> usize {
        let free: Vec<usize> = (0..cluster.members.len())
            .filter(|at| self.active.iter().all(|(_, hit)| hit != at))
            .collect();
        let leads = |at: &usize| {
            cluster.members[*at]
                .standing()
                .is_some_and(|standing| standing.leads)
        };
        let leader = free.iter().copied().find(leads);
        match leader {
            Some(leader) if self.random.percent(50) => leader,
            _ => self
                .random
                .pick(&free)
                .expect("at most one member was hit before"),
        }
    }

    fn begin(&mut self, cluster: &mut Cluster, fault: Fault) -> Result<()> {
        if fault.comes_alone() {
            self.heal(cluster)?;
        }
        let at = self.target(cluster);
        let others: Vec<usize> = (0..cluster.members.len())
            .filter(|other| *other != at)
            .collect();
        let other = self.random.pick(&others).expect("there are three members");
        self.note(&format!("{fault:?} of member {}", at + 1));
        match fault {
            Fault::Kill => cluster.members[at].daemon.kill()?,
            Fault::Restart => cluster.members[at].daemon.terminate()?,
            Fault::Pause => cluster.members[at].daemon.pause()?,
            Fault::Cut => {
                cluster.cut(at, other)?;
                cluster.cut(other, at)?;
            }
            Fault::OneWayCut => cluster.cut(at, other)?,
            Fault::Isolation => {
                for other in others {
                    cluster.cut(at, other)?;
                    cluster.cut(other, at)?;
                }
            }
            Fault::DiskFull => cluster.members[at].volume.fill()?,
            Fault::RollingRestart => {
                for member in &mut cluster.members {
                    member.daemon.terminate()?;
                    member.daemon.start_again()?;
                    wait_until("the restarted member to follow or lead", LIMIT, || {
                        Ok(member.standing().is_some_and(|standing| standing.settled))
                    })?;
                }
                return Ok(());
            }
            Fault::BitFlip | Fault::Truncation => return self.harm(cluster, at, fault),
            Fault::Replacement => {
                cluster.members[at].daemon.kill()?;
                return cluster.replace(at);
            }
            Fault::Transfer => return cluster.transfer(),
        }
        self.active.push((fault, at));
        Ok(())
    }

    /// Stops a member, harms its file, and starts it. It must either refuse to serve, and say which file is damaged and
    /// what to do about it, or go on as if nothing had happened.
    fn harm(&mut self, cluster: &mut Cluster, at: usize, fault: Fault) -> Result<()> {
        let member = &mut cluster.members[at];
        match self.random.percent(50) {
            true => member.daemon.kill()?,
            false => member.daemon.terminate()?,
        }
        let file = member.file();
        let good = fs::read(&file)?;
        let mut bad = good.clone();
        let place = self.place(&good);
        match fault {
            Fault::Truncation => bad.truncate(place),
            _ => bad[place] ^= 1 << self.random.range(0..8),
        }
        fs::write(&file, bad)?;
        self.note(&format!("{fault:?} at byte {place} of {}", good.len()));
        let Err(refusal) = member.daemon.start_again() else {
            *self.outcomes.entry("unaffected").or_default() += 1;
            return Ok(());
        };
        if member.daemon.ended()?.is_none() && member.daemon.is_awake() {
            bail!(
                "member {} neither serves nor refuses to: {refusal:#}",
                at + 1
            );
        }
        // Its output has older lines too.
        let words = member.daemon.last_words();
        let refusal = words.lines().last().unwrap_or_default().to_owned();
        self.note(&format!("member {} refused to start: {refusal}", at + 1));
        ensure!(
            refusal.contains(&file.display().to_string()),
            "the error does not name the file: {refusal}"
        );
        ensure!(
            refusal.contains("restore it from a backup or another member"),
            "the error names no remedy: {refusal}"
        );
        if self.random.percent(50) {
            *self
                .outcomes
                .entry("refused, and replaced by a new member")
                .or_default() += 1;
            return cluster.replace(at);
        }
        *self.outcomes.entry("refused, and restored").or_default() += 1;
        // It was not up in between, so the file as it was is a backup without a gap.
        fs::write(&file, good)?;
        member.daemon.start_again()
    }

    /// A byte of a file; rather one that was ever written than one of the many that never were.
    fn place(&mut self, file: &[u8]) -> usize {
        let mut place = 0;
        for _ in 0..20 {
            place = self.random.range(0..file.len() as u64) as usize;
            if file[place] != 0 {
                break;
            }
        }
        place
    }

    /// Waits until the fault has lasted.
    fn let_be(&mut self, load: &Load) -> Result<()> {
        let answers = || load.answers().iter().sum::<u64>();
        let enough = answers() + self.random.range(0..MOST_ANSWERS);
        let until = Instant::now() + Duration::from_millis(self.random.range(50..LONGEST_MS));
        wait_until("the fault to have lasted", LIMIT, || {
            Ok(answers() >= enough || Instant::now() >= until)
        })
    }

    fn note(&mut self, line: &str) {
        self.log
            .push(format!("{:9.3} {line}", self.began.elapsed().as_secs_f64()));
    }
}
