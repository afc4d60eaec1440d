//! What becomes of a new connection: it gets one of the backends.

use std::sync::Arc;

use lflow::action::{Action, Backend, Balance, BalanceKind};
use lflow::{Int, Symbol, a};

use super::endpoint::Endpoint;
use super::model::Balancer;

/// What routers have to do with the client's address later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    AsRulesSay,
    Forced,
    Kept,
}

/// The packet goes to one of the backends, and so does all of its connection.
pub(super) fn spread(
    balancer: &Balancer,
    (backends, template): (&[Endpoint], Option<Arc<str>>),
    source: Source,
) -> Vec<Action> {
    let kind = match balancer.is_distributed && template.is_none() {
        true => BalanceKind::CtLbMarkLocal,
        false => BalanceKind::CtLbMark,
    };
    let flag = match source {
        Source::AsRulesSay => None,
        Source::Forced => Some(Symbol::FlagsForceSnatForLb),
        Source::Kept => Some(Symbol::FlagsSkipSnatForLb),
    };
    let balance = Action::Balance(Box::new(Balance {
        kind,
        backends: backends.iter().map(|of| target(balancer, *of)).collect(),
        template,
        hash_fields: balancer.hash_fields.clone(),
        skip_snat: source == Source::Kept,
        force_snat: source == Source::Forced,
    }));
    let flag = flag.map(|flag| a::set(flag, Int::new(1)));
    flag.into_iter().chain([balance]).collect()
}

/// A backend as actions name it.
fn target(balancer: &Balancer, backend: Endpoint) -> Backend {
    Backend {
        lport: balancer.place_of(backend.ip).cloned(),
        ip: backend.ip,
        port: backend.port,
    }
}
