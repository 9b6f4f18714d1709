//! Lists who listens in a named network namespace, as `ip netns exec NAME ss -lntu` does; nothing is executed there.
//!
//! ```console
//! # cargo run -p podtrail-netns --features inspect --example listeners -- NAME
//! ```

#![expect(clippy::print_stdout, reason = "it prints a list")]

use std::error::Error;

use podtrail_netns::Netns;
use podtrail_netns::inspect::SocketState;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("say the name of a network namespace: ip netns list")?;
    for socket in Netns::named(&name)?.sockets()? {
        // A socket of UDP listens while it is connected to none.
        if matches!(socket.state, SocketState::Listen | SocketState::Closed) {
            println!("{} {} of user {}", socket.protocol, socket.local, socket.uid);
        }
    }
    Ok(())
}
