//! Load balancers: what is sent to a virtual address is spread over its backends, on a switch, on a router, and by a group, over
//! IPv4 and IPv6; a client is seen as itself, and as the virtual address where it is its own backend; who is connected stays
//! connected while other backends come and go; a client with affinity finds its backend again; a backend that does not listen is
//! left out until it does; a service without backends refuses at once, or tells of it. On Weft's daemons and on mixtures with
//! OVN's.

mod network;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tests::guest::Guest;
use tests::implementation::Implementation::{Ovn, Weft};
use tests::implementation::{Door, Plan};
use tests::lab::{CHASSIS, Lab, MEMBERS};
use tests::service::{Connection, Service};
use tests::wait::{wait_for, wait_until};

use network::{
    BACKENDS, DMZ6, PORT, Services, add, address, backends, clients, row_of, told_of, vip,
};

/// How many connections show how they are spread. The chance that a fair choice among four is off by a fifth somewhere is less
/// than one in a thousand.
const SPREAD: usize = 1_200;
/// How often backends come and go under connections that stand.
const CHANGES: usize = 12;
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn services_work_on_switches() {
    on_switches(Plan::under_test());
}

#[test]
fn ovns_controllers_serve_on_switches_what_our_northd_compiles() {
    on_switches(our_northd());
}

#[test]
fn our_controllers_serve_on_switches_what_ovns_northd_compiles() {
    on_switches(our_controllers());
}

#[test]
fn services_work_on_a_router() {
    on_a_router(Plan::under_test());
}

#[test]
fn ovns_controllers_serve_on_a_router_what_our_northd_compiles() {
    on_a_router(our_northd());
}

#[test]
fn our_controllers_serve_on_a_router_what_ovns_northd_compiles() {
    on_a_router(our_controllers());
}

/// Errors about a balanced connection come from behind the load balancer; its client has to know which connection they mean, and rules
/// that let the connection pass let them pass. Over IPv4: the userspace datapath of Open vSwitch 3.1 takes an ICMPv6 error about TCP for
/// TCP itself when it translates its source, and writes a checksum over the address that the error quotes.
#[test]
fn a_client_learns_how_large_packets_to_a_service_may_be() {
    a_client_learns([
        ("from-lport", "inport", "allow-related"),
        ("to-lport", "outport", "drop"),
    ]);
}

/// The same where rules track nothing, but for load balancers.
#[test]
fn a_client_learns_how_large_packets_to_a_service_may_be_beside_stateless_rules() {
    a_client_learns([
        ("from-lport", "inport", "allow-stateless"),
        ("to-lport", "outport", "allow-stateless"),
    ]);
}

/// Rules for a client: direction, field of the client's port, action.
fn a_client_learns(rules: [(&str, &str, &str); 2]) {
    told_of(Plan::under_test(), |lab, inside, _| {
        for name in add(lab, "far", 18, &BACKENDS[..1])? {
            lab.rig.nb(&["ls-lb-add", "inside", &name])?;
        }
        let together = "other_config:enable-stateless-acl-with-lb=true";
        lab.rig.nb(&["set", "Logical_Switch", "inside", together])?;
        for (direction, field, action) in rules {
            let text = format!("{field} == \"{}\" && ip", network::INSIDE[0].0);
            lab.rig
                .nb(&["acl-add", "inside", direction, "1", &text, action])?;
        }
        let mtu = "options:gateway_mtu=1300";
        lab.rig
            .nb(&["set", "Logical_Router_Port", "tenant1-dmz", mtu])?;
        lab.sync()?;
        let client = &inside[0];
        let vip = vip(0, 18)?;
        wait_until_served(vip, &[client])?;
        let errors = client.listen("icmp")?;
        much(client, vip).with_context(|| {
            let heard = errors.heard().unwrap_or_default();
            format!("{vip} takes little, and errors are {heard:#?}")
        })?;
        let ip = vip.ip().to_string();
        let route = client.namespace().ip(&["route", "get", &ip])?;
        ensure!(route.contains("mtu 1300"), "the client has learned {route}");
        Ok(())
    });
}

