//! A cluster that has no leader for a while, behind the doors, by gRPC.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const MEMBERS: usize = 3;
/// Where members listen for each other; each has an IP address of its own.
const PEER_PORT: u16 = 6643;

/// The first three numbers of the members' addresses, which no other cluster on this machine has.
fn network() -> String {
    static NETWORKS: AtomicU32 = AtomicU32::new(0);
    // Those of other tests' clusters end elsewhere.
    let number = NETWORKS.fetch_add(1, Ordering::Relaxed) + 16 * std::process::id() + 8;
    let number = number % 62_500;
    format!("127.{}.{}", 1 + number / 250, number % 250)
}

/// Starts a member of the cluster, or starts it again.
fn member(scene: &Scene, network: &str, id: usize) -> Child {
    let address = |id: usize| format!("{network}.{id}:{PEER_PORT}");
    let peers = (1..=MEMBERS).map(|id| format!("{id}={}", address(id)));
    let peers: Vec<String> = peers.collect();
    let program = Path::new(env!("CARGO_BIN_EXE_weft-api")).with_file_name("weft-nb");
    let path = |name: &str| scene.path(&format!("{id}{name}")).display().to_string();
    Command::new(program)
        .arg(format!("--data-dir={}", path("")))
        .arg(format!("--listen=pgrpc+unix:{}", path(".grpc")))
        .arg(format!("--id={id}"))
        .arg(format!("--peer-listen={}", address(id)))
        .arg(format!("--peers={}", peers.join(",")))
        .args(["--plaintext", "--unixctl=none", "-vconsole:off"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the switches are answered so.
#[track_caller]
fn until(scene: &Scene, status: u16) -> Value {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = scene.try_rest("GET", "/v1/switches", "");
        match answer {
            Some((actual, body)) if actual == status => return body,
            answer => assert!(Instant::now() < limit, "{answer:?}, not {status}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a switch, if need be when the members have agreed on another leader.
#[track_caller]
fn make(scene: &Scene, name: &str) {
    let limit = Instant::now() + Duration::from_secs(60);
    let object = json!({"name": name, "logical_switch": {}});
    loop {
        match scene.rest("POST", "/v1/switches", &object) {
            // It was made when no answer came.
            (201 | 409, _) => return,
            (status, answer) => assert!(Instant::now() < limit, "{status} {answer}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cluster_without_a_leader_is_told_until_it_has_one_again() {
    let mut scene = Scene {
        directory: TempDir::new().unwrap(),
        children: Vec::new(),
    };
    let network = network();
    for id in 1..=MEMBERS {
        let child = member(&scene, &network, id);
        scene.children.push(child);
    }
    let socket = |name: &str| scene.path(name).display().to_string();
    let remotes = (1..=MEMBERS).map(|id| format!("grpc+unix:{}", socket(&format!("{id}.grpc"))));
    let remotes: Vec<String> = remotes.collect();
    let mut api = Command::new(env!("CARGO_BIN_EXE_weft-api"));
    api.arg(format!("--nb={}", remotes.join(",")))
        .arg(format!("--listen=pgrpc+unix:{}", socket("grpc.sock")))
        .arg(format!("--rest-listen=punix:{}", socket("rest.sock")))
        .args(["--unixctl=none", "-vconsole:off"]);
    scene.start(&mut api);
    until(&scene, 200);
    make(&scene, "before");
    for child in &mut scene.children[..MEMBERS - 1] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let told = until(&scene, 503);
    assert_eq!(told["status"], "UNAVAILABLE", "{told}");
    for id in 1..MEMBERS {
        scene.children[id - 1] = member(&scene, &network, id);
    }
    let found = until(&scene, 200);
    assert_eq!(found["objects"][0]["name"], "before", "{found}");
    make(&scene, "behind");
}
