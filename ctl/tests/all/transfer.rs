//! From OVN to Weft and back: databases of OVN's servers, imported, used, exported, and used by OVN again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ovsdb::file::{self, Contents};

const SCHEMA: &str = "/usr/share/ovn/ovn-nb.ovsschema";
const SB_SCHEMA: &str = "/usr/share/ovn/ovn-sb.ovsschema";

/// Processes and files, gone at the end.
struct Scene {
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl Scene {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            children: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn remote(&self, name: &str) -> String {
        format!("unix:{}", self.path(&format!("{name}.sock")))
    }

    fn create(&self, name: &str, schema: &str) {
        success("ovsdb-tool", &["create", &self.path(name), schema]);
    }

    /// OVN's server on the file `name`.
    fn serve(&mut self, name: &str, database: &str) -> String {
        let mut command = Command::new("ovsdb-server");
        command
            .arg(format!(
                "--remote=punix:{}",
                self.path(&format!("{name}.sock"))
            ))
            .arg(format!("--unixctl={}", self.path(&format!("{name}.ctl"))))
            .args(["-vconsole:off", &self.path(name)]);
        self.start(command);
        let remote = self.remote(name);
        success(
            "ovsdb-client",
            &["--timeout=60", "wait", &remote, database, "connected"],
        );
        remote
    }

    /// `weft-nb` on the data directory `name`.
    fn weft(&mut self, name: &str) -> String {
        let mut command = Command::new(beside("weft-nb"));
        command
            .arg(format!("--data-dir={}", self.path(name)))
            .arg(format!(
                "--listen=punix:{}",
                self.path(&format!("{name}.sock"))
            ))
            .arg(format!("--unixctl={}", self.path(&format!("{name}.ctl"))))
            .arg("-vconsole:off");
        self.start(command);
        let remote = self.remote(name);
        success(
            "ovsdb-client",
            &[
                "--timeout=60",
                "wait",
                &remote,
                "OVN_Northbound",
                "connected",
            ],
        );
        remote
    }

    fn start(&mut self, mut command: Command) {
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        self.children.push(child);
    }

    /// Ends the newest process and waits for it.
    fn stop(&mut self) {
        let mut child = self.children.pop().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn contents(&self, name: &str) -> Contents {
        let bytes = std::fs::read(self.path(name)).unwrap();
        file::read(&bytes, &mut |_| ()).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn beside(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name(name);
    let missing = "is missing: run `cargo build --package nb-db --package sb-db`";
    assert!(program.exists(), "{} {missing}", program.display());
    program
}

fn success(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn weft(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(arguments)
        .output()
        .unwrap()
}

fn weft_success(arguments: &[&str]) -> String {
    success(env!("CARGO_BIN_EXE_weft"), arguments)
}

fn weft_failure(arguments: &[&str], expected: &str) {
    let output = weft(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains(expected),
        "{arguments:?}: {output:?}"
    );
}

const NETWORK: &str = "init -- ls-add s1 -- lsp-add s1 p1 -- lsp-set-addresses p1 dynamic -- ls-add s2 \
    -- lr-add r1 -- lrp-add r1 rp1 00:00:00:00:00:01 10.0.0.1/24 -- lsp-add s1 up -- lsp-set-type up router \
    -- lsp-set-options up router-port=rp1 -- lrp-set-gateway-chassis rp1 gw 10 -- lr-nat-add r1 snat 1.2.3.4 10.0.0.0/24 \
    -- acl-add s1 to-lport 1000 ip4 allow-related -- lb-add l1 10.0.0.9:80 10.0.0.2:80,10.0.0.3:80 -- ls-lb-add s1 l1 \
    -- ls-lb-add s2 l1 -- pg-add pg1 p1 -- set-connection ptcp:6641";

/// A northbound database of OVN's server, stopped.
fn network(scene: &mut Scene) {
    scene.create("ovn", SCHEMA);
    let remote = scene.serve("ovn", "OVN_Northbound");
    let db = format!("--db={remote}");
    let words: Vec<&str> = [db.as_str()]
        .into_iter()
        .chain(NETWORK.split_whitespace())
        .collect();
    success("ovn-nbctl", &words);
    scene.stop();
}

#[test]
fn there_and_back_again() {
    let mut scene = Scene::new();
    network(&mut scene);
    let original = scene.contents("ovn");
    assert!(original.row_count() > 10);

    // There, into a new data directory.
    let (directory, file) = (
        format!("--data-dir={}", scene.path("weft")),
        scene.path("ovn"),
    );
    let told = weft_success(&["nb", "--", &directory, "import", &file]);
    assert!(
        told.starts_with(&format!("{} rows", original.row_count())),
        "{told}"
    );
    weft_failure(
        &["nb", "--", &directory, "import", &file],
        "a database in this directory already",
    );
    let remote = scene.weft("weft");
    let db = format!("--db={remote}");
    let ours = success("ovn-nbctl", &[&db, "show"]);
    assert!(ours.contains("switch") && ours.contains("router"), "{ours}");

    // And back, from the server and from its directory.
    let schema = format!("--schema={SCHEMA}");
    weft_success(&["nb", &db, "--", &schema, "export", &scene.path("back")]);
    assert_eq!(scene.contents("back"), original);
    weft_failure(&["nb", &db, "export", &scene.path("back")], "--force");
    weft_failure(
        &["nb", "--", &directory, "export", &scene.path("offline")],
        "in use by another process",
    );
    scene.stop();
    weft_success(&[
        "nb",
        "--",
        &directory,
        &schema,
        "export",
        &scene.path("offline"),
    ]);
    assert_eq!(scene.contents("offline"), original);

    // OVN's tools and its northd do their work on it.
    let back = scene.serve("back", "OVN_Northbound");
    scene.create("sb", SB_SCHEMA);
    let southbound = scene.serve("sb", "OVN_Southbound");
    let mut northd = Command::new("ovn-northd");
    northd
        .args([
            format!("--ovnnb-db={back}"),
            format!("--ovnsb-db={southbound}"),
        ])
        .arg(format!("--unixctl={}", scene.path("northd.ctl")))
        .arg("-vconsole:off");
    scene.start(northd);
    let db = format!("--db={back}");
    assert_eq!(success("ovn-nbctl", &[&db, "show"]), ours);
    success("ovn-nbctl", &["--timeout=60", &db, "--wait=sb", "sync"]);
    let flows = success(
        "ovn-sbctl",
        &[&format!("--db={southbound}"), "lflow-list", "s1"],
    );
    assert!(flows.contains("ls_in_"), "{flows}");
}

#[test]
fn from_a_running_cluster_into_a_running_server() {
    let mut scene = Scene::new();
    let peers = format!("unix:{}", scene.path("peers"));
    success(
        "ovsdb-tool",
        &["create-cluster", &scene.path("raft"), SCHEMA, &peers],
    );
    let source = scene.serve("raft", "OVN_Northbound");
    let source_db = format!("--db={source}");
    success(
        "ovn-nbctl",
        &[
            &source_db, "ls-add", "a", "--", "lsp-add", "a", "p", "--", "pg-add", "g", "p",
        ],
    );
    let target = scene.weft("weft");
    let db = format!("--db={target}");
    // What every new database has does not count.
    weft_success(&["nb", &db, "init"]);

    let told = weft_success(&["nb", &db, "import", &source]);
    assert!(told.contains("in one transaction"), "{told}");
    let list = |db: &str| {
        success(
            "ovn-nbctl",
            &[db, "--columns=_uuid,name,ports", "list", "Logical_Switch"],
        )
    };
    assert_eq!(list(&db), list(&source_db));
    weft_failure(
        &["nb", &db, "import", &source],
        "table Logical_Switch has rows; --replace",
    );
    weft_failure(&["sb", &db, "import", &source], "OVN_Southbound");
    success("ovn-nbctl", &[&db, "ls-add", "other"]);
    // The file of the cluster's member, instead of everything.
    weft_success(&["nb", &db, "--", "--replace", "import", &scene.path("raft")]);
    assert_eq!(list(&db), list(&source_db));
    // And from Weft into OVN's.
    success(
        "ovn-nbctl",
        &[&source_db, "ls-del", "a", "--", "pg-del", "g"],
    );
    weft_success(&["nb", &source_db, "import", &target]);
    assert_eq!(list(&db), list(&source_db));
}

#[test]
fn what_the_schema_lacks_is_named_and_refused() {
    let mut scene = Scene::new();
    let mut schema: serde_json::Value =
        serde_json::from_slice(&std::fs::read(SCHEMA).unwrap()).unwrap();
    schema["tables"]["Logical_Switch"]["columns"]["colour"] = serde_json::json!({"type": "string"});
    std::fs::write(scene.path("schema"), schema.to_string()).unwrap();
    scene.create("odd", &scene.path("schema"));
    let remote = scene.serve("odd", "OVN_Northbound");
    let insert = serde_json::json!(["OVN_Northbound", {"op": "insert", "table": "Logical_Switch",
        "row": {"name": "s", "colour": "red"}}]);
    success("ovsdb-client", &["transact", &remote, &insert.to_string()]);
    let directory = format!("--data-dir={}", scene.path("weft"));
    let file = scene.path("odd");
    weft_failure(
        &["nb", "--", &directory, "import", &file],
        "column colour of table Logical_Switch (1 rows)",
    );
    assert!(!Path::new(&scene.path("weft")).exists());
    let output = weft(&["nb", "--", &directory, "--skip-unknown", "import", &file]);
    assert!(output.status.success(), "{output:?}");
    let warning = String::from_utf8_lossy(&output.stderr);
    assert!(warning.contains("left out: column colour"), "{warning}");
    weft_failure(
        &["nb", "import", "--", "ls-add", "x"],
        "requires at least 1 arguments",
    );
    weft_failure(
        &["nb", "import", "x", "--", "ls-add", "x"],
        "a line of its own",
    );
}
