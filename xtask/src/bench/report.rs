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
}

impl Number {
    fn size(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Memory(bytes) => bytes as f64,
            Self::Count(count) => count as f64,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Time(time) if time >= Duration::from_secs(1) => {
                format!("{:.2} s", time.as_secs_f64())
            }
            Self::Time(time) => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::Memory(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
            Self::Count(count) => count.to_string(),
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
        ] {
            assert_eq!(number.text(), text);
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [9, 1, 5].map(Duration::from_secs).to_vec();
        assert_eq!(median(times), Duration::from_secs(5));
    }
}
