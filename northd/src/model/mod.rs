//! Rows become a network that cannot be wrong.
//!
//! Each file reads one table: the row in, a value and its [`Problem`]s out. After this module nothing is malformed; what a
//! row refers to may still be missing, which the compiler sees when it looks.

pub mod chassis;
pub mod dhcp;
pub mod options;
pub mod port;
pub mod problem;
pub mod switch;

pub use chassis::Chassis;
pub use dhcp::Dhcp4;
pub use port::{Nested, Port, PortKind, Security};
pub use problem::Problem;
pub use switch::Switch;
