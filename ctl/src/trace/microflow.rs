//! From a description of one packet to the packet: a match of the logical-flow language that leaves nothing open.

use lflow::expr::{Comparison, normalise, resolve};
use lflow::interp::State;
use lflow::{Base, Constant, Expr, Name, Symbol};
use ovsdb::Uuid;

use super::complaint::as_ovn;
use super::lookup::Names;
use super::packet::Packet;
use super::walk::Manner;
use super::world::World;

/// Why a description is of no packet. The texts are ovn-trace's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MicroflowError {
    /// There is no such datapath.
    #[error("unknown datapath \"{0}\"")]
    Datapath(String),
    /// The start of a UUID could mean several datapaths.
    #[error("{0}")]
    Datapaths(String),
    /// There is no such port.
    #[error("unknown port \"{0}\"")]
    Port(Name),
    /// It cannot be read, or it describes no packet, or several.
    #[error("error parsing flow: {0}")]
    Flow(String),
    /// It says nothing of the port that the packet comes from.
    #[error("microflow does not specify ingress port")]
    NoInport,
}

fn wrong(text: &dyn ToString) -> MicroflowError {
    MicroflowError::Flow(text.to_string())
}

/// The packet that a description is of, and its datapath: the one that is named, else that of its input port.
///
/// # Errors
/// When the description, or a name in it, makes no sense.
pub fn read(
    world: &World,
    datapath: Option<&str>,
    text: &str,
    manner: Manner,
) -> Result<(Uuid, Packet), MicroflowError> {
    let expr = Expr::parse(text).map_err(|error| match manner {
        Manner::Chassis => wrong(&error),
        Manner::OvnTrace => wrong(&as_ovn(&error, text)),
    })?;
    let datapath = match datapath {
        Some(name) => world
            .find_datapath(name)
            .map_err(MicroflowError::Datapaths)?
            .ok_or_else(|| MicroflowError::Datapath(name.to_owned()))?,
        None => {
            let name = input_port(&expr)?;
            let port = world.find_port(&name);
            port.ok_or(MicroflowError::Port(name))?.datapath
        }
    };
    let names = Names {
        world,
        datapath,
        lenient: true,
    };
    let resolved = resolve(&expr, &names).map_err(|error| wrong(&error))?;
    let alternatives = normalise(&resolved).map_err(|error| wrong(&error))?;
    let ambiguous = || wrong(&format!("Constraints are ambiguous: {expr}."));
    let cube = match &alternatives[..] {
        [] => return Err(wrong(&"Constraints are contradictory.")),
        [only] if only.choices.is_empty() => &only.cube,
        _ => return Err(ambiguous()),
    };
    let mut state = State::default();
    for term in cube.terms() {
        state.set(term.base, term.value);
    }
    if state.get(Base::Inport) == 0 {
        return Err(MicroflowError::NoInport);
    }
    let packet = Packet {
        state,
        ..Packet::default()
    };
    Ok((datapath, packet))
}

/// The one port that the description gives as `inport`.
fn input_port(expr: &Expr) -> Result<Name, MicroflowError> {
    let mut found: Vec<Name> = Vec::new();
    expr.comparisons(&mut |comparison: &Comparison| {
        if comparison.field.symbol() == Symbol::Inport {
            let names = comparison.constants.iter();
            let names = names.filter_map(|constant| match constant {
                Constant::Str(name) => Some(name.clone()),
                _ => None,
            });
            found.extend(names);
        }
    });
    found.dedup();
    match found.len() {
        0 => Err(wrong(&"flow match expression does not match on inport")),
        1 => Ok(found.remove(0)),
        _ => Err(wrong(&"flow match expression matches on multiple inports")),
    }
}
