//! What fills a southbound: rows as a compiler writes them, most of them logical flows.

use std::fmt::Write;

use super::fleet::{Fleet, transact};

/// Rows in one transaction.
const ROWS_AT_ONCE: usize = 2000;
/// Logical flows of one datapath.
const FLOWS_PER_DATAPATH: usize = 100;
/// Ports of one datapath.
const PORTS_PER_DATAPATH: usize = 5;

/// Rows that a southbound has: datapaths with ports and flows, until there are so many.
pub struct Southbound {
    left: usize,
    datapath: usize,
    /// How many bytes the actions of a flow have in addition to what they say.
    padding: usize,
}

impl Southbound {
    /// So many rows.
    pub fn new(rows: usize) -> Self {
        Self {
            left: rows,
            datapath: 0,
            padding: 0,
        }
    }

    /// Makes the rows of logical flows longer by so many bytes.
    pub fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Writes all of it through a fleet's first session.
    pub fn write(self, schema: &str, fleet: &mut Fleet) -> anyhow::Result<()> {
        for operations in self {
            fleet.ask(0, transact(schema, &operations).as_bytes())?;
        }
        Ok(())
    }

    fn put_datapath(&mut self, text: &mut String) -> usize {
        let number = self.datapath;
        self.datapath += 1;
        let mut rows = 1;
        let reference = format!(r#"["named-uuid","d{number}"]"#);
        separated(
            text,
            format_args!(
                r#"{{"op":"insert","table":"Datapath_Binding","uuid-name":"d{number}","row":{{"tunnel_key":{},"external_ids":["map",[["logical-switch","{}"],["name","switch{number}"]]]}}}}"#,
                number + 1,
                identity(number, 0),
            ),
        );
        for port in 1..=PORTS_PER_DATAPATH {
            if rows == self.left {
                break;
            }
            rows += 1;
            let (a, b) = (number / 250 % 250, number % 250);
            separated(
                text,
                format_args!(
                    r#"{{"op":"insert","table":"Port_Binding","row":{{"datapath":{reference},"logical_port":"switch{number}-port{port}","tunnel_key":{port},"type":"","mac":"0a:00:00:{a:02x}:{b:02x}:{port:02x} 10.{a}.{b}.{port}","options":["map",[["requested-chassis","host{}"]]],"external_ids":["map",[["name","port {port} of {number}"],["neutron:cidrs","10.{a}.{b}.{port}/24"],["neutron:device_id","{}"]]]}}}}"#,
                    number % 500,
                    identity(number, port),
                ),
            );
        }
        for flow in 0..FLOWS_PER_DATAPATH {
            if rows == self.left {
                break;
            }
            rows += 1;
            let (a, b, port) = (
                number / 250 % 250,
                number % 250,
                flow % PORTS_PER_DATAPATH + 1,
            );
            let (pipeline, stage) = match flow % 2 {
                0 => ("ingress", "ls_in_port_sec_l2"),
                _ => ("egress", "ls_out_acl_eval"),
            };
            separated(
                text,
                format_args!(
                    r#"{{"op":"insert","table":"Logical_Flow","row":{{"logical_datapath":{reference},"pipeline":"{pipeline}","table_id":{},"priority":{},"match":"inport == \"switch{number}-port{port}\" && eth.src == 0a:00:00:{a:02x}:{b:02x}:{port:02x} && ip4.src == {{10.{a}.{b}.{port}}}","actions":"reg0[{}] = 1; next;{:padding$}","external_ids":["map",[["source","northd.c:{}"],["stage-hint","{:08x}"],["stage-name","{stage}"]]]}}}}"#,
                    flow / 4,
                    50 + flow,
                    flow % 16,
                    "",
                    4000 + flow,
                    number * 7919 + port,
                    padding = self.padding,
                ),
            );
        }
        rows
    }
}

/// Transactions: the operations of each, which refer to no other's rows.
impl Iterator for Southbound {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut rows = 0;
        while rows < ROWS_AT_ONCE && self.left > 0 {
            let written = self.put_datapath(&mut text);
            self.left -= written;
            rows += written;
        }
        (rows > 0).then_some(text)
    }
}

fn separated(text: &mut String, what: std::fmt::Arguments<'_>) {
    if !text.is_empty() {
        text.push(',');
    }
    text.write_fmt(what).expect("strings take everything");
}

/// A UUID that is always the same.
fn identity(major: usize, minor: usize) -> String {
    format!("{major:08x}-0000-4000-8000-{minor:012x}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn there_are_as_many_rows_as_asked_for() {
        for rows in [0, 1, 107, 5000] {
            let transactions = Southbound::new(rows).map(|text| {
                serde_json::from_str::<Vec<Value>>(&format!("[{text}]"))
                    .unwrap()
                    .len()
            });
            assert_eq!(transactions.sum::<usize>(), rows);
        }
    }
}
