//! Generates the client and the server of the gRPC calculator, as tonic does from a `.proto` file; written out
//! here, so that the examples need no `protoc`. The messages are in `src/calculator_v1.rs`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let add = Method::builder()
        .name("add")
        .route_name("Add")
        .input_type("crate::calculator_v1::Operands")
        .output_type("crate::calculator_v1::Sum")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let calculator = Service::builder()
        .name("Calculator")
        .package("calculator.v1")
        .method(add)
        .build();
    Builder::new().compile(&[calculator]);
    println!("cargo:rerun-if-changed=build.rs");
}
