//! Every seed, and everything that libFuzzer ever found, through its target.

use std::path::Path;

#[test]
fn what_was_found_once_stays_mended() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in fuzz::TARGETS {
        let folder = corpus.join(name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
        // The shortest inputs there are.
        target(&[]);
        (0..=255).for_each(|byte| target(&[byte]));
    }
}

#[test]
fn every_target_has_a_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut found: Vec<String> = std::fs::read_dir(programs)
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut targets: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    found.sort();
    targets.sort_unstable();
    assert_eq!(found, targets);
}
