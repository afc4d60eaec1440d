//! The OpenFlow flows of a switch, as `ovs-ofctl` prints them.

use std::collections::HashMap;
use std::process::Command;

use daemon::place;

/// The switch that is asked, as `ovs-ofctl` calls it: the one that is given, else the integration bridge of this machine.
pub fn target(given: Option<&str>) -> String {
    given.map_or_else(
        || {
            let socket = place::switch_run_dir().join("br-int.mgmt");
            format!("unix:{}", socket.display())
        },
        str::to_owned,
    )
}

/// So many seconds a switch may take to answer.
const LIMIT_S: u32 = 30;

/// What `ovs-ofctl` prints of a switch.
///
/// # Errors
/// When it is not there, or what it complains about; also when the switch does not answer in time.
pub fn ask(command: &str, switch: &str) -> Result<String, String> {
    let output = Command::new("ovs-ofctl")
        .arg(format!("--timeout={LIMIT_S}"))
        .args(["-O", "OpenFlow15", "--no-names", command, switch])
        .output()
        .map_err(|error| format!("ovs-ofctl: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The flows of a switch by their cookies, a line each.
#[derive(Debug, Default)]
pub struct Flows(HashMap<u64, Vec<String>>);

impl Flows {
    /// Reads what `dump-flows` prints: all of it, or without `stats` the table, the match and the actions of each flow.
    pub fn read(dump: &str, stats: bool) -> Self {
        let mut flows: HashMap<u64, Vec<String>> = HashMap::new();
        for line in dump.lines().map(str::trim) {
            let Some(cookie) = line.strip_prefix("cookie=0x") else {
                continue;
            };
            let cookie = cookie.split(',').next().unwrap_or_default();
            let Ok(cookie) = u64::from_str_radix(cookie, 16) else {
                continue;
            };
            let text = match stats {
                true => line.to_owned(),
                false => without_stats(line),
            };
            flows.entry(cookie).or_default().push(text);
        }
        Self(flows)
    }

    /// Those with a cookie.
    pub fn of(&self, cookie: u32) -> &[String] {
        self.0.get(&cookie.into()).map_or(&[], Vec::as_slice)
    }
}

fn without_stats(line: &str) -> String {
    let (head, actions) = line.split_once("actions=").unwrap_or((line, ""));
    let mut parts = head.trim_end().rsplit(", ");
    let table = parts.clone().find(|part| part.starts_with("table="));
    // Priority and match stand behind all counters; without either, the last part is one of those.
    let matches = parts.next().filter(|part| !is_stat(part));
    let matches = matches.map(|matches| match matches.strip_prefix("priority=") {
        Some(rest) => rest.split_once(',').map_or("", |(_, matches)| matches),
        None => matches,
    });
    let table = table.unwrap_or("table=0");
    match matches.filter(|matches| !matches.is_empty()) {
        Some(matches) => format!("{table} {matches} actions={actions}"),
        None => format!("{table} actions={actions}"),
    }
}

/// `idle_age=0` and its kin.
fn is_stat(part: &str) -> bool {
    const STATS: [&str; 8] = [
        "cookie=",
        "duration=",
        "table=",
        "n_packets=",
        "n_bytes=",
        "idle_age=",
        "hard_age=",
        "idle_timeout=",
    ];
    STATS.iter().any(|stat| part.starts_with(stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_found_by_their_cookies() {
        let dump = "OFPST_FLOW reply (OF1.5) (xid=0x2):\n \
            cookie=0x49070304, duration=0.038s, table=10, n_packets=0, n_bytes=0, idle_timeout=60, idle_age=0, priority=5,ipv6 actions=ct(commit,zone=NXM_NX_REG13[0..15]),clone(drop)\n \
            cookie=0x49070304, duration=0.060s, table=10, n_packets=0, n_bytes=0, idle_age=0, priority=0 actions=drop\n \
            cookie=0x1, duration=0.020s, table=11, n_packets=0, n_bytes=0, idle_age=0, ip,nw_src=10.0.0.1 actions=resubmit(,9)\n \
            cookie=0x1, duration=0.020s, table=11, n_packets=0, n_bytes=0, idle_age=0, actions=drop\n";
        let short = Flows::read(dump, false);
        assert_eq!(
            short.of(0x4907_0304),
            [
                "table=10 ipv6 actions=ct(commit,zone=NXM_NX_REG13[0..15]),clone(drop)",
                "table=10 actions=drop"
            ]
        );
        assert_eq!(
            short.of(1),
            [
                "table=11 ip,nw_src=10.0.0.1 actions=resubmit(,9)",
                "table=11 actions=drop"
            ]
        );
        assert!(short.of(2).is_empty());
        let whole = Flows::read(dump, true);
        assert!(whole.of(1)[0].starts_with("cookie=0x1, duration=0.020s, table=11, n_packets=0"));
    }
}
