//! What skills may do, looked at and changed from the command line, with a hub and without.

use loqa_tests::{TestHub, last_json, loqa};

const QUIET: [(&str, &str); 3] = [("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")];

/// Names of the permissions of `timer` that are in force.
fn granted(data: &std::path::Path) -> Vec<String> {
    let output = loqa(data, &["--json", "skill", "grants", "timer"]);
    assert!(output.status.success(), "{output:?}");
    let grants = last_json(&output)["grants"].as_array().unwrap().clone();
    grants.iter().map(|grant| grant["permission"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_from_the_command_line_reaches_the_running_hub_and_stays() {
    let hub = TestHub::start(&QUIET).await;
    let data = hub.data.path().to_owned();
    assert_eq!(granted(&data), ["kv:store", "timer:set", "tts:say"], "what the bundled skill asks for");
    assert_eq!(hub.ask("set a timer for 5 minutes").await.failure, None);

    let output = loqa(&data, &["--json", "skill", "revoke", "timer", "timer:set"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(last_json(&output)["revoked"][0]["permission"], "timer:set");
    let denied = hub.ask("set a timer for 6 minutes").await;
    assert_eq!(denied.reply, "Sorry, I am not allowed to do that.");
    let output = loqa(&data, &["--json", "skill", "prompts"]);
    assert_eq!(last_json(&output)["prompts"].as_array().map(Vec::len), Some(0));
    hub.hub.stop().await;

    // Without a hub: it is still revoked, and is granted again for the next one.
    assert_eq!(granted(&data), ["kv:store", "tts:say"]);
    let output = loqa(&data, &["--json", "skill", "prompts"]);
    assert_eq!(output.status.code(), Some(1), "no hub, no questions");
    let output = loqa(&data, &["--json", "skill", "grant", "timer", "timer:set", "--scope", "max=1"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(last_json(&output)["granted"][0]["scope"]["max"], 1);

    let again = loqa_tests::start_in(&data, &QUIET).await.unwrap();
    let again = TestHub { hub: again, data: hub.data };
    let second = again.ask("set a timer for 7 minutes").await;
    assert_eq!(second.reply, "Sorry, no more than 1 timers can run at once.", "one runs, and one is allowed");
    assert_eq!(again.ask("cancel all timers").await.failure, None);
    assert_eq!(again.ask("set a timer for 7 minutes").await.failure, None);
    again.stop().await;
}

#[test]
fn wrong_words_are_told() {
    let data = tempfile::tempdir().unwrap();
    for (arguments, code, says) in [
        (["skill", "grant", "timer", "timer:everything"].as_slice(), 2, "there is no permission"),
        (&["skill", "grant", "timer", "timer:set", "--scope", "min=1"], 2, "has no scope `min`"),
        (&["skill", "grant", "timer", "http:call"], 1, "does not ask for `http:call`"),
        (&["skill", "grant", "nobody", "timer:set"], 1, "no skill `nobody` is there"),
        (
            &["skill", "grant", "timer", "timer:set", "--lifetime", "session", "--session", "s-1"],
            1,
            "no hub is running",
        ),
    ] {
        let output = loqa(data.path(), arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}
