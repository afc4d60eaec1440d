//! A small file system of its own, so that a disk can be full without the machine's being so.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::Run;

/// What fills a volume is in this file.
const FILLING: &str = "filling";

/// A file system in memory, gone when dropped.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
}

impl Volume {
    /// Mounts one of so many bytes at `path`, a new folder.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir(path)?;
        Run::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "weft-volume"])
            .arg(path)
            .output()?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes everything away that is there.
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.path.join(FILLING))?;
        let mut chunk = vec![0x5a; 1 << 20];
        while !chunk.is_empty() {
            match file.write(&chunk) {
                Ok(0) => chunk.truncate(chunk.len() / 2),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    chunk.truncate(chunk.len() / 2);
                }
                Err(error) => return Err(error).context("cannot fill the volume"),
            }
        }
        Ok(())
    }

    /// Gives back what [`Volume::fill`] took.
    pub fn free(&self) -> Result<()> {
        let filling = self.path.join(FILLING);
        if filling.exists() {
            fs::remove_file(filling)?;
        }
        Ok(())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path) {
            eprintln!("cannot unmount {}: {error:#}", self.path.display());
        }
    }
}

/// Unmounts everything that is mounted below `folder`.
pub fn unmount_below(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    places
        .map(Path::new)
        .filter(|place| place.starts_with(folder))
        .try_for_each(unmount)
}

/// At once for whoever looks, and in fact when the last process that has a file open there is gone.
fn unmount(path: &Path) -> Result<()> {
    Run::new("umount")
        .arg("--lazy")
        .arg(path)
        .output()
        .map(drop)
}
