//! `weft debug`: between stages, tables and cookies.

use clap::{Parser, Subcommand};
use daemon::args::TlsArgs;
use ovsdb::{Table, Uuid};
use sb_db::tables::LogicalFlow;

use super::connection::{DatabaseArgs, print};
use crate::error::{Outcome, fail};
use crate::report::Reporter;
use crate::tools::SB;

/// Translates between stages, tables and cookies
#[derive(Debug, Parser)]
#[command(name = "weft debug", bin_name = "weft debug", version)]
pub(super) struct Debug {
    #[command(subcommand)]
    command: DebugCommand,
    #[command(flatten)]
    databases: DatabaseArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// Print the table of a pipeline that a stage is, as the southbound's flows have it
    LflowStageToLtable {
        /// Its name, such as ls_in_l2_lkup
        stage: String,
    },
    /// Print the OpenFlow table that a stage is on chassis of Weft and of OVN 26.03
    LflowStageToOftable {
        /// Its name, such as ls_in_l2_lkup
        stage: String,
    },
    /// Print the cookie of the OpenFlow flows that are made of a southbound row
    UuidToCookie {
        /// The row's UUID
        uuid: Uuid,
    },
}

impl Debug {
    pub(super) fn run(self, _: &Reporter) -> Outcome {
        /// The first OpenFlow tables of the logical pipelines.
        const INGRESS: i64 = 8;
        const EGRESS: i64 = 48;
        let text = match &self.command {
            DebugCommand::UuidToCookie { uuid } => format!("0x{:x}", uuid.as_fields().0),
            DebugCommand::LflowStageToLtable { stage } => self.table(stage)?.1.to_string(),
            DebugCommand::LflowStageToOftable { stage } => {
                let (is_egress, table) = self.table(stage)?;
                let first = if is_egress { EGRESS } else { INGRESS };
                (first + table).to_string()
            }
        };
        print(&format!("{text}\n"));
        Ok(())
    }

    /// The pipeline and the table of a stage: of the first flow there is.
    fn table(&self, stage: &str) -> Outcome<(bool, i64)> {
        let reader = self.databases.reader(&self.tls)?;
        let client = reader.read(&SB, self.databases.ovnsb.as_ref(), &[LogicalFlow::INDEX])?;
        let mut flows = client.tables().iter_as::<LogicalFlow>();
        let found = flows.find(|flow| {
            let name = flow.external_ids.get("stage-name");
            name.is_some_and(|name| **name == *stage)
        });
        match found {
            Some(flow) => Ok((&*flow.pipeline == "egress", flow.table_id)),
            None => fail(format!(
                "{stage}: no logical flow is in a stage of this name"
            )),
        }
    }
}
