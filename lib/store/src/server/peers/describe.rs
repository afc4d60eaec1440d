//! What a member says of itself, to administrators and to other members.

use rpc::v1;

use crate::event;
use crate::raft::Role;
use crate::server::engine::Engine;

/// What a member says of itself.
pub fn describe(engine: &Engine, status: &event::Status) -> v1::StatusResponse {
    let raft = &status.raft;
    let role = match raft.role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
    };
    let membership = &raft.membership;
    let member = |member: u64, votes: bool| {
        let peer = raft.peers.iter().find(|(peer, ..)| *peer == member);
        let leads = raft.role == Role::Leader && member == raft.member;
        let own = leads.then_some((raft.last, true));
        let known = peer.map(|(_, matched, active)| (*matched, *active)).or(own);
        v1::Member {
            member,
            address: membership.address(member).unwrap_or_default().to_owned(),
            server_id: membership.server(member).map(bytes).unwrap_or_default(),
            votes,
            matched_index: known.map(|(matched, _)| matched),
            active: known.map(|(_, active)| active),
        }
    };
    let voters = membership.voters.iter().map(|voter| member(*voter, true));
    let learners = membership
        .learners
        .iter()
        .map(|learner| member(*learner, false));
    v1::StatusResponse {
        database: status.identity.database.clone(),
        cluster_id: bytes(status.identity.cluster),
        server_id: bytes(status.identity.server),
        member: raft.member,
        role: role.into(),
        term: raft.term,
        leader: raft.leader,
        commit_index: raft.commit,
        applied_index: raft.applied,
        first_index: raft.first,
        last_index: raft.last,
        voters: membership.voters.clone(),
        learners: membership.learners.clone(),
        members: voters.chain(learners).collect(),
        rows: status.rows.iter().map(|(_, rows)| *rows as u64).sum(),
        file_bytes: engine.file_bytes().unwrap_or_default(),
        sessions: status.sessions as u64,
        monitors: status.monitors as u64,
        pending: status.pending as u64,
        blocked: status.blocked as u64,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        others: Vec::new(),
    }
}

fn bytes(uuid: ovsdb::Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}
