//! Where chassis offer VXLAN only, packets between them are VXLAN, with the reduced keys that fit: the datapath's key in
//! the low twelve bits of the VNI, the output port's in the high twelve.

use tests::capture::Capture;
use tests::implementation::Plan;
use tests::lab::MEMBERS;
use tests::story::story;

#[test]
fn chassis_that_offer_vxlan_talk_vxlan() {
    story(Plan::under_test(), |lab| {
        lab.address_all()?;
        for chassis in &lab.rig.chassis {
            chassis.vsctl(&[
                "set",
                "Open_vSwitch",
                ".",
                "external_ids:ovn-encap-type=vxlan",
            ])?;
        }
        let (vm1, vm2) = (&MEMBERS[0], &MEMBERS[1]);
        let wire = Capture::start(
            lab.rig.namespace(),
            "underlay",
            "udp port 4789",
            lab.rig.dir(),
        )?;
        let deadline = std::time::Duration::from_secs(30);
        tests::wait::wait_until("VXLAN on the wire", deadline, || {
            lab.guest(vm1).reaches(vm2.address)?;
            let request = format!("{} > {}: ICMP echo request", vm1.address, vm2.address);
            Ok(wire
                .heard()?
                .iter()
                .any(|packet| packet.contains("VXLAN") && packet.contains(&request)))
        })?;

        let key = lab.rig.sb(&[
            "--bare",
            "--columns=tunnel_key",
            "find",
            "Port_Binding",
            "logical_port=dmz-vm2",
        ])?;
        let vni = (key.trim().parse::<u32>()? << 12) | lab.datapath_key()?;
        let inner = format!("{} > {}: ICMP echo request", vm1.address, vm2.address);
        wire.wait_for(&[&format!("vni {vni}"), &inner])?;
        lab.ping_all()?;
        Ok(())
    });
}
