//! Intake against a real file system and the real watch. Nothing here sleeps to synchronise: tests
//! wait for events, with a deadline that only a hang reaches.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use benchlet::files::atomic_write::replace;
use benchlet::intake::listing::RootState;
use benchlet::intake::load::Content;
use benchlet::intake::source_map::{Change, SourceMap};
use benchlet::intake::watch::{WatchMode, WatchState};
use benchlet::intake::watcher_task::{self, IntakeEvent, IntakeOptions};
use tokio::sync::mpsc::Receiver;

const DEADLINE: Duration = Duration::from_secs(60);

struct Rig {
    home: tempfile::TempDir,
    root: PathBuf,
    events: Receiver<IntakeEvent>,
}

impl Rig {
    /// Watches `prepare`d root, and waits for the first listing.
    async fn start(prepare: impl FnOnce(&Path), adjust: impl FnOnce(&mut IntakeOptions)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("requests");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let mut options = IntakeOptions::new(&root);
        adjust(&mut options);
        let (events, _task) = watcher_task::spawn(options);
        let mut rig = Self { home, root, events };
        rig.until("the first listing", |event| matches!(event, IntakeEvent::Listing(_))).await;
        rig
    }

    async fn plain() -> Self {
        Self::start(|_| {}, |_| {}).await
    }

    async fn next(&mut self, what: &str) -> IntakeEvent {
        let event = tokio::time::timeout(DEADLINE, self.events.recv()).await;
        event.unwrap_or_else(|_| panic!("waited too long for {what}")).expect("intake ended")
    }

    async fn until(&mut self, what: &str, mut is_it: impl FnMut(&IntakeEvent) -> bool) -> IntakeEvent {
        loop {
            let event = self.next(what).await;
            if is_it(&event) {
                return event;
            }
        }
    }

    /// The next accepted content of a path, and whether it may start runs.
    async fn accepted(&mut self, path: &str) -> (String, bool) {
        match self.until(path, |event| changed_path(event) == Some(Path::new(path))).await {
            IntakeEvent::FileChanged { file, startable } => (file.source.to_string(), startable),
            _ => unreachable!(),
        }
    }

    /// Every content accepted for a path before a marker file, which is written now. Of files that
    /// settle together the marker comes last by its name.
    async fn accepted_so_far(&mut self, path: &str) -> Vec<String> {
        fs::write(self.root.join("z-marker.yaml"), format!("kind: {:?}", Instant::now())).unwrap();
        let mut contents = Vec::new();
        loop {
            let event = self.next("the marker").await;
            let changed = changed_path(&event).map(Path::to_owned);
            if changed.as_deref() == Some(Path::new("z-marker.yaml")) {
                return contents;
            }
            if changed.as_deref() == Some(Path::new(path))
                && let IntakeEvent::FileChanged { file, .. } = event
            {
                contents.push(file.source.to_string());
            }
        }
    }
}

fn changed_path(event: &IntakeEvent) -> Option<&Path> {
    match event {
        IntakeEvent::FileChanged { file, .. } => Some(&file.relative),
        IntakeEvent::Startable(_)
        | IntakeEvent::Gone(_)
        | IntakeEvent::StatusTouched(_)
        | IntakeEvent::Listing(_)
        | IntakeEvent::Root(_)
        | IntakeEvent::Watch(_) => None,
    }
}

fn is_startable(event: &IntakeEvent, path: &str) -> bool {
    matches!(event, IntakeEvent::Startable(startable) if startable == Path::new(path))
}

/// A way to save `text` as `dir/x.yaml`, which exists.
type Save = fn(&Path, &str);

