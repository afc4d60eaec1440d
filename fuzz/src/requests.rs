//! What guests send to the services of a chassis.

use packet::dns::{Answer, Question};
use packet::{dhcp4, dhcp6};

/// A DHCP message; the first byte says of which version.
pub fn dhcp_requests(input: &[u8]) {
    let Some((&which, bytes)) = input.split_first() else {
        return;
    };
    if which % 2 == 0 {
        let Ok(request) = dhcp4::Request::parse(bytes) else {
            return;
        };
        let reply = dhcp4::Reply {
            kind: dhcp4::ReplyKind::Ack,
            your_address: [10, 0, 0, 2].into(),
            next_server: [0; 4].into(),
            options: vec![(51, vec![0; 4]), (67, vec![b'x'; 300]), (121, vec![0; 700])],
        };
        let (payload, _) = reply.encode(&request);
        // What the client says that it takes, or Ethernet's MTU.
        assert!(payload.len() <= 1500);
        return;
    }
    let Ok(request) = dhcp6::Request::parse(bytes) else {
        return;
    };
    let options = [
        (dhcp6::code::SERVER_ID, vec![2, 0, 0, 0, 0, 1]),
        (dhcp6::code::IA_ADDR, vec![0xfd; 16]),
        (dhcp6::code::FQDN, b"\x02vm\0".to_vec()),
        (dhcp6::code::BOOT_FILE, b"http://a".to_vec()),
    ];
    if let Some(reply) = request.reply(&options) {
        assert_eq!(reply[1..4], bytes[1..4], "the same transaction");
    }
}

/// A DNS message.
pub fn dns_questions(input: &[u8]) {
    let Ok(question) = Question::parse(input) else {
        return;
    };
    let many = (0..100).map(|host| [10, 0, 0, host].into()).collect();
    let found = question.answer("10.0.0.4 fd00::4", true);
    for answer in [Answer::Addresses(many), Answer::Refused]
        .into_iter()
        .chain(found)
    {
        let Ok(payload) = question.encode(&answer) else {
            continue;
        };
        assert_eq!(payload[..2], input[..2], "the same question");
        assert!(payload.len() <= 1232, "{} bytes", payload.len());
    }
}
