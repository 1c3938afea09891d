//! Compiles `protos/` without `protoc`.

use std::error::Error;

const FILES: [&str; 15] = [
    "containerd/events/events.proto",
    "containerd/services/content.proto",
    "containerd/services/diff.proto",
    "containerd/services/events.proto",
    "containerd/services/images.proto",
    "containerd/services/introspection.proto",
    "containerd/services/leases.proto",
    "containerd/services/namespaces.proto",
    "containerd/services/snapshots.proto",
    "containerd/services/streaming.proto",
    "containerd/services/transfer.proto",
    "containerd/services/version.proto",
    "containerd/types/transfer.proto",
    "containerd/types/types.proto",
    "mica/mica.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=protos");
    let files = protox::compile(FILES, ["protos"])?;
    let mut config = tonic_prost_build::Config::new();
    // Messages within an `Any` are known by their full names.
    config.enable_type_names();
    // Labels are in the order of their keys, as records have them.
    config.btree_map(["."]);
    tonic_prost_build::configure()
        .bytes(".containerd.services.content.v1")
        .include_file("packages.rs")
        .compile_fds_with_config(files, config)?;
    Ok(())
}