const EDITORS: [(&str, Save); 8] = [
    ("vim", |dir, text| {
        fs::write(dir.join("4913"), "").unwrap();
        fs::remove_file(dir.join("4913")).unwrap();
        fs::rename(dir.join("x.yaml"), dir.join("x.yaml~")).unwrap();
        fs::write(dir.join("x.yaml"), text).unwrap();
        fs::remove_file(dir.join("x.yaml~")).unwrap();
    }),
    ("vim with backupcopy", |dir, text| {
        fs::write(dir.join(".x.yaml.swp"), "swap").unwrap();
        fs::copy(dir.join("x.yaml"), dir.join("x.yaml~")).unwrap();
        fs::write(dir.join("x.yaml"), text).unwrap();
        fs::remove_file(dir.join(".x.yaml.swp")).unwrap();
    }),
    ("VS Code", |dir, text| {
        let mut file = fs::OpenOptions::new().write(true).open(dir.join("x.yaml")).unwrap();
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }),
    ("emacs", |dir, text| {
        symlink("me@here.1:2", dir.join(".#x.yaml")).unwrap();
        fs::rename(dir.join("x.yaml"), dir.join("x.yaml~")).unwrap();
        fs::write(dir.join("x.yaml"), text).unwrap();
        fs::remove_file(dir.join(".#x.yaml")).unwrap();
    }),
    ("emacs, renaming", |dir, text| {
        fs::write(dir.join("#x.yaml#"), text).unwrap();
        fs::write(dir.join("x.yaml.tmp"), text).unwrap();
        fs::rename(dir.join("x.yaml.tmp"), dir.join("x.yaml")).unwrap();
        fs::remove_file(dir.join("#x.yaml#")).unwrap();
    }),
    ("JetBrains", |dir, text| {
        fs::write(dir.join("x.yaml___jb_tmp___"), text).unwrap();
        fs::rename(dir.join("x.yaml"), dir.join("x.yaml___jb_old___")).unwrap();
        fs::rename(dir.join("x.yaml___jb_tmp___"), dir.join("x.yaml")).unwrap();
        fs::remove_file(dir.join("x.yaml___jb_old___")).unwrap();
    }),
    ("sed -i", |dir, text| {
        fs::write(dir.join("sedAb12Cd"), text).unwrap();
        fs::rename(dir.join("sedAb12Cd"), dir.join("x.yaml")).unwrap();
    }),
    ("a shell's redirection", |dir, text| fs::write(dir.join("x.yaml"), text).unwrap()),
];

