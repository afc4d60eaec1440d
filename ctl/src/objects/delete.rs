//! `weft delete`.

use std::path::PathBuf;

use clap::Args;
use objects::write::{Along, Deletion};
use objects::{Declared, find, write};

use super::apply::read_all;
use super::connect::{Connect, WaitFor};
use super::{kind_called, tell};
use crate::error::{Outcome, fail};

#[derive(Args, Debug)]
pub struct Delete {
    /// The kind, such as switch or acls
    #[arg(value_name = "KIND", required_unless_present = "file")]
    pub kind: Option<String>,

    /// Names or UUIDs
    #[arg(value_name = "NAME", required_unless_present = "file")]
    pub names: Vec<String>,

    /// Delete what this file of YAML or JSON declares; repeatable
    #[arg(short, long, value_name = "FILE", conflicts_with = "kind")]
    pub file: Vec<PathBuf>,

    /// Leave it at that if there is none
    #[arg(long)]
    pub if_exists: bool,

    /// Delete what belongs to them, too, whoever owns it
    #[arg(long)]
    pub cascade: bool,

    #[command(flatten)]
    pub wait: WaitFor,
}

impl Delete {
    pub(super) fn run(&self, connect: &Connect) -> Outcome<String> {
        let mut wanted = Vec::new();
        if let Some(kind) = &self.kind {
            let kind = kind_called(kind)?;
            wanted.extend(self.names.iter().map(|name| (kind, name.clone())));
        }
        let document = read_all(&self.file)?;
        for object in &document.objects {
            let declared = Declared::new(object).map_err(|refused| tell(&refused))?;
            wanted.push((declared.kind, declared.name));
        }
        if wanted.is_empty() {
            return fail("nothing is named; give a kind and names, or -f");
        }
        let along = match (&document.owner, self.cascade) {
            (_, true) => Along::Everything,
            (Some(owner), false) => Along::Owned(owner),
            (None, false) => Along::Nothing,
        };
        // What belongs to others is told before those.
        wanted.sort_by_key(|(kind, _)| std::cmp::Reverse(kind.order));
        let mut northbound = connect.open(None)?;
        northbound.change(self.wait.wait, "weft delete", |draft| {
            let mut deletions = Vec::new();
            for (kind, name) in &wanted {
                if self.if_exists && find::find_if_any(draft.before(), kind, name)?.is_none() {
                    continue;
                }
                deletions.push(Deletion {
                    kind,
                    name,
                    version: "",
                });
            }
            write::delete(draft, &deletions, along)?;
            let lines = deletions.iter();
            let lines = lines.map(|gone| format!("{}/{} deleted\n", gone.kind.label(), gone.name));
            Ok(lines.collect())
        })
    }
}
