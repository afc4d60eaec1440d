//! What commands print: text, and tables in one of five formats.

use std::borrow::Cow;
use std::fmt::Write as _;

use ovsdb::Datum;
use ovsdb::schema::ColumnType;
use serde_json::{Value, json};

use crate::text::{bare_text, datum_text};

/// How tables are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// A line a column, an empty line between rows.
    List,
    /// An HTML table.
    Html,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// A JSON object.
    Json,
}

/// How cells are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellFormat {
    /// As one writes values on the command line.
    Text,
    /// Without punctuation.
    Bare,
    /// As in a JSON-RPC message.
    Json,
}

/// How output looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How tables are laid out.
    pub format: Format,
    /// How cells are written; JSON tables have JSON cells in any case.
    pub cells: CellFormat,
    /// Whether tables have headings.
    pub headings: bool,
    /// Whether JSON is printed on several lines.
    pub pretty: bool,
    /// How wide a column of [`Format::Table`] may be, in characters; zero for any width.
    pub max_width: usize,
    /// Whether each command's text is printed on one line.
    pub oneline: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            format: Format::List,
            cells: CellFormat::Text,
            headings: true,
            pretty: false,
            max_width: 0,
            oneline: false,
        }
    }
}

/// A table of data.
#[derive(Clone, Debug)]
pub struct TableOutput {
    /// Name and type of each column.
    pub columns: Vec<(String, ColumnType)>,
    /// The rows, each with as many data as there are columns.
    pub rows: Vec<Vec<Datum>>,
}

/// What one command prints.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Text, line by line.
    pub text: String,
    /// A table; a command that has one has no text.
    pub table: Option<TableOutput>,
}

/// The output of all commands of a line, as it is printed.
pub fn render(outputs: &[Output], style: &Style) -> String {
    let mut text = String::new();
    let mut tables = 0;
    for output in outputs {
        match &output.table {
            Some(table) => {
                let separate = !matches!(style.format, Format::Html | Format::Json);
                if tables > 0 && separate {
                    text.push('\n');
                }
                tables += 1;
                render_table(&mut text, table, style);
            }
            None if style.oneline => {
                text.push_str(&one_line(&output.text));
                text.push('\n');
            }
            None => text.push_str(&output.text),
        }
    }
    text
}

fn one_line(text: &str) -> String {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn render_table(out: &mut String, table: &TableOutput, style: &Style) {
    if style.format == Format::Json {
        return render_json(out, table, style);
    }
    let cells: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            let columns = table.columns.iter().zip(row);
            columns
                .map(|((_, ty), datum)| cell_text(ty, datum, style))
                .collect()
        })
        .collect();
    let headings: Vec<&str> = table
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    match style.format {
        Format::Table => render_aligned(out, &headings, &cells, style),
        Format::List => render_list(out, &headings, &cells, style),
        Format::Html => render_html(out, &headings, &cells, style),
        Format::Csv | Format::Json => render_csv(out, &headings, &cells, style),
    }
}

fn cell_text(ty: &ColumnType, datum: &Datum, style: &Style) -> String {
    match style.cells {
        CellFormat::Text => datum_text(ty, datum),
        CellFormat::Bare => bare_text(datum),
        CellFormat::Json => json!(datum).to_string(),
    }
}

fn render_aligned(out: &mut String, headings: &[&str], rows: &[Vec<String>], style: &Style) {
    let length = |text: &str| text.chars().count();
    let limit = if style.max_width == 0 {
        usize::MAX
    } else {
        style.max_width
    };
    let width = |column: usize| {
        let heading = if style.headings {
            length(headings[column])
        } else {
            0
        };
        let longest = rows.iter().map(|row| length(&row[column])).max();
        heading.max(longest.unwrap_or_default().min(limit))
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$.width$}"))
            .collect();
        out.push_str(padded.join(" ").trim_end_matches(' '));
        out.push('\n');
    };
    if style.headings {
        line(&mut headings.iter().map(|heading| (*heading).to_owned()));
        line(&mut widths.iter().map(|width| "-".repeat(*width)));
    }
    for row in rows {
        line(&mut row.iter().cloned());
    }
}

