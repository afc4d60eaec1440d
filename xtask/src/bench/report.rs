//! Numbers as people read them, and the table that sets ours beside OVN's.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

/// One number.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// How long something took.
    Time(Duration),
    /// How much memory something held, in bytes.
    Memory(u64),
    /// How many there are.
    Count(usize),
    /// How many there are in a second.
    Rate(f64),
}

impl Number {
    /// It as a plain number, for ratios.
    pub fn size(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Memory(bytes) => bytes as f64,
            Self::Count(count) => count as f64,
            Self::Rate(rate) => rate,
        }
    }

    /// It as people read it.
    pub fn text(self) -> String {
        match self {
            Self::Time(time) if time >= Duration::from_secs(1) => {
                format!("{:.2} s", time.as_secs_f64())
            }
            Self::Time(time) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::Memory(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
            Self::Count(count) => count.to_string(),
            Self::Rate(rate) => format!("{rate:.0}"),
        }
    }
}

/// The measurements of one subject: what was measured, and the number.
pub type Column = Vec<(&'static str, Number)>;

/// Sets columns side by side; the ratio of each to the first stands behind its number.
pub fn print(title: &str, columns: &[(&str, Column)]) {
    println!("\n{title}");
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(std::iter::once("").chain(columns.iter().map(|(name, _)| *name)));
    let Some((_, first)) = columns.first() else {
        return;
    };
    for (row, (what, base)) in first.iter().enumerate() {
        let cells = columns.iter().enumerate().map(|(place, (_, column))| {
            let number = column[row].1;
            match place {
                0 => number.text(),
                _ => format!("{}  (x {:.2})", number.text(), number.size() / base.size()),
            }
        });
        table.add_row(std::iter::once((*what).to_owned()).chain(cells));
    }
    println!("{table}");
}

/// What so large a share of sorted times stays below.
pub fn at_rank(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

/// The middle one.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        for (number, text) in [
            (Number::Time(Duration::from_micros(1500)), "1.50 ms"),
            (Number::Time(Duration::from_millis(1500)), "1.50 s"),
            (Number::Memory(2_500_000), "2.5 MB"),
            (Number::Count(7), "7"),
            (Number::Rate(1234.5), "1234"),
        ] {
            assert_eq!(number.text(), text);
        }
    }

    #[test]
    fn ranks_are_those_of_the_nearest() {
        let times: Vec<_> = (1..=100).map(Duration::from_secs).collect();
        for (share, seconds) in [(0.0, 1), (0.5, 51), (0.99, 99), (1.0, 100)] {
            assert_eq!(at_rank(&times, share), Duration::from_secs(seconds));
        }
        assert_eq!(at_rank(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [9, 1, 5].map(Duration::from_secs).to_vec();
        assert_eq!(median(times), Duration::from_secs(5));
    }
}
