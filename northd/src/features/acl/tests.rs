//! What careless operators do with rules. What rules mean is tested in `testing/policy.rs`.

use std::sync::Arc;

use nb_db::tables::{
    Acl, LogicalSwitch, NbGlobal, PortGroup, Sample, SampleCollector, SamplingApp,
};
use ovsdb::operation::Operation;
use ovsdb::typed::{Table, TableDefinition};

use crate::testing::random::Rng;
use crate::testing::{World, insert};

/// A rule comes to a switch or a port group, goes, or says something else; or the network changes its mind.
///
/// Nothing that the other tests send is dropped: they hold what becomes of packets without rules against a model.
pub fn change(world: &mut World, rng: &mut Rng) -> String {
    let operations = match rng.below(9) {
        0 => setting(world, rng),
        8 => sampling(world, rng),
        1 | 2 => another(world, rng),
        _ => owner(world, rng),
    };
    if operations.is_empty() {
        return "nobody to have rules".to_owned();
    }
    let what = format!("acls: {operations:?}");
    world.north(operations);
    what
}

fn owner(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let switches = world.nb::<LogicalSwitch>();
    let switches = switches.into_iter().map(|(uuid, row)| {
        let column = LogicalSwitch::COLUMN.acls;
        (LogicalSwitch::INDEX, uuid, column, row.acls)
    });
    let groups = world.nb::<PortGroup>();
    let groups = groups.into_iter().map(|(uuid, row)| {
        let column = PortGroup::COLUMN.acls;
        (PortGroup::INDEX, uuid, column, row.acls)
    });
    let owners: Vec<_> = switches.chain(groups).collect();
    let Some((table, uuid, column, mut acls)) = rng.pick(&owners).cloned() else {
        return Vec::new();
    };
    let mut operations = Vec::new();
    let all = world.nb::<Acl>();
    match rng.below(5) {
        0 | 1 if !acls.is_empty() => {
            acls.pop();
        }
        // A rule of somebody else.
        2 if !all.is_empty() => acls.push(all[rng.below(all.len())].0),
        _ => {
            let acl = rng.uuid();
            operations.push(insert(acl, &random(rng)));
            acls.push(acl);
        }
    }
    acls.sort();
    acls.dedup();
    operations.push(Operation::update_row(table, uuid, vec![column.to(&acls)]));
    operations
}

fn another(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let all = world.nb::<Acl>();
    let Some((uuid, _)) = rng.pick(&all) else {
        return Vec::new();
    };
    let row = random(rng).to_row();
    let columns = row.columns().iter().cloned().enumerate().collect();
    vec![Operation::update_row(Acl::INDEX, *uuid, columns)]
}

fn setting(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let Some((uuid, mut row)) = world.nb::<NbGlobal>().pop() else {
        return Vec::new();
    };
    let value = ["true", "false", "perhaps"][rng.below(3)];
    let key = ["use_ct_inv_match", "acl_ct_translation"][rng.below(2)];
    row.options.insert(key.into(), value.into());
    let columns = vec![NbGlobal::COLUMN.options.to(&row.options)];
    vec![Operation::update_row(NbGlobal::INDEX, uuid, columns)]
}

/// A rule is sampled, or not any more; or there is another collector or kind of samples.
fn sampling(world: &World, rng: &mut Rng) -> Vec<Operation> {
    let collectors = world.nb::<SampleCollector>();
    let apps = world.nb::<SamplingApp>();
    match rng.below(5) {
        0 => {
            let types = ["acl-new", "acl-est", "drop"];
            let kind = types[rng.below(types.len())];
            let mut operations: Vec<Operation> = apps
                .iter()
                .filter(|(_, app)| &*app.r#type == kind)
                .map(|(uuid, _)| Operation::delete_row(SamplingApp::INDEX, *uuid))
                .collect();
            let app = SamplingApp {
                r#type: kind.into(),
                id: 1 + rng.below(200) as i64,
                ..Default::default()
            };
            operations.push(insert(rng.uuid(), &app));
            operations
        }
        1 if !collectors.is_empty() => {
            let (uuid, _) = collectors[rng.below(collectors.len())];
            let column = SampleCollector::COLUMN.probability;
            let probability = [0, 1, 65_535][rng.below(3)];
            let columns = vec![column.to(&probability)];
            vec![Operation::update_row(SampleCollector::INDEX, uuid, columns)]
        }
        _ => {
            let all = world.nb::<Acl>();
            let Some((acl, _)) = rng.pick(&all) else {
                return Vec::new();
            };
            let mut operations = Vec::new();
            let id = 1 + rng.below(3) as i64;
            let known = collectors.iter().find(|(_, row)| row.id == id);
            let collector = known.map_or_else(|| rng.uuid(), |(uuid, _)| *uuid);
            if known.is_none() {
                let row = SampleCollector {
                    id,
                    name: "collector".into(),
                    probability: 65_535,
                    set_id: 100 + id,
                    ..Default::default()
                };
                operations.push(insert(collector, &row));
            }
            let mut samples = [None, None];
            for sample in &mut samples {
                let metadata = 1 + rng.below(1_000_000) as i64;
                let known = world.nb::<Sample>();
                if rng.once_in(3) || known.iter().any(|(_, row)| row.metadata == metadata) {
                    continue;
                }
                let row = Sample {
                    collectors: vec![collector],
                    metadata,
                    ..Default::default()
                };
                let uuid = rng.uuid();
                operations.push(insert(uuid, &row));
                *sample = Some(uuid);
            }
            let column = Acl::COLUMN;
            let columns = vec![
                column.sample_new.to(&samples[0]),
                column.sample_est.to(&samples[1]),
            ];
            operations.push(Operation::update_row(Acl::INDEX, *acl, columns));
            operations
        }
    }
}

fn random(rng: &mut Rng) -> Acl {
    let actions = [
        "allow",
        "allow-related",
        "allow-stateless",
        "pass",
        "drop",
        "reject",
    ];
    let action = actions[rng.below(actions.len())];
    let harmless = [
        "ip4",
        "inport == @pg",
        "outport == \"p1\" && ip6.src == $pg_ip6",
        "tcp && ip4.src == $as",
        "1",
        "inport ==",
        "outport == @nobody",
    ];
    let r#match = match action {
        "drop" | "reject" => ["tcp.dst == 4242", "sctp.dst == 4242"][rng.below(2)],
        _ => harmless[rng.below(harmless.len())],
    };
    let mut row = Acl {
        priority: [0, 1, 1000, 32_767][rng.below(4)],
        direction: ["from-lport", "to-lport"][rng.below(2)].into(),
        r#match: r#match.into(),
        action: action.into(),
        tier: [0, 0, 1, 3][rng.below(4)],
        label: [0, 0, 7][rng.below(3)],
        log: rng.once_in(3),
        name: rng.once_in(2).then(|| Arc::from("rule")),
        meter: rng.once_in(2).then(|| ["m1", "m2"][rng.below(2)].into()),
        ..Default::default()
    };
    for key in ["apply-after-lb", "log-related", "persist-established"] {
        if rng.once_in(4) {
            row.options.insert(key.into(), "true".into());
        }
    }
    row
}