fn render_list(out: &mut String, headings: &[&str], rows: &[Vec<String>], style: &Style) {
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (heading, cell) in headings.iter().zip(row) {
            if style.headings {
                out.push_str(&format!("{heading:<20}: "));
            }
            out.push_str(cell);
            out.push('\n');
        }
    }
}

fn render_html(out: &mut String, headings: &[&str], rows: &[Vec<String>], style: &Style) {
    out.push_str("<table border=1>\n");
    let mut line = |element: &str, cells: &mut dyn Iterator<Item = String>| {
        out.push_str("  <tr>\n");
        for cell in cells {
            out.push_str(&format!("    <{element}>{cell}</{element}>\n"));
        }
        out.push_str("  </tr>\n");
    };
    if style.headings {
        line(
            "th",
            &mut headings.iter().map(|heading| escape_html(heading)),
        );
    }
    for row in rows {
        let cells = headings.iter().zip(row);
        line(
            "td",
            &mut cells.map(|(heading, cell)| match *heading {
                "_uuid" => anchor(cell),
                _ => escape_html(cell),
            }),
        );
    }
    out.push_str("</table>\n");
}

/// What links of other rows lead to: the whole text, of which its first characters are shown.
fn anchor(text: &str) -> String {
    const SHOWN: usize = 8;
    let escaped = |text: &str| -> String { text.chars().map(escape_character).collect() };
    let start: String = text.chars().take(SHOWN).collect();
    format!("<a name=\"{}\">{}</a>", escaped(text), escaped(&start))
}

fn escape_character(character: char) -> Cow<'static, str> {
    match character {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '"' => "&quot;".into(),
        other => other.to_string().into(),
    }
}

/// The text for HTML; UUIDs become links to their rows, shortened.
fn escape_html(text: &str) -> String {
    const UUID_LENGTH: usize = 36;
    let mut html = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(start) = rest.get(..UUID_LENGTH)
            && northbound::find::parse_uuid(start).is_some()
        {
            html.push_str(&format!("<a href=\"#{start}\">{}</a>", &start[..8]));
            rest = &rest[UUID_LENGTH..];
            continue;
        }
        html.push_str(&escape_character(character));
        rest = &rest[character.len_utf8()..];
    }
    html
}

fn render_csv(out: &mut String, headings: &[&str], rows: &[Vec<String>], style: &Style) {
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(escape_csv).collect();
        out.push_str(&cells.join(","));
        out.push('\n');
    };
    if style.headings {
        line(&mut headings.iter().copied());
    }
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

fn escape_csv(cell: &str) -> String {
    if cell.contains(['\n', '\r', ',', '"']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn render_json(out: &mut String, table: &TableOutput, style: &Style) {
    let headings: Vec<&str> = table
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let json = json!({"headings": headings, "data": table.rows});
    if style.pretty {
        pretty_json(out, &json, 0);
    } else {
        out.push_str(&json.to_string());
    }
    out.push('\n');
}

/// JSON on several lines: an element a line, closing brackets behind the last one.
fn pretty_json(out: &mut String, json: &Value, depth: usize) {
    let indent = |out: &mut String, index: usize| {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
    };
    match json {
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                indent(out, index);
                // Writing to a string does not fail.
                let _ = write!(out, "{}: ", Value::from(name.as_str()));
                pretty_json(out, value, depth + 1);
            }
            out.push('}');
        }
        Value::Array(elements) if !elements.is_empty() => {
            out.push('[');
            for (index, value) in elements.iter().enumerate() {
                indent(out, index);
                pretty_json(out, value, depth + 1);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_rows() {
        let uuid = "0c2e2c69-553a-4b6a-92a3-40d30f1c166d";
        assert_eq!(anchor(uuid), format!("<a name=\"{uuid}\">0c2e2c69</a>"));
        assert_eq!(
            anchor("[\"uuid\",\"x\"]"),
            "<a name=\"[&quot;uuid&quot;,&quot;x&quot;]\">[&quot;uuid&quot;,</a>"
        );
        assert_eq!(
            escape_html(&format!("[{uuid}]")),
            format!("[<a href=\"#{uuid}\">0c2e2c69</a>]")
        );
    }
}
