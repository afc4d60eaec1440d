//! Which member of a group has a gateway's port, and how it passes from one to another.

use std::time::Duration;

use controller::core::Event;
use controller::vswitch::Interface;
use ovsdb::Uuid;
use sb_db::tables::{HaChassis, HaChassisGroup};

use super::stage::*;

const GROUP: Uuid = Uuid::from_u128(62);
/// By then a gateway whose flows are in place is claimed.
const SOON: Duration = Duration::from_millis(200);
/// By then everything is done that waits, also for a claim to be repeated.
const LATER: Duration = Duration::from_secs(3);

/// This chassis and another one with a session between them, members of a group that a port has. The other one is better and
/// has the port.
struct Pair {
    stage: Stage,
    own: Uuid,
    other: Uuid,
    /// Chassis that use the group.
    users: Vec<Uuid>,
}

impl Pair {
    fn new() -> Self {
        let mut stage = Stage::new();
        stage.start();
        let other = stage.add_chassis(2);
        let own = stage.own();
        let mut pair = Pair {
            stage,
            own,
            other,
            users: Vec::new(),
        };
        pair.rank_own(5);
        pair.members(&[60, 61]);
        pair.stage.add_port();
        pair.stage.change_port(|port| {
            port.r#type = "chassisredirect".into();
            port.ha_chassis_group = Some(GROUP);
            port.options = [("distributed-port".into(), "vm1".into())].into();
            port.chassis = Some(other);
        });
        pair.session("up");
        assert_eq!(pair.holder(), Some(other));
        pair
    }

    /// The priority of this chassis; that of the other is 10.
    fn rank_own(&mut self, own_priority: i64) {
        for (n, chassis, priority) in [(60, self.own, own_priority), (61, self.other, 10)] {
            let rank = HaChassis {
                chassis: Some(chassis),
                priority,
                ..HaChassis::default()
            };
            let change = self.stage.south.put(&rank, Uuid::from_u128(n));
            self.stage.change_south(change);
        }
    }

    fn members(&mut self, members: &[u128]) {
        let group = HaChassisGroup {
            name: "g".into(),
            ha_chassis: members.iter().copied().map(Uuid::from_u128).collect(),
            ref_chassis: self.users.clone(),
            ..HaChassisGroup::default()
        };
        let change = self.stage.south.put(&group, GROUP);
        self.stage.change_south(change);
    }

    /// The state of the session with the other chassis.
    fn session(&mut self, state: &str) {
        self.session_with(2, state);
    }

    /// The state of the session with chassis `n`.
    fn session_with(&mut self, n: u8, state: &str) {
        self.session_says(n, &[("state", state)]);
    }

    /// What the switch says of the session with chassis `n`.
    fn session_says(&mut self, n: u8, status: &[(&str, &str)]) {
        let remote = format!("10.0.0.{n}");
        let mut tunnels = self.stage.local.all::<Interface>();
        tunnels.retain(|tunnel| {
            tunnel
                .options
                .get("remote_ip")
                .is_some_and(|ip| **ip == *remote)
        });
        let mut tunnel = tunnels.pop().expect("a tunnel");
        tunnel.ofport = Some(100 + i64::from(n));
        let status = status
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        tunnel.bfd_status = status.collect();
        let change = self.stage.local.put(&tunnel, tunnel.uuid);
        let event = replica::Event::Changes(vec![change]);
        self.stage.event(Event::Local(event));
    }

    fn holder(&self) -> Option<Uuid> {
        self.stage.port().chassis
    }

    fn claim_by_other(&mut self) {
        let other = self.other;
        self.stage.change_port(|port| port.chassis = Some(other));
    }

    /// Whether packets for the port leave by the gateway here.
    fn is_served(&self) -> bool {
        let mut flows = self.stage.switch.flows.iter();
        flows.any(|flow| flow.table == controller::layout::LOCAL_OUTPUT && flow.priority == 100)
    }
}

#[test]
fn a_gateway_is_handed_over_when_the_next_one_is_ready() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    pair.stage.switch.hold_barriers = true;
    pair.rank_own(20);
    assert_eq!(pair.holder(), Some(other), "its flows come first");
    pair.stage.release_barriers();
    pair.stage.switch.hold_barriers = false;
    assert_eq!(pair.holder(), Some(other), "packets go by them soon");
    pair.stage.pass(SOON);
    assert_eq!(pair.holder(), Some(own));

    // The other is to have it again: until it says so it is served here, and for a moment longer; it is not fought for.
    pair.rank_own(5);
    assert_eq!(pair.holder(), Some(own));
    pair.claim_by_other();
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), true));
    pair.stage.pass(LATER);
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));
}

#[test]
fn who_is_no_member_any_more_serves_until_another_has_claimed() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    pair.rank_own(20);
    pair.stage.pass(SOON);
    assert_eq!(pair.holder(), Some(own));
    pair.members(&[61]);
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
    pair.claim_by_other();
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), true));
    pair.stage.pass(LATER);
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));
    // The other way round: the other left, and this one is the only member.
    pair.stage.switch.hold_barriers = true;
    pair.members(&[60]);
    assert_eq!(pair.holder(), Some(other), "its flows come first");
    pair.stage.release_barriers();
    pair.stage.pass(SOON);
    assert_eq!(pair.holder(), Some(own));
}

