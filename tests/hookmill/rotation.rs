//! Files that would be rotated over one another are refused, whoever names them: the file, the program, or both.

#![cfg(unix)]

use hookmill::{Declared, Endpoint, Hookmill, Invalid, ManageError, StartError, endpoint::EndpointBuilder};
use serde_json::{Value, json};

use crate::files::block_on;

fn rotated(id: &str, path: &str, keep: u32) -> EndpointBuilder {
    Endpoint::file(id, path).settings(json!({"rotate": {"max_bytes": 1_000_000, "keep": keep}}))
}

fn entry(id: &str, path: &str, keep: u32) -> Value {
    json!({"id": id, "file": path, "rotate": {"max_bytes": 1_000_000, "keep": keep}})
}

fn declared(endpoints: &Value) -> Result<Declared, Invalid> {
    Declared::parse(&json!({"endpoints": endpoints}))
}

fn places(invalid: &Invalid) -> Vec<&str> {
    invalid.faults().iter().map(|fault| fault.pointer.as_str()).collect()
}

fn refused<T>(started: Result<T, StartError>) -> Invalid {
    match started {
        Err(StartError::Config(invalid)) => invalid,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn a_file_of_the_operator_that_rotates_over_itself_is_refused_with_the_place() {
    let several = json!([entry("a", "/l/x", 3), {"url": "https://a.b/", "id": "b"}, entry("c", "/l/x", 4),
        {"id": "d", "file": "/l/x.2"}, entry("e", "/l/x", 3), entry("f", "/m/x", 4)]);
    let invalid = declared(&several).unwrap_err();
    assert_eq!(places(&invalid), ["#/endpoints/2/file", "#/endpoints/3/file"]);
    let said: Vec<_> = invalid.faults().iter().map(ToString::to_string).collect();
    assert!(said.iter().all(|said| said.ends_with("see a")), "{said:?}");
}

#[test]
fn a_start_refuses_what_disturbs_the_programs_the_files_or_the_stored_endpoints() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let path = |name: &str| logs.join(name).to_str().unwrap().to_owned();
        let builder = || Hookmill::builder().data_dir(dir.path().join("data")).file_root(&logs);
        let twice = builder().endpoint(rotated("a", &path("x"), 3)).endpoint(rotated("b", &path("x"), 4));
        assert_eq!(places(&refused(twice.start().await)), ["#/endpoints/1/file"]);
        let file = declared(&json!([entry("f", &path("y"), 3), entry("g", &path("x.1"), 3)])).unwrap();
        let both = builder().endpoint(rotated("a", &path("x"), 3)).declare(file.clone());
        assert_eq!(places(&refused(both.start().await)), ["#/endpoints/1/file"]);

        let hooks = builder().start().await.unwrap();
        let made = json!({"file": "x", "rotate": {"max_bytes": 1_000_000, "keep": 3}});
        hooks.create_endpoint(Some("api".parse().unwrap()), &made).await.unwrap();
        let Err(ManageError::Invalid(invalid)) = hooks.apply(file.clone()).await else { panic!("applied") };
        assert_eq!(places(&invalid), ["#/endpoints/1/file"]);
        assert_eq!(hooks.endpoints().len(), 1, "nothing changed");
        hooks.shutdown(std::time::Duration::from_secs(5)).await;
        drop(hooks);
        assert_eq!(places(&refused(builder().declare(file).start().await)), ["#/endpoints/1/file"]);
        builder().start().await.unwrap().shutdown(std::time::Duration::from_secs(5)).await;
    });
}

#[test]
fn a_shared_file_may_be_rotated_in_another_way_by_one_change() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x").to_str().unwrap().to_owned();
        let both = |keep| declared(&json!([entry("a", &path, keep), entry("b", &path, keep)])).unwrap();
        let hooks = Hookmill::builder().in_memory().declare(both(3)).start().await.unwrap();
        hooks.apply(both(5)).await.unwrap();
        let one = hooks.set_endpoint(rotated("c", &path, 3)).await;
        assert!(matches!(one, Err(ManageError::Invalid(invalid)) if places(&invalid) == ["#/file"]));
        hooks.set_endpoint(rotated("c", &path, 5)).await.unwrap();
    });
}
