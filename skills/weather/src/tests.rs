//! The weather skill against a test host: what it asks, and what it says.

use super::*;
use loqa_skill_sdk::testing::TestHost;
use serde_json::Value;

const URL: &str = "https://weather.test/v1/forecast";

fn call(host: &mut TestHost, tool: &str, arguments: Value) -> String {
    let mut loqa = Loqa::with_urls(host, vec![URL.to_owned()]);
    SKILL.call_with(&mut loqa, tool, arguments).expect("the call succeeds").say
}

/// An answer as Open-Meteo gives it, shortened.
fn forecast() -> Value {
    let body = json!({
        "latitude": 52.52, "longitude": 13.42, "timezone": "Europe/Berlin",
        "current": { "time": "2026-01-01T12:00", "interval": 900, "temperature_2m": 3.6, "weather_code": 61 },
        "daily": {
            "time": ["2026-01-01", "2026-01-02"],
            "weather_code": [63, 3],
            "temperature_2m_max": [5.2, 7.5],
            "temperature_2m_min": [-1.4, -0.2],
            "precipitation_probability_max": [85, 5],
        },
    });
    json!({ "status": 200, "headers": {}, "body": body.to_string(), "url": URL })
}

#[test]
fn the_weather_is_asked_for_by_coordinates_and_told_in_two_sentences() {
    let mut host = TestHost::default();
    host.answer("http", forecast());
    assert_eq!(
        call(&mut host, "weather.today", json!({ "city": "berlin" })),
        "In Berlin it is 4 degrees, with light rain. Today's high is 5, the low -1. The chance of rain is 85 percent."
    );
    let url = host.effects[0].1["url"].as_str().expect("an address");
    assert!(url.starts_with(&format!("{URL}?latitude=52.52&longitude=13.41&")), "{url}");
    assert!(!url.to_lowercase().contains("berlin&") && !url.contains("city"), "the name stays here: {url}");
    host.answer("http", forecast());
    assert_eq!(
        call(&mut host, "weather.tomorrow", json!({ "city": "Berlin" })),
        "Tomorrow in Berlin: clouds, between 0 and 8 degrees."
    );
}

#[test]
fn a_city_is_named_once() {
    let mut host = TestHost::default();
    assert!(call(&mut host, "weather.today", json!({})).starts_with("For which city?"));
    assert_eq!(
        call(&mut host, "weather.home", json!({ "city": "paris" })),
        "From now on the weather is that of Paris."
    );
    host.answer("http", forecast());
    assert!(call(&mut host, "weather.today", json!({})).starts_with("In Paris it is 4 degrees"));
    assert!(call(&mut host, "weather.home", json!({ "city": "atlantis" })).starts_with("I don't know where"));
    assert!(call(&mut host, "weather.today", json!({ "city": "atlantis" })).starts_with("I don't know where"));
}

#[test]
fn what_goes_wrong_is_said_plainly() {
    let mut host = TestHost::default();
    let city = || json!({ "city": "Oslo" });
    for code in ["unreachable", "timeout"] {
        host.fail("http", code);
        assert_eq!(
            call(&mut host, "weather.today", city()),
            "I can't reach the weather service. Is the network there?"
        );
    }
    for answer in [
        json!({ "status": 200, "headers": {}, "body": "<html>", "url": URL }),
        json!({ "status": 200, "headers": {}, "body": "{}", "url": URL }),
        json!({ "status": 200, "headers": {}, "body": r#"{"current":{"temperature_2m":1,"weather_code":1},"daily":{"weather_code":[],"temperature_2m_max":[],"temperature_2m_min":[]}}"#, "url": URL }),
    ] {
        host.answer("http", answer);
        assert_eq!(
            call(&mut host, "weather.today", city()),
            "The weather service answered something that I don't understand."
        );
    }
    host.answer("http", json!({ "status": 429, "headers": {}, "body": "", "url": URL }));
    assert_eq!(call(&mut host, "weather.today", city()), "The weather service refuses, with status 429.");
    host.deny("http");
    assert!(call(&mut host, "weather.today", city()).starts_with("I may not ask the weather service."));
}
