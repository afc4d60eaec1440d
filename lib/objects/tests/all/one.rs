//! One object: made, read, changed, deleted.

use objects::write::Along;
use objects::{Code, catalog};

use crate::lab::{Lab, refused};

/// An object of each kind with every field that its message has, and what it needs.
const ALL: &str = include_str!("every_field.yaml");

#[test]
fn what_is_written_is_read_back_for_every_field_of_every_kind() {
    let mut lab = Lab::new();
    lab.apply("all", ALL).unwrap();
    let objects = objects::document::read(ALL).unwrap().objects;
    let mut seen = std::collections::BTreeSet::new();
    for object in objects {
        let wanted = objects::document::to_declaration(&object);
        let declared = objects::Declared::new(&object).unwrap();
        let label = declared.kind.label();
        assert_eq!(lab.get(label, &declared.name).unwrap(), wanted);
        let fields = wanted[label].as_object().unwrap().keys().cloned();
        seen.extend(fields.map(|field| format!("{label}.{field}")));
    }
    for kind in catalog().kinds() {
        for field in &kind.fields {
            // These name rows of tables that are not offered.
            let foreign = [
                "copp",
                "load_balancer_group",
                "ha_chassis_group",
                "dhcp_relay",
                "bfd",
                "bfd_sessions",
                "network_function_group",
                "sample_new",
                "sample_est",
            ];
            let name = format!("{}.{}", kind.label(), field.name);
            assert!(
                foreign.contains(&field.name) || seen.contains(&name),
                "{name}"
            );
        }
    }
    assert_eq!(lab.apply("all", ALL).unwrap().len(), 1);
}

#[test]
fn an_object_is_made_once() {
    let mut lab = Lab::new();
    lab.create("name: s\nlogical_switch: {}").unwrap();
    refused(
        lab.create("name: s\nlogical_switch: {}"),
        Code::AlreadyExists,
        &["\"s\""],
    );
    let route =
        "name: r\nstatic_route: {logical_router: gw, ip_prefix: 10.0.0.0/8, nexthop: 10.0.0.1}";
    refused(
        lab.create(route),
        Code::Conflict,
        &["static_route.logical_router", "gw"],
    );
    lab.create("name: gw\nlogical_router: {}").unwrap();
    lab.create(route).unwrap();
    refused(lab.create(route), Code::AlreadyExists, &["\"r\""]);
    assert_eq!(
        lab.get("route", "r").unwrap()["static_route"]["logical_router"],
        "gw"
    );
}

#[test]
fn an_update_changes_what_its_mask_names() {
    let mut lab = Lab::new();
    lab.create(
        "name: s\nlogical_switch: {other_config: {subnet: 10.0.0.0/24}, external_ids: {a: b}}",
    )
    .unwrap();
    let new = "name: s\nlogical_switch: {external_ids: {c: d}}";
    refused(
        lab.update(new, &[], ""),
        Code::Invalid,
        &["update_mask", "no field", "other_config"],
    );
    refused(
        lab.update(new, &["ports"], ""),
        Code::Invalid,
        &["\"ports\" is no field", "other_config"],
    );
    let version = lab.version("switch", "s");
    lab.update(new, &["external_ids"], &version).unwrap();
    let switch = lab.get("switch", "s").unwrap();
    assert_eq!(
        switch["logical_switch"]["other_config"]["subnet"],
        "10.0.0.0/24"
    );
    assert_eq!(switch["logical_switch"]["external_ids"]["c"], "d");
    refused(
        lab.update(new, &["*"], &version),
        Code::Stale,
        &["version", "get the object again"],
    );
    refused(
        lab.delete("switch", "s", &version),
        Code::Stale,
        &["version"],
    );
    lab.update(new, &["logical_switch.*"], "").unwrap();
    let switch = lab.get("switch", "s").unwrap();
    assert!(
        switch["logical_switch"].get("other_config").is_none(),
        "{switch}"
    );
    let other = "name: t\nlogical_switch: {}";
    refused(lab.update(other, &["*"], ""), Code::NotFound, &["\"t\""]);
}

