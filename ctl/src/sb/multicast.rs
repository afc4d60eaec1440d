//! Multicast groups: `ip-multicast-flush`.

use ovsdb::Uuid;
use sb_db::tables::{DatapathBinding, IpMulticast};

use super::flows::datapath;
use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

/// The commands.
pub static FAMILY: Family = Family {
    title: "IP multicast commands",
    commands: &[Command {
        name: "ip-multicast-flush",
        arguments: "[SWITCH]",
        options: &[],
        help: "make the chassis forget the multicast groups that they have learned on SWITCH, or on all switches",
        tables: Tables::Fixed(&["Datapath_Binding", "IP_Multicast"]),
        run: flush,
    }],
};

fn flush(context: &mut Context<'_, '_>) -> Outcome {
    let only: Option<Uuid> = match context.arg_if_any(0) {
        None => None,
        Some(name) => match datapath(context.draft, name)? {
            Some(uuid) => Some(uuid),
            None => return fail(format!("{name} is not a valid datapath")),
        },
    };
    if let Some(datapath) = only
        && context.draft.typed::<DatapathBinding>(datapath).is_none()
    {
        return Ok(());
    }
    for settings in context.draft.all::<IpMulticast>() {
        if only.is_none_or(|datapath| settings.datapath == datapath) {
            let column = IpMulticast::COLUMN.seq_no;
            let next = settings.seq_no.wrapping_add(1);
            context
                .draft
                .rely_on::<IpMulticast, _>(settings.uuid, column)?;
            context
                .draft
                .set::<IpMulticast, _>(settings.uuid, column, &next)?;
        }
    }
    Ok(())
}
