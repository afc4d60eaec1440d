//! `weft cluster` against real servers: three members that become four and two; a backup that is restored; a survivor
//! that goes on alone; metrics and health over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What is waited for takes no longer, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers in one directory, gone at the end.
struct Scene {
    directory: tempfile::TempDir,
    children: Vec<(u64, Child)>,
}

impl Scene {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            children: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Starts member `id` on the data directory `data<id>`, with these flags too.
    fn start(&mut self, id: u64, flags: &[String]) {
        let program = Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name("weft-nb");
        let missing = "is missing: run `cargo build --package nb-db`";
        assert!(program.exists(), "{} {missing}", program.display());
        let child = Command::new(program)
            .arg(format!("--data-dir={}", self.text(&format!("data{id}"))))
            .arg(format!(
                "--listen=punix:{}",
                self.text(&format!("{id}.sock"))
            ))
            .arg(format!(
                "--listen=pgrpc+unix:{}",
                self.text(&format!("{id}.grpc"))
            ))
            .arg(format!("--unixctl={}", self.text(&format!("{id}.ctl"))))
            .arg(format!("--log-file={}", self.text(&format!("{id}.log"))))
            .args(["-vconsole:off", "--plaintext"])
            .args(flags)
            .stderr(Stdio::null())
            .spawn();
        self.children.push((id, child.unwrap()));
    }

