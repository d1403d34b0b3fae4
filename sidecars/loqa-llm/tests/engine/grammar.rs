//! Grammar and check say the same: what a grammar lets a model write fits the schema,
//! and what fits the schema can be written.

use crate::kit::reflex;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use loqa_llm::gbnf::{self, Grammar};
use loqa_llm::schema::Schema;
use serde_json::{Value, json};

fn grammar_of(schema: &Schema) -> String {
    let mut grammar = Grammar::new();
    let value = grammar.value(schema);
    grammar.rule("root", &value);
    grammar.finish()
}

fn compile(model: &LlamaModel, text: &str) -> LlamaSampler {
    LlamaSampler::grammar(model, text, "root").unwrap_or_else(|_| panic!("llama.cpp refuses:\n{text}"))
}

fn allowed(grammar: &mut LlamaSampler, tokens: impl Iterator<Item = LlamaToken>) -> Vec<LlamaToken> {
    let mut array = LlamaTokenDataArray::from_iter(tokens.map(|token| LlamaTokenData::new(token, 0.0, 0.0)), false);
    grammar.apply(&mut array);
    array.data.iter().filter(|data| data.logit().is_finite()).map(LlamaTokenData::id).collect()
}

fn accepts(model: &LlamaModel, grammar: &LlamaSampler, text: &str) -> bool {
    let mut grammar = grammar.clone();
    let vocab = model.vocab();
    for token in vocab.tokenize(text.as_bytes(), false, false) {
        if allowed(&mut grammar, std::iter::once(token)).is_empty() || grammar.try_accept(token).is_err() {
            return false;
        }
    }
    !allowed(&mut grammar, std::iter::once(vocab.eos())).is_empty()
}

#[test]
fn whole_numbers_are_held_to_their_range_exactly() {
    let mut model = reflex();
    let model = model.decoder().model();
    for (min, max) in [
        (Some(1), Some(86_400)),
        (Some(0), Some(0)),
        (Some(0), Some(9)),
        (Some(7), Some(7)),
        (Some(10), Some(19)),
        (Some(-100), Some(100)),
        (Some(-5), Some(-2)),
        (Some(95), Some(105)),
        (Some(99), Some(1_001)),
        (Some(100), None),
        (None, Some(12)),
        (None, Some(-3)),
        (None, None),
        (Some(0), None),
    ] {
        let grammar = compile(model, &format!("root ::= {}\n", gbnf::integer(min, max)));
        let edges = [min, max].into_iter().flatten().flat_map(|edge| edge - 3..=edge + 3);
        let others = [
            -1_000_000, -101, -100, -11, -10, -9, -1, 0, 1, 5, 9, 10, 11, 19, 20, 99, 100, 101, 110, 999, 1_000, 54_321,
        ];
        for number in edges.chain(others) {
            let expected = min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
            assert_eq!(accepts(model, &grammar, &number.to_string()), expected, "{number} in {min:?}..={max:?}");
        }
        for odd in ["", "-", "007", "-0", "1.0", "+1", "1e3", " 1"] {
            assert!(!accepts(model, &grammar, odd), "`{odd}` in {min:?}..={max:?}");
        }
    }
}

/// One of everything.
fn busy_schema() -> Value {
    json!({
        "type": "object", "required": ["room", "level"],
        "properties": {
            "room": {"enum": ["kitchen", "the \"big\" room", 7, true, null]},
            "level": {"type": "integer", "minimum": -20, "maximum": 120},
            "note": {"type": "string", "minLength": 1, "maxLength": 9},
            "tags": {"type": "array", "items": {"type": ["string", "null"], "maxLength": 3}, "minItems": 1, "maxItems": 3},
            "more": {"type": "object", "required": ["b"], "properties": {
                "a": {"type": "boolean"}, "b": {"type": "number", "minimum": 0}, "c": {"type": "array", "items": {"type": "integer"}},
                "d": {"type": "string"}, "e": {"type": "null"}, "f": {"const": "x"}, "g": {"type": "boolean"},
            }},
        },
    })
}

#[test]
fn what_the_grammar_lets_through_fits_the_schema() {
    let mut model = reflex();
    let model = model.decoder().model();
    let vocab = model.vocab();
    let schema = Schema::of_tool("t", &busy_schema()).unwrap();
    let compiled = compile(model, &grammar_of(&schema));
    let mut state = 0x0bad_cafe_dead_beef_u64;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % n as u64).unwrap()
    };
    let mut finished = 0;
    for _ in 0..150 {
        let mut grammar = compiled.clone();
        let mut text = Vec::new();
        for _ in 0..300 {
            let choices = allowed(&mut grammar, vocab.tokens());
            assert!(!choices.is_empty(), "a dead end after {}", String::from_utf8_lossy(&text));
            // Closing tokens are rare among all; prefer them a little so that texts end.
            let closing: Vec<_> = choices
                .iter()
                .copied()
                .filter(|token| {
                    vocab.is_eog(*token)
                        || matches!(&vocab.token_to_piece(*token, true, None)[..], b"\"" | b"}" | b"]" | b"\"}")
                })
                .collect();
            let token = if !closing.is_empty() && next(3) == 0 {
                closing[next(closing.len())]
            } else {
                choices[next(choices.len())]
            };
            if vocab.is_eog(token) {
                // Byte tokens can make bytes that are no text; the engine marks them, see `Utf8Pieces`.
                let Ok(text) = String::from_utf8(text.clone()) else { break };
                let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                schema.check("t", &value).unwrap_or_else(|e| panic!("{e}: {text}"));
                finished += 1;
                break;
            }
            grammar.try_accept(token).unwrap();
            text.extend(vocab.token_to_piece(token, true, None));
        }
    }
    assert!(finished > 50, "only {finished} walks came to an end");
}

#[test]
fn what_fits_the_schema_can_be_written_in_any_order_and_spacing() {
    let mut model = reflex();
    let model = model.decoder().model();
    let schema = Schema::of_tool("t", &busy_schema()).unwrap();
    let grammar = compile(model, &grammar_of(&schema));
    for good in [
        r#"{"room":"kitchen","level":5}"#,
        r#"{"level": -20, "room": "the \"big\" room"}"#,
        "{\n  \"note\": \"über\",\n  \"level\": 120,\n  \"room\": null\n}",
        r#"{"tags": ["a", null, "abc"], "room": 7, "level": 0}"#,
        r#"{"room": true, "level": 99, "more": {"b": 0.5}}"#,
        r#"{"room": true, "level": 99, "more": {"a": false, "b": 12, "c": [], "d": "", "e": null, "f": "x", "g": true}}"#,
    ] {
        let value: Value = serde_json::from_str(good).unwrap();
        schema.check("t", &value).unwrap();
        assert!(accepts(model, &grammar, good), "{good}");
    }
    for bad in [
        r#"{"room":"kitchen"}"#,
        r#"{"room":"kitchen","level":121}"#,
        r#"{"room":"kitchen","level":5,"level":6}"#,
        r#"{"room":"kitchen","level":5,"extra":6}"#,
        r#"{"room":"kitchen","level":5,"note":"ten letters"}"#,
        r#"{"room":"kitchen","level":5,"tags":[]}"#,
        r#"{"room":"kitchen","level":5}}"#,
        r#"{"room":"kitchen","level":5,}"#,
    ] {
        assert!(!accepts(model, &grammar, bad), "{bad}");
    }
}
