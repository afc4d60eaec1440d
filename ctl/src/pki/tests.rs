//! What the commands make, looked at with OpenSSL's eyes where they are better than ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command as Process;

use super::*;

fn run(directory: &Path, words: &[&str]) -> Outcome<String> {
    let words = ["weft pki"].iter().chain(words);
    let words = words.map(|word| word.replace("DIR", &directory.display().to_string()));
    Arguments::try_parse_from(words)
        .expect("the words are right")
        .command
        .execute()
}

#[test]
fn the_commands_are_well_formed() {
    Arguments::command().debug_assert();
    let words = crate::page::words(&command());
    assert!(words.contains(&"chassis".to_owned()));
    assert!(words.contains(&"--role".to_owned()));
    assert!(crate::page::parts(command()).contains("## weft pki show"));
}

#[test]
fn an_authority_signs_what_openssl_accepts() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    run(place, &["init", "--dir=DIR"]).expect("made");
    run(
        place,
        &["member", "n1", "n2", "--dir=DIR", "--address=10.0.0.1"],
    )
    .expect("made");
    run(place, &["chassis", "0aa9-hv1", "--dir=DIR", "--days=10"]).expect("made");
    run(place, &["client", "neutron", "--role=writer", "--dir=DIR"]).expect("made");
    for name in ["n1", "n2", "0aa9-hv1", "neutron"] {
        let output = Process::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"])
            .arg(place.join("ca.pem"))
            .arg(place.join(format!("{name}-cert.pem")))
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
    let mode = |name: &str| {
        let metadata = std::fs::metadata(place.join(name)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(["ca-key.pem", "n1-key.pem"].map(mode), [0o600, 0o600]);
    assert_eq!(["ca.pem", "n1-cert.pem"].map(mode), [0o644, 0o644]);

    let shown = run(
        place,
        &[
            "show",
            "DIR/0aa9-hv1-cert.pem",
            "DIR/n1-cert.pem",
            "DIR/ca.pem",
        ],
    );
    let shown = shown.expect("they can be read");
    for line in [
        "  certificate: 0aa9-hv1\n    role: ovn-controller\n    issuer: Weft CA\n    names: 0aa9-hv1\n",
        "(10 days left)",
        "names: n1, 10.0.0.1\n",
        "  authority: Weft CA\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn nothing_is_replaced_unasked() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let told = |words: &[&str]| run(place, words).expect_err("it is refused").to_string();
    assert!(told(&["client", "a", "--dir=DIR"]).contains("weft pki init"));
    run(place, &["init", "--dir=DIR"]).expect("made");
    run(place, &["client", "a", "--dir=DIR"]).expect("made");
    let key = || std::fs::read(place.join("a-key.pem")).expect("it is there");
    let first = key();
    assert!(told(&["init", "--dir=DIR"]).contains("--force"));
    assert!(told(&["client", "a", "--dir=DIR"]).contains("a-key.pem"));
    assert_eq!(key(), first);
    run(place, &["client", "a", "--dir=DIR", "--force"]).expect("made");
    assert_ne!(key(), first);
    for name in ["", "../a", "a/b", ".a", "ca", &"a".repeat(65)] {
        assert!(
            run(place, &["chassis", name, "--dir=DIR"]).is_err(),
            "{name}"
        );
    }
    std::fs::write(place.join("nothing.pem"), "nothing").expect("written");
    assert!(told(&["show", "DIR/nothing.pem"]).contains("no certificate"));
}