#[test]
fn an_update_keeps_name_and_owner() {
    let mut lab = Lab::new();
    lab.apply("net", "- name: d\n  dns: {external_ids: {a: b}}")
        .unwrap();
    lab.update(
        "name: d\ndns: {external_ids: {c: d}}",
        &["external_ids"],
        "",
    )
    .unwrap();
    assert_eq!(
        lab.apply("net", "- name: d\n  dns: {external_ids: {a: b}}")
            .unwrap(),
        ["~ dns d external_ids"]
    );
}

#[test]
fn a_name_of_several_is_no_name() {
    let mut lab = Lab::new();
    lab.create("name: s\nlogical_switch: {}").unwrap();
    // As OVN's tools may do.
    let second = lab
        .change(|draft| {
            let made = northbound::datapath::add_switch(
                draft,
                Some("s"),
                northbound::values::Existing::Duplicate,
            );
            Ok(made.unwrap().uuid)
        })
        .unwrap();
    let uuid = second.to_string();
    refused(
        lab.get("switch", "s"),
        Code::Conflict,
        &["2 logical_switch objects", &uuid],
    );
    assert_eq!(lab.get("switch", &uuid).unwrap()["name"], "s");
    lab.delete("switch", &uuid, "").unwrap();
    lab.get("switch", "s").unwrap();
}

#[test]
fn what_belongs_to_an_object_goes_with_it() {
    let mut lab = Lab::new();
    lab.create("name: s\nlogical_switch: {}").unwrap();
    lab.create("name: p\nlogical_switch_port: {logical_switch: s}")
        .unwrap();
    let orphan = "name: p\nlogical_switch_port: {}";
    refused(
        lab.update(orphan, &["logical_switch"], ""),
        Code::Invalid,
        &["logical_switch_port.logical_switch", "belongs to"],
    );
    refused(
        lab.delete("switch", "s", ""),
        Code::Conflict,
        &["\"p\"", "cascade"],
    );
    let of_another = lab.delete_with("switch", "s", "", Along::Owned("net"));
    refused(of_another, Code::Conflict, &["not to \"net\""]);
    lab.delete_with("switch", "s", "", Along::Everything)
        .unwrap();
    assert_eq!(lab.count("Logical_Switch_Port"), 0);
    refused(lab.delete("switch", "s", ""), Code::NotFound, &["\"s\""]);
}

#[test]
fn what_others_refer_to_is_not_deleted_by_the_way() {
    let mut lab = Lab::new();
    lab.create("name: s\nlogical_switch: {}").unwrap();
    lab.create("name: p\nlogical_switch_port: {logical_switch: s}")
        .unwrap();
    lab.create("name: g\nport_group: {ports: [p]}").unwrap();
    refused(
        lab.delete("switch-port", "p", ""),
        Code::Conflict,
        &["\"g\" refers to", "cascade"],
    );
    lab.delete_with("switch-port", "p", "", Along::Everything)
        .unwrap();
    assert_eq!(
        lab.get("port-group", "g").unwrap()["port_group"],
        serde_json::json!({})
    );
}

#[test]
fn a_field_that_a_mask_names_is_cleared() {
    let mut lab = Lab::new();
    lab.create("name: s\nlogical_switch: {}").unwrap();
    lab.create("name: p\nlogical_switch_port: {logical_switch: s, tag: 7}")
        .unwrap();
    let without = "name: p\nlogical_switch_port: {logical_switch: s}";
    lab.update(without, &["*"], "").unwrap();
    assert_eq!(
        lab.get("switch-port", "p").unwrap()["logical_switch_port"]["tag"],
        7
    );
    lab.update(without, &["tag", "portSecurity"], "").unwrap();
    assert!(
        lab.get("switch-port", "p").unwrap()["logical_switch_port"]
            .get("tag")
            .is_none()
    );
}
