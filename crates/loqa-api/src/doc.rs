//! The examples of `docs/api.md`, held to the shapes of the code.

use crate::feed::Live;
use crate::models::LicenceAgreement;
use crate::packages::PackageConsent;
use crate::privacy::WipeRequest;
use crate::problem::Problem;
use crate::replay::ReplayRequest;
use crate::settings::SettingChange;
use crate::talk::{TalkMessage, TalkRequest};
use crate::turns::TurnRequest;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

fn fits<T: DeserializeOwned>(example: &str) {
    if let Err(error) = serde_json::from_str::<T>(example) {
        panic!("{error}: {example}");
    }
}

/// Every variant's `type` in a shape of the description.
fn variants(shape: &str) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_str(crate::openapi::text()).unwrap();
    let variants = document["components"]["schemas"][shape]["oneOf"].as_array().unwrap_or_else(|| panic!("{shape}"));
    variants.iter().map(|variant| variant["properties"]["type"]["enum"][0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_example_fits_its_shape_and_every_message_has_one() {
    let text = include_str!("../../../docs/api.md");
    let mut examples: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for block in text.split("```json ").skip(1) {
        let (shape, rest) = block.split_once('\n').unwrap();
        examples.entry(shape).or_default().push(rest.split("```").next().unwrap());
    }
    for (shape, examples) in &examples {
        for example in examples {
            match *shape {
                "Problem" => fits::<Problem>(example),
                "TurnRequest" => fits::<TurnRequest>(example),
                "TalkRequest" => fits::<TalkRequest>(example),
                "TalkMessage" => fits::<TalkMessage>(example),
                "Live" => fits::<Live>(example),
                "PackageConsent" => fits::<PackageConsent>(example),
                "SettingChange" => fits::<SettingChange>(example),
                "LicenceAgreement" => fits::<LicenceAgreement>(example),
                "ReplayRequest" => fits::<ReplayRequest>(example),
                "WipeRequest" => fits::<WipeRequest>(example),
                other => panic!("an example of a shape that this test does not know: {other}"),
            }
        }
    }
    for (shape, without) in [("TalkRequest", None), ("TalkMessage", Some("dropped")), ("Live", None)] {
        for variant in variants(shape) {
            let shown = examples[shape].iter().any(|example| example.contains(&format!("\"type\": \"{variant}\"")));
            assert!(shown || without == Some(variant.as_str()), "{shape} `{variant}` has an example");
        }
    }
}
