//! The book's page of logical flows is what the features declare. `BLESS=1` writes it anew.

use std::path::Path;

use crate::compiler::book::book;
use crate::features;

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/reference/logical-flows.md"
);

const HEAD: &str = "<!-- Written by `BLESS=1 cargo test -p northd book` from the code: change it there. -->

# The logical flows of switches and routers

What `weft-northd` writes into `Logical_Flow`, by stage; of the flows of a stage that match a packet, the one of the highest
priority decides. Numbers and order of the stages are Weft's own and may change with any version; names are OVN's where
the purpose is the same.

";

#[test]
fn the_page_of_logical_flows_is_what_the_code_says() {
    let text = format!("{HEAD}{}", book(features::ALL));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(Path::new(PAGE), &text).expect("the page can be written");
    }
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    assert_eq!(page, text, "the page is stale: BLESS=1 writes it anew");
}
