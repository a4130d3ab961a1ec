//! Makes the gRPC client from our own proto file, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/hyper_service.proto"], ["proto"])?;
    // `Bytes` instead of `Vec<u8>`: a result part is passed on without being copied.
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(files)?;
    Ok(())
}
