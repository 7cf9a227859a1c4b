//! The source map's rules, one sentence each.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::*;
use crate::files::stat::Stat;
use crate::intake::load::Content;
use crate::request::tree;

const STAT: Stat = Stat { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };

fn loaded(path: &str, text: &str) -> LoadedFile {
    LoadedFile {
        relative: PathBuf::from(path),
        stat: Some(STAT),
        source: Arc::from(text),
        content_hash: Sha256::digest(text).into(),
        content: Content::Documents(tree::parse(text)),
    }
}

fn listing(paths: &[&str]) -> Listing {
    Listing { files: paths.iter().map(|path| (PathBuf::from(path), STAT)).collect(), ..Listing::default() }
}

fn request(name: &str) -> String {
    format!("kind: X\nmetadata: {{ name: {name} }}\n")
}

/// A map after its first listing.
fn map_of(files: &[(&str, &str)]) -> SourceMap {
    let mut map = SourceMap::new(BTreeMap::new());
    start(&mut map, files);
    map
}

fn start(map: &mut SourceMap, files: &[(&str, &str)]) -> Vec<Change> {
    for (path, text) in files {
        assert_eq!(map.file_changed(loaded(path, text), true), []);
    }
    let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    map.listed(&listing(&paths))
}

fn put(map: &mut SourceMap, path: &str, text: &str) -> Vec<Change> {
    map.file_changed(loaded(path, text), true)
}

fn vanished(name: &str, path: &str) -> Change {
    Change::Vanished { name: name.into(), path: path.into() }
}

fn problem(path: &str) -> Change {
    Change::FileProblem { path: path.into() }
}

fn moved(name: &str, from: &str, to: &str) -> Change {
    Change::Moved { name: name.into(), from: from.into(), to: to.into() }
}

fn edited(name: &str, path: &str) -> Change {
    Change::Edited { name: name.into(), path: path.into() }
}

fn holder<'m>(map: &'m SourceMap, name: &str) -> &'m str {
    map.holder(name).and_then(|file| file.path.to_str()).unwrap_or("nobody")
}

#[test]
fn the_first_document_is_named_after_its_file_and_further_ones_need_a_name() {
    let map = map_of(&[(
        "sub/a.b.yaml",
        "---\n# nothing\n---\nkind: X\n---\nkind: Y\n---\nmetadata: { name: z }\n",
    )]);
    assert_eq!(map.names().collect::<Vec<_>>(), ["a.b", "z"]);
    let problems = map.problems(Path::new("sub/a.b.yaml"));
    assert!(
        matches!(&problems[..], [FileProblem::Document { problem, .. }] if problem.message.contains("no metadata.name"))
    );
}

#[test]
fn the_incumbent_keeps_a_name_and_the_newcomer_hears_of_it() {
    let mut map = map_of(&[("z.yaml", &request("n"))]);
    assert_eq!(put(&mut map, "a.yaml", &request("n")), [problem("a.yaml")]);
    assert_eq!(holder(&map, "n"), "z.yaml");
    let taken = FileProblem::NameTaken { index: 0, name: "n".into(), by: "z.yaml".into() };
    assert_eq!(map.problems(Path::new("a.yaml")), [taken]);
    // Once the incumbent gives it up, the newcomer has it.
    let changes = put(&mut map, "z.yaml", &request("other"));
    assert!(changes.contains(&moved("n", "z.yaml", "a.yaml")), "{changes:?}");
    assert_eq!(map.problems(Path::new("a.yaml")), []);
}

#[test]
fn on_start_up_the_store_knows_the_incumbent() {
    let mut map = SourceMap::new(BTreeMap::from([("n".to_owned(), PathBuf::from("z.yaml"))]));
    let changes = start(&mut map, &[("a.yaml", &request("n")), ("z.yaml", &request("n"))]);
    assert!(changes.contains(&Change::Appeared { name: "n".into(), path: "z.yaml".into() }), "{changes:?}");
    assert!(changes.contains(&problem("a.yaml")));
}

#[test]
fn two_documents_of_one_name_in_a_file_conflict() {
    let map = map_of(&[("a.yaml", &format!("{}---\n{}", request("n"), request("n")))]);
    let taken = FileProblem::NameTaken { index: 1, name: "n".into(), by: "a.yaml".into() };
    assert_eq!(map.problems(Path::new("a.yaml")), [taken]);
}

