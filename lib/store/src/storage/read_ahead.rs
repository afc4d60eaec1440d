//! Reading a file ahead of who needs it.
//!
//! A start looks at every page of the file, in the order of the trees; on a disk that means a wait
//! for each. A thread that reads the same file from its beginning to its end brings the pages into
//! the system's cache meanwhile, as fast as the disk gives them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// So much is read at once; whoever ends the reading waits for no more.
const CHUNK_BYTES: usize = 1 << 20;

/// Goes on until the end of the file, or until it is dropped.
#[derive(Debug)]
pub(super) struct ReadAhead {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl ReadAhead {
    /// Begins with a file. If there is none, or it cannot be read, nothing is read: whoever needs
    /// it will say so.
    pub(super) fn of(path: &Path) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        let thread = File::open(path).ok().and_then(|file| {
            let builder = std::thread::Builder::new().name("read-ahead".to_owned());
            builder.spawn(move || read(file, &seen)).ok()
        });
        Self { ended, thread }
    }

    /// Waits for the end of the file. Answers how many bytes were read.
    #[cfg(test)]
    fn finish(mut self) -> u64 {
        self.thread
            .take()
            .map_or(0, |thread| thread.join().unwrap())
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that read a file ahead panicked");
        }
    }
}

/// Reads all of a file for nobody; answers how much that was.
fn read(mut file: File, ended: &AtomicBool) -> u64 {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    while !ended.load(Ordering::Relaxed) {
        match file.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes += read as u64,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_file_is_read_and_a_missing_one_is_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(ReadAhead::of(&path).finish(), 0);
        let size = CHUNK_BYTES * 2 + 7;
        std::fs::write(&path, vec![1; size]).unwrap();
        assert_eq!(ReadAhead::of(&path).finish(), size as u64);
        drop(ReadAhead::of(&path));
    }
}
