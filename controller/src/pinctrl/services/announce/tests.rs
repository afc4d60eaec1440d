//! Who is announced, and when, in virtual time.

use std::sync::Arc;

use ovsdb::RowChange;
use ovsdb::typed::TableDefinition;
use packet::frame::Frame;

use super::*;
use crate::pinctrl::tests::{DATAPATH, OWN, World};
use crate::settings::Settings;
use crate::vswitch::OpenVSwitch;

const PORT: Uuid = Uuid::from_u128(1);

/// The service and its world, and a clock.
struct Stage {
    announce: Announce,
    world: World,
    start: Now,
    now: Now,
}

impl Stage {
    fn new() -> Self {
        let now = crate::pinctrl::tests::now();
        Stage {
            announce: Announce::default(),
            world: World {
                has_localnet: true,
                ..World::default()
            },
            start: now,
            now,
        }
    }

    /// The port's row changes.
    fn change(&mut self, change: impl FnOnce(&mut PortBinding)) {
        let old = self.world.ports[0].clone();
        let mut new = (*old).clone();
        change(&mut new);
        self.world.ports[0] = Arc::new(new.clone());
        let row = RowChange {
            table: PortBinding::INDEX,
            uuid: PORT,
            old: Some(Arc::new(old.to_row())),
            new: Some(Arc::new(new.to_row())),
        };
        self.tell(Change::Row(&row));
    }

    fn tell(&mut self, change: Change<'_>) {
        let mut effects = Vec::new();
        self.announce
            .changed(self.now, change, &self.world, &mut effects);
        assert_eq!(effects, []);
    }

    fn set_longest(&mut self, seconds: &str) {
        let ids = [("system-id", "c1"), ("garp-max-timeout-sec", seconds)];
        let row = OpenVSwitch {
            external_ids: ids.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..OpenVSwitch::default()
        };
        self.world.settings = Settings::read(&row, "", "").0;
        self.tell(Change::Settings);
    }

    /// Lets `seconds` pass; the seconds since the start at which something was announced, and the frames.
    fn pass(&mut self, seconds: u64) -> (Vec<u64>, Vec<Vec<u8>>) {
        let end = self.now.at + Duration::from_secs(seconds);
        let (mut times, mut frames) = (Vec::new(), Vec::new());
        while let Some(due) = self.announce.deadline().filter(|due| *due <= end) {
            self.now.at = due;
            let mut effects = Vec::new();
            self.announce.tick(self.now, &self.world, &mut effects);
            for effect in effects {
                let Effect::PacketOut(out) = effect else {
                    panic!("{effect:?}")
                };
                times.push((due - self.start.at).as_secs());
                frames.push(out.packet);
            }
        }
        self.now.at = end;
        (times, frames)
    }
}

fn guest(port: &mut PortBinding) {
    port.chassis = Some(OWN);
    port.mac = vec![
        "02:00:00:00:00:01 fd00::1 10.0.0.1".into(),
        "unknown".into(),
    ];
}

