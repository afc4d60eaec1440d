//! The database server's own settings: `get-connection` and its kin, `get-ssl` and its kin. The same in all databases;
//! in those whose connections have roles, `set-connection` takes `read-only`, `read-write` and `role=NAME` in front of
//! targets, too.

use ovsdb::schema::TableSchema;
use ovsdb::{Datum, Row, Uuid};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};
use crate::text::quoted;
use northbound::{Draft, Rows};

const GLOBALS: [&str; 2] = ["NB_Global", "SB_Global"];
const CONNECTION: Tables = Tables::Fixed(&["NB_Global", "SB_Global", "Connection"]);
const SSL: Tables = Tables::Fixed(&["NB_Global", "SB_Global", "SSL"]);
const METHODS: [&str; 6] = ["ssl:", "tcp:", "unix:", "pssl:", "ptcp:", "punix:"];

/// The connection commands.
pub static CONNECTION_FAMILY: Family = Family {
    title: "Connection commands",
    commands: &[
        Command {
            name: "get-connection",
            arguments: "",
            options: &[],
            help: "print the connections of the database server",
            tables: CONNECTION,
            run: get_connection,
        },
        Command {
            name: "del-connection",
            arguments: "",
            options: &[],
            help: "delete the connections of the database server",
            tables: CONNECTION,
            run: delete_connections,
        },
        Command {
            name: "set-connection",
            arguments: "TARGET...",
            options: &["--inactivity-probe="],
            help: "set the connections of the database server",
            tables: CONNECTION,
            run: set_connection,
        },
    ],
};

/// The TLS commands.
pub static SSL_FAMILY: Family = Family {
    title: "TLS commands",
    commands: &[
        Command {
            name: "get-ssl",
            arguments: "",
            options: &[],
            help: "print the TLS configuration of the database server",
            tables: SSL,
            run: get_ssl,
        },
        Command {
            name: "del-ssl",
            arguments: "",
            options: &[],
            help: "delete the TLS configuration of the database server",
            tables: SSL,
            run: delete_ssl,
        },
        Command {
            name: "set-ssl",
            arguments: "PRIVATEKEY CERTIFICATE CACERT [PROTOCOLS] [CIPHERS] [CIPHERSUITES]",
            options: &["--bootstrap"],
            help: "set the TLS configuration of the database server",
            tables: SSL,
            run: set_ssl,
        },
    ],
};

/// A table of the server's settings.
struct Settings<'s> {
    rows: &'s dyn Rows,
    table: usize,
    schema: &'s TableSchema,
    /// The row that refers to the settings, and by which column.
    owner: (usize, Uuid, usize),
}