#[test]
fn two_files_of_one_stem_conflict_because_of_their_status_file() {
    let mut map = map_of(&[("d/a.yml", &request("one"))]);
    assert_eq!(put(&mut map, "d/a.yaml", &request("two")), [problem("d/a.yaml")]);
    assert_eq!(map.problems(Path::new("d/a.yaml")), [FileProblem::StemTaken { by: "d/a.yml".into() }]);
    assert_eq!(map.names().collect::<Vec<_>>(), ["one"]);
    assert_eq!(put(&mut map, "e/a.yaml", &request("three")).len(), 1);
    let changes = map.gone(Path::new("d/a.yml"));
    assert!(
        changes.contains(&Change::Appeared { name: "two".into(), path: "d/a.yaml".into() }),
        "{changes:?}"
    );
    // The first one's request is not lost before listings confirm it.
    assert_eq!(holder(&map, "one"), "d/a.yml");
}

#[test]
fn a_moved_file_keeps_its_name_whichever_event_comes_first() {
    let mut map = map_of(&[("a.yaml", &request("n"))]);
    assert_eq!(map.gone(Path::new("a.yaml")), []);
    assert_eq!(put(&mut map, "b.yaml", &request("n")), [moved("n", "a.yaml", "b.yaml")]);
    assert_eq!(put(&mut map, "c.yaml", &request("n")), [problem("c.yaml")]);
    let changes = map.gone(Path::new("b.yaml"));
    assert!(changes.contains(&moved("n", "b.yaml", "c.yaml")), "{changes:?}");
    assert_eq!(map.listed(&listing(&["c.yaml"])), []);
    assert_eq!(map.listed(&listing(&["c.yaml"])), []);
    assert_eq!(holder(&map, "n"), "c.yaml");
}

#[test]
fn a_file_is_absent_after_two_complete_listings() {
    let mut map = map_of(&[("a.yaml", &request("n"))]);
    map.gone(Path::new("a.yaml"));
    assert_eq!(map.listed(&listing(&[])), []);
    assert!(map.document("n").is_some());
    assert_eq!(map.listed(&listing(&[])), [vanished("n", "a.yaml")]);
    assert!(map.document("n").is_none());
}

#[test]
fn a_file_that_is_back_in_time_was_never_absent() {
    let mut map = map_of(&[("a.yaml", &request("n"))]);
    map.gone(Path::new("a.yaml"));
    map.listed(&listing(&[]));
    assert_eq!(put(&mut map, "a.yaml", &request("n")), []);
    assert_eq!(map.listed(&listing(&["a.yaml"])), []);
    assert_eq!(map.listed(&listing(&[])), []);
}

#[test]
fn nothing_is_absent_while_git_works_or_a_directory_cannot_be_read() {
    let mut map = map_of(&[("d/a.yaml", &request("n"))]);
    let busy = Listing { git_busy: true, ..Listing::default() };
    let blind = Listing { unread: BTreeSet::from([PathBuf::from("d")]), ..Listing::default() };
    for _ in 0..5 {
        assert_eq!(map.listed(&busy), []);
        assert_eq!(map.listed(&blind), []);
    }
}

#[test]
fn a_document_behind_a_syntax_error_is_unreadable_and_not_absent() {
    let two = format!("{}---\n{}", request("one"), request("two"));
    let mut map = map_of(&[("a.yaml", &two)]);
    let changes = put(&mut map, "a.yaml", &format!("{}---\nkind: [\n", request("one")));
    assert!(changes.contains(&problem("a.yaml")), "{changes:?}");
    for _ in 0..3 {
        assert_eq!(map.listed(&listing(&["a.yaml"])), []);
    }
    assert_eq!(map.document("two").unwrap().state, DocumentState::Unreadable);
    let changes = put(&mut map, "a.yaml", &two);
    assert!(changes.contains(&edited("two", "a.yaml")), "{changes:?}");
    assert_eq!(map.problems(Path::new("a.yaml")), []);
}

#[test]
fn an_emptied_file_keeps_its_requests_and_says_that_it_is_empty() {
    let mut map = map_of(&[("a.yaml", &request("n"))]);
    assert!(put(&mut map, "a.yaml", "").contains(&problem("a.yaml")));
    for _ in 0..3 {
        assert_eq!(map.listed(&listing(&["a.yaml"])), []);
    }
    assert!(map.document("n").is_some());
}