#[test]
fn a_guest_is_announced_five_times() {
    let mut stage = Stage::new();
    stage.change(guest);
    let (times, frames) = stage.pass(1_000);
    assert_eq!(times, [1, 2, 4, 8, 16]);
    assert_eq!(stage.announce.deadline(), None);
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let arp = announce::gratuitous_arp(mac, Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(frames, vec![arp; 5]);
    // A change that is about something else announces nothing; another address does.
    stage.change(|port| port.up = Some(true));
    assert_eq!(stage.pass(100).0, [0; 0]);
    stage.change(|port| port.mac = vec!["02:00:00:00:00:02".into()]);
    let (times, frames) = stage.pass(100);
    assert_eq!(times, [1_101, 1_102, 1_104, 1_108, 1_116]);
    assert_eq!(frames[0], announce::rarp(Mac([2, 0, 0, 0, 0, 2])));
    assert!(Frame::parse(&frames[0]).is_ok());
}

#[test]
fn with_a_longest_pause_there_is_no_end() {
    let mut stage = Stage::new();
    stage.set_longest("5");
    stage.change(guest);
    assert_eq!(stage.pass(20).0, [1, 2, 4, 8, 13, 18]);
    // A change of the setting starts all over.
    stage.set_longest("2");
    assert_eq!(stage.pass(10).0, [21, 22, 24, 26, 28, 30]);
    stage.set_longest("0");
    assert_eq!(stage.pass(100).0, [31, 32, 34, 38, 46]);
}

#[test]
fn only_who_is_here_and_reaches_a_physical_network_is_announced() {
    type Step = fn(&mut PortBinding);
    let no: [(&str, Step); 5] = [
        ("elsewhere", |port| port.chassis = Some(PORT)),
        ("a localport", |port| port.r#type = "localport".into()),
        ("no address", |port| port.mac = vec!["unknown".into()]),
        ("disabled", |port| {
            port.options = [("disable_garp_rarp".into(), "true".into())].into();
        }),
        ("on another switch", |port| port.datapath = OWN),
    ];
    for (what, change) in no {
        let mut stage = Stage::new();
        stage.change(guest);
        stage.change(change);
        assert_eq!(stage.pass(100).0, [0; 0], "{what}");
        assert_eq!(stage.announce.announced.len(), 0, "{what}");
    }
    let mut stage = Stage::new();
    stage.change(guest);
    stage.world.ports.clear();
    stage.tell(Change::Attachment(PORT));
    assert_eq!(stage.pass(100).0, [0; 0]);
}

#[test]
fn a_physical_network_that_comes_later_counts_from_then() {
    let mut stage = Stage::new();
    stage.world.has_localnet = false;
    stage.change(guest);
    assert_eq!(stage.pass(10).0, [0; 0]);
    let localnet = PortBinding {
        uuid: Uuid::from_u128(3),
        r#type: "localnet".into(),
        datapath: DATAPATH,
        ..PortBinding::default()
    };
    stage.world.ports.push(Arc::new(localnet));
    stage.world.has_localnet = true;
    stage.tell(Change::Attachment(Uuid::from_u128(3)));
    assert_eq!(stage.pass(3).0, [11, 12]);
    stage.world.has_localnet = false;
    stage.tell(Change::Attachment(Uuid::from_u128(3)));
    assert_eq!(stage.pass(100).0, [0; 0]);
}

#[test]
fn many_are_announced_in_portions() {
    let mut stage = Stage::new();
    let template = stage.world.ports[0].clone();
    stage.world.ports = (0..1_000)
        .map(|n| {
            let mut port = (*template).clone();
            guest(&mut port);
            port.uuid = Uuid::from_u128(100 + n);
            Arc::new(port)
        })
        .collect();
    for n in 0..1_000 {
        stage.tell(Change::Attachment(Uuid::from_u128(100 + n)));
    }
    stage.now.at += Duration::from_secs(1);
    let mut effects = Vec::new();
    let (now, world) = (stage.now, &stage.world);
    stage.announce.tick(now, world, &mut effects);
    assert_eq!(effects.len(), BATCH);
    assert!(stage.announce.deadline().is_some_and(|due| due <= now.at));
}

#[test]
fn without_the_localnet_port_nobody_is_announced() {
    let mut stage = Stage::new();
    stage.change(guest);
    stage.now.at += Duration::from_secs(1);
    assert!(stage.announce.deadline().is_some());
    let localnet = PortBinding {
        logical_port: "ln".into(),
        r#type: "localnet".into(),
        datapath: DATAPATH,
        ..PortBinding::default()
    };
    stage.world.has_localnet = false;
    let gone = RowChange {
        table: PortBinding::INDEX,
        uuid: Uuid::from_u128(77),
        old: Some(Arc::new(localnet.to_row())),
        new: None,
    };
    stage.tell(Change::Row(&gone));
    assert_eq!(stage.announce.deadline(), None);
}
