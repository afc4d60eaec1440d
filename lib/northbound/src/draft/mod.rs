//! A transaction in the making: the rows of a database with changes on top.
//!
//! Verbs see what the verbs before them have changed. What a verb has read and relied upon it says with
//! [`Draft::verify`] and [`Draft::expect_no_other`]; the transaction then fails, and all is to be done again over the
//! newer rows, if somebody else has changed that meanwhile. Elements of sets and maps are added and removed one by one
//! where possible, so that writers of different elements do not get in each other's way.
//!
//! A draft on which a verb failed is half done and worth nothing: drop it.

mod changes;
mod operations;
mod typed;

pub use changes::Draft;