impl<'s> Settings<'s> {
    fn find(draft: &Draft<'s>, table: &str, column: &str) -> Outcome<Self> {
        let schema = draft.schema();
        let owner = GLOBALS.iter().find_map(|name| {
            let table = schema.table_index(name)?;
            let column = schema.tables[table].column_index(column)?;
            let (uuid, _) = draft.rows(table).next()?;
            Some((table, uuid, column))
        });

        let found = schema
            .table_index(table)
            .filter(|table| draft.before().has_table(*table));
        match (found, owner) {
            (Some(table), Some(owner)) => Ok(Self {
                rows: draft.before(),
                table,
                schema: &schema.tables[table],
                owner,
            }),
            _ => fail(format!("the database has no table {table}")),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        let index = self.schema.column_index(name)?;
        self.rows.has_column(self.table, index).then_some(index)
    }

    fn text(&self, row: &Row, column: &str) -> String {
        let atom = self
            .column(column)
            .and_then(|index| row.get(index).scalar());
        atom.and_then(|atom| atom.as_str())
            .unwrap_or_default()
            .to_owned()
    }

    fn flag(&self, row: &Row, column: &str) -> bool {
        let atom = self
            .column(column)
            .and_then(|index| row.get(index).scalar());
        atom.and_then(ovsdb::Atom::as_bool).unwrap_or_default()
    }

    fn write(&self, draft: &mut Draft<'_>, uuid: Uuid, column: &str, datum: impl Into<Datum>) {
        if let Some(index) = self.column(column) {
            draft.write(self.table, uuid, index, datum.into());
        }
    }

    /// Deletes all rows and the references to them.
    fn delete_all(&self, draft: &mut Draft<'_>) {
        let uuids: Vec<Uuid> = draft.rows(self.table).map(|(uuid, _)| uuid).collect();
        for uuid in uuids {
            draft.delete_row(self.table, uuid);
        }
        self.refer(draft, Vec::new());
    }

    fn refer(&self, draft: &mut Draft<'_>, uuids: Vec<Uuid>) {
        let (table, uuid, column) = self.owner;
        draft.verify(table, uuid, column);
        let datum = Datum::set(uuids.into_iter().map(ovsdb::Atom::Uuid));
        draft.write(table, uuid, column, datum);
    }
}

fn get_connection(context: &mut Context<'_, '_>) -> Outcome {
    let settings = Settings::find(context.draft, "Connection", "connections")?;
    let has_roles = settings.column("role").is_some();
    let mut lines: Vec<String> = context
        .draft
        .rows(settings.table)
        .map(|(_, row)| {
            let target = settings.text(row, "target");
            if !has_roles {
                return target;
            }
            let access = if settings.flag(row, "read_only") {
                "read-only"
            } else {
                "read-write"
            };
            let role = quoted(&settings.text(row, "role"));
            format!("{access} role={role} {target}")
        })
        .collect();
    lines.sort();
    for line in lines {
        context.print(line);
    }
    Ok(())
}

fn delete_connections(context: &mut Context<'_, '_>) -> Outcome {
    Settings::find(context.draft, "Connection", "connections")?.delete_all(context.draft);
    Ok(())
}

fn set_connection(context: &mut Context<'_, '_>) -> Outcome {
    let settings = Settings::find(context.draft, "Connection", "connections")?;
    let has_roles = settings.column("role").is_some();
    let probe = match context.option("--inactivity-probe") {
        None => None,
        Some(text) => match text.parse::<i64>() {
            Ok(probe) if probe >= 0 => Some(probe),
            _ => {
                return fail(format!(
                    "{text}: --inactivity-probe should be a number of milliseconds, 0 for none"
                ));
            }
        },
    };
    settings.delete_all(context.draft);
    let (mut read_only, mut role) = (false, "");
    let mut uuids = Vec::new();
    for word in &context.invocation.arguments {
        match word.as_str() {
            "read-only" if has_roles => read_only = true,
            "read-write" if has_roles => read_only = false,
            word if has_roles && word.starts_with("role=") => role = &word["role=".len()..],
            target => {
                if !METHODS.iter().any(|method| target.starts_with(method)) {
                    let warning = format!("target type \"{target}\" is possibly erroneous");
                    context.warnings.push(warning);
                }
                let uuid = Uuid::new_v4();
                let draft = &mut *context.draft;
                draft.insert_row(settings.table, uuid);
                settings.write(draft, uuid, "target", target);
                settings.write(draft, uuid, "read_only", read_only);
                settings.write(draft, uuid, "role", role);
                if let Some(probe) = probe {
                    settings.write(draft, uuid, "inactivity_probe", probe);
                }
                uuids.push(uuid);
            }
        }
    }
    settings.refer(context.draft, uuids);
    Ok(())
}

fn get_ssl(context: &mut Context<'_, '_>) -> Outcome {
    let settings = Settings::find(context.draft, "SSL", "ssl")?;
    let found = context.draft.rows(settings.table).next();
    let Some((_, row)) = found else {
        return Ok(());
    };
    let text = |column| settings.text(row, column);
    let lines = format!(
        "Private key: {}\nCertificate: {}\nCA Certificate: {}\nBootstrap: {}",
        text("private_key"),
        text("certificate"),
        text("ca_cert"),
        settings.flag(row, "bootstrap_ca_cert")
    );
    context.print(lines);
    Ok(())
}

fn delete_ssl(context: &mut Context<'_, '_>) -> Outcome {
    Settings::find(context.draft, "SSL", "ssl")?.delete_all(context.draft);
    Ok(())
}

fn set_ssl(context: &mut Context<'_, '_>) -> Outcome {
    let settings = Settings::find(context.draft, "SSL", "ssl")?;
    settings.delete_all(context.draft);
    let uuid = Uuid::new_v4();
    let bootstrap = context.has("--bootstrap");
    let draft = &mut *context.draft;
    draft.insert_row(settings.table, uuid);
    let columns = [
        "private_key",
        "certificate",
        "ca_cert",
        "ssl_protocols",
        "ssl_ciphers",
        "ssl_ciphersuites",
    ];
    for (column, argument) in columns.into_iter().zip(&context.invocation.arguments) {
        settings.write(draft, uuid, column, argument.as_str());
    }
    settings.write(draft, uuid, "bootstrap_ca_cert", bootstrap);
    settings.refer(draft, vec![uuid]);
    Ok(())
}
