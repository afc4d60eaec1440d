//! Pages: every object once, whatever their size.

use objects::Code;
use objects::list::{Filter, list};

use crate::lab::{Lab, kind_of, refused};

#[test]
fn pages_show_every_object_once() {
    let mut lab = Lab::new();
    let mut yaml = String::new();
    for switch in ["a", "b"] {
        yaml.push_str(&format!("- name: {switch}\n  logical_switch: {{}}\n"));
        for port in 0..5 {
            yaml.push_str(&format!(
                "- name: {switch}{port}\n  logical_switch_port: {{logical_switch: {switch}}}\n"
            ));
        }
    }
    lab.apply("net", &yaml).unwrap();
    lab.create("name: c\nlogical_switch_port: {logical_switch: b}")
        .unwrap();
    let kind = kind_of("switch-port");
    let all = |parent: &str, owner: &str, size: i32| {
        let filter = Filter {
            parent: parent.to_owned(),
            owner: owner.to_owned(),
        };
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = list(&lab.snapshot, kind, &filter, size, &token).unwrap();
            assert!(page.len() <= usize::try_from(size).unwrap());
            found.extend(page);
            match next {
                Some(next) => token = next,
                None => return found.len(),
            }
        }
    };
    for size in [1, 3, 5, 11, 1000] {
        assert_eq!(all("", "", size), 11);
        assert_eq!(all("b", "", size), 6);
        assert_eq!(all("", "net", size), 10);
        assert_eq!(all("b", "net", size), 5);
    }
    let list = |parent: &str, size, token| {
        let filter = Filter {
            parent: parent.to_owned(),
            ..Filter::default()
        };
        list(&lab.snapshot, kind, &filter, size, token)
    };
    refused(list("", 1001, ""), Code::Invalid, &["page_size", "1000"]);
    refused(list("", -1, ""), Code::Invalid, &["page_size"]);
    refused(list("", 1, "x"), Code::Invalid, &["page_token"]);
    refused(list("none", 1, ""), Code::NotFound, &["parent", "none"]);
}
