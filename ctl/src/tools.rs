//! The tools: `weft nb` and `weft sb`.

use crate::command::Family;
use crate::tool::Tool;
use crate::{generic, nb, sb, transfer};

/// What all of them can do.
static COMMON: &[&Family] = &[&transfer::FAMILY, &generic::FAMILY];

/// `weft nb`, alias `ovn-nbctl`.
pub static NB: Tool = Tool {
    name: "nb",
    ovn_name: "ovn-nbctl",
    about: "read and write the northbound database",
    database: "OVN_Northbound",
    schema: nb_db::schema,
    additions: nb_db::ADDITIONS,
    global_table: "NB_Global",
    remote_variable: "OVN_NB_DB",
    socket: "ovnnb_db.sock",
    grpc_socket: "weft-nb-grpc.sock",
    server: "weft-nb",
    options_variable: "OVN_NBCTL_OPTIONS",
    daemon_variable: "OVN_NB_DAEMON",
    can_wait: true,
    families: &[nb::FAMILIES, COMMON],
};

/// `weft sb`, alias `ovn-sbctl`.
pub static SB: Tool = Tool {
    name: "sb",
    ovn_name: "ovn-sbctl",
    about: "read and write the southbound database",
    database: "OVN_Southbound",
    schema: sb_db::schema,
    additions: sb_db::ADDITIONS,
    global_table: "SB_Global",
    remote_variable: "OVN_SB_DB",
    socket: "ovnsb_db.sock",
    grpc_socket: "weft-sb-grpc.sock",
    server: "weft-sb",
    options_variable: "OVN_SBCTL_OPTIONS",
    daemon_variable: "OVN_SB_DAEMON",
    can_wait: false,
    families: &[sb::FAMILIES, COMMON],
};

/// The tools.
pub static TOOLS: [&Tool; 2] = [&NB, &SB];
