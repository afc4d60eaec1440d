//! Which address sets and port groups a logical flow compares packets with, in ways that a bit can tell.

use lflow::{Constant, Expr, Pipeline, Symbol};
use sb_db::tables::LogicalFlow;

use super::names::addresses_in;
use super::places_here;
use crate::network::{Fact, Membership, NameId, Network, Reads, Use, expand};

/// Says them, for a flow that packets come by here.
pub fn uses(network: &Network, reads: &Reads, row: &LogicalFlow, facts: &mut Vec<Fact>) {
    if places_here(network, reads, row).is_none() {
        return;
    }
    // What is wrong is told where flows are made.
    let (Ok(matches), Ok(table), Some(pipeline)) = (
        Expr::parse(&expand(network, reads, &row.r#match)),
        u8::try_from(row.table_id),
        Pipeline::named(&row.pipeline),
    ) else {
        return;
    };
    let egress = pipeline == Pipeline::Egress;
    let near_side = match egress {
        false => Symbol::Inport,
        true => Symbol::Outport,
    };
    matches.comparisons(&mut |comparison| {
        for constant in &comparison.constants {
            let used = match constant {
                Constant::PortGroup(name) if comparison.field.symbol() == near_side => {
                    Some((Membership::Group, name, 0))
                }
                Constant::AddressSet(name) => {
                    addresses_in(egress, comparison.field).map(|of| (of, name, table))
                }
                _ => None,
            };
            if let Some((of, name, table)) = used {
                let what = Use {
                    of,
                    name: NameId::of(name),
                    table,
                };
                facts.push(Fact::Use(what, name.clone()));
            }
        }
    });
}