#[tokio::test]
async fn every_editors_save_is_one_accepted_change() {
    let mut rig = Rig::start(|root| fs::write(root.join("x.yaml"), "kind: Old").unwrap(), |_| {}).await;
    for (editor, save) in EDITORS {
        // On a machine that pauses in the middle of a save, two changes would be right.
        for attempt in 0..20 {
            let text = format!("kind: {editor} {attempt}");
            let began = Instant::now();
            save(&rig.root, &text);
            let was_quick = began.elapsed() < Duration::from_millis(80);
            let contents = rig.accepted_so_far("x.yaml").await;
            if was_quick {
                assert_eq!(contents, [text], "{editor}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn saving_the_same_content_again_changes_nothing() {
    let mut rig = Rig::start(|root| fs::write(root.join("x.yaml"), "kind: Same").unwrap(), |_| {}).await;
    fs::write(rig.root.join("tmp"), "kind: Same").unwrap();
    fs::rename(rig.root.join("tmp"), rig.root.join("x.yaml")).unwrap();
    assert!(rig.accepted_so_far("x.yaml").await.is_empty());
}

#[tokio::test]
async fn a_save_may_start_at_once_and_a_slow_writers_prefix_only_when_it_is_closed() {
    let mut rig = Rig::plain().await;
    fs::write(rig.root.join("quick.yaml"), "kind: A").unwrap();
    assert_eq!(rig.accepted("quick.yaml").await, ("kind: A".to_owned(), true));

    let mut writer = fs::File::create(rig.root.join("slow.yaml")).unwrap();
    writer.write_all(b"kind: A\n").unwrap();
    let (text, startable) = rig.accepted("slow.yaml").await;
    assert_eq!((text.as_str(), startable), ("kind: A\n", false));
    writer.write_all(b"spec: {}\n").unwrap();
    drop(writer);
    assert_eq!(rig.accepted("slow.yaml").await, ("kind: A\nspec: {}\n".to_owned(), true));
}

#[tokio::test]
async fn what_was_read_before_it_was_closed_may_start_when_it_is() {
    let mut rig = Rig::plain().await;
    let mut writer = fs::File::create(rig.root.join("x.yaml")).unwrap();
    writer.write_all(b"kind: A\n").unwrap();
    assert!(!rig.accepted("x.yaml").await.1);
    drop(writer);
    rig.until("startable", |event| is_startable(event, "x.yaml")).await;
}

#[tokio::test]
async fn a_file_that_stays_open_may_start_two_seconds_after_its_last_change() {
    let mut rig = Rig::plain().await;
    let mut writer = fs::File::create(rig.root.join("x.yaml")).unwrap();
    writer.write_all(b"kind: A\n").unwrap();
    let written = Instant::now();
    assert!(!rig.accepted("x.yaml").await.1);
    rig.until("startable", |event| is_startable(event, "x.yaml")).await;
    assert!(written.elapsed() >= Duration::from_millis(1_950), "{:?}", written.elapsed());
    drop(writer);
}

#[tokio::test]
async fn a_file_truncated_now_and_written_later_keeps_its_request() {
    let mut rig = Rig::start(|root| fs::write(root.join("x.yaml"), "kind: A").unwrap(), |_| {}).await;
    let mut writer = fs::File::create(rig.root.join("x.yaml")).unwrap();
    assert_eq!(rig.accepted("x.yaml").await.0, "");
    writer.write_all(b"kind: B").unwrap();
    drop(writer);
    assert_eq!(rig.accepted("x.yaml").await, ("kind: B".to_owned(), true));
}

#[tokio::test]
async fn a_writer_that_never_rests_is_still_read() {
    let mut rig = Rig::plain().await;
    let path = rig.root.join("x.yaml");
    let toucher = tokio::spawn(async move {
        for number in 0.. {
            fs::write(&path, format!("kind: N{number}")).unwrap();
            // The rhythm is the subject here.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for _ in 0..2 {
        rig.accepted("x.yaml").await;
    }
    toucher.abort();
}

#[tokio::test]
async fn a_swap_of_the_data_link_is_noticed_for_every_file() {
    let prepare = |root: &Path| {
        for (version, text) in [("..v1", "kind: One"), ("..v2", "kind: Two")] {
            fs::create_dir(root.join(version)).unwrap();
            for name in ["a.yaml", "b.yaml"] {
                fs::write(root.join(version).join(name), text).unwrap();
            }
        }
        symlink("..v1", root.join("..data")).unwrap();
        for name in ["a.yaml", "b.yaml"] {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
    };
    let mut rig = Rig::start(prepare, |options| options.relist = Duration::from_secs(3600)).await;
    symlink("..v2", rig.root.join("..data_tmp")).unwrap();
    fs::rename(rig.root.join("..data_tmp"), rig.root.join("..data")).unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        if let IntakeEvent::FileChanged { file, .. } = rig.next("the swap").await {
            assert_eq!(&*file.source, "kind: Two");
            seen.insert(file.relative);
        }
    }
}

#[tokio::test]
async fn files_in_directories_made_just_now_are_found() {
    let mut rig = Rig::start(|_| {}, |options| options.relist = Duration::from_secs(3600)).await;
    let mut wanted = BTreeSet::new();
    for number in 0..20 {
        let directory = PathBuf::from(format!("a{number}/b/c"));
        fs::create_dir_all(rig.root.join(&directory)).unwrap();
        fs::write(rig.root.join(&directory).join("x.yaml"), "kind: A").unwrap();
        wanted.insert(directory.join("x.yaml"));
    }
    while !wanted.is_empty() {
        if let Some(path) = changed_path(&rig.next("the new files").await) {
            wanted.remove(path);
        }
    }
    // And they are watched from then on.
    fs::write(rig.root.join("a7/b/c/x.yaml"), "kind: B").unwrap();
    assert_eq!(rig.accepted("a7/b/c/x.yaml").await, ("kind: B".to_owned(), true));
    fs::rename(rig.root.join("a7"), rig.root.join("moved")).unwrap();
    assert_eq!(rig.accepted("moved/b/c/x.yaml").await.0, "kind: B");
    fs::write(rig.root.join("moved/b/c/x.yaml"), "kind: C").unwrap();
    assert_eq!(rig.accepted("moved/b/c/x.yaml").await.0, "kind: C");
}

#[tokio::test]
async fn what_is_no_file_or_too_large_is_a_problem_and_hangs_nothing() {
    let prepare = |root: &Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo.yaml"), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        symlink("/dev/zero", root.join("device.yaml")).unwrap();
        fs::File::create(root.join("huge.yaml")).unwrap().set_len(2 << 30).unwrap();
    };
    let home = tempfile::tempdir().unwrap();
    prepare(home.path());
    let (mut events, _task) = watcher_task::spawn(IntakeOptions::new(home.path()));
    let mut problems = BTreeSet::new();
    while problems.len() < 3 {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
        if let IntakeEvent::FileChanged { file, .. } = event {
            assert!(matches!(file.content, Content::Problem(_)), "{:?}", file.relative);
            problems.insert(file.relative);
        }
    }
}

#[tokio::test]
async fn an_edit_of_the_same_size_that_restores_the_time_is_noticed_by_a_listing() {
    let adjust = |options: &mut IntakeOptions| {
        options.mode = WatchMode::Polling;
        options.poll = Duration::from_millis(50);
    };
    let mut rig = Rig::start(|root| fs::write(root.join("x.yaml"), "kind: A").unwrap(), adjust).await;
    let path = rig.root.join("x.yaml");
    let times = fs::metadata(&path).unwrap().modified().unwrap();
    let before = rustix::fs::stat(&path).unwrap();
    // Within one tick of the kernel's clock even the change time stays, so write until it moved.
    loop {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        (&file).write_all(b"kind: B").unwrap();
        file.set_modified(times).unwrap();
        let after = rustix::fs::stat(&path).unwrap();
        if (after.st_ctime, after.st_ctime_nsec) != (before.st_ctime, before.st_ctime_nsec) {
            break;
        }
    }
    assert_eq!(rig.accepted("x.yaml").await, ("kind: B".to_owned(), false));
    rig.until("startable", |event| is_startable(event, "x.yaml")).await;
}

#[tokio::test]
async fn polling_says_that_it_is_degraded() {
    let home = tempfile::tempdir().unwrap();
    let options = IntakeOptions { mode: WatchMode::Polling, ..IntakeOptions::new(home.path()) };
    let (mut events, _task) = watcher_task::spawn(options);
    let first = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    assert!(matches!(first, IntakeEvent::Watch(WatchState::Degraded { .. })), "{first:?}");
}

#[tokio::test]
async fn a_flood_of_files_through_a_narrow_channel_loses_none() {
    const FILES: usize = 20_000;
    let adjust = |options: &mut IntakeOptions| {
        options.hint_capacity = 8;
        options.relist = Duration::from_secs(3600);
    };
    let mut rig = Rig::start(|_| {}, adjust).await;
    let root = rig.root.clone();
    let writer = tokio::task::spawn_blocking(move || {
        for number in 0..FILES {
            fs::write(root.join(format!("{number}.yaml")), "kind: A").unwrap();
        }
    });
    let mut seen = BTreeSet::new();
    while seen.len() < FILES {
        if let IntakeEvent::FileChanged { file, .. } = rig.next("the flood").await
            && &*file.source == "kind: A"
        {
            seen.insert(file.relative);
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_root_that_goes_is_degraded_and_recovers_when_it_is_back() {
    let prepare = |root: &Path| {
        for number in 0..6 {
            fs::write(root.join(format!("{number}.yaml")), "kind: A").unwrap();
        }
    };
    let adjust = |options: &mut IntakeOptions| {
        options.relist = Duration::from_secs(3600);
        options.poll = Duration::from_millis(20);
        options.confirm = Duration::from_millis(20);
    };
    let mut rig = Rig::start(prepare, adjust).await;
    let away = rig.home.path().join("away");
    fs::rename(&rig.root, &away).unwrap();
    rig.until("missing", |event| matches!(event, IntakeEvent::Root(RootState::Missing(_)))).await;
    fs::write(&rig.root, "a file").unwrap();
    rig.until("a file", |event| matches!(event, IntakeEvent::Root(RootState::NotADirectory(_)))).await;
    fs::remove_file(&rig.root).unwrap();
    fs::rename(&away, &rig.root).unwrap();
    let back =
        |event: &IntakeEvent| matches!(event, IntakeEvent::Listing(listing) if listing.files.len() == 6);
    rig.until("the root is back", back).await;
    fs::write(rig.root.join("3.yaml"), "kind: B").unwrap();
    assert_eq!(rig.accepted("3.yaml").await, ("kind: B".to_owned(), true));
}

#[tokio::test]
async fn files_moved_and_deleted_reach_the_map_as_moves_and_deletions() {
    let prepare = |root: &Path| {
        for name in ["keep", "move", "delete"] {
            fs::write(root.join(format!("{name}.yaml")), format!("metadata: {{ name: {name} }}")).unwrap();
        }
    };
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("requests");
    fs::create_dir(&root).unwrap();
    prepare(&root);
    let options = IntakeOptions { confirm: Duration::from_millis(20), ..IntakeOptions::new(&root) };
    let (mut events, _task) = watcher_task::spawn(options);
    let mut map = SourceMap::default();
    let mut changes = Vec::new();
    while !map.is_started() {
        changes.extend(map.take(tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap()));
    }
    assert_eq!(changes.len(), 3, "{changes:?}");
    fs::create_dir(root.join("sub")).unwrap();
    fs::rename(root.join("move.yaml"), root.join("sub/moved.yaml")).unwrap();
    fs::remove_file(root.join("delete.yaml")).unwrap();
    changes.clear();
    while changes.iter().filter(|change| !matches!(change, Change::FileProblem { .. })).count() < 2 {
        changes.extend(map.take(tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap()));
    }
    let moved = Change::Moved { name: "move".into(), from: "move.yaml".into(), to: "sub/moved.yaml".into() };
    assert!(changes.contains(&moved), "{changes:?}");
    let vanished = Change::Vanished { name: "delete".into(), path: "delete.yaml".into() };
    assert!(changes.contains(&vanished), "{changes:?}");
    assert_eq!(map.names().collect::<Vec<_>>(), ["keep", "move"]);
}

#[tokio::test]
async fn a_status_file_is_told_as_such_and_makes_no_other_news() {
    let quiet = |options: &mut IntakeOptions| {
        options.relist = Duration::from_secs(3600);
        options.confirm = Duration::from_secs(3600);
    };
    let mut rig = Rig::start(|root| fs::write(root.join("x.yaml"), "kind: A").unwrap(), quiet).await;
    for text in ["one", "two"] {
        replace(&rig.root.join("x.status.yaml"), text.as_bytes(), 0o644).unwrap();
    }
    // Reading is no news either.
    fs::read(rig.root.join("x.yaml")).unwrap();
    let mut touched = 0;
    // That nothing else happens for this long is the subject.
    while let Ok(news) = tokio::time::timeout(Duration::from_millis(600), rig.events.recv()).await {
        assert!(
            matches!(&news, Some(IntakeEvent::StatusTouched(path)) if path == Path::new("x.status.yaml")),
            "{news:?}"
        );
        touched += 1;
    }
    assert!(touched > 0);
}

#[tokio::test]
async fn a_file_written_just_before_the_start_waits_and_an_old_one_does_not() {
    let home = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now();
    // "Just before" lies in the future here, so that a slow machine does not let it grow old.
    let minute = Duration::from_secs(60);
    for (name, written) in [("fresh.yaml", now + minute), ("old.yaml", now - minute)] {
        let file = fs::File::create(home.path().join(name)).unwrap();
        file.set_modified(written).unwrap();
    }
    let began = Instant::now();
    let (mut events, _task) = watcher_task::spawn(IntakeOptions::new(home.path()));
    let mut startable = Vec::new();
    while startable.len() < 2 {
        match tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap() {
            IntakeEvent::FileChanged { file, startable: true } => startable.push(file.relative),
            IntakeEvent::Startable(path) => startable.push(path),
            IntakeEvent::FileChanged { startable: false, .. }
            | IntakeEvent::Gone(_)
            | IntakeEvent::StatusTouched(_)
            | IntakeEvent::Listing(_)
            | IntakeEvent::Root(_)
            | IntakeEvent::Watch(_) => {}
        }
    }
    assert_eq!(startable, [PathBuf::from("old.yaml"), PathBuf::from("fresh.yaml")]);
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
}
