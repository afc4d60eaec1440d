//! The door for programs held against its description by a tool that does not know Weft: buf reads the definitions, compares
//! them with what was released, and calls by reflection.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::folder::Folder;
use tests::implementation::python;
use tests::run::Run;

use crate::examples::Api;

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
