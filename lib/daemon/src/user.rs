//! `--user USER[:GROUP]`: a daemon that was started as root gives its rights up before it opens anything.

use std::io;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    uid: u32,
    gid: u32,
    /// The groups that the user belongs to beside its own.
    others: Vec<u32>,
}

/// Becomes the user. To be called while the process has one thread, since each has rights of its own.
pub(crate) fn become_user(spec: &str) -> io::Result<()> {
    let read = |path| std::fs::read_to_string(path);
    let wanted = find(spec, &read(USERS)?, &read(GROUPS)?).map_err(io::Error::other)?;
    let uid = Uid::from_raw(wanted.uid);
    let gid = Gid::from_raw(wanted.gid);
    if !geteuid().is_root() {
        // Open vSwitch's daemons do not mind either, if there is nothing to change.
        return match geteuid() == uid {
            true => Ok(()),
            false => Err(io::Error::other("only root can become another user")),
        };
    }
    let others: Vec<Gid> = wanted
        .others
        .iter()
        .map(|&gid| Gid::from_raw(gid))
        .collect();
    set_thread_groups(&others)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// Looks the names up in the system's files. `USER:` and `:GROUP` leave the other as it is for the user.
fn find(spec: &str, users: &str, groups: &str) -> Result<Identity, String> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let number = |fields: &[String], place: usize| fields.get(place).and_then(|n| n.parse().ok());
    let own = users.lines().map(fields).find(|fields| {
        let id: Option<u32> = number(fields, 2);
        fields[0] == user || (id.is_some() && id == user.parse().ok())
    });
    let own = own.ok_or_else(|| format!("{USERS} has no user {user:?}"))?;
    let malformed = || format!("{USERS}: the line of {user:?} has no numbers");
    let uid = number(&own, 2).ok_or_else(malformed)?;
    let gid = match group {
        None => number(&own, 3).ok_or_else(malformed)?,
        Some(name) => groups
            .lines()
            .map(fields)
            .filter_map(|fields| number(&fields, 2).map(|gid| (fields, gid)))
            .find(|(fields, gid)| fields[0] == name || Some(*gid) == name.parse().ok())
            .map(|(_, gid)| gid)
            .ok_or_else(|| format!("{GROUPS} has no group {name:?}"))?,
    };
    let is_member = |fields: &Vec<String>| {
        let members = fields.get(3).map(String::as_str).unwrap_or_default();
        members.split(',').any(|member| member == own[0])
    };
    let others = groups.lines().map(fields).filter(is_member);
    let others = others.filter_map(|fields| number(&fields, 2)).collect();
    Ok(Identity { uid, gid, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\novn:x:101:102::/:/bin/false\nbad:x:y\n";
    const GROUPS: &str = "root:x:0:\nhugetlbfs:x:110:ovn,qemu\novn:x:102:\nodd\n";

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let is = |spec: &str, uid, gid| {
            let found = find(spec, USERS, GROUPS).map(|found| (found.uid, found.gid));
            assert_eq!(found, Ok((uid, gid)), "{spec}");
        };
        is("ovn", 101, 102);
        is("ovn:", 101, 102);
        is("101", 101, 102);
        is("ovn:hugetlbfs", 101, 110);
        is("ovn:110", 101, 110);
        assert_eq!(find("ovn", USERS, GROUPS).unwrap().others, [110]);
        for (spec, reason) in [
            ("nobody", "/etc/passwd has no user \"nobody\""),
            ("ovn:wheel", "/etc/group has no group \"wheel\""),
            ("bad", "/etc/passwd: the line of \"bad\" has no numbers"),
            ("", "/etc/passwd has no user \"\""),
        ] {
            assert_eq!(find(spec, USERS, GROUPS), Err(reason.to_owned()), "{spec}");
        }
    }
}
