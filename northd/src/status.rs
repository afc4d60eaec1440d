//! What northd tells people: problems in its log, and answers to questions about its state.

use std::fmt::Write;

use crate::compiler::Compiler;
use crate::compiler::ledger::News;
use crate::compiler::problem::Rank;

/// More new problems than this in one go are counted, not told one by one.
const TOLD_AT_ONCE: usize = 100;

/// Tells problems that are new, in the log and northbound, and those that are gone. The log has as warnings what OVN's northd
/// warns of; the rest is information, so that who looks for warnings finds no news in a network that OVN is content with.
pub fn problems(compiler: &mut Compiler) {
    compiler.tell_problems();
    let (mut came, mut went) = (0, 0);
    for (news, problem) in compiler.take_problem_news() {
        match news {
            News::Came => {
                came += 1;
                match problem.rank {
                    _ if came > TOLD_AT_ONCE => {}
                    Rank::Invalid => tracing::warn!(target: "northd", "problem: {problem}"),
                    Rank::Error | Rank::Warning => {
                        tracing::info!(target: "northd", "problem: {problem}");
                    }
                }
            }
            News::Went => {
                went += 1;
                if went <= TOLD_AT_ONCE {
                    tracing::info!(target: "northd", "no longer a problem: {problem}");
                }
            }
        }
    }
    if came > TOLD_AT_ONCE {
        tracing::info!(target: "northd", "{} more problems", came - TOLD_AT_ONCE);
    }
}

/// More differences than these are counted, not told.
const MAX_DIFFERENCES: usize = 20;

/// What a compilation anew has found, for who asked for it, and for the log. Nothing, if it has found nothing.
pub fn differences(differences: &[String]) -> String {
    if differences.is_empty() {
        return String::new();
    }
    let shown = differences.iter().take(MAX_DIFFERENCES);
    let mut text = format!("compiled anew: {} differences, mended\n", differences.len());
    for difference in shown {
        tracing::error!(target: "northd", "compiled anew, and found: {difference}");
        writeln!(text, "- {difference}").expect("writing into a string does not fail");
    }
    text
}
