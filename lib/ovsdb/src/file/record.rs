//! The frame of a file: records of two lines, of which the first has the length and the checksum of the second.

use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};

use serde::Serialize;
use serde_json::Value;

use super::FileError;

/// The first line is at most so long: the magic words, a length and a checksum.
const MAX_HEADER: usize = 128;

/// What a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magic {
    /// A standalone database.
    Json,
    /// A member of a cluster.
    Cluster,
}

/// One record.
#[derive(Clone, Debug)]
pub(super) struct Record<'b> {
    pub(super) magic: Magic,
    number: usize,
    offset: usize,
    start: usize,
    body: &'b [u8],
}

impl<'b> Record<'b> {
    /// Where the next one begins.
    pub(super) fn end(&self) -> usize {
        self.start + self.body.len()
    }

    /// The second line.
    pub(super) fn text(&self) -> Result<&'b str, FileError> {
        std::str::from_utf8(self.body).map_err(|error| self.wrong(&error))
    }

    /// The second line as a value.
    pub(super) fn json(&self) -> Result<Value, FileError> {
        serde_json::from_slice(self.body).map_err(|error| self.wrong(&error))
    }

    /// An error in this record.
    pub(super) fn wrong(&self, reason: &dyn fmt::Display) -> FileError {
        FileError::Record {
            number: self.number,
            offset: self.offset,
            reason: reason.to_string(),
        }
    }
}

/// The records of a file, one after the other.
#[derive(Debug)]
pub(super) struct Records<'b> {
    bytes: &'b [u8],
    offset: usize,
    number: usize,
    magic: Option<Magic>,
    cut: Option<usize>,
}

impl<'b> Records<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            offset: 0,
            number: 0,
            magic: None,
            cut: None,
        }
    }

    /// Where the last record begins, if it ends before its end.
    pub(super) fn cut(&self) -> Option<usize> {
        self.cut
    }

    fn read(&mut self) -> Result<Option<Record<'b>>, FileError> {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        let wrong = |reason: &str| FileError::Record {
            number: self.number + 1,
            offset: self.offset,
            reason: reason.to_owned(),
        };
        let head = &rest[..rest.len().min(MAX_HEADER)];
        let Some(line) = head.iter().position(|byte| *byte == b'\n') else {
            return match (self.number, rest.len() < MAX_HEADER) {
                (0, _) => Err(FileError::Foreign),
                (_, true) => Ok(self.cut_short()),
                (_, false) => Err(wrong("it should begin with \"OVSDB\"")),
            };
        };
        let header = parse_header(&head[..line]);
        let (magic, length, checksum) = match header {
            Some(header) => header,
            None if self.number == 0 => return Err(FileError::Foreign),
            None => return Err(wrong("its first line is not \"OVSDB MAGIC LENGTH SHA1\"")),
        };
        if self.magic.is_some_and(|first| first != magic) {
            return Err(wrong("it is of another kind than the first"));
        }
        let start = self.offset + line + 1;
        let Some(body) = rest.get(line + 1..).and_then(|rest| rest.get(..length)) else {
            return match self.number {
                0 => Err(wrong("the file ends in the middle of it")),
                _ => Ok(self.cut_short()),
            };
        };
        if sha1_smol::Sha1::from(body).digest().to_string() != checksum {
            return Err(wrong("the checksum is wrong; the file is damaged"));
        }
        let record = Record {
            magic,
            number: self.number + 1,
            offset: self.offset,
            start,
            body,
        };
        self.magic = Some(magic);
        self.number += 1;
        self.offset = record.end();
        Ok(Some(record))
    }

    fn cut_short(&mut self) -> Option<Record<'b>> {
        self.cut = Some(self.offset);
        self.offset = self.bytes.len();
        None
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read();
        if record.is_err() {
            self.offset = self.bytes.len();
        }
        record.transpose()
    }
}

fn parse_header(line: &[u8]) -> Option<(Magic, usize, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    if words.next() != Some("OVSDB") {
        return None;
    }
    let magic = match words.next()? {
        "JSON" => Magic::Json,
        "CLUSTER" => Magic::Cluster,
        _ => return None,
    };
    let length = words.next()?.parse().ok()?;
    let checksum = words.next()?;
    words.next().is_none().then_some((magic, length, checksum))
}

/// Writes a record of a standalone file, with this body.
pub(super) fn write<W: Write + Seek>(out: W, body: &impl Serialize) -> io::Result<W> {
    let mut recorder = Recorder::begin(out)?;
    let mut bytes = serde_json::to_vec(body)?;
    bytes.push(b'\n');
    recorder.write_all(&bytes)?;
    recorder.finish()
}

/// Writes one record whose body comes piece by piece: the first line, with length and checksum, is filled in at the
/// end. A file that was not finished is not taken for a whole one.
pub struct Recorder<W> {
    out: W,
    start: u64,
    length: u64,
    checksum: sha1_smol::Sha1,
}

impl<W> fmt::Debug for Recorder<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Recorder({} bytes)", self.length)
    }
}

impl<W: Write + Seek> Recorder<W> {
    /// Begins a record where `out` stands.
    pub fn begin(mut out: W) -> io::Result<Self> {
        let start = out.stream_position()?;
        out.write_all(first_line("JSON", 0, &"0".repeat(40)).as_bytes())?;
        Ok(Self {
            out,
            start,
            length: 0,
            checksum: sha1_smol::Sha1::new(),
        })
    }

    /// How many bytes the body has, and their SHA-1 checksum.
    pub fn written(&self) -> (u64, [u8; 20]) {
        (self.length, self.checksum.digest().bytes())
    }

    /// Ends the record, whose body should have ended with a new line, and leaves `out` behind it.
    pub fn finish(mut self) -> io::Result<W> {
        let line = first_line("JSON", self.length, &self.checksum.digest().to_string());
        self.out.seek(SeekFrom::Start(self.start))?;
        self.out.write_all(line.as_bytes())?;
        self.out.seek(SeekFrom::Current(
            i64::try_from(self.length).map_err(io::Error::other)?,
        ))?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Recorder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.checksum.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The first line of a record. Whatever the length, it is as long.
fn first_line(magic: &str, length: u64, checksum: &str) -> String {
    format!("OVSDB {magic} {length:020} {checksum}\n")
}

/// A record with this magic word.
#[cfg(test)]
pub(super) fn record(magic: &str, body: &Value) -> Vec<u8> {
    let body = format!("{body}\n");
    let checksum = sha1_smol::Sha1::from(&body).digest().to_string();
    let line = first_line(magic, body.len() as u64, &checksum);
    [line.into_bytes(), body.into_bytes()].concat()
}
