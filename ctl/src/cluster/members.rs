//! `status`, `add`, `remove` and `transfer`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use ovsdb::Uuid;
use rpc::v1;
use rpc::v1::cluster_client::ClusterClient;
use rpc::v1::other_status::Answer;
use tonic::transport::Channel;

use super::common::{Connect, size, tool_for};
use super::connection::Member;
use crate::error::{Outcome, fail};
use crate::progress::Progress;

/// Between two looks at what is awaited.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(super) struct Status {}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// The new member's number, which no member has or had
    member: u64,

    /// Where other members will reach it
    #[arg(value_name = "HOST:PORT")]
    address: String,

    /// Do not wait until it votes; the same command again waits
    #[arg(long)]
    no_wait: bool,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    /// The member's number
    member: u64,

    /// Remove it though the members that remain cannot be seen to be a majority
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
pub(super) struct Transfer {
    /// The member that is to lead; without it, the one with the most complete log
    member: Option<u64>,
}

impl Status {
    pub(super) fn run(self, connect: &Connect) -> Outcome {
        let status = Member::connect(connect)?.status(true)?;
        print!("{}", render(&status));
        Ok(())
    }
}

impl Add {
    pub(super) fn run(self, connect: &Connect) -> Outcome {
        let mut member = Member::connect(connect)?;
        let status = member.status(false)?;
        let is_known = |status: &v1::StatusResponse| {
            let mut members = status.members.iter();
            members.any(|of| of.member == self.member && of.address == self.address)
        };
        if !is_known(&status) {
            let request = v1::AddMemberRequest {
                member: self.member,
                address: self.address.clone(),
            };
            let progress = Progress::new("announcing it", 1);
            let add = |mut client: ClusterClient<Channel>| {
                let request = request.clone();
                async move { client.add_member(request).await }
            };
            member.change(&progress, add, is_known)?;
            drop(progress);
            println!("member {} is announced; start it with\n", self.member);
            println!("  {}\n", join_command(&status, self.member, &self.address)?);
        }
        if self.no_wait {
            return Ok(());
        }
        let progress = Progress::new("waiting for it to join", 1);
        let number = self.member;
        wait_until(&mut member, &progress, |status| {
            let Some(new) = status.members.iter().find(|of| of.member == number) else {
                return Seen::Failed(format!("member {number} is a member no longer"));
            };
            match (new.votes, new.matched_index) {
                (true, _) => Seen::Done,
                (false, Some(matched)) if matched > 0 => {
                    let behind = status.last_index.saturating_sub(matched);
                    Seen::NotYet(format!("it learns, {behind} entries behind"))
                }
                _ => Seen::NotYet("waiting for it to join".to_owned()),
            }
        })?;
        drop(progress);
        println!("member {number} has joined, and votes");
        Ok(())
    }
}

impl Remove {
    pub(super) fn run(self, connect: &Connect) -> Outcome {
        let mut member = Member::connect(connect)?;
        let number = self.member;
        let progress = Progress::new("removing it", 1);
        if !self.force {
            refuse_if_risky(&member.settled(&progress)?, number)?;
        }
        let request = v1::RemoveMemberRequest { member: number };
        let is_gone = |status: &v1::StatusResponse| {
            let mut members = status.members.iter();
            members.all(|of| of.member != number)
        };
        let remove =
            |mut client: ClusterClient<Channel>| async move { client.remove_member(request).await };
        member.change(&progress, remove, is_gone)?;
        wait_until(&mut member, &progress, |status| match is_gone(status) {
            true => Seen::Done,
            false => Seen::NotYet("waiting until all know".to_owned()),
        })?;
        drop(progress);
        println!(
            "member {number} is removed; stop its server, and do not start it with this data directory again"
        );
        Ok(())
    }
}

impl Transfer {
    pub(super) fn run(self, connect: &Connect) -> Outcome {
        let mut member = Member::connect(connect)?;
        let request = v1::TransferLeadershipRequest {
            member: self.member.unwrap_or(0),
        };
        let progress = Progress::new("transferring", 1);
        let transfer = |mut client: ClusterClient<Channel>| async move {
            client.transfer_leadership(request).await
        };
        let leads = |status: &v1::StatusResponse| Some(status.leader) == self.member;
        member.change(&progress, transfer, leads)?;
        let mut leader = 0;
        wait_until(&mut member, &progress, |status| {
            leader = status.leader;
            match status.leader {
                0 => Seen::NotYet("waiting for the new leader".to_owned()),
                leader if self.member.is_some_and(|wanted| wanted != leader) => {
                    Seen::NotYet(format!("member {leader} still leads"))
                }
                _ => Seen::Done,
            }
        })?;
        drop(progress);
        println!("member {leader} leads");
        Ok(())
    }
}

