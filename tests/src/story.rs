//! A test's frame: build the lab, tell the story, and on failure show what the daemons had to say.

use anyhow::Result;

use crate::implementation::Plan;
use crate::lab::Lab;
use crate::process::tail;

/// How much of each log a failure shows.
const LOG_LINES: usize = 25;

/// Builds the lab as `plan` says and tells `story` on it; panics if anything in it fails, or if a daemon has ended by
/// itself.
pub fn story(plan: Plan, story: impl FnOnce(&mut Lab) -> Result<()>) {
    let mut lab = match Lab::build(plan, &mut ()) {
        Ok(lab) => lab,
        Err(error) => panic!("the lab could not be built ({plan}): {error:#}"),
    };
    let told = story(&mut lab).and_then(|()| lab.rig.check_alive());
    if let Err(error) = told {
        for log in lab.rig.logs() {
            let end = tail(&log, LOG_LINES);
            if !end.is_empty() {
                eprintln!("---- {}\n{end}", log.display());
            }
        }
        panic!("{error:#} ({plan})");
    }
}
