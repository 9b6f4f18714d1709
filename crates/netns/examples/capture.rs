//! Captures the packets of a named network namespace for some seconds, into a file for Wireshark.
//!
//! ```console
//! # cargo run -p podtrail-netns --features capture --example capture -- NAME FILE.pcapng [SECONDS]
//! ```

#![expect(clippy::print_stdout, reason = "it says what became of the packets")]

use std::error::Error;
use std::thread;
use std::time::{Duration, SystemTime};

use podtrail_netns::Netns;
use podtrail_netns::capture::{Capture, CaptureConfig, InterfaceInfo, Recorder, Rotation, SectionInfo};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(path)) = (args.next(), args.next()) else {
        return Err("say the name of a network namespace, and a file".into());
    };
    let seconds = args.next().map_or(Ok(10), |seconds| seconds.parse())?;

    let mut capture = Capture::open(&Netns::named(&name)?, &CaptureConfig::default())?;
    let mut recorder = Recorder::create(path, Rotation::default(), &SectionInfo::default())?;
    let (handle, timer) = (capture.handle(), capture.handle());
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(seconds));
        timer.stop();
    });
    // After the stop it hands over what was captured before.
    while !capture.is_finished() {
        for packet in capture.next(Duration::from_secs(1))?.into_iter().flatten() {
            if !recorder.knows(packet.interface, packet.link_type) {
                recorder.interface(&InterfaceInfo::new(handle.interface_of(&packet)))?;
            }
            recorder.packet(&packet, [""; 0])?;
        }
    }
    let stats = capture.stats()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    recorder.finish(i64::try_from(now.as_nanos())?, &stats)?;
    println!("{} packets, {} dropped for want of room", stats.received, stats.dropped);
    Ok(())
}
