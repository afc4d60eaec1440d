//! Each kind of action, other spellings, and errors.

use super::*;

/// What a text parses to, printed, or the column and message of its error.
fn check(text: &str, expected: &str) {
    let got = match Actions::parse(text) {
        Ok(actions) => {
            let printed = actions.to_string();
            assert_eq!(
                Actions::parse(&printed).as_ref(),
                Ok(&actions),
                "{text} printed as {printed}"
            );
            printed
        }
        Err(error) => format!("{}: {}", error.column(), error.message),
    };
    assert_eq!(got, expected, "{text}");
}

fn same(texts: &[&str]) {
    texts.iter().for_each(|text| check(text, text));
}

#[test]
fn all_kinds() {
    same(&[
        "drop;",
        "output;",
        "next;",
        "next(7);",
        "next(pipeline=egress, table=3);",
        "outport = \"lsp1\"; output;",
        "reg0[3] = 1; reg8[16..31] = 77;",
        "eth.src = 02:00:00:00:00:01; ip4.dst = 10.0.0.1; xxreg0 = fd00::1;",
        "reg0 = ip4.src; outport = inport;",
        "eth.src <-> eth.dst; inport <-> outport;",
        "push(xxreg0); pop(eth.dst);",
        "ip.ttl--;",
        "icmp4.frag_mtu = 1500; icmp6.frag_mtu = 1280;",
        "ct_next; ct_next(snat);",
        "ct_commit { };",
        "ct_commit { ct_mark.blocked = 1; ct_label.label = reg3; ct_mark = 1/0x1; };",
        "ct_commit_to_zone(dnat);",
        "ct_commit_nat; ct_commit_nat(snat);",
        "ct_dnat; ct_dnat(10.0.0.1); ct_snat(fd00::1, 1000-2000); ct_snat_in_czone; ct_dnat_in_czone(10.0.0.1);",
        "ct_clear; ct_snat_to_vip; igmp; handle_dhcpv6_reply; handle_bfd_msg(); mac_cache_use; flood_remote;",
        "ct_lb; ct_lb_mark;",
        "ct_lb_mark(backends=10.0.0.2:80,[fd00::2]:80,10.0.0.3; hash_fields=\"ip_src,ip_dst\"; skip_snat);",
        "ct_lb_mark_local(backends=\"lsp1\":10.0.0.2:80; force_snat);",
        "reg0 = ct_nw_dst(); xxreg0 = ct_ip6_dst(); reg1[0..15] = ct_tp_dst(); reg1[16..23] = ct_proto();",
        "reg4[0..7] = ct_state_save();",
        "reg8[16..31] = select(1=20, 2=30);",
        "reg8[16..31] = select(values=(1=100, 2=30); hash_fields=\"ip_src\");",
        "fwd_group(liveness=true, childports=\"a\", \"b\"); fwd_group(childports=\"a\");",
        "clone { ct_clear; next(pipeline=ingress, table=0); }; arp { eth.dst = ff:ff:ff:ff:ff:ff; output; };",
        "nd_ns { output; }; nd_na { output; }; nd_na_router { output; };",
        "icmp4 { output; }; icmp4_error { output; }; icmp6 { output; }; icmp6_error { output; };",
        "tcp_reset { output; }; sctp_abort { output; }; reject { output; };",
        "get_arp(outport, reg0); put_arp(inport, arp.spa, arp.sha); get_nd(outport, xxreg0);",
        "put_nd(inport, nd.target, nd.tll); reg9[2] = lookup_arp(inport, arp.spa, arp.sha);",
        "reg9[3] = lookup_arp_ip(inport, arp.spa); reg9[2] = lookup_nd(inport, nd.target, nd.tll);",
        "reg9[3] = lookup_nd_ip(inport, ip6.src);",
        "put_fdb(inport, eth.src); outport = get_fdb(eth.dst); remote_outport = get_remote_fdb(eth.dst);",
        "reg0[11] = lookup_fdb(inport, eth.src);",
        "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, router = 10.0.0.1, dns_server = {8.8.8.8, 7.7.7.7});",
        "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, domain_name = \"a.b\", mtu = 1442);",
        "reg0[3] = put_dhcp_opts(classless_static_route = {30.0.0.0/24, 10.0.0.4, 0.0.0.0/0, 10.0.0.1});",
        "reg0[3] = put_dhcpv6_opts(ia_addr = ae70::4, server_id = 00:00:00:00:10:02);",
        "reg0[5] = put_nd_ra_opts(addr_mode = \"slaac\", prefix = aef0::/64, slla = 00:00:00:00:10:02);",
        "reg0[4] = dns_lookup(); reg9[7] = dhcp_relay_req_chk(10.0.0.1, 10.1.0.1);",
        "reg9[8] = dhcp_relay_resp_chk(10.0.0.1, 10.1.0.1);",
        "handle_svc_check(inport); bind_vport(\"vip\", inport);",
        "trigger_event(event = \"empty_lb_backends\", vip = \"10.0.0.1:80\", protocol = \"tcp\", load_balancer = \"u\");",
        "reg0[15] = check_in_port_sec(); reg0[15] = check_out_port_sec(); reg9[1] = check_pkt_larger(1500);",
        "reg0[6] = chk_lb_hairpin(); reg0[12] = chk_lb_hairpin_reply(); reg9[6] = chk_lb_aff();",
        "reg9[5] = chk_ecmp_nh_mac(); reg9[5] = chk_ecmp_nh();",
        "commit_ecmp_nh(ipv6 = true, proto = tcp);",
        "commit_lb_aff(vip = \"10.0.0.1:80\", backend = \"[fd00::1]:80\", proto = tcp, timeout = 10);",
        "set_queue(61440); set_meter(100); set_meter(100, 200); mirror(\"lsp1\");",
        "log(name=\"acl\", verdict=allow, severity=info, meter=\"m\"); log();",
        "sample(probability=65535,collector_set=1,obs_domain=2,obs_point=@cookie);",
        "sample(probability=1,collector_set=reg8[0..7],obs_domain=0,obs_point=7);",
    ]);
}

