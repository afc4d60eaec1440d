//! What a relay does to messages between clients and a server (RFC 1542, section 4; RFC 2131, section 4.1).
//!
//! Messages keep their bytes but for those that are a relay's, so that a client and a server understand each other whatever
//! options they use.

use std::net::Ipv4Addr;

use addr::Mac;
use dhcproto::v4::MAGIC;
use dhcproto::v4::borrowed::Message as View;

use super::{FIXED_LEN, code};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// More relays on the way are a loop (RFC 1542, section 4.1.1).
const MAX_HOPS: u8 = 16;
const ETHERNET: (u8, u8) = (1, 6);
const BROADCAST: u8 = 0x80;

const HOPS: usize = 3;
const FLAGS: usize = 10;
const YOUR_ADDRESS: usize = 16;
const RELAY: usize = 24;
const HARDWARE_ADDRESS: usize = 28;

/// Why a message is not relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// It is shorter than any message, or has no options.
    #[error("{0} bytes that are no DHCP message")]
    Malformed(usize),
    /// A reply from where requests come from, or the other way round.
    #[error("a DHCP message with operation {0}")]
    Operation(u8),
    /// Another relay has had it already.
    #[error("a DHCP request that {0} has relayed")]
    Relayed(Ipv4Addr),
    /// Too many relays have.
    #[error("a DHCP request after {0} relays")]
    Hops(u8),
    /// It is for another relay.
    #[error("a DHCP reply to the relay {0}")]
    OtherRelay(Ipv4Addr),
    /// Another server says that it has sent it.
    #[error("a DHCP reply of the server {0:?}")]
    OtherServer(Option<Ipv4Addr>),
}

/// A client's request as the relay at this address sends it on.
pub fn request(payload: &[u8], relay: Ipv4Addr) -> Result<Vec<u8>, RelayError> {
    check(payload, REQUEST)?;
    let known = address(payload, RELAY);
    if !known.is_unspecified() {
        return Err(RelayError::Relayed(known));
    }
    if payload[HOPS] >= MAX_HOPS {
        return Err(RelayError::Hops(payload[HOPS]));
    }
    let mut relayed = payload.to_vec();
    relayed[HOPS] += 1;
    relayed[RELAY..RELAY + 4].copy_from_slice(&relay.octets());
    Ok(relayed)
}

/// To whom a server's reply goes that has come to the relay at this address: to the client's own addresses, or to everybody if
/// it wants that or has none.
pub fn recipient(
    payload: &[u8],
    relay: Ipv4Addr,
    server: Ipv4Addr,
) -> Result<(Mac, Ipv4Addr), RelayError> {
    check(payload, REPLY)?;
    let known = address(payload, RELAY);
    if known != relay {
        return Err(RelayError::OtherRelay(known));
    }
    let view = View::new(payload).map_err(|_| RelayError::Malformed(payload.len()))?;
    let says = view
        .opts()
        .find(|option| u8::from(option.code()) == code::SERVER_ID)
        .and_then(|option| Some(Ipv4Addr::from(<[u8; 4]>::try_from(option.data()).ok()?)));
    if says != Some(server) {
        return Err(RelayError::OtherServer(says));
    }
    let yours = address(payload, YOUR_ADDRESS);
    let is_ethernet = (payload[1], payload[2]) == ETHERNET;
    let wants_broadcast = payload[FLAGS] & BROADCAST != 0;
    if wants_broadcast || yours.is_unspecified() || !is_ethernet {
        return Ok((Mac([0xff; 6]), Ipv4Addr::BROADCAST));
    }
    let mac = payload[HARDWARE_ADDRESS..HARDWARE_ADDRESS + 6].try_into();
    Ok((Mac(mac.expect("six bytes")), yours))
}

fn check(payload: &[u8], operation: u8) -> Result<(), RelayError> {
    let is_message = payload.get(FIXED_LEN - 4..FIXED_LEN) == Some(&MAGIC[..]);
    if !is_message {
        return Err(RelayError::Malformed(payload.len()));
    }
    match payload[0] {
        found if found == operation => Ok(()),
        found => Err(RelayError::Operation(found)),
    }
}