/// What a look at the status has shown.
enum Seen {
    Done,
    NotYet(String),
    Failed(String),
}

fn wait_until(
    member: &mut Member,
    progress: &Progress,
    mut look: impl FnMut(&v1::StatusResponse) -> Seen,
) -> Outcome {
    let end = Instant::now() + member.timeout();
    loop {
        // Of the others' logs, the leader knows.
        let status = member.patient_status(progress)?;
        let text = match look(leaders_view(&status)) {
            Seen::Done => return Ok(()),
            Seen::Failed(text) => return fail(text),
            Seen::NotYet(text) => text,
        };
        if Instant::now() >= end {
            return fail(format!(
                "gave up after {} seconds: {text}",
                member.timeout().as_secs()
            ));
        }
        progress.say(text);
        member.pause(PAUSE);
    }
}

/// What the leader says, if it has answered.
fn leaders_view(status: &v1::StatusResponse) -> &v1::StatusResponse {
    let others = answers(status);
    others.get(&status.leader).copied().unwrap_or(status)
}

/// What each member says that has answered, the one that was asked among them.
fn answers(status: &v1::StatusResponse) -> BTreeMap<u64, &v1::StatusResponse> {
    let others = status
        .others
        .iter()
        .filter_map(|other| match &other.answer {
            Some(Answer::Status(status)) => Some((other.member, status)),
            _ => None,
        });
    others.chain([(status.member, status)]).collect()
}

/// A cluster goes on as long as a majority of its voters runs: so the voters that remain are counted before one goes.
fn refuse_if_risky(status: &v1::StatusResponse, number: u64) -> Outcome {
    if status.leader == 0 {
        return fail(
            "no member is known to lead, so that nothing can be changed. Start more members; if a majority is lost for \
             good, stop the survivor and make it a cluster of its own with weft cluster force-new",
        );
    }
    let answers = answers(status);
    let view = leaders_view(status);
    let voters = view
        .members
        .iter()
        .filter(|of| of.votes && of.member != number);
    let remaining: Vec<u64> = voters.map(|of| of.member).collect();
    let running = remaining
        .iter()
        .filter(|member| answers.contains_key(member))
        .count();
    if !remaining.is_empty() && running * 2 <= remaining.len() {
        let missing: Vec<String> = remaining
            .iter()
            .filter(|member| !answers.contains_key(member))
            .map(ToString::to_string)
            .collect();
        return fail(format!(
            "without member {number}, {} voters remain, of which {} do not answer ({}): no majority would be left. Start \
             them first, or remove them first; --force removes it all the same",
            remaining.len(),
            missing.len(),
            missing.join(", ")
        ));
    }
    Ok(())
}

/// How to start a server that joins this cluster.
fn join_command(status: &v1::StatusResponse, member: u64, address: &str) -> Outcome<String> {
    let tool = tool_for(&status.database)?;
    let others = status.members.iter().filter(|of| of.member != member);
    let addresses: Vec<&str> = others
        .map(|of| of.address.as_str())
        .filter(|address| !address.is_empty())
        .collect();
    Ok(format!(
        "{} --data-dir=DIR --id={member} --peer-listen={address} --join={}",
        tool.server,
        addresses.join(",")
    ))
}

