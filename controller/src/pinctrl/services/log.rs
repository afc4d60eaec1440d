//! `log(…)`: a rule was asked about a packet, and its operator wants to know.
//!
//! The userdata are a byte for the verdict, one for the severity, and the rule's name. The line is OVN's, so that what reads
//! its logs reads these: `name="web", verdict=drop, severity=info, direction=to-lport: tcp,vlan_tci=0x0000,dl_src=…`. How many
//! there are a second is for the meter of the flow to say, in the switch: what it drops never comes here.

use daemon::Now;
use packet::frame::Frame;
use packet::text::describe;
use packet::userdata::Opcode;

use crate::layout;
use crate::pinctrl::service::{Effect, HandleError, Packet, Service, View};

/// The service. It has no state.
#[derive(Debug)]
pub struct Log;

/// As numbered in the userdata.
const VERDICTS: [&str; 4] = ["allow", "drop", "reject", "pass"];
const SEVERITIES: [&str; 5] = ["alert", "warning", "notice", "info", "debug"];
/// What rules without a name are called.
const UNNAMED: &str = "<unnamed>";

impl Service for Log {
    fn opcodes(&self) -> &'static [Opcode] {
        &[Opcode::Log]
    }

    fn packet(
        &mut self,
        _: Now,
        packet: Packet<'_>,
        _: &dyn View,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HandleError> {
        let frame = Frame::parse(&packet.packet_in.packet)?;
        let word = |words: &[&'static str], at: usize| {
            let number = packet.arguments.get(at).copied().map(usize::from);
            let known = number.and_then(|number| words.get(number).copied());
            known.unwrap_or("<unknown>")
        };
        let name = packet.arguments.get(2..).unwrap_or_default();
        let name = match name {
            [] => UNNAMED.into(),
            name => String::from_utf8_lossy(name),
        };
        let direction = match layout::is_egress(packet.packet_in.table) {
            true => "to-lport",
            false => "from-lport",
        };
        effects.push(Effect::Log(format!(
            "name={}, verdict={}, severity={}, direction={direction}: {}",
            quoted(&name),
            word(&VERDICTS, 0),
            word(&SEVERITIES, 1),
            describe(&frame)
        )));
        Ok(())
    }
}

/// In quotes, as a string of JSON: a name cannot end the line, nor pretend to be more than one.
fn quoted(name: &str) -> String {
    let mut text = String::from("\"");
    for c in name.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if c.is_control() => {
                let code = u32::from(c);
                text.extend(['\\', 'u']);
                text.extend(format!("{code:04x}").chars());
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
