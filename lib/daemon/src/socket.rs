//! Unix sockets at their places in the file system.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use tokio::net::UnixListener;

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
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::other("another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_takes_the_place_of_a_dead_one_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/x.ctl");
        let first = bind(&path).expect("the directory is made");
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("another server"), "{error}");
        drop(first);
        bind(&path).expect("nobody listens there");
        let file = directory.path().join("x.conf");
        std::fs::write(&file, "x").unwrap();
        let error = bind(&file).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    }
}
