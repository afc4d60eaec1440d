//! Our schema against OVN's: the one it has to be equal to, and the one of whatever OVN is installed.

use std::collections::BTreeSet;
use std::path::Path;

use ovsdb::describe;
use ovsdb::schema::DatabaseSchema;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ovn-26.03.txt");

/// OVN 26.03's schema as [`describe::lines`] prints it, one table or column a line.
fn golden() -> BTreeSet<String> {
    let text = std::fs::read_to_string(GOLDEN).expect("the golden file is there");
    text.lines().map(str::to_owned).collect()
}

fn read(path: &Path) -> Option<DatabaseSchema> {
    let text = std::fs::read_to_string(path).ok()?;
    let json = serde_json::from_str(&text).expect("a schema file is JSON");
    Some(DatabaseSchema::from_json(&json).expect("a schema file is a schema"))
}

#[test]
fn the_schema_is_that_of_ovn_26_03() {
    let golden = golden();
    let ours = describe::lines(sb_db::schema());
    // GRE is a kind of tunnel that OVN does not have: there is one more word, and nothing else differs.
    let kinds = |gre| {
        format!(
            r#"Encap.type: {{"key":{{"enum":["set",["geneve"{gre},"vxlan"]],"type":"string"}}}}"#
        )
    };
    assert_eq!(
        golden.difference(&ours).collect::<Vec<_>>(),
        [&kinds("")],
        "OVN's, not ours"
    );
    assert_eq!(
        ours.difference(&golden).collect::<Vec<_>>(),
        [&kinds(r#","gre""#)],
        "ours, not OVN's"
    );
}

/// Where the reference schemas lie beside the workspace, the golden file is held against them; `BLESS=1` writes it anew.
#[test]
fn the_golden_file_is_that_of_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/ovn-26.03");
    let Some(reference) = read(&root.join("ovn-sb.ovsschema")) else {
        return;
    };
    if std::env::var_os("BLESS").is_some() {
        let lines: Vec<String> = describe::lines(&reference).into_iter().collect();
        std::fs::write(GOLDEN, lines.join("\n") + "\n").expect("the golden file can be written");
    }
    let golden = golden();
    assert_eq!(describe::lines(&reference), golden);
    let ours = sb_db::schema();
    assert_eq!(
        (&ours.name, &ours.version),
        (&reference.name, &reference.version)
    );
}

/// Every table and column of the installed OVN is in ours, so that its clients find what they ask for.
#[test]
fn the_installed_ovn_has_nothing_that_we_lack() {
    let installed = read(Path::new("/usr/share/ovn/ovn-sb.ovsschema"))
        .expect("OVN is installed: run `cargo xtask setup`");
    let ours = sb_db::schema();
    for table in &installed.tables {
        let our_table = ours
            .table(&table.name)
            .unwrap_or_else(|| panic!("no table {}", table.name));
        for column in &table.columns {
            let our_column = our_table
                .column(&column.name)
                .unwrap_or_else(|| panic!("no column {} in {}", column.name, table.name));
            assert_eq!(
                (our_column.ty.key.atomic, our_column.ty.is_map()),
                (column.ty.key.atomic, column.ty.is_map()),
                "{}.{}",
                table.name,
                column.name
            );
        }
    }
}

#[test]
fn every_table_and_column_is_documented() {
    for table in sb_db::table_docs() {
        assert!(!table.doc.is_empty(), "{}", table.name);
        for (column, doc) in table.columns {
            assert!(!doc.is_empty(), "{}.{column}", table.name);
        }
    }
}

#[test]
fn tables_and_columns_have_the_indexes_of_the_schema() {
    use ovsdb::{Table, TableDefinition};
    let schema = sb_db::schema();
    let (index, name) = (sb_db::tables::Meter::INDEX, sb_db::tables::Meter::NAME);
    assert_eq!(&*schema.tables[index].name, name);
    let column = sb_db::tables::Meter::COLUMN.unit;
    assert_eq!(&*schema.tables[index].columns[column.index].name, "unit");
}
