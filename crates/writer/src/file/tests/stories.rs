//! What people, rotation tools and disks do to a file.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::{ErrorKind, FsyncPolicy};

/// A core on a file of its own, at a time that tests set.
struct Scene {
    folder: TempDir,
    config: FileConfig,
    core: Core,
    token: Option<String>,
    now: i64,
}

impl Scene {
    fn new(set: impl FnOnce(&mut FileConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = FileConfig::new(folder.path().join("e.ndjson"));
        set(&mut config);
        let core = Core::new(config.clone()).unwrap();
        Self { folder, config, core, token: None, now: 1_800_000_000 }
    }

    fn restart(&mut self) {
        self.core = Core::new(self.config.clone()).unwrap();
    }

    /// Delivers, and leaves the token as it is.
    fn deliver(&mut self, text: &str) -> Result<String, Error> {
        self.core.deliver(text.as_bytes(), self.token.as_deref(), Timestamp::from_second(self.now))
    }

    fn commit(&mut self, text: &str) {
        self.token = Some(self.deliver(text).unwrap());
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, text: &str) {
        use std::io::Write as _;
        fs::File::options().append(true).open(&self.config.path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, to: &str) {
        fs::rename(&self.config.path, self.path(to)).unwrap();
    }

    /// The reason why a delivery is refused for good.
    fn refusal(&mut self, text: &str) -> String {
        let error = self.deliver(text).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Fatal, "{error:?}");
        assert!(error.object().contains("e.ndjson"), "{error}");
        std::error::Error::source(&error).unwrap().to_string()
    }
}

#[test]
fn a_file_that_was_there_is_appended_to() {
    for before in ["", "{0}\n", "{0}\n{00}\n"] {
        let mut scene = Scene::new(|_| ());
        fs::write(&scene.config.path, before).unwrap();
        scene.commit("{1}\n");
        scene.restart();
        scene.commit("{2}\n");
        assert_eq!(scene.text("e.ndjson"), format!("{before}{{1}}\n{{2}}\n"));
    }
}

#[test]
fn a_first_batch_without_a_token_is_recognised_after_a_crash() {
    let mut scene = Scene::new(|_| ());
    fs::write(&scene.config.path, "{0}\n{1}\n{2").unwrap();
    scene.commit("{1}\n{2}\n{3}\n");
    assert_eq!(scene.text("e.ndjson"), "{0}\n{1}\n{2}\n{3}\n");
}

#[test]
fn a_new_sink_refuses_a_file_that_ends_within_a_line() {
    let mut scene = Scene::new(|_| ());
    fs::write(&scene.config.path, "{0}\nprecious").unwrap();
    assert!(scene.refusal("{1}\n").contains("ends within a line"));
    assert_eq!(scene.text("e.ndjson"), "{0}\nprecious");
}

#[test]
fn a_torn_line_of_any_content_is_cut() {
    for torn in ["{2", "{garbage", "\0\0\0"] {
        let mut scene = Scene::new(|_| ());
        scene.commit("{1}\n");
        scene.append(torn);
        scene.restart();
        scene.commit("{2}\n");
        assert_eq!(scene.text("e.ndjson"), "{1}\n{2}\n", "{torn:?}");
    }
}

#[test]
fn lines_of_another_program_are_refused_with_the_place_and_kept() {
    for restart in [false, true] {
        let mut scene = Scene::new(|_| ());
        scene.commit("{1}\n");
        scene.append("{other}\n");
        if restart {
            scene.restart();
        }
        let refusal = scene.refusal("{2}\n");
        assert!(refusal.contains("after byte 4") && refusal.contains("truncate -s 4"), "{refusal}");
        assert_eq!(scene.text("e.ndjson"), "{1}\n{other}\n");
    }
}

#[test]
fn a_file_that_was_cut_goes_on_at_its_last_whole_line() {
    let mut scene = Scene::new(|_| ());
    scene.commit("{1}\n{2}\n");
    for (left, text) in [(6, "{1}\n{3}\n"), (0, "{3}\n")] {
        fs::File::options().write(true).open(&scene.config.path).unwrap().set_len(left).unwrap();
        let token = scene.deliver("{3}\n").unwrap();
        assert_eq!(scene.text("e.ndjson"), text);
        scene.token = Some(token);
    }
}

#[test]
fn a_file_renamed_by_others_is_left_and_a_new_one_started() {
    for restart in [false, true] {
        let mut scene = Scene::new(|_| ());
        scene.commit("{1}\n");
        scene.rename("e.ndjson-20261121");
        if restart {
            scene.restart();
        }
        scene.commit("{2}\n");
        scene.commit("{3}\n");
        assert_eq!(scene.text("e.ndjson-20261121"), "{1}\n");
        assert_eq!(scene.text("e.ndjson"), "{2}\n{3}\n");
    }
}

#[test]
fn a_batch_half_written_before_a_rename_by_others_is_completed_in_the_new_file() {
    for (created, name) in [(false, "e.ndjson.1"), (true, "e.ndjson.1"), (false, "yesterday.ndjson")] {
        let mut scene = Scene::new(|_| ());
        scene.commit("{1}\n");
        scene.append("{2}\n{3");
        scene.rename(name);
        if created {
            fs::write(&scene.config.path, "").unwrap();
        }
        scene.restart();
        scene.commit("{2}\n{3}\n");
        scene.commit("{4}\n");
        assert_eq!((scene.text(name), scene.text("e.ndjson")), ("{1}\n{2}\n".to_owned(), "{3}\n{4}\n".to_owned()));
    }
}

#[test]
fn a_file_that_only_has_the_inode_of_ours_is_not_touched() {
    for other in ["{x}\n{other}\n", "{x}\n{other", "{x}"] {
        let mut scene = Scene::new(|_| ());
        scene.commit("{1}\n");
        fs::write(&scene.config.path, other).unwrap();
        scene.rename("other.db");
        scene.restart();
        scene.commit("{2}\n{3}\n");
        assert_eq!((scene.text("other.db"), scene.text("e.ndjson")), (other.to_owned(), "{2}\n{3}\n".to_owned()));
    }
}

/// Whoever rotates may add a line of its own, or take the right to write away.
#[test]
fn lines_in_a_renamed_file_are_not_written_again_whatever_was_done_to_it() {
    let mut scene = Scene::new(|_| ());
    scene.commit("{1}\n");
    scene.append("{2}\n# rotated");
    scene.rename("e.ndjson.1");
    scene.restart();
    scene.commit("{2}\n{3}\n");
    assert_eq!(scene.text("e.ndjson.1"), "{1}\n{2}\n# rotated");
    assert_eq!(scene.text("e.ndjson"), "{3}\n");
}

#[test]
fn a_folder_that_goes_away_is_waited_for() {
    for restart in [false, true] {
        let mut scene = Scene::new(|config| config.path.set_file_name("volume"));
        fs::create_dir(&scene.config.path).unwrap();
        scene.config.path.push("e.ndjson");
        scene.restart();
        scene.commit("{1}\n");
        if restart {
            scene.restart();
        }
        fs::rename(scene.path("volume"), scene.path("away")).unwrap();
        let error = scene.deliver("{2}\n").unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("volume is missing: create or mount it"), "{source}");
        fs::rename(scene.path("away"), scene.path("volume")).unwrap();
        scene.commit("{2}\n");
        assert_eq!(scene.text("volume/e.ndjson"), "{1}\n{2}\n");
    }
}

