//! `weft trace`, alias `ovn-trace`: what would become of a packet, from the southbound database alone.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`world`] | the southbound, indexed by what a packet asks for; follows the database row by row |
//! | [`lookup`], [`stage`] | names on a datapath; the flows of a table, parsed when a packet comes by and found by their values |
//! | [`connection`] | matches that are asked of connections |
//! | [`microflow`], [`complaint`] | a description becomes a packet; what ovn-trace says of one that does not |
//! | [`packet`], [`track`], [`security`], [`answer`] | the packet, and what conntrack, port security and learned addresses say of it |
//! | [`walk`] | the packet's way, as a tree |
//! | [`tree`], [`header`], [`text`], [`names`] | that tree in words |
//! | [`request`] | options and arguments become a trace |
//! | [`known`] | the southbound as a program that stays has it |
//! | [`daemon`] | connects, answers once or as a daemon |
//!
//! Under the name `ovn-trace`, forwarding is simplified as ovn-trace does; [`walk::Manner`] says where.

pub mod answer;
pub mod complaint;
pub mod connection;
pub mod daemon;
pub mod header;
pub mod known;
pub mod lookup;
pub mod microflow;
pub mod names;
pub mod packet;
pub mod request;
pub mod security;
pub mod stage;
pub mod text;
pub mod track;
pub mod tree;
pub mod walk;
pub mod world;
