//! The folder of a rig, after which everything of the rig is named; and the sweep of what a killed run has left.
//!
//! All names begin with the process id of the owner: `wf4711a-ubuntu2` is a namespace of the first rig of process
//! 4711. Everything that a rig starts runs inside one of its namespaces, and what it mounts is in its folder. So
//! whoever makes a rig can first remove those of owners that are no more: end what runs in their namespaces, delete
//! the namespaces, delete the folder. Only a rig that was meant to stay (its folder holds a file `keep`) is spared,
//! until [`sweep`] is told otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

use crate::namespace;
use crate::volume;

/// With what the names of all namespaces of all rigs begin.
const PREFIX: &str = "wf";
/// With what the names of all folders of all rigs begin.
const FOLDER_PREFIX: &str = "weft-rig-";
/// The file in a rig's folder that lets it outlive its owner.
const KEEP: &str = "keep";
/// The file in a rig's folder that says when its owner began.
const OWNER: &str = "owner";
static RIGS_OF_THIS_PROCESS: AtomicU8 = AtomicU8::new(0);

/// A rig's folder, deleted when dropped: after everything else, for it is the last field of
/// whoever has one.
#[derive(Debug)]
pub struct Folder {
    id: String,
    path: PathBuf,
}

impl Folder {
    /// Makes it.
    pub fn create() -> Result<Self> {
        let number = RIGS_OF_THIS_PROCESS.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{}", std::process::id(), char::from(b'a' + number % 26));
        let path = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{id}"));
        let owner = process_start(std::process::id()).context("no entry of its own under /proc")?;
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        let folder = Self { id, path };
        fs::write(folder.path.join(OWNER), owner)?;
        Ok(folder)
    }

    /// The name of a namespace of this rig: `suffix` behind the rig's own.
    pub fn namespace(&self, suffix: &str) -> String {
        format!("{PREFIX}{}-{suffix}", self.id)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it, and whatever is named after it, outlive this process.
    pub fn keep(self) -> Result<PathBuf> {
        fs::write(self.path.join(KEEP), "")?;
        let path = self.path.clone();
        std::mem::forget(self);
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Which rigs a sweep removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Those whose owner has ended, unless they were to be kept.
    Abandoned,
    /// Those whose owner has ended, kept or not.
    Kept,
}

/// Removes what earlier rigs have left; how many there were.
pub fn sweep(which: Sweep) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(FOLDER_PREFIX) else {
            continue;
        };
        let kept = entry.path().join(KEEP).exists();
        if owner_is_alive(id, &entry.path()) || (kept && which == Sweep::Abandoned) {
            continue;
        }
        for namespace in namespace::with_prefix(&format!("{PREFIX}{id}-")) {
            namespace::remove(&namespace)?;
        }
        volume::unmount_below(&entry.path())?;
        fs::remove_dir_all(entry.path())?;
        removed += 1;
    }
    Ok(removed)
}

/// Whether the process that made the rig `id` still runs; another that has its number by now is not it.
fn owner_is_alive(id: &str, folder: &Path) -> bool {
    let pid = id.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let Some(start) = pid.parse::<u32>().ok().and_then(process_start) else {
        return false;
    };
    // Without the file the rig is being made just now.
    fs::read_to_string(folder.join(OWNER)).map_or(true, |owner| owner == start)
}

/// When a process began, in clock ticks since the machine did.
fn process_start(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Of the fields after the command in parentheses it is the 20th.
    stat.rsplit(") ")
        .next()?
        .split_whitespace()
        .nth(19)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_rig_is_known_by_its_start_and_not_by_its_number_alone() {
        let folder = std::env::temp_dir().join(format!("owner-test-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let id = format!("{}a", std::process::id());
        fs::write(
            folder.join(OWNER),
            process_start(std::process::id()).unwrap(),
        )
        .unwrap();
        let same = owner_is_alive(&id, &folder);
        fs::write(folder.join(OWNER), "1").unwrap();
        let reused = owner_is_alive(&id, &folder);
        fs::remove_dir_all(&folder).unwrap();
        assert!(same, "the owner itself is alive");
        assert!(!reused, "another process of that number is not the owner");
    }
}
