//! Against a real file system, and those who meddle with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    Accepted, Clock, Event, Timestamp,
    endpoint::{Endpoint, EndpointKey, Origin, Settings},
};

const AT: Timestamp = Timestamp::from_millis(1_614_265_330_999);
const HUNG: Duration = Duration::from_secs(60);

fn run<T>(test: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(async { timeout(HUNG, test).await.expect("what is waited for does not come") })
}

/// A file root of its own, and what writes below it.
struct Root {
    dir: TempDir,
    writers: Writers,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writers = Writers::new(Some(dir.path()), None, Clock::system());
        Self { dir, writers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn absolute(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    async fn write(&self, file: &str, id: u64) -> Answer {
        FileTransport::new(&self.writers).send(attempt(&json!({"file": file}), id)).await
    }

    async fn failure(&self, file: &str) -> String {
        let failure = self.write(file, 1).await.expect_err("written where nothing can be");
        assert_eq!(failure.kind, FailureKind::File, "{failure:?}");
        failure.detail
    }
}

fn attempt(settings: &Value, id: u64) -> Attempt {
    let mut settings = settings.clone();
    settings["format"] = json!({"map": {"id": {"from": "/data"}}});
    let origin = Origin::Api { allow_loopback: false, file_root: true };
    let endpoint = Endpoint {
        key: EndpointKey(1),
        id: "ep".parse().unwrap(),
        settings: Settings::restore(&settings, origin).unwrap(),
        version: 1,
        created_at: AT,
        updated_at: AT,
        state_since: AT,
        state_reason: None,
    };
    let event = Event::from_json("a.b", id.to_string()).validate(AT).unwrap();
    Attempt {
        events: vec![Arc::new(Accepted::new(id, AT, event))],
        endpoint: Arc::new(endpoint),
        number: 1,
        at: AT,
        keep: 0,
    }
}

/// The ids in these files, each of whose lines is whole.
fn ids(paths: impl IntoIterator<Item = PathBuf>) -> Vec<u64> {
    let texts = paths.into_iter().map(|path| fs::read_to_string(path).unwrap());
    let of = |text: String| {
        assert!(text.is_empty() || text.ends_with('\n'), "half a line at the end of {text:?}");
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
        text.lines().map(id).collect::<Vec<_>>()
    };
    texts.flat_map(of).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[test]
fn lines_are_in_the_file_in_the_order_they_were_sent_once_they_are_answered() {
    let root = Root::new();
    run(async {
        let answers = join_all((1..=500).map(|id| root.write("a.jsonl", id))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Reply::Written)));
        assert_eq!(ids([root.path("a.jsonl")]), (1..=500).collect::<Vec<_>>());
        let mode = fs::metadata(root.path("a.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 | 0o044, 0o644, "as far as the umask lets it");
    });
}

#[test]
fn many_threads_and_several_paths_to_one_file_never_mix_lines() {
    const EACH: u64 = 500;
    let root = Arc::new(Root::new());
    fs::create_dir(root.path("real")).unwrap();
    symlink(root.path("real"), root.path("link")).unwrap();
    let paths = ["real/a".to_owned(), root.absolute("real/a"), root.absolute("link/a")];
    let threads: Vec<_> = (0..6_u64)
        .map(|thread| {
            let (root, path) = (Arc::clone(&root), paths[usize::try_from(thread).unwrap() % 3].clone());
            thread::spawn(move || {
                run(async {
                    let writes = (0..EACH).map(|n| root.write(&path, thread * EACH + n));
                    assert!(join_all(writes).await.iter().all(Result::is_ok));
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut written = ids([root.path("real/a")]);
    written.sort_unstable();
    assert_eq!(written, (0..6 * EACH).collect::<Vec<_>>());
}

#[test]
fn moved_and_deleted_files_are_made_anew_and_no_line_is_lost() {
    let root = Root::new();
    fs::create_dir(root.path("old")).unwrap();
    run(async {
        for round in 0..40 {
            let writes = join_all((0..50).map(|n| root.write("a.jsonl", round * 50 + n)));
            let meddle = async {
                let (file, old) = (root.path("a.jsonl"), root.path(&format!("old/{round}")));
                // In the midst of the writes: what is there by then stays readable under another name.
                while !file.exists() {
                    tokio::task::yield_now().await;
                }
                if round % 2 == 0 {
                    fs::rename(file, old).unwrap();
                } else {
                    fs::hard_link(&file, old).unwrap();
                    fs::remove_file(file).unwrap();
                }
            };
            let (answers, ()) = tokio::join!(writes, meddle);
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
    });
    let written: BTreeSet<_> =
        ids(files(root.dir.path()).into_iter().chain(files(&root.path("old")))).into_iter().collect();
    assert_eq!(written, (0..2000).collect());
}

#[test]
fn a_deleted_file_is_made_anew_for_the_next_line() {
    let root = Root::new();
    run(async {
        for id in 0..5 {
            assert_eq!(root.write("a", id).await, Ok(Reply::Written));
            assert_eq!(ids([root.path("a")]), [id]);
            fs::remove_file(root.path("a")).unwrap();
        }
    });
}

#[test]
fn a_file_makes_room_before_it_grows_too_long() {
    let root = Root::new();
    let settings = json!({"file": "a.jsonl", "rotate": {"max_bytes": 4096, "keep": 3}});
    run(async {
        let transport = FileTransport::new(&root.writers);
        for chunk in 0..20 {
            let writes = (0..100).map(|n| transport.send(attempt(&settings, 10_000 + chunk * 100 + n)));
            assert!(join_all(writes).await.iter().all(Result::is_ok));
        }
    });
    let names = ["a.jsonl.3", "a.jsonl.2", "a.jsonl.1", "a.jsonl"];
    let found: BTreeSet<_> = files(root.dir.path()).into_iter().collect();
    assert_eq!(found, names.iter().map(|name| root.path(name)).collect());
    assert!(names.iter().all(|name| fs::metadata(root.path(name)).unwrap().len() <= 4096));
    let kept = ids(names.iter().map(|name| root.path(name)));
    assert_eq!(kept, (12_000 - u64::try_from(kept.len()).unwrap()..12_000).collect::<Vec<_>>());
}

#[test]
fn half_a_line_that_a_crash_left_stands_alone() {
    let root = Root::new();
    fs::write(root.path("a"), "{\"id\":1}\n{\"id").unwrap();
    run(async { root.write("a", 2).await.unwrap() });
    assert_eq!(fs::read_to_string(root.path("a")).unwrap(), "{\"id\":1}\n{\"id\n{\"id\":2}\n");
}

#[test]
fn what_is_no_regular_file_is_refused_until_it_has_gone() {
    let root = Root::new();
    fs::write(root.path("elsewhere"), "").unwrap();
    run(async {
        for round in 0..3 {
            let path = root.path("a");
            match round {
                0 => fs::create_dir(&path).unwrap(),
                1 => symlink(root.path("elsewhere"), &path).unwrap(),
                _ => {
                    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o644));
                    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
                }
            }
            for file in ["a".to_owned(), root.absolute("a")] {
                assert!(root.failure(&file).await.contains("no regular file"), "{round}");
            }
            if round == 0 { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
            root.write("a", round).await.unwrap();
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::metadata(root.path("elsewhere")).unwrap().len(), 0);
    });
}

#[test]
fn a_link_that_takes_the_place_of_an_open_file_is_not_followed() {
    let root = Root::new();
    run(async {
        root.write("a", 1).await.unwrap();
        fs::rename(root.path("a"), root.path("b")).unwrap();
        symlink(root.path("b"), root.path("a")).unwrap();
        root.failure("a").await;
        assert_eq!(ids([root.path("b")]), [1]);
    });
}

#[test]
fn below_a_root_no_directory_is_a_link_and_none_is_made() {
    let (root, outside) = (Root::new(), tempfile::tempdir().unwrap());
    symlink(outside.path(), root.path("out")).unwrap();
    fs::write(root.path("file"), "").unwrap();
    run(async {
        for file in ["out/a", "out/b/a", "missing/a", "file/a"] {
            assert!(root.failure(file).await.contains("no directory for it"), "{file}");
        }
        assert_eq!(files(outside.path()).len(), 0);
        fs::create_dir(root.path("missing")).unwrap();
        root.write("missing/a", 1).await.unwrap();
        // Whoever names an absolute path decides about its directories.
        root.write(&root.absolute("out/a"), 1).await.unwrap();
        assert_eq!(ids([outside.path().join("a")]), [1]);
    });
}

#[test]
fn without_a_root_no_relative_path_is_written() {
    let writers = Writers::new(None, None, Clock::system());
    run(async {
        let answer = FileTransport::new(&writers).send(attempt(&json!({"file": "a"}), 1)).await;
        assert_eq!(answer.expect_err("written somewhere").kind, FailureKind::File);
    });
}

#[test]
fn nothing_is_written_where_the_data_are() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for inner in ["sub", "sub/sub"] {
        fs::create_dir(data.path().join(inner)).unwrap();
    }
    symlink(data.path().join("sub"), dir.path().join("link")).unwrap();
    symlink(data.path(), dir.path().join("all")).unwrap();
    let path = |base: &TempDir, name: &str| base.path().join(name).to_str().unwrap().to_owned();
    let write = |writers: &Writers, file: &str| {
        let attempt = attempt(&json!({"file": file}), 1);
        run(FileTransport::new(writers).send(attempt))
    };
    for closed in [data.path().to_owned(), dir.path().join("all")] {
        let writers = Writers::new(Some(data.path()), Some(&closed), Clock::system());
        let inside = [path(&data, "a"), path(&data, "sub/sub/a"), path(&dir, "link/a"), path(&dir, "all/sub/a")];
        for file in inside.iter().map(String::as_str).chain(["a", "sub/a"]) {
            let failure = write(&writers, file).expect_err("written among the data");
            assert!(failure.detail.contains("lies in the data directory"), "{file}: {failure:?}");
        }
        write(&writers, &path(&dir, "a")).unwrap();
    }
    let writers = Writers::new(None, Some(&data.path().join("missing")), Clock::system());
    write(&writers, &path(&dir, "a")).unwrap();
}

#[test]
fn one_path_that_cannot_be_written_does_not_hold_up_another() {
    let root = Root::new();
    run(async {
        let bad = join_all((0..100).map(|id| root.write("missing/a", id)));
        let good = join_all((0..100).map(|id| root.write("a", id)));
        let (bad, good) = tokio::join!(bad, good);
        assert!(bad.iter().all(Result::is_err) && good.iter().all(Result::is_ok));
    });
}

#[test]
fn files_with_rotation_of_their_own_keep_to_themselves() {
    let root = Root::new();
    run(async {
        let transport = FileTransport::new(&root.writers);
        let settings = |n: u64| json!({"file": format!("f{n}"), "rotate": {"max_bytes": 4096, "keep": 100}});
        let writes = (0..3000).map(|id| transport.send(attempt(&settings(id % 3), id)));
        assert!(join_all(writes).await.iter().all(Result::is_ok));
    });
    let mut of: BTreeMap<u64, usize> = BTreeMap::new();
    for path in files(root.dir.path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for id in ids([path]) {
            assert!(name.starts_with(&format!("f{}", id % 3)), "{id} in {name}");
            *of.entry(id).or_default() += 1;
        }
    }
    assert!(of.len() == 3000 && of.values().all(|count| *count == 1));
}

#[test]
fn a_file_stays_the_same_as_long_as_nobody_moves_it() {
    let root = Root::new();
    run(async {
        root.write("a", 1).await.unwrap();
        let number = fs::metadata(root.path("a")).unwrap().ino();
        root.write("a", 2).await.unwrap();
        assert_eq!((fs::metadata(root.path("a")).unwrap().ino(), ids([root.path("a")])), (number, vec![1, 2]));
    });
}
