//! What was released of the protocols stays: names and numbers of messages, fields, values and calls, which clients have built
//! in. `released.txt` beside the definitions lists them; `BLESS=1 cargo test -p api --test protocols` adds what is new. And the
//! definitions are written as generators of other languages expect it. The rules are those of `buf lint` and `buf breaking`, for
//! which there is a `buf.yaml` beside the definitions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::path::Path;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
};

/// The definitions in a folder that clients build in, and whether they are written as generators expect: the older ones have
/// names of their own, which stay.
struct Protocol {
    folder: &'static str,
    descriptors: &'static [u8],
    files: &'static [&'static str],
    has_style: bool,
}

const PROTOCOLS: [Protocol; 2] = [
    Protocol {
        folder: "lib/objects/proto",
        descriptors: objects::DESCRIPTORS,
        files: &[
            "weft/northbound/v1/objects.proto",
            "weft/northbound/v1/northbound.proto",
        ],
        has_style: true,
    },
    Protocol {
        folder: "lib/rpc/proto",
        descriptors: rpc::DESCRIPTORS,
        files: &["weft/db/v1/data.proto", "weft/db/v1/database.proto"],
        has_style: false,
    },
];

fn files(protocol: &Protocol) -> Vec<FileDescriptorProto> {
    let all = FileDescriptorSet::decode(protocol.descriptors)
        .unwrap()
        .file;
    let own = all.into_iter();
    own.filter(|file| protocol.files.contains(&file.name()))
        .collect()
}

#[test]
fn what_was_released_stays() {
    for protocol in &PROTOCOLS {
        let now: Vec<String> = files(protocol).iter().flat_map(told).collect();
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let list = list.join(protocol.folder).join("released.txt");
        let released = std::fs::read_to_string(&list).unwrap_or_default();
        assert_eq!(broken(&released, &now), [""; 0], "{}", list.display());
        let known = |line: &String| released.lines().any(|known| known == line);
        if std::env::var_os("BLESS").is_some() {
            let new = now.iter().filter(|line| !known(line)).map(String::as_str);
            let mut lines: Vec<&str> = released.lines().chain(new).collect();
            lines.sort_unstable();
            std::fs::write(&list, lines.join("\n") + "\n").unwrap();
            continue;
        }
        let missing: Vec<&String> = now.iter().filter(|line| !known(line)).collect();
        assert!(
            missing.is_empty(),
            "{}: BLESS=1 adds what is new: {missing:#?}",
            list.display()
        );
    }
}

#[test]
fn they_are_written_as_generators_expect() {
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.has_style) {
        let findings: Vec<String> = files(protocol).iter().flat_map(style).collect();
        assert_eq!(findings, [""; 0]);
    }
}

/// The lines of what was released that are not true any more.
fn broken(released: &str, now: &[String]) -> Vec<String> {
    let lines = released.lines().filter(|line| !line.is_empty());
    let gone = lines.filter(|line| !now.iter().any(|known| known == line));
    gone.map(|line| {
        format!(
            "{line:?} was released, and clients rely on it: leave it as it was, and add what is new"
        )
    })
    .collect()
}

/// All that clients have built in, a line each.
fn told(file: &FileDescriptorProto) -> Vec<String> {
    let package = file.package();
    let mut lines = Vec::new();
    for message in &file.message_type {
        tell_message(package, message, &mut lines);
    }
    for of in &file.enum_type {
        tell_enum(package, of, &mut lines);
    }
    for service in &file.service {
        tell_service(package, service, &mut lines);
    }
    lines
}

fn tell_message(scope: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", message.name());
    lines.push(format!("message {name}"));
    for field in &message.field {
        let oneof = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
            .map_or_else(String::new, |oneof| format!(" in {}", oneof.name()));
        lines.push(format!(
            "field {name}.{} = {}: {}{oneof}",
            field.name(),
            field.number(),
            type_of(field)
        ));
    }
    for nested in &message.nested_type {
        tell_message(&name, nested, lines);
    }
    for of in &message.enum_type {
        tell_enum(&name, of, lines);
    }
}

