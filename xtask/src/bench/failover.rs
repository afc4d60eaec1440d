//! What the death, the return and the drain of a gateway cost those who talk through it, a packet a millisecond each way, with
//! BFD at three packets of 100 ms.

use std::time::Duration;

use anyhow::Result;
use rig::implementation::{Implementation, Plan};
use rig::routed::{Failover, GATEWAY_PORT, GATEWAYS, RoutedLab};
use rig::wait::wait_until;

use super::Whose;
use super::report::{Column, Number, at_rank, print};

/// How long a gateway may take to be another.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn run(rounds: usize, whose: Whose) -> Result<()> {
    let mut columns = Vec::new();
    for (name, implementation, plan) in [
        ("OVN", Implementation::Ovn, Plan::ovn()),
        ("Weft", Implementation::Weft, Plan::weft()),
    ] {
        if whose.includes(implementation) {
            println!("{name}: {rounds} rounds");
            columns.push((name, measure(plan, rounds)?));
        }
    }
    let title = format!("A gateway dies, returns and is drained, {rounds} times");
    print(&title, &columns);
    Ok(())
}

fn measure(plan: Plan, rounds: usize) -> Result<Column> {
    let mut lab = RoutedLab::build(plan, &mut ())?;
    lab.ping_all()?;
    let (mut kills, mut returns, mut drains) =
        (Costs::default(), Costs::default(), Costs::default());
    let [first, second] = GATEWAYS;
    for _ in 0..rounds {
        kills.add(lab.kill_gateway()?);
        returns.add(lab.under_traffic(RoutedLab::revive_gateway)?);
        for (to, priority) in [(second, "30"), (first, "10")] {
            drains.add(lab.under_traffic(|lab| {
                let order = ["lrp-set-gateway-chassis", GATEWAY_PORT, second, priority];
                lab.rig.nb(&order)?;
                wait_until("the drain", LIMIT, || Ok(lab.gateway()? == to))
            })?);
            lab.wait_for_gateway(to)?;
        }
    }
    let mut column = Column::new();
    let what = [
        (
            kills,
            [
                "killed: silence, p50",
                "killed: silence, p99",
                "killed: packets lost, most",
            ],
        ),
        (
            returns,
            [
                "returns: silence, p50",
                "returns: silence, p99",
                "returns: packets lost, most",
            ],
        ),
        (
            drains,
            [
                "drained: silence, p50",
                "drained: silence, p99",
                "drained: packets lost, most",
            ],
        ),
    ];
    for (mut costs, [middle, worst, lost]) in what {
        costs.silences.sort();
        column.push((middle, Number::Time(at_rank(&costs.silences, 0.5))));
        column.push((worst, Number::Time(at_rank(&costs.silences, 0.99))));
        column.push((lost, Number::Count(costs.lost)));
    }
    Ok(column)
}

/// What one sort of change cost, each time.
#[derive(Default)]
struct Costs {
    /// Of the two ways, the longer one.
    silences: Vec<Duration>,
    /// The most, of all times and ways.
    lost: usize,
}

impl Costs {
    fn add(&mut self, Failover { out, back }: Failover) {
        self.silences.push(out.silence.max(back.silence));
        let lost = usize::try_from(out.lost.max(back.lost)).unwrap_or(usize::MAX);
        self.lost = self.lost.max(lost);
    }
}
