//! Unix sockets at their places in the file system, however long their paths are.
//!
//! An address has room for 107 bytes of a path (`unix(7)`). A longer one is reached through the descriptor of its directory,
//! `/proc/self/fd/N/NAME`, as Open vSwitch's library does, so that only the name of the socket itself has to fit.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// So many bytes of a path an address has room for: `sun_path` of `unix(7)` without the zero at its end.
const PATH_LIMIT_BYTES: usize = 107;

/// Binds a socket, in the place of one that nobody listens on any more; its directory is made if it is not there. To be called
/// within a tokio runtime.
///
/// # Errors
/// When somebody listens there, or the file is no socket: both stay as they are. When the system refuses.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("there is a file that is no socket"));
        }
        if connect_now(path).is_ok() {
            return Err(io::Error::other("another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(Place::of(path)?.path())
}

/// Connects to the socket at a path.
///
/// # Errors
/// When nobody listens there, or the system refuses.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let place = Place::of(path)?;
    UnixStream::connect(place.path()).await
}

/// Connects to the socket at a path, for those who have no runtime.
///
/// # Errors
/// When nobody listens there, or the system refuses.
pub fn connect_now(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    std::os::unix::net::UnixStream::connect(Place::of(path)?.path())
}

/// A path that an address has room for.
enum Place<'a> {
    Given(&'a Path),
    Through {
        /// Keeps the way open.
        _directory: OwnedFd,
        path: PathBuf,
    },
}

impl<'a> Place<'a> {
    fn of(path: &'a Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= PATH_LIMIT_BYTES {
            return Ok(Self::Given(path));
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("the path names no socket"));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
        let path = Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name);
        Ok(Self::Through {
            _directory: directory,
            path,
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Through { path, .. } => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_takes_the_place_of_a_dead_one_only() {
        let directory = tempfile::tempdir().unwrap();
        for path in [
            directory.path().join("run/x.ctl"),
            directory.path().join("long".repeat(40)).join("x.ctl"),
        ] {
            let first = bind(&path).expect("the directory is made");
            connect(&path).await.expect("somebody listens");
            let error = bind(&path).unwrap_err().to_string();
            assert!(error.contains("another server"), "{error}");
            drop(first);
            connect_now(&path).expect_err("nobody listens");
            bind(&path).expect("nobody listens there");
        }
        let file = directory.path().join("x.conf");
        std::fs::write(&file, "x").unwrap();
        let error = bind(&file).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
        let name = directory.path().join("n".repeat(120));
        let error = bind(&name).unwrap_err().to_string();
        assert!(error.contains("SUN_LEN"), "{error}");
    }
}
