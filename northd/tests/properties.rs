//! Random networks and random changes: after every change, what has been compiled step by step is what a compiler from
//! scratch would say, and what the flows do is what a naive model of the network says.
//!
//! The changes are those of a careless operator: ports come and go, move between switches, ask for each other's keys, tags
//! and addresses, and some of what is written makes no sense. A run prints its seed; `WEFT_SEED` runs it again,
//! `WEFT_CHANGES` makes it longer.

mod common;

use common::World;
use common::random::{Operator, Rng};

/// Changes in one run, over several networks.
const CHANGES: usize = 10_000;
/// After so many changes the network starts anew, so that none grows stale.
const CHANGES_A_NETWORK: usize = 250;

#[test]
fn incremental_equals_from_scratch() {
    let seed = setting("WEFT_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the clock is past 1970");
        u64::try_from(now.as_nanos() % u128::from(u64::MAX)).expect("less than the modulus")
    });
    let changes = setting("WEFT_CHANGES").map_or(CHANGES, |changes| {
        usize::try_from(changes).expect("a count")
    });
    println!("WEFT_SEED={seed}");
    let mut rng = Rng::new(seed);
    for network in 0..changes.div_ceil(CHANGES_A_NETWORK) {
        let mut world = World::new();
        let mut operator = Operator::new(&mut rng);
        for change in 0..CHANGES_A_NETWORK {
            let what = operator.change(&mut world, &mut rng);
            let place = || format!("seed {seed}, network {network}, change {change}: {what}");
            match world.core.recompute() {
                Ok(differences) => assert!(differences.is_empty(), "{}: {differences:#?}", place()),
                Err(reason) => panic!("{}: {reason}", place()),
            }
            if change % 50 == 49 {
                let before = world.written;
                world.restart();
                assert_eq!(world.written, before, "{}: a restart writes", place());
            }
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}
