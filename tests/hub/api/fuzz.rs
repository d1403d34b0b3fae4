//! Every operation fuzzed from its own description, by schemathesis, unmodified.

use super::{Api, QUIET};
use loqa_tests::python::run_script;

/// Examples of each operation; `LOQA_TEST_N` gives another number. The full run is 100.
fn examples() -> String {
    std::env::var("LOQA_TEST_N").unwrap_or_else(|_| "8".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_fits_the_description_brings_a_server_error_or_breaks_it() {
    let api = Api::start(&QUIET).await;
    api.without_downloads();
    api.ask("set a tea timer for ten minutes").await;
    let url = api.server.url();
    let token = api.server.token_path().to_string_lossy().into_owned();
    let mut arguments = vec![url.as_str(), "--token-file", &token];
    let examples = examples();
    arguments.extend(["--examples", &examples, "--max-time", "150"]);
    let script = run_script("schemathesis_run.py", &arguments).await;
    let found = script.json();
    assert_eq!(found["failures"], serde_json::json!([]), "{found:#}\n{}", script.err);
    assert!(found["operations"].as_u64().unwrap() >= 40, "every operation was asked: {found}");
    assert!(found["cases"].as_u64().unwrap() > 200, "{found}");
    assert!(script.ok, "{found}\n{}\n{}", script.out, script.err);
    // It lives, and its record is sound.
    assert_eq!(api.get("/v1/audit/verify").await["ok"], true);
    // What the timer may do has been changed meanwhile, and guest mode may be on; a turn ends.
    assert!(api.ask("list my timers").await["turn"].is_string());
    api.stop().await;
}