/// The status for people.
fn render(status: &v1::StatusResponse) -> String {
    let view = leaders_view(status);
    let answers = answers(status);
    let failures: BTreeMap<u64, &str> = status
        .others
        .iter()
        .filter_map(|other| match &other.answer {
            Some(Answer::Failure(reason)) => Some((other.member, reason.as_str())),
            _ => None,
        })
        .collect();
    let leader = match status.leader {
        0 => "nobody is known to lead".to_owned(),
        leader => format!("member {leader} leads"),
    };
    let cluster = Uuid::from_slice(&status.cluster_id).unwrap_or_default();
    let mut text = format!(
        "{}: cluster {cluster}, term {}, {leader}\n",
        status.database, view.term
    );
    let mut rows = vec![
        [
            "MEMBER", "ROLE", "ADDRESS", "LOG", "BEHIND", "ROWS", "FILE", "SESSIONS",
        ]
        .map(str::to_owned),
    ];
    for member in &view.members {
        let answer = answers.get(&member.member);
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let behind = member
            .matched_index
            .map(|matched| view.last_index.saturating_sub(matched));
        rows.push([
            member.member.to_string(),
            role(member, answer.copied(), status.leader),
            match member.address.as_str() {
                "" => "-".to_owned(),
                address => address.to_owned(),
            },
            answer.map_or("-".to_owned(), |answer| {
                format!("{}..{}", answer.first_index, answer.last_index)
            }),
            number(behind),
            number(answer.map(|answer| answer.rows)),
            answer.map_or("-".to_owned(), |answer| size(answer.file_bytes)),
            number(answer.map(|answer| answer.sessions)),
        ]);
    }
    text.push_str(&columns(&rows));
    for (member, reason) in failures {
        text.push_str(&format!("member {member} does not answer: {reason}\n"));
    }
    text
}

fn role(member: &v1::Member, answer: Option<&v1::StatusResponse>, leader: u64) -> String {
    let role = match (member.votes, member.member == leader) {
        (_, true) => "leader",
        (true, _) => "follower",
        (false, _) => "learner",
    };
    match answer {
        Some(_) => role.to_owned(),
        None => format!("{role}?"),
    }
}

/// Rows in columns, as wide as they have to be.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(member: u64, votes: bool, matched_index: Option<u64>) -> v1::Member {
        v1::Member {
            member,
            address: format!("h{member}:1"),
            votes,
            matched_index,
            active: matched_index.map(|_| true),
            server_id: Vec::new(),
        }
    }

    /// Member 2 was asked; 1 leads and has answered, 3 has not.
    fn status() -> v1::StatusResponse {
        let base = v1::StatusResponse {
            database: "OVN_Northbound".to_owned(),
            cluster_id: vec![0; 16],
            term: 4,
            leader: 1,
            first_index: 5,
            last_index: 30,
            rows: 7,
            file_bytes: 2048,
            sessions: 3,
            ..Default::default()
        };
        let leader = v1::StatusResponse {
            member: 1,
            members: vec![
                member(1, true, Some(30)),
                member(2, true, Some(28)),
                member(3, false, Some(10)),
            ],
            ..base.clone()
        };
        let other = |member, answer| v1::OtherStatus {
            member,
            answer: Some(answer),
        };
        v1::StatusResponse {
            member: 2,
            members: vec![
                member(1, true, None),
                member(2, true, None),
                member(3, false, None),
            ],
            others: vec![
                other(1, Answer::Status(leader)),
                other(3, Answer::Failure("no answer".to_owned())),
            ],
            ..base
        }
    }

    #[test]
    fn a_status_has_what_the_leader_knows() {
        let expected = "\
OVN_Northbound: cluster 00000000-0000-0000-0000-000000000000, term 4, member 1 leads
MEMBER  ROLE      ADDRESS  LOG    BEHIND  ROWS  FILE     SESSIONS
1       leader    h1:1     5..30  0       7     2.0 KiB  3
2       follower  h2:1     5..30  2       7     2.0 KiB  3
3       learner?  h3:1     -      20      -     -        -
member 3 does not answer: no answer
";
        assert_eq!(render(&status()), expected);
    }

    #[test]
    fn a_removal_that_leaves_no_majority_is_refused() {
        let mut status = status();
        assert_eq!(refuse_if_risky(&status, 2), Ok(()));
        assert_eq!(refuse_if_risky(&status, 3), Ok(()));
        let Some(Answer::Status(leader)) = &mut status.others[0].answer else {
            panic!("the leader has answered");
        };
        leader.members[2].votes = true;
        let error = refuse_if_risky(&status, 2).unwrap_err().to_string();
        assert!(error.contains("1 do not answer (3)"), "{error}");
        status.leader = 0;
        let error = refuse_if_risky(&status, 3).unwrap_err().to_string();
        assert!(error.contains("force-new"), "{error}");
    }

    #[test]
    fn who_joins_is_told_how() {
        let command = join_command(&status(), 4, "h4:1").unwrap();
        assert_eq!(
            command,
            "weft-nb --data-dir=DIR --id=4 --peer-listen=h4:1 --join=h1:1,h2:1,h3:1"
        );
    }
}
