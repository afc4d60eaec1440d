//! What all members say of themselves.

use std::time::Duration;

use rpc::v1;
use rpc::v1::other_status::Answer;
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::transport::Transport;
use crate::event::Status;

/// So long another member is given for its answer.
const PATIENCE: Duration = Duration::from_secs(3);

impl Cluster {
    /// Asks the other members, all at once. `status` is what this one knows.
    pub async fn survey(&self, status: &Status) -> Vec<v1::OtherStatus> {
        let mut asked = JoinSet::new();
        let membership = &status.raft.membership;
        let members = membership.voters.iter().chain(&membership.learners);
        for member in members.filter(|member| **member != status.identity.member) {
            let member = *member;
            let address = membership.address(member).map(str::to_owned);
            let transport = self.transport.clone();
            asked.spawn(async move {
                let answer = match (transport, address) {
                    (Some(transport), Some(address)) => ask(&transport, &address).await,
                    (None, _) => Err("this member was started without --peer-listen".to_owned()),
                    (_, None) => Err("it has not joined yet".to_owned()),
                };
                v1::OtherStatus {
                    member,
                    answer: Some(match answer {
                        Ok(status) => Answer::Status(status),
                        Err(reason) => Answer::Failure(reason),
                    }),
                }
            });
        }
        let mut others = asked.join_all().await;
        others.sort_by_key(|other| other.member);
        others
    }
}

async fn ask(transport: &Transport, address: &str) -> Result<v1::StatusResponse, String> {
    let asking = async {
        let mut client = transport.connect(address).await?;
        let request = v1::StatusRequest::default();
        let response = client.status(request).await;
        let response = response.map_err(|status| status.message().to_owned())?;
        Ok(response.into_inner())
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {} seconds", PATIENCE.as_secs())))
}
