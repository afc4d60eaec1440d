//! The page of logical flows, from what the features declare.

use std::fmt::Write;

use super::feature::Feature;
use super::stage::{Datapath, Rule};

/// The tables of logical flows and of registers for the book, in Markdown.
pub fn book(features: &[&'static Feature]) -> String {
    let mut text = String::from(
        "| pipeline | table | stage | priority | feature | flow |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let mut rules: Vec<(&str, &Rule)> = features
        .iter()
        .flat_map(|feature| feature.rules.iter().map(|rule| (feature.name, rule)))
        .collect();
    rules.sort_by_key(|(_, rule)| (rule.stage, std::cmp::Reverse(rule.priority)));
    for (feature, rule) in rules {
        let Rule {
            stage,
            priority,
            what,
        } = rule;
        let datapath = match stage.datapath() {
            Datapath::Switch => "",
            Datapath::Router => "router ",
        };
        let (pipeline, table, name) = (stage.pipeline().name(), stage.table(), stage.name());
        writeln!(
            text,
            "| {datapath}{pipeline} | {table} | `{name}` | {priority} | {feature} | {what} |"
        )
        .expect("writing into a string does not fail");
    }
    text += "\n# Registers and flags\n\nWhat packets carry from stage to stage.\n\n";
    text += "| bits | from | to | feature | meaning |\n| --- | --- | --- | --- | --- |\n";
    for feature in features {
        for bits in feature.bits {
            let (from, to) = (bits.from.name(), bits.to.name());
            let field = bits.field();
            writeln!(
                text,
                "| `{field}` | `{from}` | `{to}` | {} | {} |",
                feature.name, bits.name
            )
            .expect("writing into a string does not fail");
        }
    }
    text
}