#[test]
fn a_document_taken_out_of_a_finished_file_is_absent_after_two_listings() {
    let mut map = map_of(&[("a.yaml", &format!("{}---\n{}", request("one"), request("two")))]);
    map.file_changed(loaded("a.yaml", &request("one")), false);
    for _ in 0..3 {
        assert_eq!(map.listed(&listing(&["a.yaml"])), []);
    }
    assert!(!map.startable(Path::new("a.yaml")).is_empty());
    assert_eq!(map.listed(&listing(&["a.yaml"])), []);
    assert_eq!(map.listed(&listing(&["a.yaml"])), [vanished("two", "a.yaml")]);
    assert_eq!(holder(&map, "one"), "a.yaml");
}

#[test]
fn a_listing_with_files_still_to_be_read_proves_no_absence() {
    let mut map = map_of(&[("a.yaml", &request("n"))]);
    map.gone(Path::new("a.yaml"));
    for _ in 0..3 {
        assert_eq!(map.listed(&listing(&["b.yaml"])), []);
    }
    assert_eq!(put(&mut map, "b.yaml", &request("n")), [moved("n", "a.yaml", "b.yaml")]);
}

fn six() -> SourceMap {
    let paths = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml"];
    map_of(&paths.map(|path| (path, "kind: X")))
}

#[test]
fn most_requests_missing_at_once_is_a_degraded_root_and_no_deletion() {
    let mut map = six();
    for _ in 0..10 {
        assert_eq!(map.listed(&listing(&["a.yaml", "b.yaml"])), []);
    }
    assert!(map.degraded().unwrap().contains("4 of 6"));
    assert_eq!(map.listed(&listing(&["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml"])), []);
    assert_eq!(map.degraded(), None);
}

#[test]
fn an_acknowledged_loss_is_a_deletion_and_later_ones_count_again() {
    let mut map = six();
    map.listed(&listing(&["a.yaml", "b.yaml"]));
    map.acknowledge();
    assert_eq!(map.listed(&listing(&["a.yaml", "b.yaml"])), []);
    assert_eq!(map.listed(&listing(&["a.yaml", "b.yaml"])).len(), 4);
    assert_eq!(map.degraded(), None);
    map.listed(&listing(&["a.yaml"]));
    assert_eq!(map.listed(&listing(&["a.yaml"])), [vanished("b", "b.yaml")]);
}

#[test]
fn half_of_the_requests_may_be_deleted_at_once() {
    let mut map = six();
    let rest = listing(&["a.yaml", "b.yaml", "c.yaml"]);
    map.listed(&rest);
    assert_eq!(map.listed(&rest).len(), 3);
}

#[test]
fn a_root_that_cannot_be_listed_is_degraded_until_it_can() {
    let mut map = SourceMap::new(BTreeMap::from([("n".to_owned(), PathBuf::from("n.yaml"))]));
    map.root_failed(&RootState::Missing("requests".into()));
    assert!(map.degraded().unwrap().contains("missing") && !map.is_started());
    let changes = start(&mut map, &[("n.yaml", "kind: X")]);
    assert_eq!(changes, [Change::Appeared { name: "n".into(), path: "n.yaml".into() }]);
    map.root_failed(&RootState::Missing("requests".into()));
    assert!(map.degraded().is_some() && map.is_started());
    map.listed(&listing(&["n.yaml"]));
    assert_eq!(map.degraded(), None);
}

#[test]
fn a_request_deleted_while_nobody_looked_vanishes_after_two_listings() {
    let mut map = SourceMap::new(BTreeMap::from([
        ("gone".to_owned(), PathBuf::from("gone.yaml")),
        ("broken".to_owned(), PathBuf::from("broken.yaml")),
    ]));
    assert_eq!(start(&mut map, &[("broken.yaml", "kind: [")]), [problem("broken.yaml")]);
    assert_eq!(map.listed(&listing(&["broken.yaml"])), [vanished("gone", "gone.yaml")]);
    for _ in 0..3 {
        assert_eq!(map.listed(&listing(&["broken.yaml"])), []);
    }
}

#[test]
fn a_slow_writers_prefix_is_told_apart_until_it_may_start() {
    let mut map = map_of(&[]);
    map.file_changed(loaded("a.yaml", "kind: X"), false);
    assert!(!map.holder("a").unwrap().startable);
    let startable = Change::Startable { name: "a".into(), path: "a.yaml".into() };
    assert_eq!(map.startable(Path::new("a.yaml")), [startable]);
}
