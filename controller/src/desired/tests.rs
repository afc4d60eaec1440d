//! What is changed in the switch, and what is not.

use openflow::message::FlowFlags;
use openflow::{Field, Match};

use super::*;
use crate::flow::Need;

fn flow(reg: u8, actions: Vec<Action>) -> Flow {
    Flow::new(8, 100, Match::new().with(Field::Reg0, reg), actions, 7)
}

fn desc(flow: &Flow) -> FlowDesc {
    FlowDesc {
        table: flow.key.table,
        priority: flow.key.priority,
        cookie: flow.cookie,
        idle_timeout: 0,
        hard_timeout: 0,
        flags: FlowFlags::default(),
        matches: flow.key.matches.clone(),
        actions: flow.actions.to_vec(),
    }
}

fn installed(flows: impl IntoIterator<Item = FlowDesc>) -> Installed {
    Installed {
        flows: flows.into_iter().collect(),
        ..Installed::default()
    }
}

fn commands(desired: &mut Desired) -> Vec<(FlowCommand, Vec<Action>)> {
    desired
        .changes()
        .flows
        .into_iter()
        .map(|(_, m)| (m.command, m.actions))
        .collect()
}

#[test]
fn a_flow_stays_while_somebody_wants_it() {
    let mut desired = Desired::default();
    let f = flow(1, vec![Action::resubmit(9)]);
    desired.add(f.clone());
    desired.add(f.clone());
    assert_eq!(
        commands(&mut desired),
        [(FlowCommand::Add, f.actions.to_vec())]
    );
    desired.remove(f.digest);
    assert_eq!(commands(&mut desired), []);
    desired.remove(f.digest);
    assert_eq!(
        commands(&mut desired),
        [(FlowCommand::DeleteStrict, vec![])]
    );
    desired.add(f.clone());
    desired.remove(f.digest);
    assert_eq!(commands(&mut desired), []);
}

#[test]
fn a_restart_changes_what_differs_and_nothing_else() {
    let (same, other, extra) = (
        flow(1, vec![Action::resubmit(9)]),
        flow(2, vec![Action::CtClear]),
        flow(3, vec![]),
    );
    let mut desired = Desired::default();
    desired.add(same.clone());
    desired.add(other.clone());
    let mut changed = desc(&other);
    changed.actions = vec![];
    desired.set_installed(installed([desc(&same), changed, desc(&extra)]));
    assert_eq!(
        commands(&mut desired),
        [
            (FlowCommand::Add, vec![Action::CtClear]),
            (FlowCommand::DeleteStrict, vec![])
        ]
    );
    desired.set_installed(installed([desc(&same), desc(&other)]));
    assert_eq!(commands(&mut desired), []);
}

#[test]
fn clauses_are_merged_and_conflicts_decided_whatever_the_order() {
    let clause = |id| {
        flow(
            1,
            vec![Action::Conjunction {
                id,
                clause: 0,
                n_clauses: 2,
            }],
        )
    };
    let whole = [
        flow(2, vec![Action::CtClear]),
        flow(2, vec![Action::resubmit(9)]),
    ];
    let run = |order: [usize; 4]| {
        let all = [clause(1), clause(2), whole[0].clone(), whole[1].clone()];
        let mut desired = Desired::default();
        order.iter().for_each(|&i| desired.add(all[i].clone()));
        let mut result = commands(&mut desired);
        result.sort_by_key(|(_, actions)| actions.len());
        result
    };
    let first = run([0, 1, 2, 3]);
    assert_eq!(first[1].1.len(), 2);
    assert_eq!(first.len(), 2);
    assert_eq!(first, run([3, 2, 1, 0]));
}

#[test]
fn a_refused_flow_is_not_offered_again_until_it_changes() {
    let mut desired = Desired::default();
    let f = flow(1, vec![Action::resubmit(9)]);
    desired.add(f.clone());
    assert_eq!(commands(&mut desired).len(), 1);
    assert_eq!(desired.refuse(&f.key), Some(7));
    desired.add(flow(2, vec![]));
    assert_eq!(commands(&mut desired), [(FlowCommand::Add, vec![])]);
    desired.remove(f.digest);
    desired.add(f);
    assert_eq!(commands(&mut desired).len(), 1);
}

fn meter(name: &str) -> Resource {
    Resource::Meter(crate::flow::MeterSpec {
        name: name.into(),
        is_asked_for: true,
        packets: true,
        rate: 10,
        burst: 5,
    })
}

fn group(weight: u16) -> Resource {
    let group = Group {
        id: 0,
        kind: openflow::message::GroupKind::Select,
        buckets: vec![openflow::message::Bucket {
            id: 0,
            weight: Some(weight),
            actions: vec![Action::resubmit(9)],
        }],
        selection: None,
    };
    Resource::Group(crate::flow::GroupSpec {
        chooser: 1,
        group: Arc::new(group),
    })
}

#[test]
fn a_group_whose_buckets_change_is_all_that_changes() {
    let mut desired = Desired::default();
    let flows = [1, 2].map(|weight| needy(1, vec![group(weight)]));
    desired.add(flows[0].clone());
    let number = desired.changes().groups[0].group.id;
    desired.add(flows[1].clone());
    desired.remove(flows[0].digest);
    let changes = desired.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes.groups[0].command, GroupCommand::Modify);
    assert_eq!(changes.groups[0].group.id, number);
}

