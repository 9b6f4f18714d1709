//! Files of what was captured.

#![cfg(all(target_os = "linux", feature = "capture"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod pair;
mod skip;

use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pair::Pair;
use podtrail_netns::ErrorKind;
use podtrail_netns::capture::{
    Capture, CaptureConfig, CaptureStats, Contents, Interface, InterfaceInfo, LinkType, Packet, PcapngReader, Recorder,
    Rotation, SectionInfo,
};
use skip::skip;

fn recorder(path: &Path, rotation: Rotation) -> Recorder {
    let mut recorder = Recorder::create(path, rotation, &SectionInfo::default()).unwrap();
    recorder.interface(&InterfaceInfo::new(Interface::new(1, "eth0", Some(LinkType::ETHERNET)))).unwrap();
    recorder
}

/// The times of the packets of a file.
fn times(path: &Path) -> Vec<i128> {
    let mut reader = PcapngReader::new(File::open(path).unwrap());
    let mut times = Vec::new();
    while let Some(block) = reader.next().unwrap() {
        if let Contents::Packet { time: Some(time), .. } = block.contents {
            times.push(time);
        }
    }
    times
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn files_end_at_a_size_and_the_last_are_kept_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut rotation = Rotation::default();
    rotation.size = Some(10_000);
    rotation.keep = NonZeroU32::new(3);
    let mut recorder = recorder(&directory.path().join("a.pcapng"), rotation);
    for time in 0..100 {
        recorder.packet(&Packet::new(time, 1, LinkType::ETHERNET, &[0; 1000]), ["a comment"]).unwrap();
    }
    recorder.finish(100, &CaptureStats::default()).unwrap();
    assert_eq!(names(directory.path()), ["a.00010.pcapng", "a.00011.pcapng", "a.00012.pcapng"]);
    let mut all = Vec::new();
    for name in names(directory.path()) {
        let path = directory.path().join(name);
        let metadata = path.metadata().unwrap();
        assert!(metadata.len() <= 10_000);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        all.extend(times(&path));
    }
    assert!(all.is_sorted() && all.ends_with(&[98, 99]), "{all:?}");
}

#[test]
fn files_end_after_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut rotation = Rotation::default();
    rotation.period = Some(Duration::from_secs(60));
    let mut recorder = recorder(&directory.path().join("dump"), rotation);
    for seconds in [0, 1, 59, 60, 61, 119, 500, 559] {
        let packet = Packet::new(seconds * 1_000_000_000, 1, LinkType::ETHERNET, &[0; 60]);
        recorder.packet(&packet, [""; 0]).unwrap();
    }
    recorder.finish(0, &CaptureStats::default()).unwrap();
    let counts = ["dump.00001", "dump.00002", "dump.00003"].map(|name| times(&directory.path().join(name)).len());
    assert_eq!((counts, names(directory.path()).len()), ([3, 3, 2], 3));
}

#[test]
fn a_link_is_refused_and_an_older_file_is_made_anew_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let [target, link] = ["target", "link.pcapng"].map(|name| directory.path().join(name));
    std::fs::write(&target, "precious").unwrap();
    std::fs::set_permissions(&target, PermissionsExt::from_mode(0o644)).unwrap();
    symlink(&target, &link).unwrap();
    let create = |path: &Path, rotation| Recorder::create(path, rotation, &SectionInfo::default());
    assert_eq!(create(&link, Rotation::default()).unwrap_err().kind(), ErrorKind::Write);
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    recorder(&target, Rotation::default()).finish(0, &CaptureStats::default()).unwrap();
    assert_eq!((times(&target).len(), target.metadata().unwrap().permissions().mode() & 0o777), (0, 0o600));
    recorder(Path::new("/dev/null"), Rotation::default()).flush().unwrap();
    assert_eq!(create(&directory.path().join("no/where"), Rotation::default()).unwrap_err().kind(), ErrorKind::Write);
    assert_eq!(create(directory.path(), Rotation::default()).unwrap_err().kind(), ErrorKind::Write);
}

#[test]
fn what_somebody_else_can_read_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let [target, link] = ["target", "link"].map(|name| directory.path().join(name));
    std::fs::write(&target, "precious").unwrap();
    std::fs::hard_link(&target, &link).unwrap();
    let refused = |why: &str| {
        let error = Recorder::create(&target, Rotation::default(), &SectionInfo::default()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.kind() == ErrorKind::Write && source.contains(why), "{error}: {source}");
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    };
    refused("hard links");
    std::fs::remove_file(&link).unwrap();
    let another = rustix::process::geteuid().as_raw() + 1;
    if let Err(e) = chown(&target, Some(another), None) {
        return skip(format!("a file cannot be given away: {e}"));
    }
    refused("another user's");
}

#[test]
fn tshark_reads_what_was_captured_with_its_comments_and_nanoseconds() {
    let Some(pair) = Pair::new() else { return };
    if Command::new("tshark").arg("--version").output().is_err() {
        return skip("no tshark");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pods.pcapng");
    let mut capture = Capture::open(&pair.here, &CaptureConfig::default()).unwrap();
    let handle = capture.handle();
    let mut section = SectionInfo::default();
    section.application = "podtrail's test".into();
    let mut recorder = Recorder::create(&path, Rotation::default(), &section).unwrap();
    let (sender, _receiver) = (pair.sender(5003), pair.receiver(5003));
    for n in 0..10_u8 {
        sender.send(&[n; 30]).unwrap();
    }
    handle.stop();
    let mut expected = Vec::new();
    while !capture.is_finished() {
        for packet in capture.next(Duration::from_secs(2)).unwrap().into_iter().flatten() {
            if !recorder.knows(packet.interface, packet.link_type) {
                let mut info = InterfaceInfo::new(handle.interface_of(&packet));
                info.comments = vec!["of pod demo/web".into()];
                recorder.interface(&info).unwrap();
            }
            let comments = packet.endpoints().map(|(source, to)| format!("src={source}/pöd dst={to}"));
            expected.push(format!(
                "{}.{:09}\teth0\t{}",
                packet.time / 1_000_000_000,
                packet.time % 1_000_000_000,
                comments.clone().unwrap_or_default()
            ));
            recorder.packet(&packet, comments).unwrap();
        }
    }
    recorder.finish(expected.len() as i64, &capture.stats().unwrap()).unwrap();
    let fields = ["frame.time_epoch", "frame.interface_name", "frame.comment"].map(|field| ["-e", field]);
    let tshark = |arguments: &[&str]| {
        let output = Command::new("tshark").arg("-r").arg(&path).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = tshark(&[&["-T", "fields"], fields.as_flattened()].concat());
    assert!(expected.len() >= 10);
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    assert_eq!(tshark(&["-Y", "frame.comment contains \"pöd\" and udp.port == 5003"]).lines().count(), 10);
}
