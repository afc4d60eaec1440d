//! What was seen on a packet's way, as a tree, and the three forms in which it is printed.
//!
//! The forms are those of ovn-trace(8), "OUTPUT". The detailed one leaves out what is only told to sum up, and indents
//! as little as it can: what is the last thing under its parent stands where the parent stood. The summary leaves out
//! tables. The minimal form has only what the outside could see.

use std::fmt::Write as _;

/// What a node tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet came out somewhere, or why it did not.
    Output,
    /// A header changed, with its value.
    Modify,
    /// An action, as the flow has it.
    Action,
    /// What cannot be, or an assumption.
    Remark,
    /// The way through a pipeline.
    Pipeline,
    /// A look-up in a table.
    Table,
    /// The way of a packet that was made from another, or that conntrack gave back.
    Transformation,
}

impl Kind {
    fn has_title(self) -> bool {
        matches!(self, Self::Pipeline | Self::Transformation)
    }

    fn can_have_children(self) -> bool {
        matches!(self, Self::Pipeline | Self::Table | Self::Transformation)
    }
}

/// Something that was seen, and what followed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it tells of.
    pub kind: Kind,
    /// In words.
    pub text: String,
    /// Whether it is indented though it is the last under its parent.
    pub is_set_apart: bool,
    /// What followed.
    pub children: Vec<Node>,
}

impl Node {
    /// A node without children.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            is_set_apart: false,
            children: Vec::new(),
        }
    }
}

/// Which forms are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// Table by table.
    pub detailed: bool,
    /// Without tables.
    pub summary: bool,
    /// What the outside sees.
    pub minimal: bool,
}

impl Forms {
    /// All three.
    pub const ALL: Self = Self {
        detailed: true,
        summary: true,
        minimal: true,
    };

    /// These, or the detailed one if none was asked for.
    #[must_use]
    pub fn or_detailed(self) -> Self {
        match self == Self::default() {
            true => Self {
                detailed: true,
                ..self
            },
            false => self,
        }
    }

    /// The trees in these forms; each has a heading if there are several.
    pub fn print(self, nodes: &[Node]) -> String {
        let mut out = String::new();
        let several = [self.detailed, self.summary, self.minimal]
            .iter()
            .filter(|is_wanted| **is_wanted)
            .count()
            > 1;
        let heading = |out: &mut String, name: &str| {
            if several {
                let _ = writeln!(out, "# {name} trace.");
            }
        };
        if self.detailed {
            heading(&mut out, "Detailed");
            print_details(&mut out, nodes, 0);
        }
        if self.summary {
            heading(&mut out, "Summary");
            let is_left_out = |kind| matches!(kind, Kind::Modify | Kind::Table);
            print_summary(&mut out, &without(nodes, &is_left_out), 0);
        }
        if self.minimal {
            heading(&mut out, "Minimal");
            let is_left_out = |kind| {
                matches!(
                    kind,
                    Kind::Action | Kind::Pipeline | Kind::Table | Kind::Output
                )
            };
            print_summary(&mut out, &without(nodes, &is_left_out), 0);
        }
        out
    }
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("    ", level));
}

fn print_details(out: &mut String, nodes: &[Node], level: usize) {
    for (index, node) in nodes.iter().enumerate() {
        if node.kind == Kind::Modify {
            continue;
        }
        let is_last = index + 1 == nodes.len();
        let deeper = !is_last || node.is_set_apart || !node.kind.can_have_children();
        let level = level + usize::from(deeper);
        if node.kind.has_title() {
            out.push('\n');
        }
        indent(out, level);
        out.push_str(&node.text);
        out.push('\n');
        if node.kind.has_title() {
            indent(out, level);
            out.extend(std::iter::repeat_n('-', node.text.len()));
            out.push('\n');
        }
        print_details(out, &node.children, level + usize::from(deeper));
    }
}

fn print_summary(out: &mut String, nodes: &[Node], level: usize) {
    for node in nodes {
        if node.kind == Kind::Action && node.text.starts_with("next(") {
            continue;
        }
        indent(out, level);
        out.push_str(&node.text);
        if !node.children.is_empty() {
            out.push_str(" {\n");
            print_summary(out, &node.children, level + 1);
            indent(out, level);
            out.push('}');
        }
        if node.kind != Kind::Action {
            out.push(';');
        }
        out.push('\n');
    }
}

/// The trees with the children of some nodes in the place of these.
fn without(nodes: &[Node], is_left_out: &dyn Fn(Kind) -> bool) -> Vec<Node> {
    let mut kept = Vec::new();
    for node in nodes {
        let children = without(&node.children, is_left_out);
        if is_left_out(node.kind) {
            kept.extend(children);
        } else {
            kept.push(Node {
                kind: node.kind,
                text: node.text.clone(),
                is_set_apart: node.is_set_apart,
                children,
            });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: Kind, text: &str, children: Vec<Node>) -> Node {
        Node {
            children,
            ..Node::new(kind, text)
        }
    }

    #[test]
    fn three_forms() {
        let leaf = |kind, text| node(kind, text, Vec::new());
        let tree = node(
            Kind::Pipeline,
            "ingress",
            vec![node(
                Kind::Table,
                " 0. first: 1",
                vec![
                    leaf(Kind::Action, "eth.src = 5;"),
                    leaf(Kind::Modify, "eth.src = 5"),
                    leaf(Kind::Action, "next(3);"),
                    node(
                        Kind::Table,
                        " 3. second: ip",
                        vec![
                            leaf(Kind::Action, "clone { output; }; output;"),
                            node(
                                Kind::Transformation,
                                "clone",
                                vec![leaf(Kind::Modify, "output(\"a\")")],
                            ),
                            leaf(Kind::Output, "/* output to \"a\" */"),
                            leaf(Kind::Modify, "output(\"a\")"),
                        ],
                    ),
                ],
            )],
        );
        let expected = "\
# Detailed trace.

ingress
-------
 0. first: 1
    eth.src = 5;
    next(3);
 3. second: ip
    clone { output; }; output;

    clone
    -----
    /* output to \"a\" */
# Summary trace.
ingress {
    eth.src = 5;
    clone { output; }; output;
    clone;
    /* output to \"a\" */;
};
# Minimal trace.
eth.src = 5;
clone {
    output(\"a\");
};
output(\"a\");
";
        assert_eq!(Forms::ALL.print(&[tree]), expected);
    }
}