fn needy(reg: u8, resources: Vec<Resource>) -> Flow {
    let mut actions = Vec::new();
    let mut needs = Vec::new();
    for (placeholder, resource) in (1..).zip(resources) {
        actions.push(match resource {
            Resource::Group(_) => Action::Group(placeholder),
            _ => Action::Meter(placeholder),
        });
        needs.push(Need {
            placeholder,
            resource,
            is_spare: false,
        });
    }
    let matches = Match::new().with(Field::Reg0, reg);
    Flow::with_needs(8, 100, matches, actions, 7, needs)
}

#[test]
fn groups_and_meters_come_before_their_flows_and_go_after_them() {
    let mut desired = Desired::default();
    let first = needy(1, vec![group(1), meter("a")]);
    let second = needy(2, vec![group(1), meter("b")]);
    desired.add(first.clone());
    desired.add(second.clone());
    let changes = desired.changes();
    assert_eq!(
        (
            changes.meters.len(),
            changes.groups.len(),
            changes.flows.len()
        ),
        (2, 1, 2)
    );
    assert_ne!(changes.meters[0].meter.id, changes.meters[1].meter.id);
    let number = changes.groups[0].group.id;
    for (_, flow) in &changes.flows {
        assert_eq!(flow.actions[0], Action::Group(number));
    }
    desired.remove(first.digest);
    let changes = desired.changes();
    assert_eq!(
        (changes.groups_gone.len(), changes.meters_gone.len()),
        (0, 1)
    );
    desired.remove(second.digest);
    let changes = desired.changes();
    assert_eq!(
        (changes.groups_gone.len(), changes.meters_gone.len()),
        (1, 1)
    );
}

#[test]
fn what_was_read_back_is_what_was_made() {
    let flow = needy(1, vec![group(1), meter("a")]);
    let mut desired = Desired::default();
    desired.add(flow.clone());
    let made = desired.changes();
    let mut again = Desired::default();
    again.add(flow);
    let (key, flow) = &made.flows[0];
    again.set_installed(Installed {
        flows: vec![FlowDesc {
            table: key.table,
            priority: key.priority,
            cookie: flow.cookie,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::default(),
            matches: key.matches.clone(),
            actions: flow.actions.clone(),
        }],
        groups: vec![made.groups[0].group.clone()],
        meters: vec![made.meters[0].meter],
    });
    assert_eq!(again.changes(), Changes::default());
}

#[test]
fn a_refused_group_takes_its_flows_with_it() {
    let mut desired = Desired::default();
    desired.add(needy(1, vec![group(1)]));
    let plain = flow(2, vec![]);
    desired.add(plain);
    let number = desired.changes().groups[0].group.id;
    desired.refuse_group(number);
    // It has taken nothing of the bundle, and is read again.
    desired.set_installed(Installed::default());
    let changes = desired.changes();
    assert_eq!((changes.groups.len(), changes.flows.len()), (0, 1));
}

/// A flow that sends to the controller by the first of these meters, and has the others for when the switch refuses that.
fn sending(meters: &[&str]) -> Flow {
    let send = Action::Controller(Box::new(openflow::action::Controller {
        meter_id: Some(1),
        ..Default::default()
    }));
    let needs = (1..).zip(meters).map(|(placeholder, name)| Need {
        placeholder,
        resource: meter(name),
        is_spare: placeholder > 1,
    });
    Flow::with_needs(8, 100, Match::new(), vec![send], 7, needs.collect())
}

/// The meter of the one flow that changes.
fn meter_of(changes: &Changes) -> Option<u32> {
    let Action::Controller(controller) = &changes.flows[0].1.actions[0] else {
        panic!("{changes:?}")
    };
    controller.meter_id
}

#[test]
fn a_refused_meter_leaves_the_flow_to_its_own() {
    let mut desired = Desired::default();
    let flow = sending(&["profile", "own"]);
    desired.add(flow.clone());
    let changes = desired.changes();
    assert_eq!(changes.meters.len(), 2);
    let profile = meter_of(&changes).expect("it is metered");
    let mut others = changes.meters.iter().map(|change| change.meter.id);
    let own = others.find(|number| *number != profile);
    desired.refuse_meter(profile);
    assert_eq!(meter_of(&desired.changes()), own);
    // A switch that refuses that, too, has no meters.
    desired.refuse_meter(own.expect("there are two"));
    assert_eq!(meter_of(&desired.changes()), None);
    desired.remove(flow.digest);
    let changes = desired.changes();
    assert_eq!((changes.flows.len(), changes.meters_gone.len()), (1, 0));
}

#[test]
fn a_switch_without_meters_still_sends_to_the_controller() {
    let mut desired = Desired::default();
    desired.add(sending(&["a"]));
    let number = desired.changes().meters[0].meter.id;
    desired.refuse_meter(number);
    let changes = desired.changes();
    assert_eq!((changes.meters.len(), changes.flows.len()), (0, 1));
    assert_eq!(meter_of(&changes), None);
    // A limit that cannot be kept is another matter.
    desired.add(needy(3, vec![meter("a")]));
    assert_eq!(desired.changes().flows.len(), 0);
}
