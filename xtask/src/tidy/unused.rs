//! Dependencies that a crate declares and does not use: each kind where it counts, those for tests in tests only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// Dependencies whose names no source of ours shows, with the reason for which they are there.
const UNSEEN: &[(&str, &str, &str)] = &[
    ("rpc", "prost", "what is generated names it"),
    ("rpc", "tonic-prost", "what is generated names it"),
    ("client", "prost", "what is generated names it"),
    ("client", "tonic-prost", "what is generated names it"),
    ("objects", "prost", "what is generated names it"),
    ("objects", "tonic", "what is generated names it"),
    ("objects", "tonic-prost", "what is generated names it"),
];

/// Looks at every crate of the workspace.
pub fn check(metadata: &Value) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let manifest = package["manifest_path"]
            .as_str()
            .context("a package has a manifest")?;
        let folder = Path::new(manifest)
            .parent()
            .context("a manifest is in a folder")?;
        let name = package["name"].as_str().unwrap_or_default();
        let mut sources = Sources::read(folder)?;
        for target in package["targets"].as_array().into_iter().flatten() {
            // What is not code of the crate may stand elsewhere, such as examples.
            let path = fs::canonicalize(target["src_path"].as_str().unwrap_or_default())?;
            if !path.starts_with(folder) {
                sources.tests += &fs::read_to_string(path)?;
            }
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let called = dependency["rename"].as_str().unwrap_or(used);
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            if UNSEEN
                .iter()
                .any(|(user, unseen, _)| (*user, *unseen) == (name, used))
            {
                continue;
            }
            findings.extend(sources.judge(kind, &called.replace('-', "_")).map(|what| {
                let kind = if kind == "normal" { "" } else { kind };
                format!(
                    "{name}: {kind}{}dependency {called} {what}",
                    if kind.is_empty() { "" } else { "-" }
                )
            }));
        }
    }
    Ok(findings)
}

/// What a crate consists of.
#[derive(Debug, Default)]
struct Sources {
    code: String,
    tests: String,
    build: String,
}

impl Sources {
    fn read(folder: &Path) -> Result<Self> {
        let mut sources = Self::default();
        for file in rust_files(&folder.join("src"))? {
            sources.take_code(&fs::read_to_string(file)?);
        }
        for place in ["tests", "benches", "examples"] {
            for file in rust_files(&folder.join(place))? {
                sources.tests += &fs::read_to_string(file)?;
            }
        }
        let build = folder.join("build.rs");
        if build.exists() {
            sources.build = fs::read_to_string(build)?;
        }
        Ok(sources)
    }

    /// What stands after `#[cfg(test)] mod` is for tests; so are files called so.
    fn take_code(&mut self, text: &str) {
        let without_comments: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let tests = without_comments.find("#[cfg(test)]\nmod ");
        let (code, tests) = without_comments.split_at(tests.unwrap_or(without_comments.len()));
        self.code += code;
        self.tests += tests;
    }

    /// What is wrong with a dependency, if anything is.
    fn judge(&self, kind: &str, name: &str) -> Option<&'static str> {
        let is_used = match kind {
            "dev" => names(&self.tests, name) || names(&self.code, name),
            "build" => names(&self.build, name),
            _ => names(&self.code, name),
        };
        match is_used {
            true => None,
            false if kind == "normal" && names(&self.tests, name) => Some("is used by tests only"),
            false => Some("is not used"),
        }
    }
}

/// Whether a text has the name as a word that a path can begin with.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let before = text[..at].chars().next_back();
        let after = &text[at + name.len()..];
        let begins = !before.is_some_and(|c| part_of_word(c) || c == '.' || c == '"');
        begins
            && ["::", ";", " as ", "!", ",", "}"]
                .iter()
                .any(|end| after.starts_with(end))
    })
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_used_where_its_kind_counts() {
        let mut sources = Sources::default();
        sources.take_code(
            "use a::A;\n// b::B\nfn f(x: c::C) { long_d::e(); x.e::<u8>(); }\n\
             #[cfg(test)]\nmod tests { use t::T; }\n",
        );
        sources.build = "fn main() { made::up(); }".to_owned();
        for (kind, name, expected) in [
            ("normal", "a", None),
            ("normal", "b", Some("is not used")),
            ("normal", "c", None),
            ("normal", "d", Some("is not used")),
            ("normal", "e", Some("is not used")),
            ("normal", "t", Some("is used by tests only")),
            ("dev", "t", None),
            ("dev", "u", Some("is not used")),
            ("build", "made", None),
            ("build", "a", Some("is not used")),
        ] {
            assert_eq!(sources.judge(kind, name), expected, "{kind} {name}");
        }
    }
}
