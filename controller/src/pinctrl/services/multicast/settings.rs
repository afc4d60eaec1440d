//! How a switch snoops: a row of `IP_Multicast`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use addr::Mac;
use sb_db::tables::IpMulticast;

/// OVN's defaults.
const TABLE_SIZE: usize = 2_048;
const IDLE_TIMEOUT_S: u64 = 300;
const QUERY_INTERVAL_S: u64 = 150;
const MAX_RESPONSE_S: u64 = 1;
/// Longer times than this are cut: no column has a limit.
const LONGEST_S: u64 = 86_400;
/// A port may have this part of the table, or so many groups if that is more.
const SHARE: usize = 4;
const LEAST_SHARE: usize = 16;

/// The settings of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// How many groups are remembered.
    pub(super) table_size: usize,
    /// So long who wants a group is remembered after the last report.
    pub(super) idle_timeout: Duration,
    /// The sources of the queries that are sent, each of another family; none if none are.
    pub(super) query: Vec<(Mac, IpAddr)>,
    /// The pause between two queries.
    pub(super) interval: Duration,
    /// The time that hosts have to answer.
    pub(super) max_response: Duration,
    /// When it changes, everything is forgotten.
    pub(super) sequence: i64,
}

impl Settings {
    /// What a row says. What makes no sense is at its default; northd has told.
    pub(super) fn of(row: &IpMulticast) -> Self {
        let seconds = |value: Option<i64>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok());
            let value = value.filter(|value| *value > 0).unwrap_or(default);
            Duration::from_secs(value.min(LONGEST_S))
        };
        let v4 = row.ip4_src.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        let v6 = row.ip6_src.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
        let mac: Option<Mac> = row.eth_src.parse().ok();
        let mac = mac.filter(|_| row.querier == Some(true));
        let sources = mac
            .into_iter()
            .flat_map(|mac| [v4, v6].into_iter().flatten().map(move |ip| (mac, ip)));
        Self {
            table_size: row
                .table_size
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(TABLE_SIZE),
            idle_timeout: seconds(row.idle_timeout, IDLE_TIMEOUT_S),
            query: sources.collect(),
            interval: seconds(row.query_interval, QUERY_INTERVAL_S),
            max_response: seconds(row.query_max_resp, MAX_RESPONSE_S),
            sequence: row.seq_no,
        }
    }

    /// How many groups one guest may have joined.
    pub(super) fn share(&self) -> usize {
        (self.table_size / SHARE).max(LEAST_SHARE)
    }

    /// So long it takes until whoever still wants a group has said so again.
    pub(super) fn patience(&self) -> Duration {
        self.interval + self.max_response
    }
}
