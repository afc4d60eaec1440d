//! Questions as clients ask them, and what they are answered.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn asked(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Asked::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn parse(message: &Message) -> Result<Question, QuestionError> {
    Question::parse(&message.to_vec().unwrap())
}

fn answered(name: &str, kind: RecordType, record: &str, is_ours: bool) -> Option<Message> {
    let question = parse(&asked(name, kind)).unwrap();
    let answer = question.answer(record, is_ours)?;
    Some(Message::from_vec(&question.encode(&answer).unwrap()).unwrap())
}

#[test]
fn questions_are_answered_as_they_were_asked() {
    let addresses = "10.0.0.4 fd00::4, 10.0.0.5";
    let all = ["10.0.0.4", "10.0.0.5", "fd00::4"];
    for (kind, record, is_ours, expected) in [
        (RecordType::A, addresses, false, Some(&all[..2])),
        (RecordType::AAAA, addresses, false, Some(&all[2..])),
        (RecordType::ANY, addresses, false, Some(&all[..])),
        (RecordType::AAAA, "10.0.0.4", false, None),
        (RecordType::AAAA, "10.0.0.4", true, Some(&[][..])),
        (RecordType::ANY, "", true, None),
        (RecordType::A, "host.example.org", true, None),
        (
            RecordType::PTR,
            "vm1.Ovn.org",
            false,
            Some(&["vm1.Ovn.org."][..]),
        ),
        (RecordType::PTR, "not a name", false, None),
    ] {
        let reply = answered("Vm1.oVn.org.", kind, record, is_ours);
        let data = reply.as_ref().map(|reply| {
            assert_eq!(reply.metadata.id, 0x1234);
            assert_eq!(reply.metadata.message_type, MessageType::Response);
            assert!(reply.metadata.recursion_desired && !reply.metadata.truncation);
            let refused = reply.answers.is_empty();
            let code = [ResponseCode::NoError, ResponseCode::Refused][usize::from(refused)];
            assert_eq!(reply.metadata.response_code, code);
            let answers = reply.answers.iter();
            let names = answers.map(|record| record.name.to_ascii());
            let names = names.chain([reply.queries[0].name().to_ascii()]);
            assert!(names.into_iter().all(|name| name == "Vm1.oVn.org."));
            let answers = reply.answers.iter().map(|record| record.data.to_string());
            answers.collect::<Vec<_>>()
        });
        let expected = expected.map(|of| of.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(data, expected, "{kind} {record}");
    }
    let question = parse(&asked("Vm1.oVn.org.", RecordType::A)).unwrap();
    assert_eq!(question.name, "vm1.ovn.org");
}

#[test]
fn what_is_no_question_says_why() {
    let mut update = asked("a.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    let mut reply = asked("a.", RecordType::A);
    reply.metadata.message_type = MessageType::Response;
    let mut two = asked("a.", RecordType::A);
    two.add_query(two.queries[0].clone());
    let mut none = asked("a.", RecordType::A);
    none.queries.clear();
    let mut chaos = asked("a.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    for (message, error) in [
        (update, "a DNS message that asks nothing"),
        (reply, "a DNS message that asks nothing"),
        (two, "a DNS message with 2 questions"),
        (none, "a DNS message with 0 questions"),
        (chaos, "a DNS question of class CH"),
        (asked("a.", RecordType::MX), "a DNS question of type MX"),
    ] {
        assert_eq!(parse(&message).unwrap_err().to_string(), error);
    }
    let bytes = asked("a.example.", RecordType::A).to_vec().unwrap();
    for length in 0..bytes.len() {
        let error = Question::parse(&bytes[..length]).unwrap_err();
        assert!(matches!(error, QuestionError::Malformed(_)), "{error}");
    }
}

#[test]
fn an_answer_that_is_too_long_says_so() {
    let many: Vec<IpAddr> = (0..200u8)
        .map(|host| Ipv4Addr::new(10, 0, 0, host).into())
        .chain((0..200u16).map(|host| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into()))
        .collect();
    for (edns, limit) in [
        (None, 512),
        (Some(1232), 1232),
        (Some(4096), 1232),
        (Some(0), 512),
    ] {
        let mut message = asked("many.example.org.", RecordType::ANY);
        if let Some(length) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(length);
            message.set_edns(edns);
        }
        let question = parse(&message).unwrap();
        let bytes = question.encode(&Answer::Addresses(many.clone())).unwrap();
        let length = bytes.len();
        assert!(
            length <= limit && length > limit - 64,
            "{length} of {limit}"
        );
        let reply = Message::from_vec(&bytes).unwrap();
        assert!(reply.metadata.truncation);
        assert_eq!(reply.edns.is_some(), edns.is_some());
    }
}

#[test]
fn each_record_repeats_the_whole_name() {
    let question = parse(&asked("vM.example.", RecordType::A)).unwrap();
    let bytes = question
        .encode(&question.answer("10.0.0.1 10.0.0.2", false).unwrap())
        .unwrap();
    let name = *b"\x02vM\x07example\0";
    let record = |last: u8| {
        let rest = [0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 10, 0, 0, last];
        [&name[..], &rest].concat()
    };
    let records = [record(1), record(2)].concat();
    assert_eq!(bytes[6..8], [0, 2]);
    assert_eq!(bytes[HEADER_LEN + name.len() + 4..], records);
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(question) = Question::parse(&bytes) {
            let answer = Answer::Addresses(vec![Ipv4Addr::LOCALHOST.into()]);
            let _ = question.encode(&answer);
        }
    }
}
