//! What is sent and written, in virtual time.

use openflow::message::PacketOut;
use ovsdb::RowChange;
use packet::bfd::Diagnostic;

use super::*;
use crate::network::Datapath;
use crate::pinctrl::tests::{OWN, World, now, packet_in};

const ROW: Uuid = Uuid::from_u128(50);

/// The service, its world with a gateway router's port, and a clock.
struct Stage {
    service: Bfd,
    world: World,
    now: Now,
    row: Option<BfdRow>,
}

impl Stage {
    fn new(status: &str) -> Self {
        let mut world = World {
            datapath: Some(Datapath {
                key: 7,
                is_router: true,
                name: "r".into(),
                snat_zone: None,
                is_quiet: false,
                ages: None,
                fdb_age_s: None,
            }),
            ..World::default()
        };
        let port = Arc::make_mut(&mut world.ports[0]);
        port.chassis = Some(OWN);
        port.r#type = "l3gateway".into();
        port.mac = vec!["02:00:00:00:00:01 10.0.0.1/24 fd00::1/64".into()];
        let mut stage = Stage {
            service: Bfd::default(),
            world,
            now: now(),
            row: None,
        };
        stage.set(Some(BfdRow {
            uuid: ROW,
            src_port: 49_152,
            disc: 5,
            logical_port: "p1".into(),
            dst_ip: "10.0.0.9".into(),
            min_tx: 100,
            min_rx: 100,
            detect_mult: 3,
            status: status.into(),
            ..BfdRow::default()
        }));
        stage
    }

    fn set(&mut self, row: Option<BfdRow>) {
        let change = RowChange {
            table: BfdRow::INDEX,
            uuid: ROW,
            old: self.row.as_ref().map(|row| Arc::new(row.to_row())),
            new: row.as_ref().map(|row| Arc::new(row.to_row())),
        };
        self.row = row;
        let mut effects = Vec::new();
        let change = Change::Row(&change);
        self.service
            .changed(self.now, change, &self.world, &mut effects);
        assert_eq!(effects, []);
    }

    /// What is done when so much time has passed.
    fn wait(&mut self, milliseconds: u64) -> Vec<Effect> {
        let until = self.now.at + Duration::from_millis(milliseconds);
        let mut effects = Vec::new();
        while let Some(due) = self.service.deadline().filter(|due| *due <= until) {
            self.now.at = self.now.at.max(due);
            self.service.tick(self.now, &self.world, &mut effects);
        }
        self.now.at = until;
        effects
    }

    /// The neighbour says this.
    fn hear(&mut self, state: State, yours: u32, source: &str) -> Vec<Effect> {
        let control = Control {
            state,
            diagnostic: Diagnostic::None,
            poll: false,
            is_final: false,
            demand: false,
            detect_mult: 3,
            mine: 77,
            yours,
            desired_min_tx: Duration::from_millis(100),
            required_min_rx: Duration::from_millis(100),
        };
        let ends = Ends {
            source: (
                addr::Mac([2, 0, 0, 0, 0, 9]),
                source.parse().expect("an address"),
            ),
            destination: (
                addr::Mac([2, 0, 0, 0, 0, 1]),
                "10.0.0.1".parse().expect("an address"),
            ),
        };
        let frame = control.frame(ends, 50_000).expect("a frame");
        let packet_in = packet_in(1, Opcode::Bfd.header().to_vec(), frame);
        let packet = Packet {
            opcode: Opcode::Bfd,
            arguments: &[],
            packet_in: &packet_in,
        };
        let mut effects = Vec::new();
        self.service
            .packet(self.now, packet, &self.world, &mut effects)
            .expect("it makes sense");
        effects
    }

    /// The status that effects ask for. The row follows.
    fn written(&mut self, effects: &[Effect]) -> Option<String> {
        let mut written = None;
        for effect in effects {
            if let Effect::Write(ROW, operations) = effect {
                let [Operation::Update { row, .. }] = &operations[..] else {
                    panic!("{effects:?}");
                };
                let status = BfdRow::COLUMN.status;
                let value = row.iter().find(|(column, _)| *column == status.index);
                let (_, datum) = value.expect("the status");
                let text = datum.atoms().iter().next().and_then(ovsdb::Atom::as_str);
                written = text.map(str::to_owned);
            }
        }
        if let Some(status) = &written {
            let row = BfdRow {
                status: status.as_str().into(),
                ..self.row.clone().expect("a row")
            };
            self.set(Some(row));
        }
        written
    }
}

/// The control packets that effects send.
fn sent(effects: &[Effect]) -> Vec<Control> {
    let outs = effects.iter().filter_map(|effect| match effect {
        Effect::PacketOut(PacketOut { packet, .. }) => Some(packet),
        _ => None,
    });
    outs.map(|packet| {
        let frame = Frame::parse(packet).expect("a frame");
        assert_eq!(
            frame.eth_dst(),
            addr::Mac([2, 0, 0, 0, 0, 1]),
            "to the router"
        );
        let ips = ["10.0.0.1", "10.0.0.9"].map(|ip| ip.parse().expect("an address"));
        assert_eq!(frame.ips(), Some((ips[0], ips[1])));
        Control::parse(&frame).expect("a control packet")
    })
    .collect()
}

