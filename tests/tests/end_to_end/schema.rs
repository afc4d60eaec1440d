//! A client that asks for a schema is given the one that the code declares.
//!
//! That the declared schemas are OVN's is shown beside them, in `nb-db` and `sb-db`; here a real server is asked.

use anyhow::Result;
use ovsdb::describe::lines;
use ovsdb::schema::DatabaseSchema;
use serde_json::json;
use tests::implementation::{Database, Implementation, Side};
use tests::ovsdb::Client;

#[test]
fn the_servers_give_the_declared_schemas() {
    for (side, declared) in [
        (Side::Northbound, nb_db::schema()),
        (Side::Southbound, sb_db::schema()),
    ] {
        let served = served(side).expect("the server gives its schema");
        assert_eq!(
            (&served.name, &served.version),
            (&declared.name, &declared.version)
        );
        assert_eq!(lines(&served), lines(declared));
    }
}

fn served(side: Side) -> Result<DatabaseSchema> {
    let dir = tempfile::tempdir()?;
    let database = Database::start(Implementation::Weft, side, dir.path(), None, None)?;
    let mut client = Client::connect(&database.socket())?;
    let json = client.request("get_schema", &json!([side.schema()]))?;
    Ok(DatabaseSchema::from_json(&json)?)
}