#[test]
fn who_does_not_see_the_better_one_yields_when_that_lives() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    // A third chassis sees both: without that, this one is cut off.
    let third = pair.stage.add_chassis(3);
    pair.users.push(third);
    pair.members(&[60, 61]);
    pair.session_with(3, "up");
    pair.session("down");
    assert_eq!(pair.holder(), Some(own));
    pair.claim_by_other();
    pair.stage.pass(Duration::from_millis(3_900));
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));
    pair.stage.pass(Duration::from_millis(200));
    assert_eq!(pair.holder(), Some(own), "it may be dead by now");
    // Each time it yields for longer.
    pair.claim_by_other();
    pair.stage.pass(Duration::from_millis(7_900));
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));
    pair.stage.pass(Duration::from_millis(200));
    assert_eq!(pair.holder(), Some(own));
}

#[test]
fn who_has_just_begun_waits_until_it_may_have_heard_of_others() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    let third = pair.stage.add_chassis(3);
    pair.users.push(third);
    pair.members(&[60, 61]);
    pair.session_with(3, "up");
    pair.session_says(2, &[("state", "down"), ("flap_count", "0")]);
    pair.stage.pass(Duration::from_millis(2_900));
    assert_eq!(pair.holder(), Some(other), "it may come up");
    pair.stage.pass(Duration::from_millis(200));
    assert_eq!(pair.holder(), Some(own), "it does not");
    // Who was up and is not any more is dead at once.
    pair.claim_by_other();
    pair.session_says(2, &[("state", "up"), ("flap_count", "1")]);
    pair.stage.pass(LATER);
    assert_eq!(pair.holder(), Some(other));
    pair.session_says(2, &[("state", "down"), ("flap_count", "2")]);
    assert_eq!(pair.holder(), Some(own));
}

#[test]
fn a_concession_ends_with_a_session() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    let third = pair.stage.add_chassis(3);
    pair.users.push(third);
    pair.members(&[60, 61]);
    pair.session_with(3, "up");
    pair.session("down");
    assert_eq!(pair.holder(), Some(own));
    pair.stage.pass(LATER);
    pair.claim_by_other();
    pair.session("up");
    pair.stage.pass(LATER);
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));
    // It was seen, and dies.
    pair.session("down");
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
}

#[test]
fn who_was_cut_off_does_not_serve_when_it_hears_of_the_other() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    pair.rank_own(20);
    pair.stage.pass(SOON);
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
    pair.stage.south_is_silent = true;
    pair.session("down");
    pair.rank_own(5);
    assert!(!pair.is_served());
    pair.claim_by_other();
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));
}

#[test]
fn who_was_cut_off_waits_for_a_word_of_the_southbound() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    pair.rank_own(20);
    pair.stage.pass(SOON);
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
    pair.stage.south_is_silent = true;
    pair.session("down");
    assert!(!pair.is_served());
    // Others serve it meanwhile, which is not heard of here.
    let mut port = pair.stage.port();
    port.chassis = Some(other);
    let unheard = pair.stage.south.put(&port, PORT);
    pair.session("up");
    assert!(!pair.is_served(), "what it knows of claims is old");
    pair.stage.south_is_silent = false;
    pair.stage.change_south(unheard);
    let id = pair.stage.last_transaction;
    pair.stage.south_event(replied(id));
    pair.stage.pass(LATER);
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
}

/// What no row says outlives that everything is computed anew: who has handed over serves for a moment longer, and who was cut off
/// still waits for a word of the southbound.
#[test]
fn recomputing_keeps_a_handover_and_a_cut() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    let recompute = |pair: &mut Pair| {
        let mut answer = pair.stage.ask("recompute", &[]);
        assert_eq!(answer.given(), Some(Ok(String::new())));
    };
    pair.rank_own(20);
    pair.stage.pass(SOON);
    pair.rank_own(5);
    pair.claim_by_other();
    recompute(&mut pair);
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), true));
    pair.stage.pass(LATER);
    assert_eq!((pair.holder(), pair.is_served()), (Some(other), false));

    pair.rank_own(20);
    pair.stage.pass(SOON);
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
    pair.stage.south_is_silent = true;
    pair.session("down");
    assert!(!pair.is_served());
    recompute(&mut pair);
    assert!(!pair.is_served(), "it is cut off");
    pair.session("up");
    recompute(&mut pair);
    assert!(!pair.is_served(), "what it knows of claims is old");
    pair.stage.south_is_silent = false;
    let id = pair.stage.last_transaction;
    pair.stage.south_event(replied(id));
    pair.stage.pass(LATER);
    assert_eq!((pair.holder(), pair.is_served()), (Some(own), true));
}

/// What comes to a gateway without its physical network would have no way out: it stays where it is served, but not for ever.
#[test]
fn a_gateway_is_not_taken_before_its_network_is_there() {
    let mut pair = Pair::new();
    let (own, other) = (pair.own, pair.other);
    // The switch beyond has yet to be told.
    pair.stage.change_port(|port| {
        port.options.insert("peer".into(), "beyond".into());
    });
    pair.rank_own(20);
    pair.stage.pass(SOON);
    assert_eq!(pair.holder(), Some(other), "it has no way out here");
    pair.stage.pass(LATER);
    pair.stage.pass(SOON);
    assert_eq!(pair.holder(), Some(own), "it may never come");
}
