//! `Weft_Problem`: a table of Weft's own.

ovsdb::table! {
    /// A part of the northbound database that makes no sense, and is left out of what is compiled.
    ///
    /// Rows are written by northd, and go when the problem does. A database of OVN's has no such table; there, northd's
    /// log alone tells.
    pub struct WeftProblem = "Weft_Problem" {
        root: true,
        columns {
            /// How bad it is: `error`, something is left out; `warning`, it is done as written and may not have been meant.
            rank: one_of("error", "warning"),
            /// The table with the problem.
            table: string,
            /// The row with the problem.
            row: uuid,
            /// The name of that row, if it has one.
            name: string,
            /// The column with the problem.
            column: string,
            /// The offending text in that column; empty if it is the column as a whole.
            text: string,
            /// Where in the text it stops making sense, in bytes.
            offset: optional(integer),
            /// What is wrong.
            why: string,
            /// What to do about it.
            remedy: string,
        }
    }
}
