//! The commands of `weft sb`, a family a file.

mod binding;
mod chassis;
mod flows;
mod general;
mod multicast;

use crate::command::Family;
use crate::server;

/// The families, in the order of the help text.
pub static FAMILIES: &[&Family] = &[
    &general::FAMILY,
    &chassis::FAMILY,
    &binding::FAMILY,
    &flows::FAMILY,
    &multicast::FAMILY,
    &server::CONNECTION_FAMILY,
    &server::SSL_FAMILY,
];
