//! Whether a packet matches, by the letter of the language.

use super::State;
use crate::constant::{Constant, Format, Int};
use crate::expr::{Comparison, Expr, Lookup, Relation, ResolveError, port_key, texts};
use crate::symbols::Field;

/// Evaluates a match on a packet.
///
/// # Errors
/// When an address set, port group or template that it names does not exist.
pub fn matches(expr: &Expr, state: &State, lookup: &dyn Lookup) -> Result<bool, ResolveError> {
    holds(expr, state, lookup, true)
}

/// True when `expr` has the truth value `wanted`, prerequisites always included.
fn holds(
    expr: &Expr,
    state: &State,
    lookup: &dyn Lookup,
    wanted: bool,
) -> Result<bool, ResolveError> {
    let all = |parts: &[Expr]| -> Result<bool, ResolveError> {
        parts.iter().try_fold(true, |so_far, part| {
            Ok(holds(part, state, lookup, wanted)? && so_far)
        })
    };
    let any = |parts: &[Expr]| -> Result<bool, ResolveError> {
        parts.iter().try_fold(false, |so_far, part| {
            Ok(holds(part, state, lookup, wanted)? || so_far)
        })
    };
    match expr {
        Expr::Const(value) => Ok(*value == wanted),
        Expr::Resident(port) => Ok(lookup.is_resident(port) == wanted),
        Expr::Not(inner) => holds(inner, state, lookup, !wanted),
        Expr::And(parts) if wanted => all(parts),
        Expr::Or(parts) if !wanted => all(parts),
        Expr::And(parts) | Expr::Or(parts) => any(parts),
        Expr::Cmp(comparison) => compares(comparison, state, lookup, wanted),
    }
}

fn compares(
    comparison: &Comparison,
    state: &State,
    lookup: &dyn Lookup,
    wanted: bool,
) -> Result<bool, ResolveError> {
    let field = comparison.field;
    let texts = texts(field.symbol());
    let known = match &texts.prerequisites {
        Some(implied) => holds(implied, state, lookup, true)?,
        None => true,
    };
    let mut ints = Vec::new();
    for constant in &comparison.constants {
        ints.extend(integers(field, constant, lookup)?);
    }
    let relation = match wanted {
        true => comparison.relation,
        false => comparison.relation.negated(),
    };
    let related = |int: &Int| match &texts.predicate {
        Some(predicate) => holds(
            predicate,
            state,
            lookup,
            (int.value == 1) == (relation == Relation::Eq),
        ),
        None => Ok(relates(state.read(field), relation, int)),
    };
    let answers = ints.iter().map(related).collect::<Result<Vec<_>, _>>()?;
    let result = match relation {
        Relation::Ne => answers.iter().all(|yes| *yes),
        _ => answers.iter().any(|yes| *yes),
    };
    Ok(known && result)
}

fn relates(value: u128, relation: Relation, int: &Int) -> bool {
    match relation {
        Relation::Eq => (value ^ int.value) & int.mask == 0,
        Relation::Ne => (value ^ int.value) & int.mask != 0,
        Relation::Lt => value < int.value,
        Relation::Le => value <= int.value,
        Relation::Gt => value > int.value,
        Relation::Ge => value >= int.value,
    }
}

/// The integers that a constant stands for.
fn integers(
    field: Field,
    constant: &Constant,
    lookup: &dyn Lookup,
) -> Result<Vec<Int>, ResolveError> {
    Ok(match constant {
        Constant::Int(int) => vec![*int],
        Constant::Str(name) => port_key(name, lookup).map(Int::from).into_iter().collect(),
        Constant::Template(name) => return Err(ResolveError::Template(name.clone())),
        Constant::PortGroup(name) => {
            let group = lookup.port_group(name);
            let group = group.ok_or_else(|| ResolveError::PortGroup(name.clone()))?;
            group.iter().map(|key| Int::from(*key)).collect()
        }
        Constant::AddressSet(name) => {
            let set = lookup.address_set(name);
            let set = set.ok_or_else(|| ResolveError::AddressSet(name.clone()))?;
            let format = field.symbol().format();
            let address = |f: Format| matches!(f, Format::Ip4 | Format::Ip6 | Format::Mac);
            let fits = |int: &&Int| int.bits() <= u32::from(field.width());
            let of_family =
                |int: &&Int| !address(format) || !address(int.format) || int.format == format;
            set.iter().filter(fits).filter(of_family).copied().collect()
        }
    })
}
