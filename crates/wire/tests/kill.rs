//! `kill -9` of the receiver, again and again: the file is the output, exactly.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use podtrail_wire::{Ended, Ending, Header, Output, OutputConfig, Receiver, ReceiverLimits, RunId};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use support::{Proxy, destination, pieces, random};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// The folder of a child's files.
const CHILD: &str = "PODTRAIL_RECEIVER_CHILD";
const PORT: &str = "port";

#[test]
#[ignore = "what the other test starts, to kill it"]
fn child() {
    let Some(home) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver::new(&home, ReceiverLimits::default()).unwrap();
        fs::write(home.join("port.new"), listener.local_addr().unwrap().port().to_string()).unwrap();
        fs::rename(home.join("port.new"), home.join(PORT)).unwrap();
        receiver.serve(listener, pending()).await.unwrap();
    });
}

/// A receiver in a process of its own, and its port.
async fn receiver(home: &Path) -> (Child, u16) {
    drop(fs::remove_file(home.join(PORT)));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(CHILD, home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        match fs::read_to_string(home.join(PORT)) {
            Ok(port) => return (child, port.parse().unwrap()),
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_killed_at_any_moment_loses_and_doubles_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, port) = receiver(home.path()).await;
    let proxy = Proxy::start(port, 0, 1, 1).await;
    let output = random(40_000_000, 1);
    let sending = tokio::spawn({
        let (port, output) = (proxy.port, output.clone());
        async move {
            let header = Header::new(RunId::new([1; 16]), "shop", "web-0");
            let mut stream = Output::connect(&destination(port), header, OutputConfig::default()).await.unwrap();
            for piece in pieces(&output, 100_000, 1) {
                stream.send(piece).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            stream.finish(Ending::new(Ended::Signalled(9))).await.unwrap();
        }
    });
    let mut rng = SmallRng::seed_from_u64(1);
    let mut kills = 0;
    while !sending.is_finished() && kills < 30 {
        sleep(Duration::from_millis(rng.random_range(10..150))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let (next, port) = receiver(home.path()).await;
        child = next;
        proxy.target.store(u32::from(port), Ordering::SeqCst);
    }
    timeout(Duration::from_secs(60), sending).await.unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(kills >= 5, "{kills}");
    let stem = format!("shop_web-0_{}", RunId::new([1; 16]));
    assert!(fs::read(home.path().join(format!("{stem}.out"))).unwrap() == output);
    let description = fs::read_to_string(home.path().join(format!("{stem}.json"))).unwrap();
    assert!(description.contains(r#""end":{"exit_code":null,"length":40000000,"lost":0,"signal":9}"#), "{description}");
}