#[test]
fn a_session_comes_up_and_its_row_says_so() {
    let mut stage = Stage::new("down");
    let effects = stage.wait(0);
    let packets = sent(&effects);
    assert_eq!(
        (packets[0].state, packets[0].mine, packets[0].yours),
        (State::Down, 5, 0)
    );
    let effects = stage.hear(State::Down, 0, "10.0.0.9");
    assert_eq!(stage.written(&effects).as_deref(), Some("init"));
    let mut effects = stage.hear(State::Init, 5, "10.0.0.9");
    assert_eq!(stage.written(&effects), None, "it has just been written");
    for _ in 0..11 {
        effects.extend(stage.wait(100));
        effects.extend(stage.hear(State::Up, 5, "10.0.0.9"));
    }
    assert_eq!(stage.written(&effects).as_deref(), Some("up"));
    let packets = sent(&stage.wait(100));
    assert_eq!((packets[0].state, packets[0].yours), (State::Up, 77));
    let effects = stage.wait(300);
    assert_eq!(stage.written(&effects).as_deref(), Some("down"), "at once");
}

#[test]
fn a_status_that_was_not_written_is_written_again() {
    let mut stage = Stage::new("down");
    stage.wait(0);
    let lost = stage.hear(State::Down, 0, "10.0.0.9");
    assert!(
        lost.iter()
            .any(|effect| matches!(effect, Effect::Write(..)))
    );
    let again = stage.hear(State::Down, 0, "10.0.0.9");
    assert!(
        !again
            .iter()
            .any(|effect| matches!(effect, Effect::Write(..)))
    );
    let mut effects = Vec::new();
    for _ in 0..6 {
        effects.extend(stage.wait(200));
        effects.extend(stage.hear(State::Down, 0, "10.0.0.9"));
    }
    assert_eq!(stage.written(&effects).as_deref(), Some("init"));
}

#[test]
fn a_neighbour_that_comes_and_goes_costs_few_rows() {
    let mut stage = Stage::new("down");
    stage.wait(0);
    let mut rows = 0;
    for number in 0..1_000 {
        let state = [State::Down, State::Init][number % 2];
        let mut effects = stage.hear(state, 5, "10.0.0.9");
        effects.extend(stage.wait(2));
        rows += usize::from(stage.written(&effects).is_some());
    }
    assert!((1..=6).contains(&rows), "{rows} in two seconds");
}

#[test]
fn what_nobody_asked_for_is_nobodys() {
    let mut stage = Stage::new("down");
    stage.wait(0);
    assert_eq!(stage.hear(State::Down, 0, "10.0.0.8"), []);
    let effects = stage.hear(State::Init, 6, "10.0.0.9");
    assert_eq!(stage.written(&effects), None, "of another session");
}

#[test]
fn a_session_is_run_where_the_port_is_alone() {
    let mut stage = Stage::new("up");
    assert_eq!(sent(&stage.wait(100)), [], "it knows no neighbour yet");
    stage.hear(State::Up, 5, "10.0.0.9");
    assert!(!sent(&stage.wait(100)).is_empty());
    Arc::make_mut(&mut stage.world.ports[0]).chassis = Some(Uuid::from_u128(99));
    assert_eq!(stage.wait(5_000), []);
    assert_eq!(stage.service.deadline(), None);

    let port = Arc::make_mut(&mut stage.world.ports[0]);
    port.r#type = "patch".into();
    let redirect = ("chassis-redirect-port".into(), "cr-p1".into());
    port.options.insert(redirect.0, redirect.1);
    let row = stage.row.clone();
    stage.set(row.clone());
    assert_eq!(stage.service.deadline(), None);
    stage.world.here.push("cr-p1".into());
    stage.set(row);
    assert!(stage.service.deadline().is_some());
}

#[test]
fn rows_that_make_no_sense_and_those_that_are_switched_off_are_not_run() {
    let good = Stage::new("admin_down");
    assert_eq!(good.service.deadline(), None);
    let row = good.row.clone().expect("a row");
    for bad in [
        BfdRow {
            disc: 0,
            ..row.clone()
        },
        BfdRow {
            dst_ip: "peer".into(),
            ..row.clone()
        },
        BfdRow {
            src_port: 70_000,
            ..row.clone()
        },
        BfdRow {
            logical_port: "p9".into(),
            ..row
        },
    ] {
        let mut stage = Stage::new("down");
        stage.set(Some(BfdRow {
            status: "down".into(),
            ..bad
        }));
        assert_eq!(stage.service.deadline(), None);
    }
}
