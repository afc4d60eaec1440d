//! The doors for programs held against their descriptions by tools that do not know Weft: buf reads the definitions, compares
//! them with what was released, and calls by reflection; schemathesis reads the OpenAPI, and asks what it allows and what not.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::folder::Folder;
use tests::implementation::{
    Database, Door, Implementation, Side, python, start_northd, weft_binary,
};
use tests::process::{Daemon, control_socket};
use tests::run::Run;
use tests::wait::wait_for;

use crate::examples::Api;

/// So long schemathesis may take.
const LIMIT: Duration = Duration::from_secs(600);
/// What schemathesis holds against the description, beside that nothing goes wrong inside. That what is well-made is accepted
/// is not among it: whether a reference leads somewhere, no description says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,negative_data_rejection,\
                      missing_required_header,unsupported_method,allow_header_conformance,use_after_free,\
                      ensure_resource_availability";

/// What differs by operation. A watch has no end, but its first event comes at once. The phase `coverage` takes minutes for the schema of
/// Apply alone, whose objects it sends one by one to the paths of their kinds.
const SETTINGS: &str = "max-stream-events = 1

[[operations]]
include-path = \"/v1/apply\"
phases.coverage.enabled = false
";

/// A program of the outside clients.
fn client(name: &str) -> Result<PathBuf> {
    Ok(python()?.with_file_name(name))
}

fn checked(what: impl FnOnce() -> Result<()>) {
    if let Err(error) = what() {
        panic!("{error:#}");
    }
}

#[test]
fn the_definitions_are_as_buf_wants_them_and_break_nothing_released() {
    checked(|| {
        let proto = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../lib/objects/proto");
        let buf = || Ok::<_, anyhow::Error>(Run::new(client("buf")?));
        buf()?.arg("lint").arg(&proto).output()?;
        let released = proto.join("released.binpb");
        buf()?
            .arg("breaking")
            .arg(&proto)
            .arg("--against")
            .arg(&released)
            .output()?;
        Ok(())
    });
}

#[test]
fn buf_calls_by_reflection() {
    checked(|| {
        let folder = Folder::create()?;
        let api = Api::start(folder.path())?;
        let call = |method: &str, request: &Value| -> Result<Run> {
            let run = Run::new(client("buf")?)
                .args(["curl", "--protocol=grpc", "--http2-prior-knowledge"])
                .arg(format!("--unix-socket={}", api.grpc.display()))
                .arg(format!("--data={request}"))
                .arg(format!(
                    "http://weft/weft.northbound.v1.Northbound/{method}"
                ));
            Ok(run)
        };
        let answered = |method: &str, request: Value| -> Result<Value> {
            let text = call(method, &request)?.output()?;
            serde_json::from_str(&text).with_context(|| text.clone())
        };
        let objects = json!([
            {"name": "s", "logicalSwitch": {}},
            {"name": "p", "logicalSwitchPort": {"logicalSwitch": "s", "addresses": ["02:00:00:00:00:01 192.0.2.1"]}},
        ]);
        let declared = json!({"owner": "buf", "objects": objects});
        let planned = answered(
            "Apply",
            json!({"owner": "buf", "objects": objects, "dryRun": true}),
        )?;
        let listed = answered("List", json!({"kind": "KIND_LOGICAL_SWITCH"}))?;
        ensure!(
            listed["objects"].is_null(),
            "{planned} was not only planned: {listed}"
        );
        answered("Apply", declared.clone())?;
        let again = answered("Apply", declared)?;
        ensure!(again["changes"].is_null(), "it changes again: {again}");
        let port = json!({"kind": "KIND_LOGICAL_SWITCH_PORT", "name": "p"});
        let found = answered("Get", port.clone())?;
        let port_now = &found["object"]["logicalSwitchPort"];
        ensure!(port_now["logicalSwitch"] == "s", "{found}");
        let update = json!({
            "object": {"name": "p", "version": "0", "logicalSwitchPort": {"enabled": false}},
            "updateMask": "logicalSwitchPort.enabled",
        });
        let complaint = call("Update", &update)?.complaint()?;
        ensure!(complaint.contains("version"), "{complaint}");
        answered("Delete", port.clone())?;
        let complaint = call("Get", &port)?.complaint()?;
        ensure!(complaint.contains("not_found"), "{complaint}");
        Ok(())
    });
}

#[test]
fn schemathesis_gets_the_answers_that_the_description_promises() {
    checked(|| {
        let folder = Folder::create()?;
        let dir = folder.path();
        let start = |side| Database::start(Implementation::Weft, side, dir, None, None);
        let databases = [start(Side::Northbound)?, start(Side::Southbound)?];
        let [nb, sb] = databases
            .each_ref()
            .map(|database| database.local_remote(Door::Grpc));
        // Who asks to wait for the southbound waits for it.
        let _northd = start_northd(Implementation::Weft, dir, None, &nb, &sb)?;
        // An address of this process alone, for it knows no sockets with paths.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let address = format!("127.{a}.{b}.{c}");
        let control = control_socket(dir, "api");
        let run = Run::new(weft_binary("weft-api")?)
            .arg(format!("--nb={nb}"))
            .args(["--plaintext", &format!("--rest-listen=ptcp:8080:{address}")])
            .arg(format!("--unixctl={}", control.display()))
            .env("OVN_RUNDIR", dir);
        let _api = Daemon::start("api", dir, run, control, None)?;
        let page = format!("http://{address}:8080/openapi.json");
        wait_for("weft-api to answer", LIMIT, || {
            let asked = Run::new("curl").args(["--silent", "--fail", "--output", "/dev/null"]);
            Ok(asked.arg(&page).succeeds()?.then_some(()))
        })?;
        // It reads its settings in the folder where it runs, and writes there.
        std::fs::write(dir.join("schemathesis.toml"), SETTINGS)?;
        let run = Run::new("env").arg("-C").arg(dir);
        run.arg(client("schemathesis")?)
            .args(["run", &page, "--no-color", "--generation-database=none"])
            // Some 12,000 requests, always the same.
            .args(["--seed=1", "--phases=coverage,fuzzing", "--max-examples=25"])
            .args(["--continue-on-failure", "--suppress-health-check=all"])
            .args(["--checks", CHECKS])
            .env("HYPOTHESIS_STORAGE_DIRECTORY", dir)
            .within(LIMIT)
            .output()
            .map(drop)
    });
}
