//! Rows between the OVSDB data model and the bytes of messages, without the messages in between.
//!
//! A compiler writes a hundred thousand rows and is told of each; made into messages first, every column would be a name, a
//! value and a place in a hash table of its own. What is written here is what `prost` would write of the messages in
//! `data.proto`; what is read here is what is usual, and anything else is left to the messages, which have an error
//! for everything.

pub(crate) mod read;
pub(crate) mod write;

#[cfg(test)]
mod tests;
