//! The rig itself is right: the whole lab on OVN's own daemons, as the distribution has installed them.
//!
//! When a test of Weft's fails, this one tells whether to look at Weft or at the rig.

use tests::guest::DhcpClient;
use tests::implementation::Plan;
use tests::lab::pairs;
use tests::story::story;

#[test]
fn the_lab_works_on_ovns_own_daemons() {
    story(Plan::ovn(), |lab| {
        lab.address_all()?;
        assert_eq!(lab.ping_all()?.len(), pairs().count());
        for (member, lease) in lab.lease_all(DhcpClient::Udhcpc)? {
            assert_eq!(lease, member.expected_lease());
        }
        Ok(())
    });
}
