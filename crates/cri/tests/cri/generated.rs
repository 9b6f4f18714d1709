//! The committed Rust of `proto/cri.proto` is what the generator makes of it.
//! `UPDATE=1 cargo test -p podtrail-cri --test cri generated` writes it anew.

use std::{env, fs};

use tonic_prost_build::Builder;

#[test]
fn the_client_is_generated_from_the_proto() {
    check("src/generated.rs", |builder| builder.build_client(true).build_server(false));
}

#[test]
fn the_server_of_the_tests_is_generated_from_the_proto() {
    // The messages are those of the client.
    check("tests/cri/fake/generated.rs", |builder| {
        builder.build_client(false).build_server(true).extern_path(".runtime.v1", "crate::fake::messages")
    });
}

fn check(file: &str, sides: impl FnOnce(Builder) -> Builder) {
    let crate_folder = env!("CARGO_MANIFEST_DIR");
    let descriptors = protox::compile(["cri.proto"], [format!("{crate_folder}/proto")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let builder = tonic_prost_build::configure().build_transport(false).btree_map(".").out_dir(folder.path());
    sides(builder).compile_fds(descriptors).unwrap();

    let generated = fs::read_to_string(folder.path().join("runtime.v1.rs")).unwrap();
    let path = format!("{crate_folder}/{file}");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == generated, "{file} is stale: run this test with UPDATE=1");
}
