//! The certificate authority: two files in a directory, and what it signs.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::error::{CommandError, Outcome, fail};

/// The authority's certificate.
const CERTIFICATE: &str = "ca.pem";
/// The authority's private key.
const KEY: &str = "ca-key.pem";
/// Keys are for their owner alone.
const SECRET: u32 = 0o600;
/// Certificates are for everybody.
const PUBLIC: u32 = 0o644;
/// The longest common name (RFC 5280, appendix A).
const MAX_NAME: usize = 64;
/// Certificates are valid from so long before now on, for clocks that are slow.
const SLOW_CLOCKS: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority that exists.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate to make.
pub struct Wanted<'a> {
    /// The common name, of which the files' names are made.
    pub name: &'a str,
    /// The organisational unit.
    pub role: &'a str,
    /// Names and addresses beside the common name.
    pub addresses: &'a [String],
    /// How long it is valid.
    pub days: u32,
    /// Whether files that exist are replaced.
    pub replace: bool,
}

/// Makes an authority; answers what to print.
pub fn create(directory: &Path, name: &str, days: u32, replace: bool) -> Outcome<String> {
    let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    if !replace && let Some(found) = [&certificate, &key].into_iter().find(|file| file.exists()) {
        return fail(format!(
            "{}: there is an authority already, and without it the certificates that it signed are of no use; \
             give another --dir, or --force to replace it",
            found.display()
        ));
    }
    let mut params = params(name, "certificate authority", &[], days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.use_authority_key_identifier_extension = false;
    let pair = KeyPair::generate().map_err(|error| failed(&error))?;
    let signed = params.self_signed(&pair).map_err(|error| failed(&error))?;
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(directory);
    made.map_err(|error| CommandError::Failed(format!("{}: {error}", directory.display())))?;
    write(&key, &pair.serialize_pem(), SECRET, replace)?;
    write(&certificate, &signed.pem(), PUBLIC, replace)?;
    Ok(lines(&[certificate, key]))
}

impl Authority {
    /// Opens the authority of a directory.
    pub fn open(directory: &Path) -> Outcome<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(|error| {
                CommandError::Failed(format!(
                    "{}: {error}; weft pki init makes an authority, and --dir says where it is",
                    path.display()
                ))
            })
        };
        let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
        let wrong = |name: &str, error: rcgen::Error| {
            CommandError::Failed(format!("{}: {error}", directory.join(name).display()))
        };
        let key = KeyPair::from_pem(&key).map_err(|error| wrong(KEY, error))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key);
        Ok(Self {
            directory: directory.to_owned(),
            issuer: issuer.map_err(|error| wrong(CERTIFICATE, error))?,
        })
    }

    /// Makes a key and a certificate for it; answers what to print.
    pub fn issue(&self, wanted: &Wanted<'_>) -> Outcome<String> {
        let name = wanted.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) || name.starts_with(['.', '-']) {
            return fail(format!(
                "{name:?}: a name should consist of letters, digits and -_.:@, and begin with a letter or a digit"
            ));
        }
        if name == "ca" {
            return fail("ca: the authority's own files are called so; take another name");
        }
        let mut params = params(name, wanted.role, wanted.addresses, wanted.days)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let pair = KeyPair::generate().map_err(|error| failed(&error))?;
        let signed = params
            .signed_by(&pair, &self.issuer)
            .map_err(|error| failed(&error))?;
        let key = self.directory.join(format!("{name}-key.pem"));
        let certificate = self.directory.join(format!("{name}-cert.pem"));
        if !wanted.replace
            && let Some(found) = [&key, &certificate].into_iter().find(|file| file.exists())
        {
            return fail(format!(
                "{}: it exists already; give --force to replace it",
                found.display()
            ));
        }
        write(&key, &pair.serialize_pem(), SECRET, wanted.replace)?;
        write(&certificate, &signed.pem(), PUBLIC, wanted.replace)?;
        Ok(lines(&[certificate, key]))
    }
}

/// What authorities and others have in common.
fn params(name: &str, unit: &str, addresses: &[String], days: u32) -> Outcome<CertificateParams> {
    if name.len() > MAX_NAME {
        return fail(format!(
            "{name:?}: the common name of a certificate has at most {MAX_NAME} characters"
        ));
    }
    let alternative = match unit {
        "certificate authority" => Vec::new(),
        _ => std::iter::once(name.to_owned())
            .chain(addresses.iter().cloned())
            .collect(),
    };
    let mut params = CertificateParams::new(alternative).map_err(|error| failed(&error))?;
    let subject = &mut params.distinguished_name;
    *subject = rcgen::DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Weft");
    subject.push(DnType::OrganizationalUnitName, unit);
    subject.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_err(|_| CommandError::Failed("the clock is before 1970; set it".into()))?;
    params.not_before = epoch + now.saturating_sub(SLOW_CLOCKS);
    params.not_after = epoch + now + DAY * days;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Writes a file that is complete or is not there.
fn write(path: &Path, text: &str, mode: u32, replace: bool) -> Outcome {
    let failed =
        |error: std::io::Error| CommandError::Failed(format!("{}: {error}", path.display()));
    let target = match replace {
        true => path.with_extension("new"),
        false => path.to_owned(),
    };
    if replace {
        // One that is left of an attempt that failed.
        let _ = std::fs::remove_file(&target);
    }
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&target);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    if replace {
        std::fs::rename(&target, path).map_err(failed)?;
    }
    Ok(())
}

fn failed(error: &rcgen::Error) -> CommandError {
    CommandError::Failed(format!("cannot make the certificate: {error}"))
}

fn lines(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| format!("{}\n", path.display()))
        .collect()
}