#[test]
fn a_file_that_was_removed_is_started_anew() {
    let mut scene = Scene::new(|_| ());
    scene.commit("{1}\n");
    fs::remove_file(&scene.config.path).unwrap();
    scene.commit("{2}\n");
    assert_eq!(scene.text("e.ndjson"), "{2}\n");
}

#[test]
fn what_a_failed_sync_left_is_written_again() {
    let mut scene = Scene::new(|_| ());
    scene.commit("{1}\n");
    faults::arm_at("sync");
    assert!(scene.deliver("{2}\n{3}\n").unwrap_err().is_retryable());
    faults::arm(None);
    scene.commit("{2}\n{3}\n");
    let steps = faults::steps();
    assert_eq!(steps, ["cut", "sync cut", "write", "write", "sync"]);
    assert_eq!(scene.text("e.ndjson"), "{1}\n{2}\n{3}\n");
}

#[test]
fn nothing_is_synced_if_nobody_wants_it() {
    let mut scene = Scene::new(|config| config.fsync = FsyncPolicy::Never);
    faults::arm(None);
    scene.commit("{1}\n");
    assert_eq!(faults::steps(), ["create", "sync folder", "write"]);
}

#[test]
fn a_file_is_rotated_by_the_age_of_its_first_batch() {
    let mut scene = Scene::new(|config| config.max_age = Some(Duration::from_secs(60)));
    for (seconds, parts) in [(0, 1), (59, 1), (60, 2), (119, 2), (120, 3)] {
        scene.now = 1_800_000_000 + seconds;
        scene.restart();
        scene.commit(&format!("{{{seconds}}}\n"));
        assert_eq!(names(scene.folder.path()).len(), parts, "after {seconds} s");
    }
}

