//! Compiles the protobuf files with protox, so that no protoc is needed, and keeps the
//! descriptor set for the reflection service.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 3] = [
    "weft/db/v1/data.proto",
    "weft/db/v1/database.proto",
    "weft/db/v1/raft.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let output = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(output.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // The codec finds what a message's descriptor says by its name.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".weft.db.v1.RaftEntry")
        .extern_path(".weft.db.v1.TableUpdate", "crate::shared::TableUpdate")
        .extern_path(
            ".weft.db.v1.TransactRequest",
            "crate::shared::TransactRequest",
        )
        .codec_path("crate::codec::Bounded")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
