//! What belongs to what the switch and the southbound show: cookies, stages, and the northbound rows behind flows.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`intent`] | northbound rows in words, found by the start of a UUID |
//! | [`records`] | southbound rows in words, found by cookie |
//! | [`daemon`] | `weft detrace`, `weft debug` and `weft why` as programs: they connect and print |
//! | [`drops`] | which rules drop packets, by what the switch has counted |
//! | [`why`] | which rule decided about a packet, in a paragraph |

pub mod daemon;
pub mod drops;
pub mod intent;
pub mod records;
pub mod why;
