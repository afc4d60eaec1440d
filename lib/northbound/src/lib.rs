//! What can be done to a logical network: typed verbs over a draft of a transaction.
//!
//! A verb is a function of a [`Draft`]: it reads rows, sees what the verbs before it have changed, and changes rows in its
//! turn. [`Draft::operations`] makes of all of it one transaction, which says what it relied upon. Verbs know neither
//! arguments nor printed text: they take typed values, give typed results, and fail with small errors of their own.
//! Command line, gRPC and REST are their faces.
//!
//! | room | what is there |
//! | --- | --- |
//! | [`rows`], [`snapshot`], [`indexes`] | the copy of the database that a draft reads, one in memory, and what it is searched by |
//! | [`draft`] | a transaction in the making |
//! | [`error`] | what the errors have in common |
//! | [`values`] | values that several verbs take |
//! | [`find`] | rows by what people call them |
//! | [`matches`] | which packets a rule is about, read where it is written |
//! | [`datapath`], [`port`], [`address`], [`port_settings`], [`router_port`] | switches, routers and their ports |
//! | [`port_group`], [`dhcp`], [`acl`], [`qos`], [`meter`], [`mirror`], [`forwarding_group`], [`network_function`] | what switches and their ports have: a family of verbs each |
//! | [`nat`], [`route`], [`policy`], [`load_balancer`], [`static_mac_binding`] | what routers have |
//! | [`copp`], [`ha_chassis_group`], [`port_health_check`] | what is about chassis and health |
//!
//! ```
//! use northbound::find::find;
//! use northbound::values::Existing;
//! use northbound::{Draft, Snapshot, datapath, port};
//! use nb_db::tables::LogicalSwitch;
//!
//! let before = Snapshot::empty(nb_db::schema().clone());
//! let mut draft = Draft::new(&before);
//! datapath::add_switch(&mut draft, Some("dmz"), Existing::Refuse)?;
//! let switch = find::<LogicalSwitch>(&draft, "dmz")?;
//! port::add_port(&mut draft, switch, "dmz-vm1", None, false)?;
//! assert_eq!(draft.operations().len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod acl;
pub mod address;
pub mod copp;
pub mod datapath;
pub mod dhcp;
pub mod draft;
pub mod error;
pub mod find;
pub mod forwarding_group;
pub mod ha_chassis_group;
pub mod indexes;
pub mod load_balancer;
pub mod matches;
pub mod meter;
pub mod mirror;
pub mod nat;
pub mod network_function;
pub mod policy;
pub mod port;
pub mod port_group;
pub mod port_health_check;
pub mod port_settings;
pub mod qos;
pub mod route;
pub mod router_port;
pub mod rows;
pub mod snapshot;
pub mod static_mac_binding;
pub mod values;
pub mod words;

pub use draft::Draft;
pub use error::{DraftError, Refusal, RefusalKind};
pub use rows::Rows;
pub use snapshot::Snapshot;
