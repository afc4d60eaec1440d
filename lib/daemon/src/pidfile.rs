//! The pid file: a number in a file, and a lock on it while the process lives.
//!
//! `ovs-appctl` believes a pid file only while somebody holds a POSIX lock on it, so the file stays open and locked;
//! the kernel lets go of it however the process ends. Two daemons with one pid file exclude each other by that lock.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

/// A pid file that is ours. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// Held open for its lock.
    _file: File,
}

impl PidFile {
    /// Writes and locks the file. `Err` with kind `AddrInUse` if another process holds it, unless `overwrite`.
    pub(crate) fn create(path: &Path, overwrite: bool) -> io::Result<Self> {
        if !overwrite && let Some(pid) = holder(path)? {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!(
                    "another daemon holds it, process {pid}: stop that one or give another --pidfile"
                ),
            ));
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let pid = std::process::id();
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".tmp{pid}"));
        let temporary = PathBuf::from(name);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
        writeln!(file, "{pid}")?;
        fs::rename(&temporary, path)?;
        Ok(Self {
            path: path.to_owned(),
            _file: file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Whoever overwrote the file owns it now; then there is nothing of ours to remove.
        let ours = fs::read_to_string(&self.path)
            .is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            // The process is ending: a file that cannot be removed is stale without its lock anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that holds the file's lock, as the file names it.
fn holder(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_taken_over_and_ours_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/x.pid");
        fs::create_dir(directory.path().join("run")).unwrap();
        fs::write(&path, "999999\n").unwrap();
        let file = PidFile::create(&path, false).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(file);
        assert!(!path.exists());
    }
}
