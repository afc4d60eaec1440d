//! The examples of `docs/operations.md`, run in the order in which they stand there.
//!
//! Paths and addresses of the page become ones of this test: everything else is as a reader would type it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../../docs/operations.md");

/// The blocks of the page that are marked as shell.
fn examples() -> Vec<String> {
    let mut examples = Vec::new();
    let mut current: Option<String> = None;
    for line in PAGE.lines() {
        match (&mut current, line) {
            (None, "```sh") => current = Some(String::new()),
            (Some(_), "```") => examples.extend(current.take()),
            (Some(example), line) => {
                example.push_str(line);
                example.push('\n');
            }
            (None, _) => {}
        }
    }
    examples
}

/// Ends what the examples have started, when they have failed before doing it themselves.
struct Daemons<'d>(&'d Path);

impl Drop for Daemons<'_> {
    fn drop(&mut self) {
        for file in std::fs::read_dir(self.0).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "pid")
                && let Ok(pid) = std::fs::read_to_string(&path)
            {
                let _ = Command::new("kill").arg(pid.trim()).output();
            }
        }
    }
}

#[test]
fn the_examples_of_the_book_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["run", "lib", "ovn"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    let _daemons = Daemons(&path("run"));
    let programs = Path::new(env!("CARGO_BIN_EXE_weft")).parent().unwrap();
    for program in ["weft-nb", "weft-sb"] {
        let missing = "is missing: run `cargo build --package nb-db --package sb-db`";
        assert!(programs.join(program).exists(), "{program} {missing}");
    }
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = listeners.map(|listener| listener.local_addr().unwrap().port().to_string());
    let replaced = [
        ("/var/run/ovn", path("run").display().to_string()),
        ("/var/lib/weft", path("lib").display().to_string()),
        ("/var/lib/ovn", path("ovn").display().to_string()),
        ("10.0.0.1:6643", format!("127.0.0.1:{}", ports[0])),
        ("10.0.0.2:6643", format!("127.0.0.1:{}", ports[1])),
        ("10.0.0.3:6643", format!("127.0.0.1:{}", ports[2])),
        ("127.0.0.1:9476", format!("127.0.0.1:{}", ports[3])),
    ];
    // What an operator who comes from OVN has.
    let mut script = format!(
        "set -e -x\nexport PATH={}:$PATH OVN_RUNDIR={} OVS_RUNDIR={}\n",
        programs.display(),
        path("run").display(),
        path("run").display()
    );
    script.push_str(
        "ovsdb-tool create /var/lib/ovn/ovnnb_db.db /usr/share/ovn/ovn-nb.ovsschema\n\
         ovsdb-tool transact /var/lib/ovn/ovnnb_db.db '[\"OVN_Northbound\",{\"op\":\"insert\",\
         \"table\":\"Logical_Switch\",\"row\":{\"name\":\"s1\"}}]'\n",
    );
    let examples = examples();
    assert!(examples.len() >= 8, "{examples:?}");
    script.extend(examples);
    // What came in at the beginning is in what goes out at the end.
    script.push_str(
        "ovsdb-tool query /var/lib/ovn/back.db '[\"OVN_Northbound\",{\"op\":\"select\",\
         \"table\":\"Logical_Switch\",\"where\":[],\"columns\":[\"name\"]}]'\n",
    );
    for (from, to) in replaced {
        script = script.replace(from, &to);
    }
    let file = path("examples.sh");
    std::fs::write(&file, script).unwrap();
    let output = Command::new("timeout")
        .args(["300", "bash"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let trace = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{trace}");
    assert!(
        text.contains("member 1 leads") && text.contains("nothing is wrong"),
        "{text}"
    );
    assert!(
        text.ends_with("[{\"rows\":[{\"name\":\"s1\"}]}]\n"),
        "{text}"
    );
}
