//! The packet formats that the chassis agent reads and makes, without I/O.
//!
//! Codecs come from well-kept crates: [`etherparse`] for the usual headers, [`dhcproto`] for DHCP,
//! [`hickory_proto`] for DNS. What is here is what
//! lies between them and the agent: typed views of just the packets that it answers, and the replies it makes of them.
//! Every parser takes bytes from a guest, so every parser returns an error and none panics.
//!
//! | module | what |
//! | --- | --- |
//! | [`userdata`] | what a flow tells the agent beside the packet: an opcode and its arguments |
//! | [`frame`] | an Ethernet frame taken apart, and put together again with checksums |
//! | [`reply`] | ARP requests, neighbour advertisements, ICMP errors, TCP resets and SCTP aborts made of other packets |
//! | [`text`] | a frame as Open vSwitch prints it |
//! | [`advertisement`] | router advertisements |
//! | [`announce`] | gratuitous ARP and reverse ARP |
//! | [`membership`] | IGMP and MLD, as a switch that snoops reads them |
//! | [`neighbour`] | questions to a neighbour that is known |
//! | [`bfd`] | BFD control packets |
//! | [`dhcp4`] | DHCPv4 requests and replies, and how option values are encoded |
//! | [`dhcp6`] | DHCPv6 requests and replies, and how option values are encoded |
//! | [`dns`] | DNS questions and answers |
//!
//! ```
//! use packet::announce::gratuitous_arp;
//! use packet::frame::Frame;
//!
//! let mac: addr::Mac = "02:00:00:00:00:01".parse()?;
//! let bytes = gratuitous_arp(mac, "10.0.0.1".parse()?);
//! assert_eq!(Frame::parse(&bytes)?.eth_src(), mac);
//! Frame::parse(&bytes[..9]).expect_err("a frame that was cut is refused by name");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod advertisement;
pub mod announce;
pub mod bfd;
pub mod dhcp4;
pub mod dhcp6;
pub mod dns;
pub mod frame;
pub mod membership;
pub mod neighbour;
pub mod probe;
pub mod reply;
pub mod text;
pub mod userdata;
