//! The book's pages of commands are what the commands declare. `BLESS=1` writes them anew.

use std::path::Path;

use ctl::help::reference_page;
use ctl::tool::Tool;
use ctl::tools::{NB, SB};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference");

const NOTICE: &str =
    "<!-- Written by `BLESS=1 cargo test -p ctl book::` from the code: change it there. -->\n\n";

#[test]
fn the_pages_of_commands_are_what_the_code_says() {
    check_tool(&NB);
    check_tool(&SB);
    check("objects", &ctl::objects::reference_page());
    for (name, command) in [
        ("cluster", ctl::cluster::command as fn() -> _),
        ("pki", ctl::pki::command),
        ("diff", ctl::diff::command),
        ("plan", ctl::plan::command),
        ("token", ctl::token::command),
        ("top", ctl::top::command),
    ] {
        check(name, &ctl::page::reference(command()));
    }
    check("trace", &ctl::trace::daemon::reference_page());
    check("why", &ctl::explain::programs::reference_page());
}

fn check_tool(tool: &Tool) {
    check(tool.name, &reference_page(tool));
}

fn check(name: &str, page: &str) {
    let path = Path::new(FOLDER).join(format!("weft-{name}.md"));
    let text = format!("{NOTICE}{page}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&path).expect("the page is there");
    assert_eq!(
        page,
        text,
        "{} is stale: BLESS=1 writes it anew",
        path.display()
    );
}
