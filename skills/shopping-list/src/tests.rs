//! The shopping list against a test host: what a person would say and hear.

use super::*;
use loqa_skill_sdk::testing::TestHost;

/// Plays a conversation: tool, items, and what is answered.
fn check(host: &mut TestHost, conversation: &[(&str, &str, &str)]) {
    for (number, (tool, items, expected)) in conversation.iter().enumerate() {
        let arguments = if items.is_empty() { json!({}) } else { json!({ "items": items }) };
        let reply = SKILL.call(host, &format!("shopping-list.{tool}"), arguments).expect("the call succeeds");
        assert_eq!(reply.say, *expected, "line {}: {tool} {items}", number + 1);
    }
}

#[test]
fn a_list_is_filled_read_thinned_and_cleared() {
    check(
        &mut TestHost::default(),
        &[
            ("list", "", "The shopping list is empty."),
            ("add", "some milk", "Added milk."),
            ("list", "", "There is one thing on the list: milk."),
            ("add", "Eggs, a loaf of bread and the butter", "Added eggs, loaf of bread and butter."),
            ("add", "milk", "Milk is on the list already."),
            ("add", "milk and cheese", "Added cheese."),
            ("list", "", "There are 5 things on the list: milk, eggs, loaf of bread, butter and cheese."),
            ("remove", "egg", "Took eggs off the list."),
            ("remove", "the wine", "Wine is not on the list."),
            ("remove", "milk and wine", "Took milk off the list."),
            ("clear", "", "Took 3 things off. The list is empty."),
            ("clear", "", "The shopping list was empty already."),
        ],
    );
}

#[test]
fn words_that_are_no_things_are_left_out() {
    for (said, expected) in [
        ("milk", "milk"),
        ("and milk", "milk"),
        ("a  bottle of   Milk.", "bottle of milk"),
        ("eggs and eggs, eggs", "eggs"),
        ("3.5% milk", "3.5% milk"),
        ("the", ""),
        (" , ; ", ""),
        ("brandy", "brandy"),
    ] {
        assert_eq!(split(said).join("|"), expected, "{said}");
    }
}

#[test]
fn the_list_ends_somewhere_and_nothing_is_half_added() {
    let mut host = TestHost::default();
    let many = (0..MAX_ITEMS).map(|n| format!("thing {n}")).collect::<Vec<_>>().join(", ");
    check(&mut host, &[("add", "milk", "Added milk."), ("add", &many, "The list is full, it holds 100 things.")]);
    check(&mut host, &[("list", "", "There is one thing on the list: milk.")]);
}

#[test]
fn without_permission_the_call_fails() {
    let mut host = TestHost::default();
    host.deny("kv_get");
    let error = SKILL.call(&mut host, "shopping-list.list", json!({})).expect_err("the store is denied");
    assert!(matches!(&error, SkillError::Host(error) if error.is_denied()), "{error}");
}