#[test]
fn other_spellings() {
    check("", "drop;");
    check("// nothing", "drop;");
    check("next(table=7);", "next(7);");
    check(
        "ct_commit(ct_mark=1,ct_label=2);",
        "ct_commit { ct_mark = 1; ct_label = 2; };",
    );
    check("ct_commit;", "ct_commit { };");
    check(
        "ct_lb(10.0.0.1:80, 10.0.0.2:80);",
        "ct_lb(backends=10.0.0.1:80,10.0.0.2:80);",
    );
    check("tcp_reset;", "tcp_reset { };");
    check("reg0[0]=1;output;", "reg0[0] = 1; output;");
    check(
        "reg8[16..31] = select(1, 2);",
        "reg8[16..31] = select(1=100, 2=100);",
    );
    check(
        "ct_label.label = 1;",
        "1: ct_label.label can be written inside ct_commit { … } only",
    );
}

#[test]
fn refuses() {
    for (text, error) in [
        ("output", "7: expected \";\", but the text ends here"),
        ("outptu;", "1: unknown action \"outptu\""),
        ("drop; next;", "5: \"drop\" must be the last action"),
        ("eth.type = 1;", "1: eth.type cannot be written"),
        (
            "ip4.src = ip6.src;",
            "11: ip4.src has 32 bits, but ip6.src has 128 bits",
        ),
        (
            "outport = 5;",
            "11: outport is the name of a port: it is compared with strings in double quotes",
        ),
        (
            "reg0 = $as;",
            "8: a field is set to one value, not to a set",
        ),
        ("reg0[3..4] = dns_lookup();", "1: expected a field of 1 bit"),
        (
            "put_arp(reg0, arp.spa, arp.sha);",
            "9: expected a field that names a port, such as inport",
        ),
        (
            "ct_commit { reg0 = 1; };",
            "13: inside ct_commit { … } only ct_mark and ct_label can be written",
        ),
        (
            "set_queue(61441);",
            "11: expected the id of a queue, at most 61440",
        ),
        (
            "reg0 = foo(1);",
            "8: \"foo\" is neither a field nor a function with a result",
        ),
        (
            "log(verdict=maybe);",
            "13: expected one of allow, deny, drop, reject, pass",
        ),
        ("reg0 = ip4;", "8: ip4 has no value that could be copied"),
        (
            "reg8[0..1] = select(1, 7);",
            "24: this does not fit reg8[0..1]",
        ),
        ("reg0--;", "1: only ip.ttl can be decremented"),
    ] {
        check(text, error);
    }
    let deep = format!("{}output;{}", "clone {".repeat(1000), "};".repeat(1000));
    assert!(
        Actions::parse(&deep)
            .unwrap_err()
            .message
            .contains("nested")
    );
}
