//! `weft apply`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use northbound::Draft;
use objects::apply::{Action, Allowed, Plan, apply};
use objects::document::{self, Document, MAX_BYTES};
use objects::{Declared, Refused, schema};

use super::connect::{Connect, WaitFor};
use super::tell;
use crate::error::{CommandError, Outcome, fail};

/// What somebody declares, in files.
#[derive(Args, Debug)]
pub struct Declaration {
    /// A file of YAML or JSON, or a directory of them; - is the input; repeatable
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,

    /// Who declares the objects; may also stand in a file
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,

    /// Take over objects that nobody owns
    #[arg(long)]
    adopt: bool,
}

/// A declaration that was read.
pub struct Wanted {
    owner: String,
    objects: Vec<Declared>,
    allowed: Allowed<'static>,
}

#[derive(Args, Debug)]
pub struct Apply {
    #[command(flatten)]
    declaration: Declaration,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,

    /// Print the JSON schema of files, for editors
    #[arg(long)]
    print_schema: bool,

    #[command(flatten)]
    wait: WaitFor,
}

impl Declaration {
    /// Whether no file is given.
    pub fn is_empty(&self) -> bool {
        self.file.is_empty()
    }

    /// Reads the files.
    pub fn read(&self) -> Outcome<Wanted> {
        if self.file.is_empty() {
            return fail("no file is given; give one with -f, or - for the input");
        }
        let document = read_all(&self.file)?;
        let owner = match (&self.owner, &document.owner) {
            (Some(owner), Some(other)) if owner != other => {
                return fail(format!(
                    "the file says that {other:?} owns the objects; leave --owner out, or correct it"
                ));
            }
            (Some(owner), _) | (None, Some(owner)) => owner,
            (None, None) => {
                return fail("nobody owns the objects; give --owner, or `owner:` in the file");
            }
        };
        let objects = document.objects.iter().enumerate();
        let objects: Result<Vec<Declared>, Refused> = objects
            .map(|(number, object)| {
                let declared = Declared::new(object);
                declared.map_err(|refused| refused.within(&format!("objects[{number}]")))
            })
            .collect();
        Ok(Wanted {
            owner: owner.clone(),
            objects: objects.map_err(|refused| tell(&refused))?,
            allowed: Allowed {
                adopt: self.adopt,
                nothing: document.declares,
                owners: None,
            },
        })
    }
}

impl Wanted {
    /// Makes what the owner has be what is declared.
    pub fn apply(&self, draft: &mut Draft<'_>) -> Outcome<Plan> {
        self.try_apply(draft).map_err(|refused| tell(&refused))
    }

    fn try_apply(&self, draft: &mut Draft<'_>) -> Result<Plan, Refused> {
        apply(draft, &self.owner, &self.objects, self.allowed)
    }
}

impl Apply {
    pub(super) fn run(&self, connect: &Connect) -> Outcome<String> {
        if self.print_schema {
            let schema = schema::document();
            return Ok(format!("{schema:#}\n"));
        }
        let read = self.declaration.read()?;
        let mut northbound = connect.open(None)?;
        let plan = match self.dry_run {
            true => read.apply(&mut Draft::new(northbound.snapshot()))?,
            false => {
                let remark = format!("weft apply: {}", read.owner);
                northbound.change(self.wait.wait, &remark, |draft| read.try_apply(draft))?
            }
        };
        Ok(told(&plan, self.dry_run))
    }
}

/// What a plan does, a line each.
pub fn told(plan: &Plan, dry_run: bool) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        let done = match (change.action, dry_run) {
            (Action::Create, false) => "created",
            (Action::Create, true) => "would be created",
            (Action::Update, false) => "changed",
            (Action::Update, true) => "would be changed",
            (Action::Delete, false) => "deleted",
            (Action::Delete, true) => "would be deleted",
        };
        let fields = match change.fields.is_empty() {
            true => String::new(),
            false => format!(": {}", change.fields.join(", ")),
        };
        text.push_str(&format!(
            "{}/{} {done}{fields}\n",
            change.kind.label(),
            change.name
        ));
    }
    if plan.unchanged > 0 || plan.changes.is_empty() {
        text.push_str(&format!("{} unchanged\n", plan.unchanged));
    }
    text
}

/// What files declare, all of them together.
pub fn read_all(files: &[PathBuf]) -> Outcome<Document> {
    let mut all = Document::default();
    for file in files {
        for path in members(file)? {
            let text = read(&path)?;
            let document = document::read(&text).map_err(|refused| {
                let CommandError::Failed(text) = tell(&refused) else {
                    return CommandError::NotYet;
                };
                CommandError::Failed(format!("{}: {text}", path.display()))
            })?;
            // Whoever should have written it may have failed.
            if !document.declares {
                return fail(format!(
                    "{}: nothing is declared; write `objects: []` if nothing is meant",
                    path.display()
                ));
            }
            match (&all.owner, &document.owner) {
                (Some(owner), Some(other)) if owner != other => {
                    return fail(format!(
                        "{}: another file names another owner; apply each owner's files by themselves",
                        path.display()
                    ));
                }
                (None, Some(_)) => all.owner = document.owner,
                _ => {}
            }
            all.declares |= document.declares;
            all.objects.extend(document.objects);
        }
    }
    Ok(all)
}

/// A file itself, or the files of a directory by their names.
fn members(file: &Path) -> Outcome<Vec<PathBuf>> {
    if !file.is_dir() {
        return Ok(vec![file.to_owned()]);
    }
    let failed = |error| CommandError::Failed(format!("{}: {error}", file.display()));
    let mut members = Vec::new();
    for entry in std::fs::read_dir(file).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(std::ffi::OsStr::to_str);
        if matches!(ending, Some("yaml" | "yml" | "json")) {
            members.push(path);
        }
    }
    members.sort();
    if members.is_empty() {
        return fail(format!(
            "{}: no .yaml, .yml or .json is in there",
            file.display()
        ));
    }
    Ok(members)
}

fn read(path: &Path) -> Outcome<String> {
    let failed =
        |error: std::io::Error| CommandError::Failed(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let limit = MAX_BYTES as u64 + 1;
    match path.to_str() {
        Some("-") => std::io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut text),
        _ => std::fs::File::open(path)
            .map_err(failed)?
            .take(limit)
            .read_to_string(&mut text),
    }
    .map_err(failed)?;
    Ok(text)
}