/// What takes many full packets goes to a service and comes back.
fn much(client: &Guest, service: SocketAddr) -> Result<()> {
    let much = vec![b'.'; 20_000];
    client.namespace().inside(|| {
        let mut stream = TcpStream::connect_timeout(&service, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&much)?;
        let mut back = BufReader::new(stream);
        back.read_line(&mut String::new())?;
        back.read_exact(&mut vec![0; much.len()])?;
        Ok(())
    })
}

fn our_northd() -> Plan {
    Plan {
        controller: Ovn,
        ..over_ovsdb()
    }
}

fn our_controllers() -> Plan {
    Plan {
        northd: Ovn,
        ..over_ovsdb()
    }
}

fn over_ovsdb() -> Plan {
    Plan {
        door: Door::Ovsdb,
        databases: Weft,
        ..Plan::weft()
    }
}

fn on_switches(plan: Plan) {
    told_of(plan, |lab, inside, services| {
        attach(lab)?;
        for vip in [vip(0, 10)?, vip(1, 10)?] {
            wait_until_served(vip, &clients(lab, inside))?;
            spread(&clients(lab, inside), vip)?;
        }
        let mut held = hairpin(lab)?;
        held.extend(undisturbed(lab, &clients(lab, inside))?);
        if plan.controller == Weft {
            restart(lab, &mut held)?;
        }
        affinity(lab, &inside[1])?;
        empty(lab, &inside[0])?;
        healthy(lab, &inside[0], services)
    });
}

/// The router is on one chassis, and has load balancers.
fn on_a_router(plan: Plan) {
    told_of(plan, |lab, inside, _| {
        let chassis = format!("options:chassis={}", CHASSIS[0]);
        lab.rig
            .nb(&["set", "Logical_Router", "tenant1", &chassis])?;
        for name in add(lab, "front", 20, &BACKENDS)? {
            lab.rig.nb(&["lr-lb-add", "tenant1", &name])?;
        }
        lab.sync()?;
        for vip in [vip(0, 20)?, vip(1, 20)?] {
            wait_until_served(vip, &[&inside[0], &inside[1]])?;
            spread(&[&inside[0], &inside[1]], vip)?;
        }
        Ok(())
    });
}

fn wait_until_served(vip: SocketAddr, clients: &[&Guest]) -> Result<()> {
    clients.iter().try_for_each(|client| {
        let what = format!("{vip} to serve {}", client.device());
        wait_until(&what, LIMIT, || Connection::open(client, vip).map(|_| true))
    })
}

/// On the first switch by itself, on the second by a group.
fn attach(lab: &Lab) -> Result<()> {
    let names = add(lab, "web", 10, &BACKENDS)?;
    for name in &names {
        lab.rig.nb(&["ls-lb-add", "dmz", name])?;
    }
    let rows: Vec<String> = names
        .iter()
        .map(|name| row_of(lab, name))
        .collect::<Result<_>>()?;
    let members = format!("load_balancer={}", rows.join(","));
    let group = lab
        .rig
        .nb(&["create", "Load_Balancer_Group", "name=all", &members])?;
    let group = format!("load_balancer_group={}", group.trim());
    lab.rig.nb(&["set", "Logical_Switch", "inside", &group])?;
    lab.sync()
}

