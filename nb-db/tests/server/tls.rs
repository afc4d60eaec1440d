//! TLS, with Open vSwitch's client at the other end.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::rig::{Server, text};

/// Writes a CA, and a key and a certificate for each of the names; those that begin with "member" are for members.
pub fn certificates(directory: &Path, ca: &str, names: &[&str]) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, ca);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join(format!("{ca}.pem")), issuer.pem()).unwrap();
    for name in names {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![(*name).to_owned()]).unwrap();
        let subject = &mut params.distinguished_name;
        subject.push(rcgen::DnType::CommonName, *name);
        if name.starts_with("member") {
            subject.push(rcgen::DnType::OrganizationalUnitName, "member");
        }
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(
            directory.join(format!("{name}-cert.pem")),
            certificate.pem(),
        )
        .unwrap();
        std::fs::write(
            directory.join(format!("{name}-key.pem")),
            key.serialize_pem(),
        )
        .unwrap();
    }
}

#[test]
fn clients_with_a_certificate_of_the_ca_get_in_and_others_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    certificates(&place, "ca", &["server", "client"]);
    certificates(&place, "others", &["outsider"]);
    let file = |name: &str| place.join(name).display().to_string();
    let server = Server::start_with(
        directory,
        &[
            "--listen=pssl:0:127.0.0.1",
            &format!("--private-key={}", file("server-key.pem")),
            &format!("--certificate={}", file("server-cert.pem")),
            &format!("--ca-cert={}", file("ca.pem")),
        ],
    );
    let remotes = server.control(&["ovsdb-server/list-remotes"]);
    let (_, rest) = remotes.split_once("(127.0.0.1:").unwrap();
    let remote = format!("ssl:127.0.0.1:{}", rest.split_once(')').unwrap().0);
    let client = |name: &str| {
        server.try_run(
            "ovsdb-client",
            &[
                &format!("--private-key={}", file(&format!("{name}-key.pem"))),
                &format!("--certificate={}", file(&format!("{name}-cert.pem"))),
                &format!("--ca-cert={}", file("ca.pem")),
                "list-dbs",
                &remote,
            ],
        )
    };
    let friend = client("client");
    assert_eq!(
        text(&friend.stdout),
        "OVN_Northbound\n_Server\n",
        "{}",
        text(&friend.stderr)
    );
    assert!(!client("outsider").status.success());
    server.wait_for_log("TLS handshake");
}
