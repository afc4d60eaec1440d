//! `weft apply`, `get`, `describe` and `delete`, on Weft's northbound and on OVN's: what the examples declare is applied,
//! applied again, changed and pruned.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
const SCHEMA: &str = "/usr/share/ovn/ovn-nb.ovsschema";

/// A northbound and its server.
struct Scene {
    directory: TempDir,
    server: Child,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Scene {
    fn weft() -> Self {
        let directory = TempDir::new().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name("weft-nb");
        let missing = "is missing: run `cargo build --package nb-db`";
        assert!(program.exists(), "{} {missing}", program.display());
        let mut command = Command::new(program);
        command
            .arg(format!(
                "--data-dir={}",
                directory.path().join("nb").display()
            ))
            .arg(format!("--listen=punix:{}", socket(&directory).display()))
            .args(["--unixctl=none", "-vconsole:off"]);
        Self::start(directory, command)
    }

    fn ovn() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("nb.db");
        let made = Command::new("ovsdb-tool")
            .arg("create")
            .arg(&file)
            .arg(SCHEMA)
            .status();
        assert!(made.unwrap().success());
        let mut command = Command::new("ovsdb-server");
        command
            .arg(format!("--remote=punix:{}", socket(&directory).display()))
            .arg(format!(
                "--unixctl={}",
                directory.path().join("nb.ctl").display()
            ))
            .arg("-vconsole:off")
            .arg(&file);
        Self::start(directory, command)
    }

    fn start(directory: TempDir, mut command: Command) -> Self {
        let server = command.stderr(Stdio::null()).spawn().unwrap();
        let remote = format!("unix:{}", socket(&directory).display());
        let connected = Command::new("ovsdb-client")
            .args([
                "--timeout=60",
                "wait",
                &remote,
                "OVN_Northbound",
                "connected",
            ])
            .status();
        assert!(connected.unwrap().success());
        Self { directory, server }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_weft"))
            .env(
                "OVN_NB_DB",
                format!("unix:{}", socket(&self.directory).display()),
            )
            .args(arguments)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], words: &[&str]) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(error.contains(word), "{word:?} is not in {error}");
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("nb.sock")
}