/// Connections are spread evenly, and the services see who connects.
fn spread(clients: &[&Guest], vip: SocketAddr) -> Result<()> {
    let each = SPREAD / clients.len();
    let tallies = std::thread::scope(|scope| {
        let asking: Vec<_> = clients
            .iter()
            .map(|client| scope.spawn(move || ask(client, vip, each)))
            .collect();
        asking
            .into_iter()
            .map(|client| client.join().expect("connecting does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    for (server, count) in tallies.into_iter().flatten() {
        *tally.entry(server).or_default() += count;
    }
    let share = each * clients.len() / BACKENDS.len();
    let is_fair = |count: usize| count.abs_diff(share) * 5 <= share;
    ensure!(
        tally.len() == BACKENDS.len() && tally.values().all(|count| is_fair(*count)),
        "{vip}: {tally:?}, not {share} each"
    );
    Ok(())
}

/// Who has answered how often.
fn ask(client: &Guest, vip: SocketAddr, times: usize) -> Result<BTreeMap<String, usize>> {
    let mut tally = BTreeMap::new();
    let mut seen_as = None;
    for _ in 0..times {
        let connection = Connection::open(client, vip)?;
        *tally.entry(connection.server).or_default() += 1;
        let before = seen_as.replace(connection.seen_as);
        ensure!(
            before.is_none_or(|before| before == connection.seen_as),
            "{} is seen as {before:?} and as {}",
            client.device(),
            connection.seen_as
        );
    }
    let own = client.namespace().ip(&["-brief", "address", "show"])?;
    let seen_as = seen_as.map(|ip| format!(" {ip}/"));
    ensure!(
        seen_as.as_ref().is_some_and(|ip| own.contains(ip.as_str())),
        "{} is seen as {seen_as:?}, and has {own}",
        client.device()
    );
    Ok(tally)
}

/// A client that is its own backend has itself at the other end, and sees the virtual address there, as does its service.
fn hairpin(lab: &Lab) -> Result<Vec<Connection>> {
    let mut held = Vec::new();
    // One on the host, one in a container behind it.
    for (last, member) in [(11, 0), (12, 3)] {
        let names = add(lab, &format!("own{member}-"), last, &[member])?;
        for name in &names {
            lab.rig.nb(&["ls-lb-add", "dmz", name])?;
        }
        lab.sync()?;
        for family in [0, 1] {
            let vip = vip(family, last)?;
            let guest = lab.guest(&MEMBERS[member]);
            let mut connection = wait_for(&format!("{vip} to be served"), LIMIT, || {
                Connection::open(guest, vip).map(Some)
            })?;
            ensure!(connection.server == guest.device(), "{connection:?}");
            ensure!(
                connection.seen_as == vip.ip(),
                "a client that is its own backend is seen as {}",
                connection.seen_as
            );
            connection.lives()?;
            // Again: what the switch has learned of the first stays.
            Connection::open(guest, vip)?.lives()?;
            held.push(connection);
        }
    }
    Ok(held)
}

/// Who is connected stays connected to whom he is, while other backends come and go; who connects finds only those that are there, and
/// where a hash of his address chooses, the one that he had, unless that has gone or another has come.
fn undisturbed(lab: &Lab, clients: &[&Guest]) -> Result<Vec<Connection>> {
    let names = ["web4", "web6"];
    let stays = BACKENDS[0];
    let stays_name = MEMBERS[stays].device;
    let pinned = pin(lab)?;
    // OVN's controller numbers backends by their places, and a hash chooses by numbers. Its northd of this version knows no field
    // for IPv6.
    let plan = lab.rig.plan();
    let is_kept = |family: usize| plan.controller == Weft && (family == 0 || plan.northd == Weft);
    let mut before: Vec<usize> = BACKENDS.into();
    let mut held = Vec::new();
    let mut own = BTreeMap::new();
    for family in [0, 1] {
        for (number, client) in clients.iter().enumerate() {
            let pinned = vip(family, 17)?;
            let pinned = wait_for(&format!("{pinned} to be served"), LIMIT, || {
                Connection::open(client, pinned).map(Some)
            })?;
            own.insert((family, number), pinned.server);
            let connection = wait_for("a connection to the one that stays", LIMIT, || {
                let connection = Connection::open(client, vip(family, 10)?)?;
                Ok((connection.server == stays_name).then_some(connection))
            })?;
            held.push(connection);
        }
    }
    for change in 0..CHANGES {
        // Some of the others, another some each time.
        let present: Vec<usize> = BACKENDS
            .into_iter()
            .enumerate()
            .filter(|(place, member)| *member == stays || (change * 5 + 3) >> place & 1 == 1)
            .map(|(_, member)| member)
            .collect();
        for family in [0, 1] {
            for (last, name) in [(10, names[family]), (17, &*pinned[family])] {
                let vip = vip(family, last)?.to_string();
                let backends = backends(family, &present)?;
                lab.rig
                    .nb(&["--may-exist", "lb-add", name, &vip, &backends, "tcp"])?;
            }
        }
        held.iter_mut().try_for_each(Connection::lives)?;
        lab.sync()?;
        for chassis in &lab.rig.chassis {
            chassis.forget_cached_flows()?;
        }
        held.iter_mut().try_for_each(Connection::lives)?;
        let come = present.iter().filter(|number| !before.contains(number));
        let come: Vec<&str> = come.map(|number| MEMBERS[*number].device).collect();
        before.clone_from(&present);
        let present: Vec<&str> = present
            .iter()
            .map(|number| MEMBERS[*number].device)
            .collect();
        for ((family, number), own) in &mut own {
            let connection = Connection::open(clients[*number], vip(*family, 17)?)?;
            let (was, is) = (own.as_str(), connection.server.as_str());
            ensure!(
                !is_kept(*family) || is == was || !present.contains(&was) || come.contains(&is),
                "{was} stays, and its client of family {family} is moved to {is}, which was there before"
            );
            *own = connection.server;
        }
        for family in [0, 1] {
            for client in clients {
                let mut connection = Connection::open(client, vip(family, 10)?)?;
                connection.lives()?;
                ensure!(
                    present.contains(&connection.server.as_str()),
                    "{} serves, and was taken out: {present:?} are there",
                    connection.server
                );
            }
        }
    }
    Ok(held)
}

/// Load balancers on both switches that choose by the client's address.
fn pin(lab: &Lab) -> Result<[String; 2]> {
    let names = add(lab, "pinned", 17, &BACKENDS)?;
    for (name, field) in names.iter().zip(["ip_src", "ipv6_src"]) {
        let row = row_of(lab, name)?;
        let fields = format!("selection_fields={field}");
        lab.rig.nb(&["set", "Load_Balancer", &row, &fields])?;
        for switch in ["dmz", "inside"] {
            lab.rig.nb(&["ls-lb-add", switch, name])?;
        }
    }
    lab.sync()?;
    Ok(names)
}

/// Connections live while controllers restart, and after. OVN's controller has the switch forget what that has learned of clients
/// that are their own backends.
fn restart(lab: &mut Lab, held: &mut [Connection]) -> Result<()> {
    for chassis in &mut lab.rig.chassis {
        if let Some(controller) = chassis.controller() {
            controller.kill()?;
        }
        chassis.start_controller()?;
    }
    held.iter_mut().try_for_each(Connection::lives)?;
    lab.sync()?;
    held.iter_mut().try_for_each(Connection::lives)
}

/// A client finds the backend again that it had.
fn affinity(lab: &Lab, client: &Guest) -> Result<()> {
    let names = add(lab, "sticky", 13, &BACKENDS)?;
    for name in &names {
        let row = row_of(lab, name)?;
        lab.rig
            .nb(&["set", "Load_Balancer", &row, "options:affinity_timeout=60"])?;
        lab.rig.nb(&["ls-lb-add", "inside", name])?;
    }
    lab.sync()?;
    for family in [0, 1] {
        let vip = vip(family, 13)?;
        // OVN's northd drops the packets of the connection that the choice is learned from, so that this one is never made.
        let first = wait_for(&format!("{vip} to be served"), LIMIT, || {
            Connection::open_within(client, vip, Duration::from_secs(1)).map(Some)
        })?;
        // Until its cache is up to date, the switch may send one more elsewhere, and learns that instead.
        let mut last = first.server;
        let mut same = 0;
        wait_until("the switch to keep to what it has learned", LIMIT, || {
            let again = Connection::open(client, vip)?;
            same = if again.server == last { same + 1 } else { 0 };
            last = again.server;
            Ok(same >= 4)
        })?;
        for _ in 0..40 {
            let again = Connection::open(client, vip)?;
            ensure!(
                again.server == last,
                "{vip}: {last} was there for the client, and now {}",
                again.server
            );
        }
    }
    Ok(())
}

/// Without backends, a service refuses at once if it is to, or tells of whoever asked for it.
fn empty(lab: &Lab, client: &Guest) -> Result<()> {
    for (family, name) in ["none4", "none6"].into_iter().enumerate() {
        let vip = vip(family, 14)?;
        let text = vip.to_string();
        lab.rig
            .nb(&["--reject", "lb-add", name, &text, "", "tcp"])?;
        lab.rig.nb(&["ls-lb-add", "inside", name])?;
        lab.sync()?;
        wait_until(&format!("{vip} to refuse"), LIMIT, || refuses(client, vip))?;
        ensure!(refuses(client, vip)?, "{vip} refuses no more");
    }
    lab.rig
        .nb(&["set", "NB_Global", ".", "options:controller_event=true"])?;
    let vip = vip(0, 15)?;
    let text = vip.to_string();
    lab.rig
        .nb(&["--event", "lb-add", "asleep", &text, "", "tcp"])?;
    lab.rig.nb(&["ls-lb-add", "inside", "asleep"])?;
    lab.sync()?;
    let condition = format!("event_info:vip=\"{text}\"");
    let find = [
        "--bare",
        "--columns=event_info",
        "find",
        "Controller_Event",
        &condition,
    ];
    let told = wait_for("an event to tell who is asked for", LIMIT, || {
        let from = client.namespace();
        let _silent = from.inside(|| {
            let limit = Duration::from_millis(100);
            Ok(TcpStream::connect_timeout(&vip, limit).is_ok())
        })?;
        let rows = lab.rig.sb(&find)?;
        Ok((!rows.trim().is_empty()).then_some(rows))
    })?;
    ensure!(told.contains("protocol=tcp"), "{told}");
    Ok(())
}

fn refuses(client: &Guest, vip: SocketAddr) -> Result<bool> {
    client
        .namespace()
        .inside(|| match TcpStream::connect_timeout(&vip, LIMIT) {
            Ok(_) => bail!("{vip} is served"),
            Err(error) => Ok(matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
            )),
        })
}

/// A backend that does not listen is left out, and comes back when it does.
fn healthy(lab: &Lab, client: &Guest, services: &mut Services) -> Result<()> {
    let names = add(lab, "checked", 16, &BACKENDS)?;
    for (family, name) in names.iter().enumerate() {
        let row = row_of(lab, name)?;
        let vip = vip(family, 16)?.to_string();
        let from = match family {
            0 => "172.16.255.189".to_owned(),
            _ => format!("[{DMZ6}fe]"),
        };
        for number in BACKENDS {
            let ip = match address(family, number)?.ip() {
                IpAddr::V4(ip) => format!("\"{ip}\""),
                IpAddr::V6(ip) => format!("\"[{ip}]\""),
            };
            let mapping = format!("ip_port_mappings:{ip}=\"{}:{from}\"", MEMBERS[number].port);
            lab.rig.nb(&["set", "Load_Balancer", &row, &mapping])?;
        }
        let check = format!("vip=\"{vip}\"");
        lab.rig.nb(&[
            "--id=@check",
            "create",
            "Load_Balancer_Health_Check",
            &check,
            "options:interval=1",
            "options:timeout=1",
            "options:success_count=1",
            "options:failure_count=2",
            "--",
            "add",
            "Load_Balancer",
            &row,
            "health_check",
            "@check",
        ])?;
        lab.rig.nb(&["ls-lb-add", "inside", name])?;
    }
    lab.sync()?;
    let monitors = |status: &str| -> Result<usize> {
        let condition = format!("status={status}");
        let found = lab.rig.sb(&[
            "--bare",
            "--columns=_uuid",
            "find",
            "Service_Monitor",
            &condition,
        ])?;
        Ok(found.split_whitespace().count())
    };
    let all = 2 * BACKENDS.len();
    wait_until("all backends to be found online", LIMIT, || {
        Ok(monitors("online")? == all)
    })?;
    let gone = BACKENDS[1];
    let guest = lab.guest(&MEMBERS[gone]);
    if let Some(service) = services.remove(&gone) {
        service.stop(guest)?;
    }
    wait_until("a backend to be found offline", LIMIT, || {
        Ok(monitors("offline")? == 2)
    })?;
    lab.sync()?;
    for family in [0, 1] {
        let found = ask(client, vip(family, 16)?, 40)?;
        ensure!(
            !found.contains_key(MEMBERS[gone].device) && found.len() == BACKENDS.len() - 1,
            "without {}: {found:?}",
            MEMBERS[gone].device
        );
    }
    services.insert(gone, Service::start(guest, PORT)?);
    wait_until("it to be found online again", LIMIT, || {
        Ok(monitors("online")? == all)
    })?;
    for family in [0, 1] {
        let vip = vip(family, 16)?;
        wait_until("it to serve again", LIMIT, || {
            let connection = Connection::open(client, vip)?;
            Ok(connection.server == MEMBERS[gone].device)
        })?;
    }
    Ok(())
}
