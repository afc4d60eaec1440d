//! `weft pki show`: what is in a file of certificates.

use std::path::Path;
use std::time::SystemTime;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use crate::error::{CommandError, Outcome, fail};

/// Seconds in a day.
const DAY: i64 = 24 * 3600;

/// Describes all certificates of a file.
pub fn show(path: &Path) -> Outcome<String> {
    let wrong =
        |what: &dyn std::fmt::Display| CommandError::Failed(format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    let mut text = String::new();
    for pem in Pem::iter_from_buffer(&bytes) {
        let pem = pem.map_err(|error| wrong(&error))?;
        if pem.label == "CERTIFICATE" {
            let certificate = pem.parse_x509().map_err(|error| wrong(&error))?;
            text.push_str(&describe(&certificate));
        }
    }
    if text.is_empty() {
        return fail(format!(
            "{}: there is no certificate in it, in PEM form",
            path.display()
        ));
    }
    Ok(format!("{}:\n{text}", path.display()))
}

fn describe(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject();
    let text = |attribute: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
        let text = attribute.and_then(|attribute| attribute.as_str().ok());
        text.unwrap_or("-").to_owned()
    };
    let validity = certificate.validity();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let left = (validity.not_after.timestamp() - now + DAY - 1).div_euclid(DAY);
    let state = if now < validity.not_before.timestamp() {
        "not valid yet".to_owned()
    } else if now > validity.not_after.timestamp() {
        "expired".to_owned()
    } else {
        format!("{left} days left")
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => address(bytes),
            other => other.to_string(),
        })
        .collect();
    let kind = match certificate.is_ca() {
        true => "authority",
        false => "certificate",
    };
    format!(
        "  {kind}: {}\n    role: {}\n    issuer: {}\n    names: {}\n    valid: {} to {} ({state})\n    serial: {}\n",
        text(subject.iter_common_name().next()),
        text(subject.iter_organizational_unit().next()),
        text(certificate.issuer().iter_common_name().next()),
        match names.is_empty() {
            true => "-".to_owned(),
            false => names.join(", "),
        },
        validity.not_before,
        validity.not_after,
        certificate.raw_serial_as_string(),
    )
}

fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return std::net::Ipv4Addr::from(v4).to_string();
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => std::net::Ipv6Addr::from(v6).to_string(),
        Err(_) => format!("an address of {} bytes", bytes.len()),
    }
}
