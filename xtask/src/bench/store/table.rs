//! The table of a measurement, in Markdown: ours beside OVN's, and the ratio.

use rig::implementation::Implementation;

use crate::bench::report::Number;

/// What was measured, line by line.
pub struct Table {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    what: String,
    ovn: Option<Number>,
    weft: Option<Number>,
}

impl Table {
    /// A table without lines.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            lines: Vec::new(),
        }
    }

    /// Notes a number.
    pub fn put(&mut self, what: &str, implementation: Implementation, number: Number) {
        let place = match self.lines.iter().position(|line| line.what == what) {
            Some(place) => place,
            None => {
                let what = what.to_owned();
                self.lines.push(Line {
                    what,
                    ovn: None,
                    weft: None,
                });
                self.lines.len() - 1
            }
        };
        let line = &mut self.lines[place];
        match implementation {
            Implementation::Ovn => line.ovn = Some(number),
            Implementation::Weft => line.weft = Some(number),
        }
    }

    /// Prints it.
    pub fn print(&self) {
        println!("\n{}", self.text());
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}:\n\n| | ovsdb-server | Weft | ratio |\n| --- | --- | --- | --- |\n",
            self.title
        );
        for Line { what, ovn, weft } in &self.lines {
            let number = |number: &Option<Number>| number.map(Number::text).unwrap_or_default();
            let ratio = match (ovn, weft) {
                (Some(ovn), Some(weft)) if ovn.size() > 0.0 => match weft.size() / ovn.size() {
                    ratio if ratio >= 10.0 => format!("{ratio:.0}"),
                    ratio => format!("{ratio:.2}"),
                },
                _ => String::new(),
            };
            text += &format!(
                "| {what} | {} | {} | {ratio} |\n",
                number(ovn),
                number(weft)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_stand_in_one_line_with_their_ratio() {
        let mut table = Table::new("Speed");
        table.put("rate", Implementation::Ovn, Number::Rate(100.0));
        table.put("lost", Implementation::Ovn, Number::Count(0));
        table.put("rate", Implementation::Weft, Number::Rate(250.0));
        table.put("lost", Implementation::Weft, Number::Count(1));
        table.put("ours", Implementation::Weft, Number::Count(1));
        let expected = "Speed:\n\n| | ovsdb-server | Weft | ratio |\n| --- | --- | --- | --- |\n\
            | rate | 100 | 250 | 2.50 |\n| lost | 0 | 1 |  |\n| ours |  | 1 |  |\n";
        assert_eq!(table.text(), expected);
    }
}