    fn kill(&mut self, id: u64) {
        let index = self.children.iter().position(|(of, _)| *of == id).unwrap();
        let (_, mut child) = self.children.remove(index);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn grpc(&self, id: u64) -> String {
        format!("--db=grpc+unix:{}", self.text(&format!("{id}.grpc")))
    }

    fn cluster(&self, id: u64, arguments: &[&str]) -> Output {
        self.cluster_within(PATIENCE, &[id], arguments)
    }

    /// Asks any of some members.
    fn cluster_within(&self, limit: Duration, ids: &[u64], arguments: &[&str]) -> Output {
        let remotes = ids.iter();
        let remotes = remotes.map(|id| format!("grpc+unix:{}", self.text(&format!("{id}.grpc"))));
        let remotes: Vec<String> = remotes.collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .args(["cluster", &format!("--db={}", remotes.join(","))])
            .arg(format!("--timeout={}", limit.as_secs()))
            .args(arguments);
        command.output().unwrap()
    }

    fn success(&self, id: u64, arguments: &[&str]) -> String {
        let output = self.cluster(id, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn failure(&self, id: u64, arguments: &[&str], expected: &str) {
        let output = self.cluster(id, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(expected),
            "{arguments:?}: {output:?}"
        );
    }

    /// Waits until the status that member `id` gives is as it should be.
    fn wait(&self, id: u64, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let output = self.cluster(id, &["status"]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && wanted(&text) {
                return text;
            }
            assert!(Instant::now() < end, "{what}: {output:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn nb(&self, id: u64, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_weft"))
            .arg("nb")
            .arg(format!("--db=unix:{}", self.text(&format!("{id}.sock"))))
            .args(["--no-leader-only", "--timeout=60"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn control(&self, id: u64, arguments: &[&str]) -> String {
        let output = Command::new("ovs-appctl")
            .args(["-t", &self.text(&format!("{id}.ctl"))])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that were free a moment ago.
fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn get(port: u16, path: &str) -> String {
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// How many members have this role.
fn count(status: &str, role: &str) -> usize {
    let roles = status
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    roles.filter(|of| *of == role).count()
}

#[test]
fn members_come_and_go() {
    let mut scene = Scene::new();
    let ports: [u16; 5] = ports();
    let address = |id: u64| format!("127.0.0.1:{}", ports[id as usize]);
    let peers = [1, 2, 3]
        .map(|id| format!("{id}={}", address(id)))
        .join(",");
    for id in [1, 2, 3] {
        let peers = format!("--peers={peers}");
        let listen = format!("--peer-listen={}", address(id));
        let mut flags = vec![format!("--id={id}"), listen, peers];
        if id == 1 {
            flags.push(format!("--metrics-listen=127.0.0.1:{}", ports[0]));
        }
        scene.start(id, &flags);
    }
    let status = scene.wait(2, "three members", |status| {
        (count(status, "leader"), count(status, "follower")) == (1, 2)
    });
    assert!(status.starts_with("OVN_Northbound: cluster "), "{status}");
    scene.nb(1, &["ls-add", "s1", "--", "lsp-add", "s1", "p1"]);

    scene.success(3, &["transfer", "2"]);
    scene.wait(1, "the new leader", |status| {
        status.contains("member 2 leads")
    });
    scene.failure(1, &["transfer", "9"], "9");

    // A fourth member: announced, and started while the announcement waits for it.
    let adding = Command::new(env!("CARGO_BIN_EXE_weft"))
        .args([
            "cluster",
            &scene.grpc(1),
            "--timeout=60",
            "add",
            "4",
            &address(4),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    scene.wait(2, "the announcement", |status| status.contains(&address(4)));
    let join = format!("--join={},{}", address(1), address(2));
    scene.start(
        4,
        &[
            "--id=4".to_owned(),
            format!("--peer-listen={}", address(4)),
            join,
        ],
    );
    let added = adding.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&added.stdout);
    assert!(
        added.status.success() && told.contains("--join=") && told.contains("member 4 has joined"),
        "{added:?}"
    );
    assert!(scene.nb(4, &["ls-list"]).contains("s1"));

    // The leader goes: another one leads first. The metrics know of it.
    scene.success(1, &["remove", "2"]);
    scene.kill(2);
    let status = scene.wait(1, "the removal", |status| {
        (count(status, "leader"), count(status, "follower")) == (1, 2)
    });
    assert!(!status.contains("member 2 leads"), "{status}");
    scene.nb(4, &["ls-add", "s2"]);
    assert!(scene.nb(1, &["ls-list"]).contains("s2"));
    let metrics = get(ports[0], "/metrics");
    let votes =
        |member: u64| metrics.contains(&format!("weft_db_member{{member=\"{member}\"}} 1\n"));
    assert_eq!(
        [1, 2, 3, 4].map(votes),
        [true, false, true, true],
        "{metrics}"
    );
    let kicked = scene.control(1, &["cluster/kick", "OVN_Northbound", "4"]);
    assert_eq!(kicked, "member 4 is removed\n");
}

/// Started when the leader has just been killed, and nobody leads.
#[test]
fn commands_wait_for_the_next_leader() {
    let mut scene = Scene::new();
    let ports: [u16; 6] = ports();
    let address = |id: u64| format!("127.0.0.1:{}", ports[id as usize]);
    let peers = [1, 2, 3]
        .map(|id| format!("{id}={}", address(id)))
        .join(",");
    let flags = |id: u64| {
        vec![
            format!("--id={id}"),
            format!("--peer-listen={}", address(id)),
            format!("--peers={peers}"),
        ]
    };
    for id in [1, 2, 3] {
        scene.start(id, &flags(id));
    }
    let new = address(5);
    let commands: [&[&str]; 3] = [
        &["transfer"],
        &["add", "5", &new, "--no-wait"],
        &["remove", "5"],
    ];
    for command in commands {
        let status = scene.wait(1, "three members", |status| {
            (count(status, "leader"), count(status, "follower")) == (1, 2)
        });
        let leader = [1, 2, 3].into_iter().find(|id| {
            let line = format!("member {id} leads");
            status.contains(&line)
        });
        let leader = leader.unwrap();
        scene.kill(leader);
        let output = scene.cluster_within(PATIENCE, &[1, 2, 3], command);
        assert!(output.status.success(), "{command:?}: {output:?}");
        scene.start(leader, &flags(leader));
    }
}

#[test]
fn a_backup_is_restored_and_checked() {
    let mut scene = Scene::new();
    let [metrics] = ports();
    scene.start(1, &[format!("--metrics-listen=127.0.0.1:{metrics}")]);
    scene.wait(1, "the server", |status| status.contains("member 1 leads"));
    scene.nb(
        1,
        &[
            "ls-add", "s1", "--", "lsp-add", "s1", "p1", "--", "pg-add", "g", "p1",
        ],
    );
    let list = ["--columns=_uuid,name,ports", "list", "Logical_Switch"];
    let expected = scene.nb(1, &list);

    // Metrics and health.
    let answer = get(metrics, "/metrics");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("# EOF\n"),
        "{answer}"
    );
    assert!(
        answer.contains("weft_db_rows{table=\"Logical_Switch\"} 1\n"),
        "{answer}"
    );
    assert!(answer.contains("weft_db_is_leader 1\n"), "{answer}");
    let shown = scene.control(1, &["metrics/show"]);
    for name in [
        "weft_db_transaction_seconds_count",
        "weft_db_disk_write_seconds_count",
        "weft_db_flush_seconds_count",
    ] {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(!line.ends_with(" 0"), "{line}");
    }
    assert!(get(metrics, "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(get(metrics, "/readyz").starts_with("HTTP/1.1 200 "));
    assert!(get(metrics, "/").starts_with("HTTP/1.1 404 "));

    // What scripts ask of ovsdb-server's clusters.
    assert!(
        scene
            .control(1, &["ovsdb-server/compact"])
            .contains("nothing to do")
    );
    assert!(
        scene
            .control(
                1,
                &["cluster/change-election-timer", "OVN_Northbound", "5000"]
            )
            .contains("nothing to do")
    );
    scene.failure(1, &["remove", "1"], "the last one that votes");

    let file = scene.text("backup");
    let told = scene.success(1, &["backup", &file]);
    assert!(told.contains("rows of OVN_Northbound"), "{told}");
    scene.failure(1, &["backup", &file], "--force");
    // A backup is a file that Open vSwitch's tools open.
    let query = "[\"OVN_Northbound\",{\"op\":\"select\",\"table\":\"Logical_Switch\",\"where\":[],\"columns\":[\"name\"]}]";
    let output = Command::new("ovsdb-tool")
        .args(["query", &file, query])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\"s1\""),
        "{output:?}"
    );
    assert!(
        scene
            .success(1, &["check", &file])
            .contains("nothing is wrong")
    );

    let restored = scene.text("data2");
    let told = scene.success(1, &["restore", &file, &restored, "--id=2"]);
    assert!(told.contains("member 2 of the new cluster"), "{told}");
    scene.failure(
        1,
        &["restore", &file, &restored],
        "a database in this directory already",
    );
    assert!(
        scene
            .success(1, &["check", &restored])
            .contains("nothing is wrong")
    );
    scene.start(2, &[]);
    scene.wait(2, "the restored server", |status| {
        status.contains("member 2 leads")
    });
    assert_eq!(scene.nb(2, &list), expected);
    scene.failure(1, &["check", &restored], "in use by another process");

    // One byte of the backup is enough.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() - 50;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    scene.failure(1, &["check", &file], "the checksum is wrong");
    scene.failure(
        1,
        &["restore", &file, &scene.text("data3")],
        "the checksum is wrong",
    );
}

#[test]
fn a_survivor_goes_on_alone() {
    let mut scene = Scene::new();
    let ports: [u16; 4] = ports();
    let address = |id: u64| format!("127.0.0.1:{}", ports[id as usize]);
    let peers = [1, 2, 3]
        .map(|id| format!("{id}={}", address(id)))
        .join(",");
    let member = |id: u64| {
        vec![
            format!("--id={id}"),
            format!("--peer-listen={}", address(id)),
        ]
    };
    for id in [1, 2, 3] {
        let mut flags = member(id);
        flags.push(format!("--peers={peers}"));
        scene.start(id, &flags);
    }
    scene.wait(1, "three members", |status| {
        (count(status, "leader"), count(status, "follower")) == (1, 2)
    });
    scene.nb(1, &["ls-add", "s1"]);
    scene.kill(2);
    // Two of three can go on; one of two could not.
    scene.failure(1, &["remove", "3"], "no majority would be left");
    scene.kill(3);
    scene.wait(1, "the loss of the leader", |status| {
        status.contains("nobody is known to lead")
    });
    // Which it may be for a moment only; not longer, here.
    let output = scene.cluster_within(Duration::from_secs(1), &[1], &["remove", "3"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("force-new"),
        "{output:?}"
    );
    scene.kill(1);
    let directory = scene.text("data1");
    scene.failure(1, &["force-new", &directory], "--yes");
    let told = scene.success(1, &["force-new", &directory, "--yes"]);
    assert!(told.contains("is now the only member"), "{told}");
    scene.start(1, &member(1));
    scene.wait(1, "the survivor", |status| {
        status.contains("member 1 leads")
    });
    assert!(scene.nb(1, &["ls-list"]).contains("s1"));
    // And others join it.
    let mut flags = member(2);
    flags.push(format!("--join={}", address(1)));
    std::fs::remove_dir_all(scene.path("data2")).unwrap();
    scene.start(2, &flags);
    scene.wait(1, "a new member", |status| count(status, "follower") == 1);
    assert!(scene.nb(2, &["ls-list"]).contains("s1"));
}
