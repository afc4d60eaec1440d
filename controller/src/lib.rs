//! The chassis agent: binds ports, installs logical flows as Open vSwitch flows and tunnels.
//!
//! ```text
//!  local switch's database ──┐                                        ┌──▶ bridge, tunnels, patches, zones
//!                            ├─▶ core::step ─▶ network (incremental) ─┼──▶ Chassis, Port_Binding.chassis and up, nb_cfg
//!  southbound database ──────┘        ▲                │              └──▶ what the southbound should tell
//!                                     │                ▼
//!                              switch (OpenFlow) ◀── desired flows, in bundles
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`core`] | one function from events to effects: the whole agent |
//! | [`settings`] | what the local database says about this chassis |
//! | [`network`] | what is known, and what follows from it, kept by the incremental engine |
//! | [`physical`] | flows between logical ports and the switch's ports |
//! | [`logical`] | flows of logical flows |
//! | `program` | which units there are, what they run, and what becomes of what they say |
//! | [`desired`] | the flows that should be there, against those that are |
//! | [`switch`] | the OpenFlow connection |
//! | [`pinctrl`] | packets that flows send to the agent |
//! | [`record`] | what happened, as JSON, to be replayed |
//! | [`inject`] | packets that somebody wants to see on their way |
#![forbid(unsafe_code)]

pub mod core;
pub mod desired;
pub mod error;
pub mod flow;
pub mod inject;
pub mod layout;
pub mod local;
pub mod logical;
pub mod network;
pub mod physical;
pub mod pinctrl;
mod program;
pub mod record;
pub mod settings;
pub mod south;
mod status;
pub mod switch;
#[cfg(test)]
mod testing;
pub mod vswitch;