fn type_of(field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let of = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        other => {
            let name = other.as_str_name().to_ascii_lowercase();
            name.trim_start_matches("type_").to_owned()
        }
    };
    format!("{label}{of}")
}

fn tell_enum(scope: &str, of: &EnumDescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", of.name());
    for value in &of.value {
        lines.push(format!(
            "value {name}.{} = {}",
            value.name(),
            value.number()
        ));
    }
}

fn tell_service(package: &str, service: &ServiceDescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{package}.{}", service.name());
    for call in &service.method {
        let way = |streams: bool, of: &str| {
            let stream = if streams { "stream " } else { "" };
            format!("{stream}{}", of.trim_start_matches('.'))
        };
        lines.push(format!(
            "call {name}.{}({}) returns ({})",
            call.name(),
            way(call.client_streaming(), call.input_type()),
            way(call.server_streaming(), call.output_type())
        ));
    }
}

/// What generators of other languages, and readers, expect.
fn style(file: &FileDescriptorProto) -> Vec<String> {
    let mut findings = Vec::new();
    let place = file.name().to_owned();
    let mut say = |what: String| findings.push(format!("{place}: {what}"));
    let folder = file.package().replace('.', "/");
    if !place.starts_with(&format!("{folder}/")) {
        say(format!("package {} belongs into {folder}/", file.package()));
    }
    let is_pascal = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let is_snake = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut messages: Vec<&DescriptorProto> = file.message_type.iter().collect();
    let mut enums: Vec<&EnumDescriptorProto> = file.enum_type.iter().collect();
    while let Some(message) = messages.pop() {
        if !is_pascal(message.name()) {
            say(format!("message {} is no PascalCase", message.name()));
        }
        for field in message.field.iter().filter(|field| !is_snake(field.name())) {
            say(format!(
                "field {}.{} is no snake_case",
                message.name(),
                field.name()
            ));
        }
        messages.extend(&message.nested_type);
        enums.extend(&message.enum_type);
    }
    for of in enums {
        let prefix = screaming(of.name());
        for value in &of.value {
            if !value.name().starts_with(&format!("{prefix}_")) {
                say(format!(
                    "value {} does not begin with {prefix}_",
                    value.name()
                ));
            }
            if value.number() == 0 && !value.name().ends_with("_UNSPECIFIED") {
                say(format!(
                    "value {} is 0 and not {prefix}_UNSPECIFIED",
                    value.name()
                ));
            }
        }
    }
    for service in &file.service {
        for call in &service.method {
            let is_named = |of: &str, end: &str| of.ends_with(&format!(".{}{end}", call.name()));
            if !is_named(call.input_type(), "Request") || !is_named(call.output_type(), "Response")
            {
                say(format!(
                    "call {} takes and gives messages of other names than {0}Request and {0}Response",
                    call.name()
                ));
            }
        }
    }
    findings
}

/// `LogicalSwitch` as `LOGICAL_SWITCH`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[test]
fn what_is_broken_is_told() {
    let file = || files(&PROTOCOLS[0]).remove(0);
    let released: Vec<String> = told(&file());
    for line in [
        "message weft.northbound.v1.LogicalSwitch",
        "field weft.northbound.v1.Object.name = 1: string",
        "field weft.northbound.v1.Object.acl = 24: weft.northbound.v1.Acl in spec",
        "field weft.northbound.v1.State.up = 1: optional bool",
    ] {
        assert!(released.iter().any(|known| known == line), "{line}");
    }
    let released = released.join("\n");
    let spoils: [fn(&mut FieldDescriptorProto); 3] = [
        |field| field.number = Some(99),
        |field| field.name = Some("other".to_owned()),
        |field| field.r#type = Some(Type::Bytes.into()),
    ];
    for spoil in spoils {
        let mut other = file();
        spoil(&mut other.message_type[0].field[0]);
        assert_eq!(broken(&released, &told(&other)).len(), 1);
    }
    let mut other = file();
    other.message_type[0].field[0].name = Some("Name".to_owned());
    other.message_type[1].name = Some("state".to_owned());
    let findings = style(&other).join("\n");
    assert!(
        findings.contains("Name is no snake_case") && findings.contains("state is no PascalCase"),
        "{findings}"
    );
}