fn example(name: &str) -> (String, String) {
    let path = format!("{EXAMPLES}/{name}");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The example is applied, applied again, changed and pruned.
#[track_caller]
fn walk(scene: &Scene) {
    let (lab, text) = example("lab.yaml");
    let created = scene.says(&["apply", "-f", &lab, "--dry-run"]);
    assert_eq!(created.matches("would be created").count(), 7, "{created}");
    let created = scene.says(&["apply", "-f", &lab]);
    assert_eq!(created.matches(" created\n").count(), 7, "{created}");
    assert_eq!(scene.says(&["apply", "-f", &lab]), "7 unchanged\n");

    let changed = text.replace("tag_request: 52", "tag_request: 53");
    let changed = scene.file("changed.yaml", &changed);
    assert_eq!(
        scene.says(&["apply", "-f", &changed]),
        "logical_switch_port/dmz-c52 changed: tag_request\n6 unchanged\n"
    );
    let (fewer, _) = text.split_once("- name: dmz-c52").unwrap();
    let fewer = scene.file("fewer.yaml", fewer);
    assert_eq!(
        scene.says(&["apply", "-f", &fewer]),
        "logical_switch_port/dmz-c52 deleted\n6 unchanged\n"
    );

    // What is printed can be applied.
    let printed = scene.says(&["get", "switch-ports", "--in", "dmz", "-o", "yaml"]);
    assert!(printed.contains("parent_name: dmz-vm5"), "{printed}");
    let printed = scene.file("printed.yaml", &printed);
    scene.fails(
        &["apply", "-f", &printed, "--owner", "other"],
        &[
            "4 things are wrong",
            "objects[0].name",
            "belongs to \"lab\"",
        ],
    );
    let table = scene.says(&["get", "switch-ports"]);
    assert!(
        table.starts_with("NAME     LOGICAL_SWITCH  UP  PROBLEMS  OWNER\n"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 5);
    let page = scene.says(&["describe", "switch-port", "dmz-vm1"]);
    assert!(
        page.contains("owner: lab") && page.contains("dhcpv4_options: dmz"),
        "{page}"
    );

    let (routed, _) = example("routed.yaml");
    scene.says(&["apply", "-f", &routed, "--owner", "routed"]);
    let again = scene.says(&["apply", "-f", &routed, "--owner", "routed"]);
    assert_eq!(again, "18 unchanged\n");
    let (_, text) = example("routed.yaml");
    let changed = text.replace("priority: 20}", "priority: 30}");
    let changed = scene.file("routed.yaml", &changed);
    let words = ["apply", "-f", &changed, "--owner", "routed"];
    let told = scene.says(&words);
    assert_eq!(
        told,
        "logical_router_port/tenant1-outside changed: gateway_chassis\n17 unchanged\n"
    );
    let (fewer, _) = text.split_once("- name: web-nothing-else").unwrap();
    let fewer = scene.file("routed.yaml", fewer);
    let told = scene.says(&["apply", "-f", &fewer, "--owner", "routed"]);
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    let expected = [
        "16 unchanged",
        "acl/web-nothing-else deleted",
        "logical_router_port/tenant1-outside changed: gateway_chassis",
    ];
    assert_eq!(lines, expected);
    let nothing = scene.file("nothing.yaml", "owner: routed\nobjects: []\n");
    let deleted = scene.says(&["apply", "-f", &nothing]);
    assert_eq!(deleted.matches(" deleted\n").count(), 17, "{deleted}");
    assert_eq!(
        scene.says(&["get", "switches", "-o", "name"]),
        "logical_switch/dmz\n"
    );

    scene.fails(&["delete", "switch", "dmz"], &["dmz-", "cascade"]);
    let stranger = scene.file(
        "stranger.yaml",
        "owner: other\nobjects:\n- name: dmz\n  logical_switch: {}\n",
    );
    scene.fails(&["delete", "-f", &stranger], &["belongs to \"lab\""]);
    let silence = scene.file("silence.yaml", "");
    scene.fails(
        &["apply", "--owner", "lab", "-f", &silence],
        &["silence.yaml", "nothing is declared"],
    );
    scene.says(&["delete", "-f", &lab, "--if-exists"]);
    scene.fails(&["delete", "switch", "dmz"], &["\"dmz\""]);
}

#[test]
fn the_examples_are_applied_changed_and_pruned() {
    walk(&Scene::weft());
}

/// What `weft diff` prints, and its exit status.
#[track_caller]
fn difference(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String) {
    let output = scene.run(&[&["diff"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text + &error)
}

#[test]
fn differences_are_told_and_nothing_else() {
    let (here, there) = (Scene::weft(), Scene::ovn());
    let (lab, text) = example("lab.yaml");
    for scene in [&here, &there] {
        scene.says(&["nb", "init"]);
        scene.says(&["apply", "-f", &lab]);
    }
    let remote = |scene: &Scene| format!("unix:{}", socket(&scene.directory).display());
    let (left, right) = (remote(&here), remote(&there));
    // Their UUIDs are others, and so is what the daemons have written.
    here.says(&["nb", "set", "Logical_Switch_Port", "dmz-vm1", "up=true"]);
    let same = (Some(0), String::new());
    assert_eq!(difference(&here, &[&left, &right]), same);
    assert_eq!(difference(&here, &["-f", &lab]), same);

    let changed = text.replace("tag_request: 52", "tag_request: 53");
    let changed = here.file("changed.yaml", &changed);
    let expected = "northbound: 0 rows added, 1 changed, 0 removed\n  ~ Logical_Switch_Port dmz-c52\n      \
                    tag_request: 52 -> 53\n";
    let told = difference(&here, &["-f", &changed]);
    assert_eq!(told, (Some(1), expected.to_owned()));
    there.says(&["apply", "-f", &changed]);
    assert_eq!(
        difference(&here, &[&left, &right]),
        (Some(1), expected.to_owned())
    );
    // One is compared with that of --db.
    let back = expected.replace("52 -> 53", "53 -> 52");
    assert_eq!(difference(&here, &[&right]), (Some(1), back));

    there.says(&["nb", "acl-add", "dmz", "to-lport", "7", "ip4", "drop"]);
    let (status, told) = difference(&here, &[&left, &right]);
    assert_eq!(status, Some(1));
    for line in [
        "northbound: 1 row added, 2 changed, 0 removed\n",
        "  + ACL to-lport 7 ip4 drop\n",
        "  ~ Logical_Switch dmz\n      acls: [] -> to-lport 7 ip4 drop\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    for (arguments, word) in [
        (&["unix:/none", &left, "--timeout=2"][..], "unix:/none"),
        (&[][..], "nothing to compare"),
        (&[&left, "-f", &lab][..], "not both"),
        (&["-f", "/none.yaml"][..], "/none.yaml"),
        (&["-f", &lab, "--database=sb"][..], "northbound"),
    ] {
        let (status, told) = difference(&here, arguments);
        assert!(
            status == Some(2) && told.contains(word),
            "{arguments:?}: {told}"
        );
    }
}

/// Rules in tiers, which OVN's northbound of this machine may not know.
#[test]
fn so_is_the_example_with_rules() {
    let scene = Scene::weft();
    let (policy, text) = example("policy.yaml");
    let created = scene.says(&["apply", "-f", &policy]);
    let count = created.matches(" created\n").count();
    assert_eq!(count, text.matches("- name: ").count(), "{created}");
    assert_eq!(
        scene.says(&["apply", "-f", &policy]),
        format!("{count} unchanged\n")
    );
    let changed = text.replace("{rate: 10000}", "{rate: 20000}");
    let changed = scene.file("policy.yaml", &changed);
    assert_eq!(
        scene.says(&["apply", "-f", &changed]),
        format!("qos/slow changed: bandwidth\n{} unchanged\n", count - 1)
    );
    let (fewer, _) = text.split_once("- name: slow").unwrap();
    let fewer = scene.file("policy.yaml", fewer);
    let pruned = scene.says(&["apply", "-f", &fewer]);
    let mut lines: Vec<&str> = pruned.lines().collect();
    lines.sort_unstable();
    let unchanged = format!("{} unchanged", count - 2);
    assert_eq!(lines, [&unchanged, "qos/slow deleted", "qos/voice deleted"]);
    let nothing = scene.file("nothing.yaml", "owner: policy\nobjects: []\n");
    let deleted = scene.says(&["apply", "-f", &nothing]);
    assert_eq!(
        deleted.matches(" deleted\n").count(),
        count - 2,
        "{deleted}"
    );
}

#[test]
fn they_are_on_the_northbound_of_ovn_as_well() {
    walk(&Scene::ovn());
}

#[test]
fn what_cannot_be_applied_is_told_with_its_place() {
    let scene = Scene::weft();
    let file = |text: &str| scene.file("wrong.yaml", text);
    for (text, words) in [
        (
            "- name: a\n  logical_swich: {}",
            &["wrong.yaml", "logical_swich", "logical_switch"][..],
        ),
        (
            "- name: a\n  acl: {match: 'ip4.src = 1'}",
            &["objects[0].acl.match"],
        ),
        (
            "- name: a\n  logical_switch_port: {logical_switch: none}",
            &["\"none\""],
        ),
        ("a: [", &["wrong.yaml", "document 1"]),
    ] {
        scene.fails(&["apply", "--owner", "o", "-f", &file(text)], words);
    }
    scene.fails(&["apply", "-f", &file("[]")], &["--owner"]);
    scene.fails(&["apply", "-f", "/none"], &["/none"]);
    scene.fails(&["apply"], &["-f"]);
    scene.fails(&["get", "pods"], &["pods", "switch-ports"]);
    scene.fails(&["get", "switch", "none"], &["\"none\""]);
    let schema = scene.says(&["apply", "--print-schema"]);
    assert!(schema.contains("\"allow-stateless\""), "{schema}");
}

/// Who has had no answer applies again. Nothing is to be done then, but what was done before may not be everywhere yet.
#[test]
fn who_applies_again_waits_for_what_was_done_before() {
    let scene = Scene::weft();
    scene.says(&["nb", "init"]);
    let (lab, _) = example("lab.yaml");
    scene.says(&["apply", "-f", &lab]);
    std::thread::scope(|scope| {
        let again = scope.spawn(|| scene.says(&["apply", "-f", &lab, "--wait=sb"]));
        let counted = [
            "nb",
            "--timeout=60",
            "wait-until",
            "NB_Global",
            ".",
            "nb_cfg=1",
        ];
        scene.says(&counted);
        assert!(!again.is_finished(), "nobody has said that it is there");
        scene.says(&["nb", "set", "NB_Global", ".", "sb_cfg=1"]);
        assert_eq!(again.join().unwrap(), "7 unchanged\n");
    });
}
