//! Messages to the controller: an opcode and what it takes, as userdata of a `controller` action.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{Cidr, Mac};
use openflow::action::{Controller, encode_actions};
use openflow::message::Group;
use openflow::{Action as OfAction, Subfield};
use packet::advertisement::{self as ra, AddressMode, Advertisement, Preference, Route};
use packet::dhcp4::option::{OptionType, OptionValue};
use packet::dhcp6;
use packet::userdata::{
    AdvertisementArguments, Dhcp6Arguments, DhcpArguments, EmptyBackendsArguments, Opcode,
    ResultBit,
};

use super::arguments::port_args;
use super::fields::subfield;
use super::{Context, EncodeError, Outcome, Resources, encode};
use crate::action::{Actions, EmptyBackends, Log, Options, OptionsKind, Transform};
use crate::constant::{Constant, Format, Int, Name};
use crate::symbols::Field;

/// The words of `log(verdict=…)`, as numbered in its userdata.
const VERDICTS: [&str; 4] = ["allow", "drop", "reject", "pass"];
/// The words of `log(severity=…)`, as numbered in its userdata.
const SEVERITIES: [&str; 5] = ["alert", "warning", "notice", "info", "debug"];

/// A message of `opcode` with `rest` behind the header. With `pause` the pipeline waits for the controller's answer.
pub(super) fn message(
    opcode: Opcode,
    rest: Vec<u8>,
    pause: bool,
    context: &Context<'_>,
) -> OfAction {
    let mut userdata = opcode.header().to_vec();
    userdata.extend(rest);
    of_userdata(userdata, pause, context.controller_meter)
}

fn of_userdata(userdata: Vec<u8>, pause: bool, meter_id: Option<u32>) -> OfAction {
    OfAction::Controller(Box::new(Controller {
        userdata,
        pause,
        meter_id,
        ..Controller::default()
    }))
}

/// A message that needs nothing said.
pub(super) fn bare(opcode: Opcode, context: &Context<'_>, out: &mut Vec<OfAction>) {
    out.push(message(opcode, Vec::new(), false, context));
}

/// `arp { … }` and its kin: the userdata are the OpenFlow actions for the new packet.
pub(super) fn within(
    transform: Transform,
    actions: &Actions,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let opcode = match transform {
        Transform::Clone => return Err(EncodeError::Unsupported("clone in a message")),
        Transform::Arp => Opcode::Arp,
        Transform::NdNs => Opcode::NdNs,
        Transform::NdNa => Opcode::NdNa,
        Transform::NdNaRouter => Opcode::NdNaRouter,
        Transform::Icmp4 | Transform::Icmp6 => Opcode::Icmp,
        Transform::Icmp4Error => Opcode::Icmp4Error,
        Transform::Icmp6Error => Opcode::Icmp6Error,
        Transform::TcpReset => Opcode::TcpReset,
        Transform::SctpAbort => Opcode::SctpAbort,
        Transform::Reject => Opcode::Reject,
    };
    let inner = Context {
        controller_meter: None,
        resources: &Unnumbered(context.resources),
        ..*context
    };
    let mut nested = Vec::new();
    encode_actions(&encode(actions, &inner)?, &mut nested);
    // A packet whose next hop is asked for waits for the answer: what follows the braces is not for now.
    let pause = matches!(transform, Transform::Arp | Transform::NdNs);
    out.push(message(opcode, nested, pause, context));
    Ok(())
}

/// The resources for actions that travel as bytes: what they say of groups and meters could not follow when those get other
/// numbers.
struct Unnumbered<'a>(&'a dyn Resources);

