//! Lists the ready sandboxes of this node: pod, addresses, network namespace.
//!
//! ```console
//! # cargo run -p podtrail-cri --example sandboxes -- [ENDPOINT]
//! ```
//!
//! Without an endpoint: that of `CONTAINER_RUNTIME_ENDPOINT`, or the first well-known one.

#![expect(clippy::print_stdout, reason = "it prints a list")]

use std::env;
use std::error::Error;

use podtrail_cri::{Client, Config, Endpoint, Labels};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let given = env::args().nth(1).or_else(|| env::var(Endpoint::VARIABLE).ok());
    let client = Client::new(&Endpoint::detect(given.as_deref(), None)?, Config::default());
    let version = client.version().await?;
    println!("{} {}, CRI {}", version.runtime, version.version, version.api);

    let sandboxes = client.ready_sandboxes(&Labels::new()).await?;
    for sandbox in sandboxes.found {
        let status = client.sandbox(&sandbox.id).await?;
        let place = match client.namespace_of(&status).await {
            Ok(location) if status.host_network => format!("the node's ({location:?})"),
            Ok(location) => format!("{location:?}"),
            Err(e) => e.to_string(),
        };
        println!("{}/{} {:?} {place}", sandbox.namespace, sandbox.name, status.addresses);
    }
    for e in sandboxes.malformed {
        println!("and one that cannot be read: {e}");
    }
    Ok(())
}
