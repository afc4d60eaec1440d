//! Drafts and verbs, in one program.

mod draft;
mod verbs;
