//! The modules of a crate, and what each names of the others: read from its source, without its tests.
//!
//! What is seen: `use` declarations and paths in code and in the arguments of macros, whether they begin with `crate`,
//! `self`, `super` or the name of a module that stands in sight. A path that names something re-exported is one to where
//! that stands. What is not: methods, whose place only the compiler knows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemMod, ItemUse, UseTree};

/// A module's path below its crate; the crate itself is empty.
pub type Name = Vec<String>;

/// A path in the source of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The file.
    pub file: PathBuf,
    /// The line, from one.
    pub line: usize,
    /// The path as written, `use` trees flattened.
    pub path: Vec<String>,
}

/// A module.
#[derive(Debug, Default)]
pub struct Module {
    /// The names of the modules in it.
    children: Vec<String>,
    /// The names of the items in it.
    items: Vec<String>,
    /// What `use` brings into sight: the name there, `*` for all, and the path.
    imports: Vec<(String, Vec<String>)>,
    /// What its code names.
    mentions: Vec<Mention>,
}

/// The modules of a crate.
#[derive(Debug, Default)]
pub struct Modules {
    modules: BTreeMap<Name, Module>,
}

/// So often a path is followed from one re-export to the next.
const MOST_STEPS: usize = 16;

impl Modules {
    /// Reads a crate from its root, such as `src/lib.rs`; files are named as seen from `top`.
    pub fn read(top: &Path, root: &Path) -> Result<Self> {
        let mut modules = Self::default();
        let folder = root.parent().context("a crate is in a folder")?;
        modules.read_file(top, root, folder, Vec::new())?;
        Ok(modules)
    }

    /// The modules of a text, for tests: inline modules only.
    #[cfg(test)]
    pub fn of_text(text: &str) -> Self {
        let mut modules = Self::default();
        let file = syn::parse_file(text).expect("Rust");
        let nowhere = Path::new("");
        let place = Place {
            top: nowhere,
            file: Path::new("lib.rs"),
            folder: nowhere,
        };
        modules
            .take(&place, Vec::new(), file.items)
            .expect("no files");
        modules
    }

    /// Every mention of one module in another: who, whom, and where.
    pub fn mentions(&self) -> impl Iterator<Item = (&Name, Name, &Mention)> {
        self.modules.iter().flat_map(move |(name, module)| {
            let resolved = module.mentions.iter().filter_map(move |mention| {
                let target = self.resolve(name, &mention.path, MOST_STEPS)?;
                Some((name, target, mention))
            });
            resolved.filter(|(name, target, _)| **name != *target)
        })
    }

    fn read_file(&mut self, top: &Path, file: &Path, folder: &Path, name: Name) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let parsed: File = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        let place = Place {
            top,
            file: file.strip_prefix(top).unwrap_or(file),
            folder,
        };
        self.take(&place, name, parsed.items)
    }

    fn take(&mut self, place: &Place<'_>, name: Name, items: Vec<Item>) -> Result<()> {
        let mut module = Module::default();
        let mut inner = Vec::new();
        for item in items {
            if is_for_tests(attributes(&item)) {
                continue;
            }
            module.items.extend(item_name(&item));
            let mut collector = Collector {
                file: place.file,
                module: &mut module,
            };
            match item {
                Item::Mod(item) => {
                    module.children.push(item.ident.to_string());
                    inner.push(item);
                }
                item => collector.visit_item(&item),
            }
        }
        for item in inner {
            self.take_module(place, &name, item)?;
        }
        self.modules.insert(name, module);
        Ok(())
    }

    fn take_module(&mut self, place: &Place<'_>, parent: &Name, item: ItemMod) -> Result<()> {
        let own = item.ident.to_string();
        let name: Name = parent.iter().chain([&own]).cloned().collect();
        let folder = place.folder.join(&own);
        match item.content {
            Some((_, items)) => {
                let place = Place {
                    folder: &folder,
                    ..*place
                };
                self.take(&place, name, items)
            }
            None => {
                let flat = folder.with_extension("rs");
                let file = if flat.exists() {
                    flat
                } else {
                    folder.join("mod.rs")
                };
                self.read_file(place.top, &file, &folder, name)
            }
        }
    }

    /// The module in which a path ends, as seen from `from`; nothing if that is in another crate.
    fn resolve(&self, from: &Name, path: &[String], steps: usize) -> Option<Name> {
        let steps = steps.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(Vec::new(), rest, steps),
            "self" => self.descend(from.clone(), rest, steps),
            "super" => {
                let (_, parent) = from.split_last()?;
                let mut through = vec!["self".to_owned()];
                through.extend_from_slice(rest);
                // `super::super` is `super` seen from there.
                match rest.first().map(String::as_str) {
                    Some("super") => self.resolve(&parent.to_vec(), rest, steps),
                    _ => self.resolve(&parent.to_vec(), &through, steps),
                }
            }
            _ => {
                let module = self.modules.get(from)?;
                if module.children.contains(first) {
                    return self.descend(from.clone(), path, steps);
                }
                let (_, target) = module.imports.iter().find(|(name, _)| name == first)?;
                // What a name means that is brought into sight by itself cannot be told here.
                if target.first() == Some(first) {
                    return None;
                }
                let through: Vec<String> = target.iter().chain(rest).cloned().collect();
                self.resolve(from, &through, steps)
            }
        }
    }

    /// Goes down from `name` as far as there are modules, then through what is re-exported there.
    fn descend(&self, mut name: Name, mut path: &[String], steps: usize) -> Option<Name> {
        while let Some((first, rest)) = path.split_first() {
            let module = self.modules.get(&name)?;
            if !module.children.contains(first) {
                break;
            }
            name.push(first.clone());
            path = rest;
        }
        let Some(wanted) = path.first().filter(|wanted| *wanted != "self") else {
            return Some(name);
        };
        let module = self.modules.get(&name)?;
        if module.items.contains(wanted) {
            return Some(name);
        }
        let named = module.imports.iter().find(|(own, _)| own == wanted);
        if let Some((_, target)) = named {
            let found = self.resolve(&name, target, steps);
            // What another crate has is of no module here.
            return Some(found.unwrap_or(name));
        }
        let globs = module.imports.iter().filter(|(own, _)| own == "*");
        for (_, target) in globs {
            let through = self.resolve(&name, target, steps);
            let found = through.filter(|found| {
                let items = self.modules.get(found).map(|module| &module.items);
                items.is_some_and(|items| items.contains(wanted))
            });
            if found.is_some() {
                return found;
            }
        }
        Some(name)
    }
}

