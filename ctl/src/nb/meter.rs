//! Meters: `meter-*`.

use std::sync::Arc;

use northbound::meter::{self, MeterWithBands, NewMeter};

use crate::command::{Command, Context, Family, Tables};
use crate::error::{Outcome, fail};

const TABLES: Tables = Tables::Fixed(&["Meter", "Meter_Band"]);

/// The commands.
pub static FAMILY: Family = Family {
    title: "Meter commands",
    commands: &[
        Command {
            name: "meter-add",
            arguments: "NAME ACTION RATE UNIT [BURST]",
            options: &["--fair", "--may-exist"],
            help: "add a meter that does ACTION, drop, above RATE; UNIT is kbps or pktps; with --fair each user gets its own",
            tables: TABLES,
            run: add,
        },
        Command {
            name: "meter-del",
            arguments: "[NAME]",
            options: &[],
            help: "delete the meter NAME, or all meters",
            tables: TABLES,
            run: delete,
        },
        Command {
            name: "meter-list",
            arguments: "",
            options: &[],
            help: "print the meters",
            tables: TABLES,
            run: list,
        },
    ],
};

fn add(context: &mut Context<'_, '_>) -> Outcome {
    let arguments = &context.invocation.arguments;
    let may_exist = context.has("--may-exist");
    let name = arguments[0].as_str();
    meter::check_name(context.draft, &Arc::from(name), may_exist)?;
    if arguments[1] != "drop" {
        return fail("action must be \"drop\"");
    }
    let Ok(rate) = arguments[2].parse() else {
        return fail(format!("rate must be in the range 1...{}", u32::MAX));
    };
    let Ok(unit) = arguments[3].parse() else {
        return fail("unit must be \"kbps\" or \"pktps\"");
    };
    let burst = match arguments.get(4).map(|text| text.trim_start().parse()) {
        None => 0,
        Some(Ok(burst)) => burst,
        Some(Err(_)) => return fail(format!("burst must be in the range 0...{}", u32::MAX)),
    };
    let new = NewMeter {
        name,
        unit,
        rate,
        burst,
        is_fair: context.has("--fair"),
    };
    meter::add_meter(context.draft, &new, may_exist)?;
    Ok(())
}

fn delete(context: &mut Context<'_, '_>) -> Outcome {
    let name = context.invocation.arguments.first();
    meter::delete_meters(context.draft, name.map(String::as_str))?;
    Ok(())
}

fn list(context: &mut Context<'_, '_>) -> Outcome {
    for MeterWithBands { meter, bands } in meter::list_meters(context.draft) {
        let fair = if meter.fair == Some(true) {
            "(fair) "
        } else {
            ""
        };
        context.print(format!("{}: {fair}bands:", meter.name));
        let burst_unit = if &*meter.unit == "kbps" {
            "kb"
        } else {
            "packet"
        };
        for band in bands {
            let mut line = format!("  {}: {} {}", band.action, band.rate, meter.unit);
            if band.burst_size != 0 {
                line.push_str(&format!(", {} {burst_unit} burst", band.burst_size));
            }
            context.print(line);
        }
    }
    Ok(())
}
