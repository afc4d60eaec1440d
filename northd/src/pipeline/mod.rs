//! The logical flows.
//!
//! One feature, one file: what arrives, what the feature guarantees, what it leaves to others; then the [`stage::Rule`]s that
//! it uses and the functions that make its flows. What is the same on all switches is said once, by [`switch::shared`], and
//! is one flow with a group of datapaths.

pub mod flow;
pub mod stage;
pub mod switch;

pub use flow::{Flows, Owner};
pub use stage::{Rule, Stage};

/// The table of logical flows for the book, in Markdown: every stage, and what each feature does there.
pub fn book() -> String {
    use std::fmt::Write;
    let mut text = String::from(
        "| pipeline | table | stage | priority | feature | flow |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let mut rules: Vec<(&str, &Rule)> = switch::RULES
        .iter()
        .flat_map(|(feature, rules)| rules.iter().map(move |rule| (*feature, rule)))
        .collect();
    rules.sort_by_key(|(_, rule)| (rule.stage, std::cmp::Reverse(rule.priority)));
    for (feature, rule) in rules {
        let Rule {
            stage,
            priority,
            what,
        } = rule;
        let (pipeline, table, name) = (stage.pipeline().name(), stage.table(), stage.name());
        writeln!(
            text,
            "| {pipeline} | {table} | `{name}` | {priority} | {feature} | {what} |"
        )
        .expect("writing into a string does not fail");
    }
    text
}
