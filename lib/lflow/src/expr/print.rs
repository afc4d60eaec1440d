//! Printing: the canonical text of a match, which parses back to an equal tree.

use std::fmt::{self, Write};

use super::{Comparison, Expr, Relation};
use crate::constant::{Constant, print_string};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Const(true) => f.write_char('1'),
            Expr::Const(false) => f.write_char('0'),
            Expr::Cmp(comparison) => fmt::Display::fmt(comparison, f),
            Expr::And(parts) => joined(f, parts, " && "),
            Expr::Or(parts) => joined(f, parts, " || "),
            Expr::Not(inner) => {
                f.write_char('!')?;
                match &**inner {
                    Expr::Cmp(c) if !c.is_bare() => parenthesised(f, inner),
                    Expr::And(_) | Expr::Or(_) => parenthesised(f, inner),
                    _ => fmt::Display::fmt(inner, f),
                }
            }
            Expr::Resident(port) => {
                f.write_str("is_chassis_resident(")?;
                print_string(f, port)?;
                f.write_char(')')
            }
        }
    }
}

impl Comparison {
    /// True for `field == 1` where the field has one bit: its name alone says so.
    fn is_bare(&self) -> bool {
        let one = |c: &Constant| matches!(c, Constant::Int(i) if i.value == 1 && i.is_exact());
        self.field.width() == 1
            && self.relation == Relation::Eq
            && self.constants.len() == 1
            && one(&self.constants[0])
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.field, f)?;
        if self.is_bare() {
            return Ok(());
        }
        f.write_char(' ')?;
        f.write_str(self.relation.sign())?;
        f.write_char(' ')?;
        match &self.constants[..] {
            [one] => fmt::Display::fmt(one, f),
            several => {
                f.write_char('{')?;
                for (i, constant) in several.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    fmt::Display::fmt(constant, f)?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Members of `&&` or `||`; those of the other kind stand in parentheses.
fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expr], sign: &str) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(sign)?;
        }
        match part {
            Expr::And(_) | Expr::Or(_) => parenthesised(f, part)?,
            _ => fmt::Display::fmt(part, f)?,
        }
    }
    Ok(())
}

fn parenthesised(f: &mut fmt::Formatter<'_>, expr: &Expr) -> fmt::Result {
    f.write_char('(')?;
    fmt::Display::fmt(expr, f)?;
    f.write_char(')')
}