impl Resources for Unnumbered<'_> {
    fn port(&self, name: &str) -> Option<u32> {
        self.0.port(name)
    }

    fn group(&self, _: &Group) -> Option<u32> {
        None
    }

    fn rate_meter(&self, _: u32, _: Option<u32>) -> Option<u32> {
        None
    }

    fn named_meter(&self, _: &str) -> Option<u32> {
        None
    }

    fn datapath(&self) -> u32 {
        self.0.datapath()
    }

    fn is_resident(&self, port: &str) -> bool {
        self.0.is_resident(port)
    }

    fn is_reachable(&self, port: &str) -> bool {
        self.0.is_reachable(port)
    }

    fn has_new_registers(&self) -> bool {
        self.0.has_new_registers()
    }

    fn dhcp_option(&self, name: &str) -> Option<(u8, OptionType)> {
        self.0.dhcp_option(name)
    }

    fn dhcp6_option(&self, name: &str) -> Option<(u16, dhcp6::option::OptionType)> {
        self.0.dhcp6_option(name)
    }
}

/// `trigger_event(…);`: what happened to which load balancer.
pub(super) fn event(
    event: &EmptyBackends,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let arguments = EmptyBackendsArguments {
        vip: event.vip.to_string(),
        protocol: event.protocol.to_string(),
        load_balancer: event.load_balancer.to_string(),
    };
    let meter = metered(&event.meter, context);
    let userdata = arguments
        .encode()
        .ok_or(EncodeError::Unsupported("trigger_event with such names"))?;
    out.push(of_userdata(userdata, false, meter));
    Ok(())
}

/// The meter of this name, or that of all that the flow sends to the controller.
fn metered(name: &str, context: &Context<'_>) -> Option<u32> {
    let named = (!name.is_empty()).then(|| context.resources.named_meter(name));
    named.flatten().or(context.controller_meter)
}

/// `bind_vport("vport", inport);`
pub(super) fn bind_vport(
    vport: &str,
    parent: Field,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    // A virtual port of another datapath, or none: nothing can be bound.
    let Some(key) = context.resources.port(vport) else {
        return Ok(());
    };
    let message = message(
        Opcode::BindVport,
        key.to_be_bytes().to_vec(),
        false,
        context,
    );
    port_args(parent)?.around(out, [message]);
    Ok(())
}

/// `log(…);`: one byte for the verdict, one for the severity, then the name.
pub(super) fn log(log: &Log, context: &Context<'_>, out: &mut Vec<OfAction>) {
    let number = |words: &[&str], word: &str, default: u8| {
        let at = words.iter().position(|known| *known == word);
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or(default)
    };
    let verdict = if &*log.verdict == "deny" {
        "drop"
    } else {
        &*log.verdict
    };
    let mut rest = vec![
        number(&VERDICTS, verdict, 3),
        number(&SEVERITIES, &log.severity, 3),
    ];
    rest.extend(log.name.as_bytes());
    let meter = metered(&log.meter, context);
    let mut userdata = Opcode::Log.header().to_vec();
    userdata.extend(rest);
    out.push(of_userdata(userdata, false, meter));
}

/// `R = dns_lookup();`: the place of the result.
pub(super) fn dns_lookup(to: Field, context: &Context<'_>, out: &mut Vec<OfAction>) -> Outcome {
    let rest = result_bytes(result_bit(subfield(to)?));
    out.push(message(Opcode::DnsLookup, rest, true, context));
    Ok(())
}

/// `R = dhcp_relay_req_chk(relay, server);`: the place of the result, both addresses.
pub(super) fn relay_check(
    response: bool,
    to: Field,
    relay: IpAddr,
    server: IpAddr,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let (IpAddr::V4(relay), IpAddr::V4(server)) = (relay, server) else {
        return Err(EncodeError::Unsupported("dhcp_relay_req_chk with IPv6"));
    };
    let opcode = match response {
        true => Opcode::DhcpRelayResponseCheck,
        false => Opcode::DhcpRelayRequestCheck,
    };
    let mut rest = result_bytes(result_bit(subfield(to)?));
    rest.extend(relay.octets());
    rest.extend(server.octets());
    out.push(message(opcode, rest, true, context));
    Ok(())
}

