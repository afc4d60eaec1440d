//! Every guest pings every other; between chassis the packets are Geneve, with the datapath's key as VNI.

use tests::capture::Capture;
use tests::implementation::Plan;
use tests::lab::{MEMBERS, pairs};
use tests::story::story;

#[test]
fn every_guest_reaches_every_other() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        assert_eq!(lab.ping_all()?.len(), pairs().count());
        Ok(())
    });
}

#[test]
fn between_chassis_packets_are_geneve_with_the_datapaths_key() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);
        let wire = Capture::start(
            lab.rig.namespace(),
            "underlay",
            "udp port 6081",
            lab.rig.dir(),
        )?;
        lab.guest(vm1).ping(vm2.address)?;

        let vni = format!("Geneve, Flags [C], vni {:#x},", lab.datapath_key()?);
        // OVN's option: class 0x0102, type 0x80 (critical), the logical ports in four bytes.
        let option = "(0x102) type 0x80";
        for (from, to) in [(vm1, vm2), (vm2, vm1)] {
            let inner = format!("{} > {}: ICMP echo", from.address, to.address);
            let macs = format!("{} > {}", from.mac, to.mac);
            wire.wait_for(&[&vni, option, &macs, &inner])?;
        }
        Ok(())
    });
}