fn address(payload: &[u8], at: usize) -> Ipv4Addr {
    let octets: [u8; 4] = payload[at..at + 4].try_into().expect("a whole message");
    Ipv4Addr::from(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 67);
    const YOURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);

    /// A message with the server's option.
    fn message(operation: u8) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_LEN];
        bytes[..3].copy_from_slice(&[operation, 1, 6]);
        bytes[HARDWARE_ADDRESS..HARDWARE_ADDRESS + 6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        bytes[FIXED_LEN - 4..].copy_from_slice(&MAGIC);
        bytes.extend([53, 1, 2, code::SERVER_ID, 4]);
        bytes.extend(SERVER.octets());
        bytes.push(255);
        bytes
    }

    fn reply() -> Vec<u8> {
        let mut bytes = message(REPLY);
        bytes[YOUR_ADDRESS..YOUR_ADDRESS + 4].copy_from_slice(&YOURS.octets());
        bytes[RELAY..RELAY + 4].copy_from_slice(&OWN.octets());
        bytes
    }

    #[test]
    fn a_request_tells_which_relay_it_has_passed() {
        let sent = message(REQUEST);
        let relayed = request(&sent, OWN).expect("relayed");
        assert_eq!((relayed[HOPS], address(&relayed, RELAY)), (1, OWN));
        let mut back = relayed.clone();
        back[HOPS] = 0;
        back[RELAY..RELAY + 4].fill(0);
        assert_eq!(back, sent, "nothing else is another");
        assert_eq!(request(&relayed, OWN), Err(RelayError::Relayed(OWN)));
        let mut looping = sent.clone();
        looping[HOPS] = 16;
        assert_eq!(request(&looping, OWN), Err(RelayError::Hops(16)));
        assert_eq!(request(&reply(), OWN), Err(RelayError::Operation(2)));
        assert_eq!(request(&sent[..239], OWN), Err(RelayError::Malformed(239)));
    }

    #[test]
    fn a_reply_goes_to_the_client() {
        let own = (Mac([2, 0, 0, 0, 0, 9]), YOURS);
        assert_eq!(recipient(&reply(), OWN, SERVER), Ok(own));
        let everybody = (Mac([0xff; 6]), Ipv4Addr::BROADCAST);
        let mut wanted = reply();
        wanted[FLAGS] = 0x80;
        assert_eq!(recipient(&wanted, OWN, SERVER), Ok(everybody));
        let mut refused = reply();
        refused[YOUR_ADDRESS..YOUR_ADDRESS + 4].fill(0);
        assert_eq!(recipient(&refused, OWN, SERVER), Ok(everybody));
    }

    #[test]
    fn a_reply_of_somebody_else_or_for_somebody_else_is_refused() {
        let found = recipient(&reply(), YOURS, SERVER);
        assert_eq!(found, Err(RelayError::OtherRelay(OWN)));
        let found = recipient(&reply(), OWN, YOURS);
        assert_eq!(found, Err(RelayError::OtherServer(Some(SERVER))));
        let mut silent = reply();
        silent.truncate(FIXED_LEN);
        silent.push(255);
        let found = recipient(&silent, OWN, SERVER);
        assert_eq!(found, Err(RelayError::OtherServer(None)));
        let found = recipient(&message(REQUEST), OWN, SERVER);
        assert_eq!(found, Err(RelayError::Operation(1)));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _refused = request(&bytes, OWN).is_err();
            let _refused = recipient(&bytes, OWN, SERVER).is_err();
        }

        #[test]
        fn no_message_panics(at in 0..250_usize, byte: u8, tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            for operation in [REQUEST, REPLY] {
                let mut bytes = message(operation);
                bytes.extend(&tail);
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
                let _refused = request(&bytes, OWN).is_err();
                let _refused = recipient(&bytes, OWN, SERVER).is_err();
            }
        }
    }
}