/// `R = put_dhcp_opts(…);`
pub(super) fn put_options(
    kind: OptionsKind,
    to: Field,
    options: &Options,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    match kind {
        OptionsKind::Dhcp4 => {}
        OptionsKind::Dhcp6 => return dhcp6_options(to, options, context, out),
        OptionsKind::RouterAdvertisement => return advertisement(to, options, context, out),
    }
    let mut arguments = DhcpArguments {
        result: result_bit(subfield(to)?),
        offer: offer(options)?,
        options: Vec::with_capacity(options.len()),
    };
    for (name, values) in options {
        if &**name == "offerip" {
            continue;
        }
        let Some((code, ty)) = context.resources.dhcp_option(name) else {
            return Err(EncodeError::UnknownOption(name.clone()));
        };
        let wrong = |error| EncodeError::Option {
            name: name.clone(),
            error,
        };
        let values: Vec<_> = values.iter().map(option_value).collect::<Result<_, _>>()?;
        arguments
            .options
            .push((code, ty.encode(&values).map_err(wrong)?));
    }
    let userdata = arguments.encode().map_err(|code| {
        let name = format!("option {code}");
        EncodeError::UnknownOption(name.into())
    })?;
    out.push(of_userdata(userdata, true, context.controller_meter));
    Ok(())
}

/// `R = put_dhcpv6_opts(…);`
fn dhcp6_options(
    to: Field,
    options: &Options,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let mut arguments = Dhcp6Arguments {
        result: result_bit(subfield(to)?),
        options: Vec::with_capacity(options.len()),
    };
    for (name, values) in options {
        let Some((code, ty)) = context.resources.dhcp6_option(name) else {
            return Err(EncodeError::UnknownOption(name.clone()));
        };
        let values: Vec<_> = values
            .iter()
            .map(|value| option6_value(name, value))
            .collect::<Result<_, _>>()?;
        let wrong = |error| EncodeError::Option6 {
            name: name.clone(),
            error,
        };
        let encoded = ty.encode(code, &values).map_err(wrong)?;
        arguments.options.push((code, encoded));
    }
    let userdata = arguments.encode().map_err(|code| {
        let name = format!("option {code}");
        EncodeError::UnknownOption(name.into())
    })?;
    out.push(of_userdata(userdata, true, context.controller_meter));
    Ok(())
}

/// A constant as the value of a DHCPv6 option.
fn option6_value<'c>(
    name: &Name,
    constant: &'c Constant,
) -> Result<dhcp6::option::OptionValue<'c>, EncodeError> {
    use dhcp6::option::OptionValue;
    match constant {
        Constant::Str(text) => Ok(OptionValue::Text(text)),
        Constant::Int(int) if int.is_exact() && int.format == Format::Ip6 => {
            Ok(OptionValue::Address(Ipv6Addr::from_bits(int.value)))
        }
        Constant::Int(int) if int.is_exact() && int.format == Format::Mac => {
            let bits = u64::try_from(int.value).unwrap_or_default();
            Ok(OptionValue::Mac(Mac::from_u64(bits)))
        }
        Constant::Template(name) => Err(EncodeError::Template(name.clone())),
        _ => Err(EncodeError::UnknownOption(name.clone())),
    }
}

/// `R = put_nd_ra_opts(…);`
fn advertisement(
    to: Field,
    options: &Options,
    context: &Context<'_>,
    out: &mut Vec<OfAction>,
) -> Outcome {
    let arguments = AdvertisementArguments {
        result: result_bit(subfield(to)?),
        message: advertised(options)?.encode(),
    };
    let message = message(
        Opcode::PutRouterAdvertisement,
        arguments.encode(),
        true,
        context,
    );
    out.push(message);
    Ok(())
}

