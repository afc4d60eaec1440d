//! What is installed in a switch, and since when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::chassis::Chassis;

/// How far apart two ways to tell when a flow was installed may be: `ovs-ofctl` takes its time.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The flows of one bridge at one moment.
#[derive(Clone, Debug)]
pub struct Flows {
    /// How long each has been installed; the key is everything else but its counters.
    ages: BTreeMap<String, Duration>,
    taken: Instant,
}

impl Flows {
    /// Those of `br-int` of a chassis.
    pub fn of(chassis: &Chassis) -> Result<Self> {
        let taken = Instant::now();
        let dump = chassis.ofctl("dump-flows", "br-int", &["--no-names"])?;
        Ok(Self {
            ages: parse(&dump)?,
            taken,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    /// How long the youngest has been installed.
    pub fn youngest(&self) -> Duration {
        self.ages.values().copied().min().unwrap_or_default()
    }

    /// Fails unless `later`, taken of the same bridge, has exactly these flows, each installed when it was here.
    pub fn check_untouched(&self, later: &Self) -> Result<()> {
        let elapsed = later.taken - self.taken;
        for (flow, age) in &self.ages {
            let now = later
                .ages
                .get(flow)
                .with_context(|| format!("this flow is gone: {flow}"))?;
            ensure!(
                *now + TOLERANCE >= *age + elapsed,
                "this flow was installed anew: {flow}"
            );
        }
        match later
            .ages
            .keys()
            .find(|flow| !self.ages.contains_key(*flow))
        {
            Some(flow) => anyhow::bail!("this flow is new: {flow}"),
            None => Ok(()),
        }
    }
}

/// Reads lines such as
/// `cookie=0x1, duration=5.2s, table=0, n_packets=0, n_bytes=0, idle_age=5, priority=1,in_port=1 actions=drop`.
fn parse(dump: &str) -> Result<BTreeMap<String, Duration>> {
    let mut ages = BTreeMap::new();
    for line in dump
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("cookie="))
    {
        let fields: Vec<&str> = line.split(", ").collect();
        let age = fields
            .iter()
            .find_map(|field| field.strip_prefix("duration=")?.strip_suffix('s'));
        let age = age
            .with_context(|| format!("a flow without duration: {line}"))?
            .parse()?;
        let passing = [
            "duration=",
            "n_packets=",
            "n_bytes=",
            "idle_age=",
            "hard_age=",
        ];
        let lasting = fields
            .into_iter()
            .filter(|field| !passing.iter().any(|name| field.starts_with(name)));
        ages.insert(
            lasting.collect::<Vec<_>>().join(", "),
            Duration::from_secs_f64(age),
        );
    }
    Ok(ages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = " cookie=0x1, duration=5.25s, table=0, n_packets=7, n_bytes=9, idle_age=5, priority=1,in_port=1 actions=drop";

    #[test]
    fn counters_and_age_are_not_part_of_a_flow() {
        let flows = parse(DUMP).unwrap();
        let expected = "cookie=0x1, table=0, priority=1,in_port=1 actions=drop";
        assert_eq!(
            flows,
            BTreeMap::from([(expected.to_owned(), Duration::from_millis(5250))])
        );
    }

    #[test]
    fn a_flow_installed_anew_is_noticed() {
        let taken = Instant::now();
        let before = Flows {
            ages: parse(DUMP).unwrap(),
            taken,
        };
        let later = |age: &str| Flows {
            ages: parse(&DUMP.replace("5.25", age)).unwrap(),
            taken: taken + Duration::from_secs(10),
        };
        before.check_untouched(&later("15.2")).unwrap();
        assert!(
            before
                .check_untouched(&later("3.0"))
                .unwrap_err()
                .to_string()
                .contains("anew")
        );
        let empty = Flows {
            ages: BTreeMap::new(),
            taken,
        };
        assert!(
            before
                .check_untouched(&empty)
                .unwrap_err()
                .to_string()
                .contains("gone")
        );
        assert!(
            empty
                .check_untouched(&before)
                .unwrap_err()
                .to_string()
                .contains("new")
        );
    }
}
