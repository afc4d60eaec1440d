//! What the control socket can ask for.

use std::time::Duration;

use daemon::unixctl::Request;
use openflow::Message;
use rustc_hash::FxHashSet;

use super::{Core, Effects, LFLOW_RUN, PHYSICAL_RUN};
use crate::network::{Engine, LocalPorts, Network};
use crate::switch::Switch;
use crate::{inject, status};

impl Core {
    /// Answers a request.
    pub(super) fn request(&mut self, request: Request, effects: &mut Effects) {
        match request.command {
            "exit" => self.exit(request, effects),
            "connection-status" => request.succeed(if self.south_connected {
                "connected"
            } else {
                "not connected"
            }),
            "status" => request.succeed(self.overview()),
            "ct-zone-list" => request.succeed(status::zones(&self.network)),
            "group-table-list" => request.succeed(status::groups(&self.network)),
            "meter-table-list" => request.succeed(status::meters(&self.network)),
            "lflow-cache/show-stats" => {
                request.succeed(status::flow_cache(self.local.settings.as_deref()));
            }
            // There is no cache that could be stale.
            "lflow-cache/flush" | "flush-lflow-cache" | "debug/ignore-startup-delay" => {
                request.succeed("");
            }
            "debug/delay-nb-cfg-report" => match request.args[0].parse::<u32>() {
                Ok(seconds) => {
                    self.report.set_pause(Duration::from_secs(seconds.into()));
                    request.succeed("");
                }
                Err(_) => request.fail("unsigned integer required"),
            },
            "debug/dump-local-datapaths" => request.succeed(status::datapaths(&self.network)),
            "debug/dump-peer-ports" => request.succeed(status::peer_ports(&self.network)),
            "debug/dump-lflow-conj-ids" => request.succeed(status::conjunctions(&self.network)),
            "debug/dump-local-template-vars" => request.succeed(status::templates(&self.network)),
            "debug/dump-mac-bindings" => request.succeed(status::neighbours(&self.network)),
            // No fabric is followed here, so nothing was learned from one.
            command if command.starts_with("evpn/") => request.succeed(""),
            "debug/pause" => {
                self.paused = true;
                request.succeed("");
            }
            "debug/resume" => {
                self.paused = false;
                request.succeed("");
            }
            "debug/status" => request.succeed(if self.paused { "paused" } else { "running" }),
            "debug/dump-local-bindings" => {
                request.succeed(status::bindings(&self.network, &self.local));
            }
            "debug/dump-related-ports" => request.succeed(status::related_ports(&self.network)),
            "inject-pkt" => match self.inject(&request.args[0]) {
                Ok(()) => request.succeed(""),
                Err(problem) => request.fail(problem),
            },
            "recompute" | "inc-engine/recompute" => {
                let answer = self.recompute();
                request.succeed(answer);
            }
            "inc-engine/show-stats" => {
                let (node, counter) = (request.args.first(), request.args.get(1));
                let stats = status::engine(
                    &self.engine,
                    node.map(String::as_str),
                    counter.map(String::as_str),
                );
                request.succeed(stats);
            }
            "inc-engine/clear-stats" => {
                self.engine.stats_mut().clear();
                request.succeed("");
            }
            other => request.fail(format!("{other} is not supported")),
        }
    }

    /// Sends a packet as described into its pipeline.
    fn inject(&mut self, description: &str) -> Result<(), String> {
        let switch = self
            .switch
            .as_mut()
            .filter(|switch| switch.is_ready())
            .ok_or("the switch is not connected")?;
        let packet = inject::packet_out(&self.network, description)?;
        switch.send(&Message::PacketOut(packet));
        Ok(())
    }

    /// Derives everything anew from the rows, compares, and goes on with the new one. Says what differed; nothing
    /// if nothing did.
    fn recompute(&mut self) -> String {
        // What is not computed yet is not missing.
        self.engine.step(&mut self.network, usize::MAX);
        LFLOW_RUN.add(1);
        PHYSICAL_RUN.add(1);
        let mut fresh = Network::default();
        let mut engine = Engine::new();
        fresh.zones = self.network.zones.remembered();
        let (own, bits) = (self.network.own_now(), self.network.bits());
        let (south, ports) = (&self.south, &self.local.ports);
        let silent = self.newborn.silent();
        let known = &self.network;
        engine.input(&mut fresh, |network, changes| {
            network.recall_bits(changes, bits);
            network.set_own(changes, own);
            network.set_local_ports(changes, &LocalPorts::default(), ports);
            silent.for_each(|chassis| network.silence_session(changes, chassis));
            south
                .everything()
                .for_each(|change| network.apply(changes, &change));
            network.recall(changes, known);
        });
        engine.step(&mut fresh, usize::MAX);
        let before: FxHashSet<_> = self
            .network
            .desired
            .contents()
            .map(|(digest, _)| digest)
            .collect();
        let now: FxHashSet<_> = fresh.desired.contents().map(|(digest, _)| digest).collect();
        let (missing, excess) = (
            now.difference(&before).count(),
            before.difference(&now).count(),
        );
        let total = now.len();
        if self.ready {
            fresh.zones.release_unheld();
        }
        let mut old = std::mem::replace(&mut self.network, fresh);
        self.subscribed_to = None;
        self.local_told = (0, false);
        self.network.desired.adopt_installed(&mut old.desired);
        self.network.rebound.extend(old.rebound);
        *engine.stats_mut() = std::mem::take(self.engine.stats_mut());
        engine.stats_mut().recompute();
        self.engine = engine;
        if missing + excess > 0 {
            tracing::error!(target: "inc_engine", "recomputation found {missing} flows missing and {excess} in excess; corrected");
        }
        if missing + excess == 0 {
            return String::new();
        }
        format!("{total} flows: {missing} were missing, {excess} were in excess")
    }

    /// Where the agent stands, for people.
    pub fn overview(&self) -> String {
        status::overview(&self.facts())
    }

    /// What the overview is made of.
    fn facts(&self) -> status::Facts<'_> {
        status::Facts {
            settings: self.local.settings.as_deref(),
            network: &self.network,
            south_connected: self.south_connected,
            south_synced: self.south_synced,
            switch_ready: self.switch.as_ref().is_some_and(Switch::is_ready),
            ready: self.ready,
            nb_cfg: self.south.nb_cfg(),
            nb_cfg_reached: self.nb_cfg_reached,
            packets_dropped: self.packets.dropped(),
        }
    }
}
