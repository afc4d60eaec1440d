//! `weft detrace`: what the flows of ofproto/trace are there for.

use std::collections::HashMap;
use std::io::{BufRead, Write};

use clap::Parser;
use daemon::args::TlsArgs;
use replica::Tables;

use super::connection::{DatabaseArgs, wrong};
use super::intent::{self, Intents};
use super::records::{self, Record, Records};
use super::switch::{Interface, interfaces};
use crate::error::Outcome;
use crate::report::Reporter;
use crate::tools::{NB, SB};

/// The longest line that is read: what the switch prints of a packet is far shorter.
const MOST_BYTES: u64 = 16 << 20;

/// Says what the flows of ofproto/trace are there for: reads its output, and prints it with rows behind the cookies
#[derive(Debug, Parser)]
#[command(name = "weft detrace", bin_name = "weft detrace", version)]
pub(super) struct Detrace {
    #[command(flatten)]
    databases: DatabaseArgs,
    /// Name the interfaces behind OpenFlow ports, too, as the switch's database has them
    #[arg(long)]
    ovs: bool,
    /// The switch's database; by default the one on this machine
    #[arg(long, value_name = "REMOTE", help_heading = "Databases")]
    ovsdb: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// What is told behind lines of a trace.
struct Annotator<'a> {
    south: &'a Tables,
    records: Records,
    north: &'a Tables,
    intents: Intents,
    /// By OpenFlow port.
    interfaces: HashMap<u64, Interface>,
}

/// What a line names.
enum Named {
    Cookie(u64),
    Port(u64),
}

impl Detrace {
    pub(super) fn run(self, _: &Reporter) -> Outcome {
        let reader = self.databases.reader(&self.tls)?;
        let south = reader.read(&SB, self.databases.ovnsb.as_ref(), &records::TABLES)?;
        let north = reader.read(&NB, self.databases.ovnnb.as_ref(), &intent::TABLES)?;
        let interfaces = match self.ovs {
            true => interfaces(&reader, self.ovsdb.as_deref())?,
            false => HashMap::new(),
        };
        let annotator = Annotator {
            south: south.tables(),
            records: Records::new(south.tables()),
            north: north.tables(),
            intents: Intents::new(north.tables()),
            interfaces,
        };
        let input = std::io::stdin().lock();
        let output = std::io::stdout().lock();
        match annotator.filter(input, output) {
            // Who has closed the output does not want more of it.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            done => done.map_err(|error| wrong(&error)),
        }
    }
}

impl Annotator<'_> {
    /// Passes lines on; behind each block of a table, what its cookies and ports are.
    fn filter(&self, mut input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
        let mut named = Vec::new();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let count =
                std::io::Read::take(&mut input, MOST_BYTES).read_until(b'\n', &mut bytes)?;
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim();
            if line.is_empty() || begins_block(line) {
                for name in named.drain(..) {
                    self.print(&name, &mut output)?;
                }
            }
            writeln!(output, "{line}")?;
            if count == 0 {
                return Ok(());
            }
            let has_ports = !self.interfaces.is_empty();
            named.extend(number_behind(line, "cookie 0x", 16).map(Named::Cookie));
            let outport = line.strip_prefix("output:").filter(|_| has_ports);
            named.extend(outport.and_then(|rest| leading(rest, 10)).map(Named::Port));
            let inport = behind_number(line).and_then(|rest| rest.strip_prefix("in_port="));
            let inport = inport.filter(|_| has_ports);
            named.extend(inport.and_then(|rest| leading(rest, 10)).map(Named::Port));
        }
    }

    fn print(&self, named: &Named, output: &mut impl Write) -> std::io::Result<()> {
        match named {
            Named::Port(port) => match self.interfaces.get(port) {
                Some(Interface { name, id, .. }) => {
                    let id = id.as_deref().unwrap_or("None");
                    writeln!(output, "  * OVS Interface: {name} ({id})")
                }
                None => Ok(()),
            },
            Named::Cookie(cookie) => {
                let mut before: Option<Record> = None;
                for record in self.records.find(self.south, *cookie) {
                    if before
                        .as_ref()
                        .is_some_and(|before| before.is_like(&record))
                    {
                        writeln!(output, "   * [Duplicate uuid cookie]")?;
                    }
                    for line in &record.lines {
                        writeln!(output, "  * {line}")?;
                    }
                    let hint = record.hint.as_deref();
                    let intents = hint.map(|hint| self.intents.find(self.north, hint));
                    for intent in intents.into_iter().flatten() {
                        writeln!(output, "   * {}", intent.text)?;
                    }
                    before = Some(record);
                }
                Ok(())
            }
        }
    }
}

/// Whether a line of ofproto/trace begins with a table's number: `12. …`.
fn begins_block(line: &str) -> bool {
    behind_number(line).is_some()
}

/// What is behind `12. `.
fn behind_number(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix('.').filter(|_| rest.len() < line.len())?;
    Some(rest.trim_start())
}

/// The number behind the last `mark` of a line.
fn number_behind(line: &str, mark: &str, base: u32) -> Option<u64> {
    leading(&line[line.rfind(mark)? + mark.len()..], base)
}

/// The number that a text begins with.
fn leading(text: &str, base: u32) -> Option<u64> {
    let end = text.find(|c: char| !c.is_digit(base)).unwrap_or(text.len());
    u64::from_str_radix(&text[..end], base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_trace() {
        assert_eq!(
            number_behind(
                "8. metadata=0x1, priority 100, cookie 0x2ab3",
                "cookie 0x",
                16
            ),
            Some(0x2ab3)
        );
        assert!(begins_block("12. reg15=0x1, priority 1"));
        assert!(!begins_block("resubmit(,8)") && !begins_block(". x") && !begins_block(""));
        assert_eq!(
            behind_number("0. in_port=12, priority"),
            Some("in_port=12, priority")
        );
        assert_eq!(leading("12, x", 10), Some(12));
        assert_eq!(leading("x", 10), None);
    }
}
