//! Template variables that no chassis has a value for.

use std::collections::BTreeSet;
use std::sync::Arc;

use nb_db::tables::LoadBalancer;
use relations::{Handle, Small};

use super::model::BALANCER;
use super::templates::Template;
use crate::compiler::feature::{Kind, Over};
use crate::features::templates;

/// Tells of variables that no chassis has.
pub(super) static VARIABLES: Kind = Kind {
    name: "load-balancer/variables",
    over: Over::Keys(&BALANCER),
    reads: &[templates::READS],
    says: &[],
    wants: &[],
    run: |unit, key| {
        let row = Handle::unpack(key);
        let Some(balancer) = unit.get(&BALANCER, row) else {
            return;
        };
        let mut complaints = unit.complaints::<LoadBalancer>(row, Arc::clone(&balancer.name));
        let variables = balancer.templates.iter().flat_map(Template::variables);
        for name in variables.collect::<BTreeSet<&str>>() {
            if !templates::has_value(unit, name) {
                let why = format!("no chassis has a value for ^{name}");
                let remedy =
                    "chassis without one leave the address out: write it into Chassis_Template_Var";
                let column = LoadBalancer::COLUMN.vips.name;
                complaints.warning(column, &format!("^{name}"), 0, why, remedy);
            }
        }
        unit.problems(complaints.into_problems());
    },
};
