//! Every guest gets exactly its own address, mask and router from a real DHCP client, for an hour.
//!
//! The operator has named the DHCP options of the switch on every port; the switch itself answers, on the guest's own
//! chassis. All three clients that Linux guests commonly have must be content with the answer, and containers, whose
//! requests come in with a VLAN, are guests like any other.

use anyhow::Result;
use tests::guest::DhcpClient;
use tests::implementation::Plan;
use tests::lab::{Lab, MEMBERS};
use tests::story::story;

#[test]
fn every_guest_gets_its_own_lease() {
    story(Plan::under_test(), |lab| {
        check_leases(lab, DhcpClient::Dhclient)?;
        check_leases(lab, DhcpClient::Udhcpc)?;
        check_leases(lab, DhcpClient::Dhcpcd)
    });
}

fn check_leases(lab: &Lab, client: DhcpClient) -> Result<()> {
    let leases = lab.lease_all(client)?;
    assert_eq!(leases.len(), MEMBERS.len());
    for (member, lease) in leases {
        assert_eq!(
            lease,
            member.expected_lease(),
            "{} by {client:?}",
            member.port
        );
    }
    Ok(())
}
