//! Waiting for a condition, with a deadline: the only way in which the rig lets time pass.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(25);

/// Looks again and again until `condition` gives a value.
///
/// An error of the condition is not the end: it is what the message says if time runs out, with `what` was awaited.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = condition();
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            match seen {
                Err(error) => bail!(
                    "waited {} s for {what}; the last look failed: {error:#}",
                    limit.as_secs_f64()
                ),
                Ok(_) => bail!("waited {} s for {what}", limit.as_secs_f64()),
            }
        }
        sleep(INTERVAL);
    }
}

/// [`wait_for`] with a condition that is true or not.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_for(what, limit, || Ok(condition()?.then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_says_what_was_awaited_and_why_it_was_not_seen() {
        let outcome = wait_until("the moon", Duration::from_millis(30), || bail!("clouds"));
        let message = outcome.unwrap_err().to_string();
        assert!(
            message.contains("the moon") && message.contains("clouds"),
            "{message}"
        );
    }

    #[test]
    fn the_value_is_given_as_soon_as_it_is_there() {
        let mut looks = 0;
        let value = wait_for("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.unwrap(), 3);
    }
}
