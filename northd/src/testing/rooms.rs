//! What must hold between the declarations of the features.

use std::collections::BTreeSet;

use lflow::Symbol;
use sb_db::tables as sb;

use super::World;
use super::random::{self, Rng};
use crate::compiler::feature::{Feature, Kind, Over};
use crate::compiler::plan::{Plan, PlanError};
use crate::compiler::stage::Stage;
use crate::features;
use relations::Relation;

#[test]
fn the_features_make_a_plan() {
    let plan = Plan::new(features::ALL).expect("a plan");
    let names: BTreeSet<&str> = features::ALL.iter().map(|feature| feature.name).collect();
    assert_eq!(names.len(), features::ALL.len(), "names are unique");
    assert!(plan.parts.iter().any(|part| part.layer > 3));
}

#[test]
fn what_is_said_to_be_unread_is_read_by_nobody() {
    use crate::compiler::feature::{Feature, Owned, Source};
    use nb_db::tables::LogicalSwitchPort as Port;
    static UP: Owned = Owned {
        is_unread: true,
        ..Owned::north_columns::<Port>(&[Port::COLUMN.up.index])
    };
    static WRITER: Feature = Feature {
        owns: &[&UP],
        ..Feature::new("writer")
    };
    static READER: Feature = Feature {
        reads: &[Source::north::<Port>(&[
            Port::COLUMN.name.index,
            Port::COLUMN.up.index,
        ])],
        ..Feature::new("reader")
    };
    assert_eq!(Plan::new(&[&WRITER]).err(), None);
    let column = "Logical_Switch_Port.up".to_owned();
    assert_eq!(
        Plan::new(&[&WRITER, &READER]).err(),
        Some(PlanError::Unread("reader", column))
    );
}

#[test]
fn no_two_features_use_a_bit_at_the_same_stage() {
    let all: Vec<_> = features::ALL
        .iter()
        .flat_map(|feature| feature.bits.iter().map(|bits| (feature.name, bits)))
        .collect();
    for (place, (feature, bits)) in all.iter().enumerate() {
        assert!(bits.from <= bits.to, "{feature}: {bits:?}");
        assert_eq!(
            (bits.from.datapath(), bits.from.pipeline()),
            (bits.to.datapath(), bits.to.pipeline()),
            "{feature}: {bits:?} leaves its pipeline"
        );
        for (other, others) in &all[..place] {
            assert!(
                !bits.collides(others),
                "{feature} and {other}: {bits:?} and {others:?}"
            );
        }
    }
}

#[test]
fn no_two_kinds_of_flows_of_a_stage_have_the_same_text() {
    let mut seen = BTreeSet::new();
    for feature in features::ALL {
        for rule in feature.rules {
            assert!(
                seen.insert((rule.stage, rule.priority, rule.what)),
                "{}: {rule:?}",
                feature.name
            );
        }
    }
}

#[test]
fn flows_use_only_bits_that_are_declared_at_their_stage() {
    let mut world = World::new();
    let mut rng = Rng::new(7);
    for _ in 0..400 {
        random::change(&mut world, &mut rng);
        for (_, flow) in world.sb::<sb::LogicalFlow>() {
            let stage = Stage::all()
                .find(|stage| *flow.external_ids["stage-name"] == *stage.name())
                .expect("flows name their stages");
            for (symbol, bits) in used(&format!("{} {}", flow.r#match, flow.actions)) {
                for bit in bits {
                    let mut declared = features::ALL.iter().flat_map(|feature| feature.bits);
                    assert!(
                        declared.any(|of| of.covers(stage, symbol, bit)),
                        "nobody declares {symbol:?}[{bit}] at {stage:?}: {flow:?}"
                    );
                }
            }
        }
    }
}

/// The registers that a text speaks of, each with its bits.
fn used(text: &str) -> Vec<(Symbol, std::ops::Range<u8>)> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "[].".contains(c)));
    let registers = words.filter(|word| {
        word.starts_with("reg") || word.starts_with("xreg") || word.starts_with("xxreg")
    });
    registers
        .filter_map(|word| {
            let (name, bits) = word.split_once('[').unwrap_or((word, ""));
            let symbol = Symbol::named(name)?;
            let bits = bits.trim_end_matches(']');
            let number = |text: &str| text.parse::<u8>().ok();
            let range = match bits.split_once("..") {
                Some((low, high)) => number(low)?..number(high)? + 1,
                None if bits.is_empty() => 0..symbol.width(),
                None => number(bits)?..number(bits)? + 1,
            };
            Some((symbol, range))
        })
        .collect()
}

static ONE: Relation<(), ()> = Relation::new("one");
static TWO: Relation<(), ()> = Relation::new("two");

static FROM_ONE: Kind = Kind {
    name: "from one",
    over: Over::Shared(&ONE),
    reads: &[],
    says: &[&TWO],
    wants: &[],
    run: |_, _| {},
};
static FROM_TWO: Kind = Kind {
    name: "from two",
    over: Over::Shared(&TWO),
    reads: &[],
    says: &[&ONE],
    wants: &[],
    run: |_, _| {},
};

#[test]
fn a_circle_is_no_plan() {
    static CIRCLE: Feature = Feature {
        relations: &[&ONE, &TWO],
        kinds: &[&FROM_ONE, &FROM_TWO],
        ..Feature::new("circle")
    };
    let found = Plan::new(&[&CIRCLE]).err();
    assert_eq!(
        found,
        Some(PlanError::Circle("from one ← from two".to_owned()))
    );
}
