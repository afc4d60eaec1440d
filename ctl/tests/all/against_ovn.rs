//! The same command lines given to OVN's tools and to ours, each against its own databases.
//!
//! `script.txt` has a line a run. After each, output, error output, exit status and the whole database must be the
//! same, except for UUIDs, whose place is taken by what their rows contain, and for the order of lines and of elements
//! in brackets, which OVN leaves to chance. A line with `~` in front is one where we say something else on purpose; it
//! is compared without the output.
//!
//! Without OVN's tools there is nothing to compare with, and the test does nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SCRIPT: &str = include_str!("../script.txt");

const SCHEMAS: &str = "/usr/share/ovn";

/// The tools, by their names in the script.
type Tools = [(&'static str, PathBuf); 2];

/// One of the two worlds: a northbound and a southbound database.
struct World {
    directory: PathBuf,
    /// The sockets of the two databases.
    sockets: [&'static str; 2],
    /// The control sockets of the servers.
    controls: &'static [&'static str],
    /// The tools, by their names in the script.
    tools: BTreeMap<&'static str, PathBuf>,
}

impl World {
    /// With OVN's databases.
    fn on_ovn(directory: &Path, tools: Tools) -> Self {
        std::fs::create_dir(directory).unwrap();
        let file = |name: &str| directory.join(name);
        for (name, schema) in [("nb", "ovn-nb.ovsschema"), ("sb", "ovn-sb.ovsschema")] {
            run(Command::new("ovsdb-tool")
                .arg("create")
                .arg(file(&format!("{name}.db")))
                .arg(Path::new(SCHEMAS).join(schema)));
        }
        run(Command::new("ovsdb-server")
            .args(["--detach", "--no-chdir", "-vconsole:off"])
            .arg(format!("--remote=punix:{}", file("db.sock").display()))
            .arg(format!("--pidfile={}", file("server.pid").display()))
            .arg(format!("--log-file={}", file("server.log").display()))
            .arg(format!("--unixctl={}", file("server.ctl").display()))
            .args([file("nb.db"), file("sb.db")]));
        Self {
            directory: directory.to_owned(),
            sockets: ["db.sock"; 2],
            controls: &["server.ctl"],
            tools: tools.into(),
        }
    }

    /// With ours, whose programs are `servers`.
    fn on_weft(directory: &Path, tools: Tools, servers: &[PathBuf; 2]) -> Self {
        std::fs::create_dir(directory).unwrap();
        for (name, server) in ["nb", "sb"].into_iter().zip(servers) {
            let file = |extension: &str| directory.join(format!("{name}{extension}"));
            run(Command::new(server)
                .args(["--detach", "--no-chdir", "-vconsole:off"])
                .arg(format!("--data-dir={}", file(".db").display()))
                .arg(format!("--listen=punix:{}", file(".sock").display()))
                .arg(format!("--pidfile={}", file(".pid").display()))
                .arg(format!("--log-file={}", file(".log").display()))
                .arg(format!("--unixctl={}", file(".ctl").display())));
        }
        Self {
            directory: directory.to_owned(),
            sockets: ["nb.sock", "sb.sock"],
            controls: &["nb.ctl", "sb.ctl"],
            tools: tools.into(),
        }
    }

    /// The remotes of the two databases.
    fn remotes(&self) -> [String; 2] {
        self.sockets
            .map(|socket| format!("unix:{}", self.directory.join(socket).display()))
    }

    fn execute(&self, tool: &str, arguments: &[String]) -> Output {
        let [northbound, southbound] = self.remotes();
        Command::new(&self.tools[tool])
            .args(arguments)
            .env("OVN_NB_DB", northbound)
            .env("OVN_SB_DB", southbound)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a line of the script does: exit status, output, error output, and all rows afterwards.
    fn run(&self, words: &[String]) -> (String, Vec<String>, Vec<String>, Vec<String>) {
        let output = self.execute(&words[0], &words[1..]);
        let labels = labels(&self.rows());
        let mut contents: Vec<String> = labels.values().cloned().collect();
        contents.sort_unstable();
        let stdout = normalise(&output.stdout, &labels);
        let stderr = normalise(&output.stderr, &labels);
        (output.status.to_string(), stdout, stderr, contents)
    }

    /// All rows of both databases: table, UUID, and the row.
    fn rows(&self) -> Vec<(String, String, Value)> {
        let mut rows = Vec::new();
        let databases = ["OVN_Northbound", "OVN_Southbound"];
        for (database, remote) in databases.into_iter().zip(self.remotes()) {
            let output =
                run(Command::new("ovsdb-client").args(["-f", "json", "dump", &remote, database]));
            for line in String::from_utf8(output.stdout).unwrap().lines() {
                let table: Value = serde_json::from_str(line).unwrap();
                let name = table["caption"].as_str().unwrap().replace(" table", "");
                for row in table["data"].as_array().unwrap() {
                    let columns = table["headings"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .zip(row.as_array().unwrap());
                    let columns: serde_json::Map<String, Value> = columns
                        .map(|(heading, datum)| {
                            (heading.as_str().unwrap().to_owned(), datum.clone())
                        })
                        .collect();
                    let uuid = columns["_uuid"][1].as_str().unwrap().to_owned();
                    let mut row = Value::Object(columns);
                    row["_uuid"] = Value::Null;
                    rows.push((format!("{database}.{name}"), uuid, row));
                }
            }
        }
        rows
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for control in self.controls {
            let socket = self.directory.join(control);
            let _ = Command::new("ovs-appctl")
                .arg("-t")
                .arg(socket)
                .arg("exit")
                .output();
        }
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// A name for each row that says what it contains, and through references what they contain.
fn labels(rows: &[(String, String, Value)]) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for _ in 0..3 {
        labels = rows
            .iter()
            .map(|(table, uuid, row)| {
                let mut row = row.clone();
                row.as_object_mut()
                    .unwrap()
                    .values_mut()
                    .for_each(|datum| relabel_datum(datum, &labels));
                let contents = row.to_string();
                // A stable short name for the contents; what matters is that it is the same in both worlds.
                let digest = contents.bytes().fold(5381_u64, |hash, byte| {
                    hash.wrapping_mul(33).wrapping_add(u64::from(byte))
                });
                (uuid.clone(), format!("<{table} {digest:x}>"))
            })
            .collect();
    }
    labels
}

/// The datum with labels in place of UUIDs, a set in the order of the labels.
fn relabel_datum(datum: &mut Value, labels: &BTreeMap<String, String>) {
    let mut relabelled: Value = serde_json::from_str(&relabel(&datum.to_string(), labels)).unwrap();
    if relabelled[0] == "set" {
        let elements = relabelled[1].as_array_mut().unwrap();
        elements.sort_by_key(Value::to_string);
    }
    *datum = relabelled;
}

/// The text with labels in place of UUIDs; those without a row are all the same.
pub(crate) fn relabel(text: &str, labels: &BTreeMap<String, String>) -> String {
    const LENGTH: usize = 36;
    let mut out = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let start = rest.get(..LENGTH).filter(|start| is_uuid(start));
        if let Some(uuid) = start {
            out.push_str(labels.get(uuid).map_or("<uuid>", String::as_str));
            rest = &rest[LENGTH..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(index, byte)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// The lines in an order of their own, elements in brackets likewise, without messages of the log.
fn normalise(text: &[u8], labels: &BTreeMap<String, String>) -> Vec<String> {
    let text = relabel(&String::from_utf8_lossy(text), labels);
    let is_log = |line: &&str| {
        line.starts_with("20")
            && ["|ERR|", "|WARN|", "|INFO|"]
                .iter()
                .any(|level| line.contains(level))
    };
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !is_log(line))
        .map(|line| {
            let (Some(open), Some(close)) = (line.find('['), line.rfind(']')) else {
                return line.to_owned();
            };
            if close < open {
                return line.to_owned();
            }
            let mut elements: Vec<&str> = line[open + 1..close].split(", ").collect();
            elements.sort_unstable();
            format!(
                "{}[{}]{}",
                &line[..open],
                elements.join(", "),
                &line[close + 1..]
            )
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// The words of a script line, as a shell reads them: quotes, backslashes, no variables.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' => words.extend(word.take()),
            '\'' => word
                .get_or_insert_default()
                .extend(characters.by_ref().take_while(|&c| c != '\'')),
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(character) = characters.next().filter(|&c| c != '"') {
                    let escaped = (character == '\\').then(|| characters.next()).flatten();
                    word.push(escaped.unwrap_or(character));
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// OVN's tools, and ours under their names, which makes ours behave as they do.
fn tools(directory: &Path) -> [Tools; 2] {
    for tool in ["ovn-nbctl", "ovn-sbctl", "ovsdb-server", "ovsdb-tool"] {
        let is_there = Command::new(tool).arg("--version").output().is_ok();
        assert!(is_there, "{tool} is missing: run `cargo xtask setup`");
    }
    let ours = ["ovn-nbctl", "ovn-sbctl"].map(|name| {
        let link = directory.join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_weft"), &link).unwrap();
        link
    });
    let [nb, sb] = ours;
    [
        [("nb", "ovn-nbctl".into()), ("sb", "ovn-sbctl".into())],
        [("nb", nb), ("sb", sb)],
    ]
}

#[test]
fn ovn_and_we_do_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let [ovn, weft] = tools(directory.path());
    let worlds = [
        World::on_ovn(&directory.path().join("ovn"), ovn),
        World::on_ovn(&directory.path().join("weft"), weft),
    ];
    compare(&worlds, false);
}

/// Our databases are of a newer version than OVN's tools here, so what those print is not the same; what they do is.
#[test]
fn ovn_and_we_do_the_same_to_our_databases() {
    let directory = tempfile::tempdir().unwrap();
    let beside = |name| Path::new(env!("CARGO_BIN_EXE_weft")).with_file_name(name);
    let servers = [beside("weft-nb"), beside("weft-sb")];
    let [ovn, weft] = tools(directory.path());
    for server in &servers {
        let name = server.display();
        assert!(
            server.exists(),
            "{name} is missing: run `cargo build --package nb-db --package sb-db`"
        );
    }
    let worlds = [
        World::on_weft(&directory.path().join("ovn"), ovn, &servers),
        World::on_weft(&directory.path().join("weft"), weft, &servers),
    ];
    compare(&worlds, true);
}

/// The labs, command by command: by OVN's tool, by ours, and by ours through a daemon.
#[test]
fn the_labs_are_described_alike_directly_and_by_a_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let [ovn, weft] = tools(directory.path());
    let (_, ours) = &weft[0];
    let daemon = World::on_ovn(&place("daemon"), weft.clone());
    let control = place("tool.ctl");
    let control = format!("--unixctl={}", control.display());
    let detach = ["--detach", "--no-chdir", &control].map(str::to_owned);
    let started = daemon.execute("nb", &detach);
    let socket = String::from_utf8(started.stdout).unwrap();
    let socket = socket.trim_end();
    let by_daemon = |words: &[String]| {
        let mut command = Command::new(ours);
        command.args(words).env("OVN_NB_DAEMON", socket);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let worlds = [
        World::on_ovn(&place("ovn"), ovn),
        World::on_ovn(&place("weft"), weft.clone()),
        daemon,
    ];
    for line in crate::trace::NETWORK
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let words = words(line);
        let outputs = [
            worlds[0].execute("nb", &words),
            worlds[1].execute("nb", &words),
            by_daemon(&words),
        ];
        for output in &outputs {
            assert!(output.status.success(), "{line}: {output:?}");
            let [said, expected] =
                [output, &outputs[0]].map(|output| normalise(&output.stdout, &BTreeMap::new()));
            assert_eq!(said, expected, "{line}");
        }
    }
    let contents = worlds.each_ref().map(|world| {
        let mut contents: Vec<String> = labels(&world.rows()).into_values().collect();
        contents.sort_unstable();
        contents
    });
    super::trace::exit(Path::new(socket));
    assert!(contents[0].len() > 50, "{contents:?}");
    assert_eq!(contents[1], contents[0]);
    assert_eq!(contents[2], contents[0]);
}

/// Gives the script to both worlds. With `only_effects`, what is printed does not matter.
fn compare(worlds: &[World; 2], only_effects: bool) {
    let mut different = Vec::new();
    let mut known = (Vec::new(), Vec::new());
    for (number, line) in SCRIPT.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (loose, command) = match line.strip_prefix("~ ") {
            Some(command) => (true, command),
            None => (only_effects, line),
        };
        let words = words(command);
        let [ovn, weft] = std::thread::scope(|scope| {
            let sides = worlds
                .each_ref()
                .map(|world| scope.spawn(|| world.run(&words)));
            sides.map(|side| side.join().unwrap())
        });
        let only = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter().filter(|row| !b.contains(row)).cloned().collect()
        };
        // A difference in the databases is told once, not again with every line after it.
        let rows = (only(&ovn.3, &weft.3), only(&weft.3, &ovn.3));
        let is_new = rows != known;
        if ovn.0 != weft.0 || is_new || (!loose && (ovn.1 != weft.1 || ovn.2 != weft.2)) {
            let mut report = format!("script.txt:{}: {line}\n", number + 1);
            for (who, side) in [("OVN ", &ovn), ("Weft", &weft)] {
                report.push_str(&format!(
                    "  {who}: {}, stdout {:#?}, stderr {:#?}\n",
                    side.0, side.1, side.2
                ));
            }
            if is_new {
                report.push_str(&format!(
                    "  rows only in OVN's: {:?}\n  rows only in ours: {:?}\n",
                    rows.0, rows.1
                ));
                known = rows;
            }
            different.push(report);
        }
    }
    assert!(
        different.is_empty(),
        "{} differences:\n{}",
        different.len(),
        different.join("\n")
    );
}
