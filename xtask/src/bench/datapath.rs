//! What the switch pays for a packet on its way through rules and a load balancer: TCP in bulk, and connections that are made, used for a
//! byte each way, and ended. Two guests on two chassis, whose switches are Open vSwitch in userspace; 100 rules that track connections,
//! one of which lets the client in, and everything else is dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rig::guest::Guest;
use rig::implementation::{Implementation, Plan};
use rig::lab::{Lab, MEMBERS, SWITCH};

use super::Whose;
use super::report::{Column, Number, print};

/// The virtual address. Nobody answers for it on a switch without a router, so the client is told whose it is.
const VIP: Ipv4Addr = Ipv4Addr::new(172, 16, 255, 180);
/// Where the server takes bytes without end, and where it answers one byte: one for those who come to it, one for those who are led to
/// it. One for both would make connections meet, since a client's ports begin anew for each address that it asks.
const PORTS: [u16; 3] = [5001, 5002, 5003];
/// How many rules there are, beside the one that drops.
const RULES: u16 = 100;
/// How long bytes are counted, after as long a start.
const BULK: Duration = Duration::from_secs(5);
/// How many clients connect at once.
const CLIENTS: usize = 8;

pub(super) fn run(connections: usize, whose: Whose) -> Result<()> {
    let mut columns = Vec::new();
    for (name, implementation, plan) in [
        ("OVN", Implementation::Ovn, Plan::ovn()),
        ("Weft", Implementation::Weft, Plan::weft()),
    ] {
        if whose.includes(implementation) {
            println!("{name}: {connections} connections to each address");
            columns.push((name, measure(plan, connections)?));
        }
    }
    let title =
        format!("Rules and a load balancer in the datapath: {connections} connections each");
    print(&title, &columns);
    Ok(())
}

fn measure(plan: Plan, connections: usize) -> Result<Column> {
    let lab = Lab::build(plan, &mut ())?;
    lab.address_all()?;
    describe(&lab)?;
    let [client, server] = [0, 1].map(|place| lab.guest(&MEMBERS[place]));
    client.know_neighbour(VIP, MEMBERS[1].mac)?;
    // A server in TIME_WAIT is no hindrance, and no client is there.
    client.ping(MEMBERS[1].address)?;
    let stop = AtomicBool::new(false);
    let [sink, echo, led] = PORTS.map(|port| {
        let address = SocketAddr::from((MEMBERS[1].address, port));
        server.namespace().inside(|| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    });
    let (sink, echoes) = (sink?, [echo?, led?]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            serve(&sink, &stop, |stream| {
                while stream.read(&mut [0; 1 << 16]).is_ok_and(|n| n > 0) {}
            });
        });
        for echo in &echoes {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    serve(echo, &stop, |stream| {
                        let mut byte = [0];
                        let _gone = stream
                            .read_exact(&mut byte)
                            .and_then(|()| stream.write_all(&byte));
                    });
                });
            }
        }
        let column = ask(client, connections);
        stop.store(true, Ordering::Relaxed);
        column
    })
}

fn ask(client: &Guest, connections: usize) -> Result<Column> {
    let mut column = Column::new();
    for (to, echo, bulk_name, rate_name) in [
        (
            MEMBERS[1].address,
            PORTS[1],
            "rules: Mbit/s",
            "rules: connections a second",
        ),
        (
            VIP,
            PORTS[2],
            "rules and load balancer: Mbit/s",
            "rules and load balancer: connections a second",
        ),
    ] {
        let bits = client.namespace().inside(|| bulk((to, PORTS[0]).into()))?;
        column.push((bulk_name, Number::Rate(bits / 1e6)));
        let rate = client
            .namespace()
            .inside(|| connect((to, echo).into(), connections))?;
        column.push((rate_name, Number::Rate(rate)));
    }
    Ok(column)
}

/// The rules and the load balancer.
fn describe(lab: &Lab) -> Result<()> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |line: &[&str]| {
        if !words.is_empty() {
            words.push("--".into());
        }
        words.extend(line.iter().map(|word| (*word).to_owned()));
    };
    for (direction, side) in [("from-lport", "inport"), ("to-lport", "outport")] {
        let own = format!(
            "{side} == {{\"{}\", \"{}\"}} && ip4",
            MEMBERS[0].port, MEMBERS[1].port
        );
        add(&["acl-add", SWITCH, direction, "1", &own, "drop"]);
        add(&[
            "acl-add",
            SWITCH,
            direction,
            "2",
            &format!("{own} && icmp4"),
            "allow-related",
        ]);
        for n in 0..RULES / 2 {
            let (port, priority) = (PORTS[0] + n, (100 + n).to_string());
            let of = format!("{own} && tcp.dst == {port}");
            add(&[
                "acl-add",
                SWITCH,
                direction,
                &priority,
                &of,
                "allow-related",
            ]);
        }
    }
    for port in PORTS {
        let name = format!("lb{port}");
        let (vip, backend) = (
            format!("{VIP}:{port}"),
            format!("{}:{port}", MEMBERS[1].address),
        );
        add(&["lb-add", &name, &vip, &backend, "tcp"]);
        add(&["ls-lb-add", SWITCH, &name]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lab.rig.nb(&words)?;
    lab.sync()
}

/// Takes connections until it is to stop, and does the same with each.
fn serve(listener: &TcpListener, stop: &AtomicBool, with: impl Fn(&mut TcpStream)) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                // One that is not blocking would be left at once.
                if stream.set_nonblocking(false).is_ok() {
                    let _limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
                    with(&mut stream);
                    let _gone = stream.shutdown(Shutdown::Both);
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Bits a second that a server takes.
fn bulk(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(to).context("the bulk connection")?;
    let (chunk, start) = ([0; 1 << 16], Instant::now());
    while start.elapsed() < BULK {
        stream.write_all(&chunk)?;
    }
    let (mut sent, start) = (0_u64, Instant::now());
    while start.elapsed() < BULK {
        stream.write_all(&chunk)?;
        sent += chunk.len() as u64 * 8;
    }
    Ok(sent as f64 / start.elapsed().as_secs_f64())
}

/// Connections a second, each with a byte there and back.
fn connect(to: SocketAddr, connections: usize) -> Result<f64> {
    let (left, start) = (AtomicUsize::new(connections), Instant::now());
    let take = || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
    };
    std::thread::scope(|scope| {
        let client = || -> Result<()> {
            while take().is_ok() {
                let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                let mut byte = [1];
                stream.write_all(&byte)?;
                stream.read_exact(&mut byte)?;
                // The server ends it first, and keeps what is left of it.
                let _ended = stream.read(&mut byte)?;
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let mut ends = clients
            .into_iter()
            .map(|client| client.join().expect("clients do not panic"));
        ends.try_for_each(|end| end.context("a connection"))
    })?;
    Ok(connections as f64 / start.elapsed().as_secs_f64())
}