/// What options say of an advertisement.
fn advertised(options: &Options) -> Result<Advertisement, EncodeError> {
    let mut said = Advertisement {
        mode: AddressMode::default(),
        preference: Preference::default(),
        mac: Mac::ZERO,
        mtu: None,
        prefixes: Vec::new(),
        servers: Vec::new(),
        domains: Vec::new(),
        routes: Vec::new(),
    };
    for (name, values) in options {
        let [value] = &values[..] else {
            return Err(EncodeError::Advertisement(name.clone()));
        };
        said_by(&mut said, name, value).ok_or_else(|| EncodeError::Advertisement(name.clone()))?;
    }
    if said.mac.is_zero() {
        return Err(EncodeError::Advertisement("slla".into()));
    }
    Ok(said)
}

/// Adds what one option says. None if that makes no sense.
fn said_by(said: &mut Advertisement, name: &str, value: &Constant) -> Option<()> {
    let text = || match value {
        Constant::Str(text) => Some(&**text),
        _ => None,
    };
    let number = |format: Format| match value {
        Constant::Int(int) if int.format == format => Some(*int),
        _ => None,
    };
    match name {
        "addr_mode" => said.mode = text()?.parse().ok()?,
        "router_preference" => said.preference = text()?.parse().ok()?,
        "slla" => said.mac = Mac::from_u64(u64::try_from(number(Format::Mac)?.value).ok()?),
        "mtu" => said.mtu = Some(u32::try_from(number(Format::Decimal)?.value).ok()?),
        "prefix" => {
            let prefix = number(Format::Ip6)?;
            let length = u8::try_from(prefix.mask.count_ones()).ok()?;
            let network = Ipv6Addr::from_bits(prefix.value).into();
            said.prefixes.push(Cidr::new(network, length)?);
        }
        "rdnss" => said
            .servers
            .push(Ipv6Addr::from_bits(number(Format::Ip6)?.value)),
        "dnssl" => said.domains.extend(ra::list::<String>(text()?).ok()?),
        "route_info" => said.routes.extend(ra::list::<Route>(text()?).ok()?),
        _ => return None,
    }
    Some(())
}

/// `offerip`, which every reply needs.
fn offer(options: &Options) -> Result<Ipv4Addr, EncodeError> {
    let offer = options.iter().find(|(name, _)| &**name == "offerip");
    let values = offer.map(|(_, values)| &values[..]);
    match values {
        Some(
            [
                Constant::Int(Int {
                    value,
                    format: Format::Ip4,
                    mask: u128::MAX,
                }),
            ],
        ) => u32::try_from(*value)
            .map(Ipv4Addr::from_bits)
            .map_err(|_| EncodeError::NoOffer),
        _ => Err(EncodeError::NoOffer),
    }
}

/// A constant as the value of an option.
fn option_value(constant: &Constant) -> Result<OptionValue<'_>, EncodeError> {
    let int = match constant {
        Constant::Int(int) => int,
        Constant::Str(text) => return Ok(OptionValue::Text(text)),
        Constant::Template(name) => return Err(EncodeError::Template(name.clone())),
        Constant::AddressSet(name) | Constant::PortGroup(name) => {
            return Err(EncodeError::UnknownOption(name.clone()));
        }
    };
    let address = u32::try_from(int.value).map(Ipv4Addr::from_bits);
    Ok(match (int.format, address) {
        (Format::Ip4, Ok(address)) if int.is_exact() => OptionValue::Address(address),
        (Format::Ip4, Ok(address)) => {
            let length = u8::try_from(int.mask.count_ones()).expect("a mask has at most 128 bits");
            OptionValue::Network(address, length)
        }
        _ => OptionValue::Number(int.value),
    })
}

/// Where the controller writes its answer.
fn result_bit(bits: Subfield) -> ResultBit {
    let (class, number) = bits.field.oxm();
    let length = u32::try_from(bits.field.byte_len()).expect("a field has at most 124 bytes");
    ResultBit {
        oxm_header: u32::from(class) << 16 | u32::from(number) << 9 | length,
        bit: bits.offset.into(),
    }
}

fn result_bytes(result: ResultBit) -> Vec<u8> {
    let mut bytes = result.oxm_header.to_be_bytes().to_vec();
    bytes.extend(result.bit.to_be_bytes());
    bytes
}
