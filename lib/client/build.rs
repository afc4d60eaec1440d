//! Generates messages and calls from the same definitions as the server does.

use std::error::Error;

const PROTO: &str = "../objects/proto";

const FILES: [&str; 2] = [
    "weft/northbound/v1/objects.proto",
    "weft/northbound/v1/northbound.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let descriptors = protox::compile(FILES, [PROTO])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
