//! Bearer tokens: whom they let in, and the fences around what their owners have.

use super::*;

#[tokio::test]
async fn tokens_let_in_whom_they_are_for() {
    let scene = Scene::new();
    scene.rest(
        "POST",
        "/v1/switches",
        &json!({"name": "nobodys", "logical_switch": {}}),
    );
    // The row that has the tokens.
    let nb = Path::new(env!("CARGO_BIN_EXE_weft-api")).with_file_name("weft");
    let remote = format!("--db=unix:{}", scene.path("nb.sock").display());
    assert!(
        Command::new(nb)
            .args(["nb", &remote, "init"])
            .status()
            .unwrap()
            .success()
    );
    let reader = scene.token(&["create", "reader"]);
    let web = scene.token(&["create", "web", "--role=writer", "--owner=web"]);
    let late = scene.token(&["create", "late", "--expires-in=0s"]);
    let list = || ("GET", "/v1/switches", Value::Null);
    let switch = |name: &str| {
        let body = json!({"name": name, "logical_switch": {}});
        ("POST", "/v1/switches", body)
    };
    let apply = |owner: &str| {
        let objects = json!([{"name": "applied", "logical_switch": {}}]);
        (
            "POST",
            "/v1/apply",
            json!({"owner": owner, "objects": objects}),
        )
    };
    // Each lets in at once, and once revoked shows nothing more.
    for number in 0..20 {
        let name = format!("at-once-{number}");
        let token = scene.token(&["create", &name, "--role=writer"]);
        let header = format!("Authorization: Bearer {token}\r\n");
        let ask = |method: &str, path: &str, body: &str| {
            let answer = scene.try_rest_on("token.sock", &header, method, path, body);
            answer.unwrap()
        };
        let (status, answer) = ask("GET", "/v1/switches", "");
        assert_eq!(status, 200, "{name}: {answer}");
        scene.token(&["revoke", &name]);
        let made = json!({"name": name, "logical_switch": {}});
        let planned = json!({"owner": name, "objects": [made], "dry_run": true});
        // Each is the first after some of them.
        let mut asked = [
            ("GET", "/v1/switches", String::new()),
            ("POST", "/v1/switches", made.to_string()),
            ("POST", "/v1/apply", planned.to_string()),
        ];
        asked.rotate_left(number % 3);
        for (method, path, body) in asked {
            let (status, answer) = ask(method, path, &body);
            assert_eq!(status, 401, "{name}: {method} {path}: {answer}");
        }
    }
    scene.expect("", list(), (403, "PERMISSION_DENIED"));
    let expired = scene.expect(&late, list(), (401, "UNAUTHENTICATED"));
    assert!(
        expired["message"]
            .as_str()
            .unwrap()
            .contains("late has expired"),
        "{expired}"
    );
    for wrong in ["weft.reader.0", "x", "weft.none.0"] {
        scene.expect(wrong, list(), (401, "UNAUTHENTICATED"));
    }
    assert_eq!(
        scene.expect(&reader, list(), (200, ""))["objects"][0]["name"],
        "nobodys"
    );
    scene.expect(&reader, switch("s"), (403, "PERMISSION_DENIED"));
    scene.expect(&reader, apply("reader"), (403, "PERMISSION_DENIED"));
    // What the token for an owner's objects makes is that owner's, and others' are out of its reach.
    let made = scene.expect(&web, switch("s"), (201, ""));
    assert_eq!(made["owner"], "web");
    scene.expect(&web, apply("other"), (403, "PERMISSION_DENIED"));
    let objects = scene.expect(&web, list(), (200, ""));
    assert_eq!(objects["objects"].as_array().unwrap().len(), 1, "{objects}");
    for (method, path, body) in [
        ("GET", "/v1/switches/nobodys", Value::Null),
        ("GET", "/v1/switches?owner=other", Value::Null),
        ("GET", "/v1/watch?owner=other", Value::Null),
        ("DELETE", "/v1/switches/nobodys", Value::Null),
        (
            "PATCH",
            "/v1/switches/nobodys",
            json!({"logical_switch": {"other_config": {}}}),
        ),
    ] {
        scene.expect(&web, (method, path, body), (403, "PERMISSION_DENIED"));
    }
    let rename = json!({"uuid": "00000000-0000-0000-0000-000000000001", "logical_switch": {"other_config": {}}});
    let refused = scene.expect(
        &web,
        ("PATCH", "/v1/switches/s", rename),
        (400, "FAILED_PRECONDITION"),
    );
    assert_eq!(
        refused["details"][0]["fieldViolations"][0]["field"], "object.uuid",
        "{refused}"
    );
    let claimed = json!({"name": "t", "owner": "other", "logical_switch": {}});
    scene.expect(
        &web,
        ("POST", "/v1/switches", claimed),
        (400, "FAILED_PRECONDITION"),
    );
    // Nor do others' objects get anything of its, nor does it take what nobody owns.
    let drop_all = json!({"name": "x", "acl": {"logical_switches": ["nobodys"], "priority": 7,
        "direction": "to-lport", "match": "ip", "action": "drop"}});
    let refused = scene.expect(
        &web,
        ("POST", "/v1/acls", drop_all.clone()),
        (403, "PERMISSION_DENIED"),
    );
    let field = &refused["details"][0]["fieldViolations"][0]["field"];
    assert!(
        field
            .as_str()
            .unwrap()
            .starts_with("object.acl.logical_switches"),
        "{refused}"
    );
    let intruding =
        json!({"owner": "web", "objects": [{"name": "s", "logical_switch": {}}, drop_all]});
    scene.expect(
        &web,
        ("POST", "/v1/apply", intruding),
        (403, "PERMISSION_DENIED"),
    );
    // Nor do names lead over the fence that the database takes for texts.
    for (path, object) in [
        ("/v1/routers", json!({"name": "r", "logical_router": {}})),
        (
            "/v1/router-ports",
            json!({"name": "rp", "logical_router_port": {"logical_router": "r", "mac": "02:00:00:00:00:01",
                "networks": ["192.0.2.1/24"]}}),
        ),
        (
            "/v1/switch-ports",
            json!({"name": "nobodys-port", "logical_switch_port": {"logical_switch": "nobodys"}}),
        ),
    ] {
        scene.rest("POST", path, &object);
    }
    for (path, object) in [
        ("/v1/routers", json!({"name": "wr", "logical_router": {}})),
        (
            "/v1/router-ports",
            json!({"name": "wrp", "logical_router_port": {"logical_router": "wr", "mac": "02:00:00:00:00:02",
                "networks": ["192.0.2.2/24"]}}),
        ),
        (
            "/v1/switch-ports",
            json!({"name": "wp", "logical_switch_port": {"logical_switch": "s"}}),
        ),
    ] {
        scene.expect(&web, ("POST", path, object), (201, ""));
    }
    let on_switch = |more: Value| with(json!({"logical_switch": "s"}), &more);
    let on_router = |more: Value| {
        let port = json!({"logical_router": "wr", "mac": "02:00:00:00:00:03", "networks": ["192.0.2.3/24"]});
        with(port, &more)
    };
    let by_name =
        |name: &str| on_switch(json!({"type": "router", "options": {"router-port": name}}));
    let nat = json!({"logical_router": "wr", "type": "dnat_and_snat", "external_ip": "192.0.2.7",
        "logical_ip": "10.0.0.7", "external_mac": "02:00:00:00:00:09", "logical_port": "nobodys-port"});
    let (port, router_port) = (
        ("switch-ports", "logical_switch_port"),
        ("router-ports", "logical_router_port"),
    );
    let localnet = json!({"type": "localnet", "options": {"network_name": "phys"}});
    let redirect = json!({"options": {"routing-protocol-redirect": "nobodys-port"}});
    let mappings = json!({"192.0.2.9": "nobodys-port:192.0.2.1"});
    for ((plural, label), spec, place) in [
        (port, by_name("rp"), "options"),
        // A name is what it is, with its blanks.
        (port, by_name(" wrp "), "options"),
        (port, on_switch(localnet), "type"),
        (
            port,
            on_switch(
                json!({"type": "virtual", "options": {"virtual-parents": "wp,nobodys-port"}}),
            ),
            "options",
        ),
        (
            port,
            on_switch(json!({"type": "switch", "peer": "nobodys-port"})),
            "peer",
        ),
        (
            port,
            on_switch(json!({"parent_name": "nobodys-port", "tag_request": 1})),
            "parent_name",
        ),
        (
            port,
            on_switch(json!({"type": "l2gateway", "tag": 7})),
            "type",
        ),
        (router_port, on_router(json!({"peer": "rp"})), "peer"),
        (router_port, on_router(redirect), "options"),
        (
            ("routers", "logical_router"),
            json!({"options": {"snat-ct-zone": "5"}}),
            "options",
        ),
        (
            ("routers", "logical_router"),
            json!({"options": {"requested-tnl-key": "1"}}),
            "options",
        ),
        (
            ("switches", "logical_switch"),
            json!({"other_config": {"requested-tnl-key": "1"}}),
            "other_config",
        ),
        (
            ("load-balancers", "load_balancer"),
            json!({"ip_port_mappings": mappings}),
            "ip_port_mappings",
        ),
        (("nats", "nat"), nat, "logical_port"),
        (
            ("mirrors", "mirror"),
            json!({"type": "gre", "sink": "192.0.2.8", "filter": "both", "index": 1}),
            "sink",
        ),
        (
            ("mirrors", "mirror"),
            json!({"type": "lport", "sink": "nobodys-port", "filter": "both"}),
            "sink",
        ),
    ] {
        let path = format!("/v1/{plural}");
        let mut object = json!({"name": "intruder"});
        object[label] = spec;
        let refused = scene.expect(&web, ("POST", &path, object), (403, "PERMISSION_DENIED"));
        let field = &refused["details"][0]["fieldViolations"][0]["field"];
        assert_eq!(*field, format!("object.{label}.{place}"), "{refused}");
    }
    // What others name does not become its own, though there is nothing of that name.
    let dangling = json!({"name": "dangling", "logical_switch_port": {"logical_switch": "nobodys", "type": "router",
        "options": {"router-port": "later"}}});
    assert_eq!(scene.rest("POST", "/v1/switch-ports", &dangling).0, 201);
    let own = json!({"name": "later", "logical_router_port": {"logical_router": "wr", "mac": "02:00:00:00:00:77",
        "networks": ["192.0.2.17/28"]}});
    let refused = scene.expect(
        &web,
        ("POST", "/v1/router-ports", own),
        (403, "PERMISSION_DENIED"),
    );
    let field = &refused["details"][0]["fieldViolations"][0]["field"];
    assert_eq!(*field, "object.name", "{refused}");
    // Nor what the match of another's rule names, and what would so choose among the other's packets.
    let ruled = json!({"name": "ruled", "acl": {"logical_switches": ["nobodys"], "priority": 8, "direction": "to-lport",
        "match": "ip4.src == $partners && outport == @guests && ip6.src == $theirs_ip6", "action": "allow"}});
    assert_eq!(scene.rest("POST", "/v1/acls", &ruled).0, 201);
    let set = json!({"address_set": {"addresses": ["192.0.2.66"]}});
    let group = json!({"port_group": {"ports": ["wp"]}});
    for (path, name, object) in [
        ("/v1/address-sets", "partners", &set),
        ("/v1/address-sets", "theirs_ip6", &set),
        ("/v1/port-groups", "guests", &group),
        ("/v1/port-groups", "theirs", &group),
    ] {
        let object = with(object.clone(), &json!({"name": name}));
        let refused = scene.expect(&web, ("POST", path, object), (403, "PERMISSION_DENIED"));
        let field = &refused["details"][0]["fieldViolations"][0]["field"];
        assert_eq!(*field, "object.name", "{refused}");
    }
    // Several at once are looked up in another way, to the same end.
    let named = |name: &str, object: &Value| with(object.clone(), &json!({"name": name}));
    let several = [
        named("its_own_first", &set),
        named("partners", &set),
        named("guests", &group),
        named("theirs", &group),
        named("theirs_ip6", &set),
        named("its_own_last", &group),
        named(
            "later",
            &json!({"logical_router_port": {"logical_router": "wr", "mac": "02:00:00:00:00:78",
            "networks": ["192.0.2.33/28"]}}),
        ),
    ];
    let own = json!([{"name": "s", "logical_switch": {}}, {"name": "wr", "logical_router": {}},
        {"name": "wrp", "logical_router_port": {"logical_router": "wr", "mac": "02:00:00:00:00:02",
            "networks": ["192.0.2.2/24"]}},
        {"name": "wp", "logical_switch_port": {"logical_switch": "s"}}]);
    let objects = [own.as_array().unwrap(), &several[..]].concat();
    let together = json!({"owner": "web", "objects": objects});
    let refused = scene.expect(
        &web,
        ("POST", "/v1/apply", together),
        (403, "PERMISSION_DENIED"),
    );
    let violations = refused["details"][0]["fieldViolations"].as_array().unwrap();
    let mut fields: Vec<&str> = violations
        .iter()
        .map(|wrong| wrong["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    let expected = [10, 5, 6, 7, 8].map(|number| format!("objects[{number}].name"));
    assert_eq!(fields, expected, "{refused}");
    for (path, object) in [("/v1/address-sets", set), ("/v1/port-groups", group)] {
        let object = with(object, &json!({"name": "its_own"}));
        scene.expect(&web, ("POST", path, object), (201, ""));
    }
    // What is its own it names.
    for (name, spec) in [
        ("to-router", by_name("wrp")),
        (
            "floating",
            on_switch(
                json!({"type": "virtual", "options": {"virtual-parents": "wp", "virtual-ip": "192.0.2.4"}}),
            ),
        ),
        (
            "nested",
            on_switch(json!({"parent_name": "wp", "tag_request": 7})),
        ),
    ] {
        let object = json!({"name": name, "logical_switch_port": spec});
        scene.expect(&web, ("POST", "/v1/switch-ports", object), (201, ""));
    }
    let adopting = json!({"owner": "web", "adopt": true, "objects": [{"name": "nobodys", "logical_switch": {}}]});
    scene.expect(
        &web,
        ("POST", "/v1/apply", adopting),
        (403, "PERMISSION_DENIED"),
    );
    // The same over gRPC.
    let mut client = scene.client("token-grpc.sock").await;
    let get = v1::GetRequest {
        kind: Kind::LogicalSwitch.into(),
        name: "s".to_owned(),
    };
    let shown = |token: &str| {
        let mut request = tonic::Request::new(get.clone());
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    };
    assert_eq!(
        client.get(get.clone()).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    assert_eq!(
        client.get(shown("x")).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let found = client.get(shown(&web)).await.unwrap().into_inner();
    assert_eq!(found.object.unwrap().owner, "web");
    // Who watches with a token that is taken back is told so, and no more.
    let mut watch = tonic::Request::new(v1::WatchRequest::default());
    let header = format!("Bearer {reader}").parse().unwrap();
    watch.metadata_mut().insert("authorization", header);
    let mut stream = client.watch(watch).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().reset);
    scene.token(&["revoke", "reader"]);
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unauthenticated);
    scene.expect(&reader, list(), (401, "UNAUTHENTICATED"));
    let listed = scene.token(&["list"]);
    let has = |name: &str| listed.lines().any(|line| line.starts_with(name));
    assert!(has("web") && !has("reader"), "{listed}");
}