/// Where a module stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    top: &'a Path,
    file: &'a Path,
    /// Where the files of the modules in it are.
    folder: &'a Path,
}

struct Collector<'a> {
    file: &'a Path,
    module: &'a mut Module,
}

impl Collector<'_> {
    fn mention(&mut self, line: usize, path: Vec<String>) {
        self.module.mentions.push(Mention {
            file: self.file.to_owned(),
            line,
            path,
        });
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(tree, before));
            }
            UseTree::Name(name) => {
                let path = with(&name.ident);
                let own = match name.ident == "self" {
                    true => before.last().cloned().unwrap_or_default(),
                    false => name.ident.to_string(),
                };
                self.import(name.span(), own, path);
            }
            UseTree::Rename(rename) => {
                let path = with(&rename.ident);
                self.import(rename.span(), rename.rename.to_string(), path);
            }
            UseTree::Glob(glob) => self.import(glob.span(), "*".to_owned(), before.to_vec()),
        }
    }

    fn import(&mut self, span: proc_macro2::Span, own: String, mut path: Vec<String>) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        self.module.imports.push((own, path.clone()));
        self.mention(span.start().line, path);
    }

    /// Paths in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.end_of_path(line, &mut path);
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Ident(ident) => {
                            line = ident.span().start().line;
                            path.push(ident.to_string());
                        }
                        _ => {}
                    }
                }
            }
        }
        self.end_of_path(line, &mut path);
    }

    fn end_of_path(&mut self, line: usize, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.mention(line, path);
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.mention(path.span().start().line, names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone());
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(in crate::a)` says who may look, not at what this looks.
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|name| name == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who mentions whom, at which lines.
    fn check(text: &str, expected: &[&str]) {
        let modules = Modules::of_text(text);
        let told: Vec<String> = modules
            .mentions()
            .map(|(from, to, mention)| {
                format!("{} -> {}:{}", from.join("::"), to.join("::"), mention.line)
            })
            .collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn uses_and_paths_are_seen() {
        check(
            "mod a { use crate::b::{self, c::D}; fn f() -> super::b::E { b::g() } }\n\
             mod b { pub mod c { pub struct D; } pub struct E; pub fn g() {} }",
            &["a -> b:1", "a -> b::c:1", "a -> b:1", "a -> b:1"],
        );
        check(
            "mod a { fn f() { println!(\"{}\", crate::b::X); } }\nmod b { pub const X: u8 = 1; }",
            &["a -> b:1"],
        );
    }

    #[test]
    fn what_is_re_exported_is_where_it_stands() {
        let text = "mod a { use crate::{B, Own, T}; use crate::d::*; fn f(_: C) {} }\n\
             mod b { pub struct B; }\npub use b::B;\npub struct Own;\n\
             mod c { pub struct T; }\npub use c::*;\nmod d {}";
        check(
            text,
            &[
                " -> b:3", " -> c:6", "a -> b:1", "a -> :1", "a -> c:1", "a -> d:1",
            ],
        );
    }

    #[test]
    fn tests_and_other_crates_are_not_seen() {
        check(
            "mod a { use std::fmt; #[cfg(test)] mod tests { use crate::b::X; } }\n\
             mod b { pub struct X; #[cfg(test)] use crate::a; }",
            &[],
        );
    }
}
