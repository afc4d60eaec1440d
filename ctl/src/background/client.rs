//! A tool as the client of a daemon of its kind: the line goes over the control socket, the results come back.
//!
//! The protocol is that of OVN's tools (ovn-nbctl(8), "DAEMON MODE"): the command `run` with the line's words, its result
//! what the line prints. So a daemon may be OVN's and the client Weft's, or the other way round.

use crate::arguments::Line;

/// The options that are the daemon's own business: which database, which certificates, where to log.
const NOT_SENT: [&str; 24] = [
    "--db",
    "--leader-only",
    "--no-leader-only",
    "--shuffle-remotes",
    "--no-shuffle-remotes",
    "--private-key",
    "--certificate",
    "--ca-cert",
    "--bootstrap-ca-cert",
    "--ssl-protocols",
    "--ssl-ciphers",
    "--ssl-ciphersuites",
    "--ssl-server-name",
    "--verbose",
    "--log-file",
    "--no-syslog",
    "--syslog-method",
    "--syslog-target",
    "--unixctl",
    "--no-chdir",
    "--no-self-confinement",
    "--pidfile",
    "--overwrite-pidfile",
    "--user",
];

/// The words that a daemon is to run for a line.
pub fn words(line: &Line) -> Vec<String> {
    let word = |(name, value): (&str, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.to_owned(),
    };
    let global = line.options.iter().map(|(name, value)| (*name, value));
    let sent = global.filter(|(name, _)| !NOT_SENT.contains(name));
    let local = line
        .local
        .iter()
        .map(|(name, value)| (name.as_str(), value));
    let mut words: Vec<String> = sent.chain(local).map(word).collect();
    words.push("--".to_owned());
    words.extend(line.words.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::parse_options;
    use crate::tools::NB;

    #[test]
    fn what_is_sent_to_a_daemon() {
        for (line, expected) in [
            ("ls-add a", "-- ls-add a"),
            (
                "--wait=sb -t 5 ls-add a",
                "--wait=sb --timeout=5 -- ls-add a",
            ),
            (
                "--may-exist --oneline ls-add a -- --if-exists ls-del b",
                "--oneline --may-exist -- ls-add a -- --if-exists ls-del b",
            ),
            ("-p k -c c -C a -vdbg --no-leader-only show", "-- show"),
            ("-- --if-exists ls-del b", "-- --if-exists ls-del b"),
        ] {
            let given = line.split(' ').map(str::to_owned).collect();
            let line = parse_options(&NB, given).expect("the options are right");
            assert_eq!(words(&line).join(" "), expected);
        }
    }
}
