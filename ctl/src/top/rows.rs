//! Traffic in lines: what stands in which column, and in which order.

use std::cmp::Reverse;

use clap::ValueEnum;

use super::traffic::{Reading, Subject, Traffic};
use crate::explain::counters::Volume;

/// By what lines are sorted, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Packets, both ways together
    Packets,
    /// Bytes, both ways together
    Bytes,
    /// Names
    Name,
}

/// The headings of a subject's columns.
pub fn headings(subject: Subject, is_rate: bool) -> Vec<String> {
    let (packets, bytes) = match is_rate {
        true => ("PACKETS/S", "BYTES/S"),
        false => ("PACKETS", "BYTES"),
    };
    let mut heads = vec!["NAME".to_owned()];
    if subject.has_directions() {
        for way in ["SENT", "RECEIVED"] {
            heads.extend([format!("{way} {packets}"), format!("{way} {bytes}")]);
        }
    } else {
        heads.extend([packets.to_owned(), bytes.to_owned()]);
    }
    heads
}

/// The lines of a subject, those without traffic left out; a second's share, if the numbers are of so many seconds.
pub fn rows(
    reading: &Reading,
    subject: Subject,
    order: Order,
    seconds: Option<f64>,
) -> Vec<Vec<String>> {
    let all = |traffic: &Traffic, of: fn(Volume) -> u64| of(traffic.sent) + of(traffic.received);
    let packets = |traffic: &Traffic| all(traffic, |volume| volume.packets);
    let bytes = |traffic: &Traffic| all(traffic, |volume| volume.bytes);
    let of_subject = reading.iter().filter(|((of, _), _)| *of == subject);
    let busy = of_subject.filter(|(_, traffic)| packets(traffic) > 0);
    let mut lines: Vec<(&str, &Traffic)> = busy
        .map(|((_, name), traffic)| (name.as_str(), traffic))
        .collect();
    lines.sort_by_key(|(name, traffic)| {
        let most = match order {
            Order::Packets => packets(traffic),
            Order::Bytes => bytes(traffic),
            Order::Name => 0,
        };
        (Reverse(most), *name)
    });
    let cells = |volume: Volume| match seconds {
        Some(seconds) => {
            let rate = |count: u64| count as f64 / seconds.max(f64::MIN_POSITIVE);
            [
                format!("{:.1}", rate(volume.packets)),
                format!("{}/s", scaled(rate(volume.bytes))),
            ]
        }
        None => [volume.packets.to_string(), volume.bytes.to_string()],
    };
    let lines = lines.into_iter().map(|(name, traffic)| {
        // Whoever may name a port may not write to the terminal.
        let name = name.replace(char::is_control, "\u{fffd}");
        let mut line = vec![name];
        line.extend(cells(traffic.sent));
        if subject.has_directions() {
            line.extend(cells(traffic.received));
        }
        line
    });
    lines.collect()
}

/// `1.5 kB`.
fn scaled(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{value:.0} B"),
        unit => format!("{value:.1} {}", units[unit]),
    }
}

/// All subjects as text: tables, one below the other.
pub fn page(reading: &Reading, order: Order, seconds: Option<f64>, limit: usize) -> String {
    let tables = Subject::ALL.into_iter().map(|subject| {
        let heads = headings(subject, seconds.is_some());
        let mut lines = rows(reading, subject, order, seconds);
        let more = lines.len().saturating_sub(limit);
        lines.truncate(limit);
        let all: Vec<Vec<String>> = std::iter::once(heads).chain(lines).collect();
        let width = |column: usize| all.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..all[0].len()).filter_map(width).collect();
        let mut text = format!("{}\n", subject.name());
        for line in &all {
            let cells = line.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let cells: Vec<String> = cells.collect();
            text.push_str(&format!("  {}\n", cells.join("  ").trim_end()));
        }
        if more > 0 {
            text.push_str(&format!("  … and {more} more\n"));
        }
        text
    });
    tables.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        let traffic = |packets, bytes| Traffic {
            sent: Volume { packets, bytes },
            received: Volume {
                packets: 1,
                bytes: 10,
            },
        };
        let of = |name: &str| (Subject::Ports, name.to_owned());
        [
            (of("a"), traffic(5, 100)),
            (of("b"), traffic(2, 900)),
            (of("idle"), Traffic::default()),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn the_busiest_come_first() {
        let names = |order| -> Vec<String> {
            let lines = rows(&reading(), Subject::Ports, order, None);
            lines.into_iter().map(|mut line| line.remove(0)).collect()
        };
        assert_eq!(names(Order::Packets), ["a", "b"]);
        assert_eq!(names(Order::Bytes), ["b", "a"]);
        assert_eq!(names(Order::Name), ["a", "b"]);
    }

    #[test]
    fn a_page_has_a_table_of_each() {
        let text = page(&reading(), Order::Bytes, None, 1);
        let start = "ports\n  NAME  SENT PACKETS  SENT BYTES  RECEIVED PACKETS  RECEIVED BYTES\n  \
                     b                2         900                 1              10\n  … and 1 more\n\nrules\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with(
            "chassis\n  NAME  SENT PACKETS  SENT BYTES  RECEIVED PACKETS  RECEIVED BYTES\n"
        ));
        assert_eq!(scaled(999.0), "999 B");
        assert_eq!(scaled(1_234_567.0), "1.2 MB");
    }
}
