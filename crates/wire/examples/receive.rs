//! Takes the output of tools into a folder, until it is interrupted.
//!
//! ```text
//! cargo run -p podtrail-wire --features server --example receive -- FOLDER [ADDRESS:PORT]
//! ```

use std::env::args;
use std::error::Error;
use std::path::Path;

use podtrail_wire::{Receiver, ReceiverLimits};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = args().nth(1).ok_or("say which folder")?;
    let address = args().nth(2).unwrap_or_else(|| "127.0.0.1:51001".to_owned());
    let receiver = Receiver::new(Path::new(&folder), ReceiverLimits::default())?;
    let listener = TcpListener::bind(address).await?;
    receiver.serve(listener, async { drop(ctrl_c().await) }).await?;
    Ok(())
}