#[test]
fn a_batch_beyond_the_size_has_a_file_of_its_own() {
    let mut scene = Scene::new(|config| config.max_size = Some(8));
    for text in ["{1}\n", "{2}\n", "{a large one}\n", "{3}\n", "{4}\n"] {
        scene.commit(text);
        scene.now += 1;
    }
    assert_eq!(joined(&scene.config.path), b"{1}\n{2}\n{a large one}\n{3}\n{4}\n");
    let ours = ["e.ndjson", "e.ndjson.20270115T080002.000000000Z.gz", "e.ndjson.20270115T080003.000000000Z.gz"];
    assert_eq!(names(scene.folder.path()), ours);
    assert_eq!(scene.text("e.ndjson"), "{3}\n{4}\n");
}

#[test]
fn only_the_newest_closed_parts_are_kept() {
    let mut scene = Scene::new(|config| (config.max_size, config.keep) = (Some(4), Some(2)));
    fs::write(scene.path("e.ndjson.bak"), "mine").unwrap();
    for n in 1..=7 {
        scene.commit(&format!("{{{n}}}\n"));
    }
    scene.commit("{8}\n");
    fs::remove_file(scene.path("e.ndjson.bak")).unwrap();
    assert_eq!(joined(&scene.config.path), b"{6}\n{7}\n{8}\n");
}

#[test]
fn an_interrupted_packing_is_finished_at_the_start() {
    let mut scene = Scene::new(|_| ());
    scene.commit("{1}\n");
    let part = "e.ndjson.20270115T080002.000000000Z";
    for end in ["", ".gz", ".gz.tmp"] {
        fs::write(scene.path(&format!("{part}{end}")), "").unwrap();
    }
    scene.restart();
    assert_eq!(names(scene.folder.path()), ["e.ndjson".to_owned(), format!("{part}.gz")]);
}

#[test]
fn new_files_are_for_owner_and_group_only() {
    let mut scene = Scene::new(|config| config.max_size = Some(1));
    (1..4).for_each(|n| scene.commit(&format!("{{{n}}}\n")));
    for name in names(scene.folder.path()) {
        let mode = fs::metadata(scene.path(&name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !0o640, 0, "{name}: {mode:o}");
    }
}

#[test]
fn what_cannot_be_a_file_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let missing = format!("folder {} is missing", path("no").display());
    for (path, reason) in [(path("no/e.ndjson"), missing.as_str()), (folder.path().into(), "not a regular file")] {
        let error = Core::new(FileConfig::new(path)).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Fatal);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(reason), "{source}");
    }
}

#[test]
fn a_token_of_another_kind_of_writer_is_refused() {
    let mut scene = Scene::new(|_| ());
    scene.token = Some("epoch 7".to_owned());
    assert!(scene.refusal("{1}\n").contains("resume token"));
}

#[tokio::test]
async fn a_handle_makes_the_next_delivery_open_the_path_again() {
    use crate::WriterExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.ndjson");
    let mut file = File::new(FileConfig::new(&path)).unwrap();
    let first = file.deliver_lines(1, &["{1}".into()], None).await.unwrap();
    file.handle().clone().reopen();
    fs::rename(&path, folder.path().join("e.ndjson.1")).unwrap();
    file.deliver_lines(2, &["{2}".into()], first.resume.as_deref()).await.unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "{2}\n");
    assert!(!file.handle.reopen.load(Ordering::Relaxed));
}
