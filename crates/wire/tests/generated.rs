//! The committed code is what the protos give. `PODTRAIL_REGENERATE=1 cargo test -p podtrail-wire --test generated` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

/// The code for one proto: each side behind its feature, and both for tests, which take in the file to be the other side.
fn generate(proto: &str, package: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile([proto], [&folder]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .client_mod_attribute(".", "#[cfg(any(feature = \"client\", test))]")
        .server_mod_attribute(".", "#[cfg(any(feature = \"server\", test))]")
        .compile_fds(files)
        .unwrap();
    fs::read_to_string(out.path().join(format!("{package}.rs"))).unwrap()
}

fn check(proto: &str, package: &str, path: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let code = generate(proto, package);
    if std::env::var_os("PODTRAIL_REGENERATE").is_some() {
        fs::write(&path, &code).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == code, "{} is not what {proto} gives: see the head of this file", path.display());
}

#[test]
fn snoopys_code_is_what_its_proto_gives() {
    check("snoopydataendpoint.proto", "protobuf", "src/generated/protobuf.rs");
}

#[test]
fn our_code_is_what_its_proto_gives() {
    check("podtrail_output.proto", "podtrail.output.v1", "src/generated/output.rs");
}
