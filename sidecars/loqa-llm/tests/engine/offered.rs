//! Only offered tools can be called, whatever the model would like to write.

use crate::kit::{all_tools, command, reflex, timer_tools};
use llama_cpp_2::sampling::LlamaSampler;
use loqa_llm::reflex::ReflexMap;
use loqa_llm::tools;
use loqa_protocol::ToolSpec;

/// Small and repeatable; good enough to choose subsets and strings.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

fn map() -> ReflexMap {
    ReflexMap::beside(&crate::kit::reflex_path()).unwrap()
}

fn subset(dice: &mut Dice, all: &[ToolSpec]) -> Vec<ToolSpec> {
    let chance = 1 + dice.below(9);
    all.iter().filter(|_| dice.below(10) < chance).cloned().collect()
}

/// Whether the grammar lets the model write `text` and stop.
fn accepts(model: &llama_cpp_2::model::LlamaModel, mut grammar: LlamaSampler, text: &str) -> bool {
    let vocab = model.vocab();
    let allowed = |grammar: &mut LlamaSampler, token| {
        use llama_cpp_2::token::{data::LlamaTokenData, data_array::LlamaTokenDataArray};
        let mut one = LlamaTokenDataArray::new(vec![LlamaTokenData::new(token, 0.0, 0.0)], false);
        grammar.apply(&mut one);
        one.data[0].logit().is_finite()
    };
    for token in vocab.tokenize(text.as_bytes(), false, false) {
        if !allowed(&mut grammar, token) || grammar.try_accept(token).is_err() {
            return false;
        }
    }
    allowed(&mut grammar, vocab.eos())
}

#[test]
fn ten_thousand_answers_name_offered_tools_only() {
    let (mut model, map, all) = (reflex(), map(), all_tools());
    let trained: Vec<ToolSpec> = map.as_trained();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let arguments = [
        "{}",
        "{\"duration\":\" five minutes\"}",
        "{\"label\":\" tea\"}",
        "{\"room\":\" kitchen\",\"state\":\" on\"}",
        "{\"list\":\" shopping\"}",
    ];
    let (mut accepted, mut tried) = (0, 0);
    while tried < 10_000 {
        let offered = subset(&mut dice, &all);
        let read = tools::read(&offered).unwrap();
        let offer = map.matched(&read);
        let grammar =
            model.decoder().grammar(&offer.grammar("five minutes for tea on the kitchen shopping list")).unwrap();
        for _ in 0..50 {
            tried += 1;
            // A trained name, a name cut short, two names run together, or an invented one.
            let mut name = trained[dice.below(trained.len())].name.clone();
            match dice.below(5) {
                0 => name.truncate(1 + dice.below(name.len())),
                1 => name.push_str(&trained[dice.below(trained.len())].name),
                2 => name.insert(dice.below(name.len()), char::from(b'a' + u8::try_from(dice.below(26)).unwrap())),
                _ => {}
            }
            let text = format!("{{\"tool\":\" {name}\",\"args\":{}}}", arguments[dice.below(arguments.len())]);
            if accepts(model.decoder().model(), grammar.clone(), &text) {
                accepted += 1;
                let call = offer.call(&text).expect("what the grammar accepts can be read");
                assert!(offered.iter().any(|tool| tool.name == call.name), "`{name}` became {}", call.name);
            }
        }
    }
    assert!(accepted > 200, "the test must also see calls that are allowed, saw {accepted}");
}

#[test]
fn the_model_itself_calls_offered_tools_only() {
    let (mut model, all) = (reflex(), all_tools());
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let commands = [
        "set a timer for five minutes",
        "turn on the kitchen lights",
        "close the curtains",
        "play some jazz",
        "add milk to my shopping list",
        "what time is it",
        "cancel my alarm",
        "yes please",
        "mute",
        "who are you",
    ];
    // 10,000 for the figure of an evaluation.
    let rounds = std::env::var("LOQA_TEST_N").map_or(400, |n| n.parse().expect("a number of rounds"));
    let mut calls = 0;
    for round in 0..rounds {
        let offered = subset(&mut dice, &all);
        let text = commands[round % commands.len()];
        match command(&mut model, text, &offered) {
            Ok(outcome) => {
                if let Some((call, _)) = outcome.call {
                    calls += 1;
                    assert!(offered.iter().any(|tool| tool.name == call.name), "{text}: {}", call.name);
                }
            }
            Err(failure) => assert!(failure.message.contains("do not fit"), "{failure}"),
        }
    }
    assert!(calls > rounds / 4, "only {calls} calls");
}

#[test]
fn a_call_that_the_grammar_forced_is_below_any_gate() {
    let mut model = reflex();
    // The timer of this house has no labels: the model would write one, the grammar forbids it.
    let mut tools = timer_tools();
    tools[0].parameters["properties"].as_object_mut().unwrap().remove("label");
    let mut forced = 0;
    for text in [
        "timer for tea three minutes",
        "hey set me a twenty minute timer for the lasagna",
        "pizza timer eleven minutes",
    ] {
        let (call, confidence) = command(&mut model, text, &tools).unwrap().call.expect("a call");
        assert!(!call.arguments.contains_key("label"), "what the tool cannot take is not written");
        forced += u32::from(confidence <= 0.1);
    }
    assert!(forced >= 2, "leaving the label out is not what the model wanted: {forced}");
}

#[test]
fn the_tools_of_the_evaluation_are_those_of_the_map() {
    let path = crate::kit::repository().join("models/evaluation/tools.json");
    let now = serde_json::to_string_pretty(&map().as_offered()).unwrap() + "\n";
    if std::env::var_os("LOQA_TEST_UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap();
    assert!(then == now, "`{}` is not what reflex.toml says; write it anew with LOQA_TEST_UPDATE=1", path.display());
}
