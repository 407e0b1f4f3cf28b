use super::*;
use proptest::prelude::*;

#[test]
fn a_long_message_keeps_its_beginning_and_its_end() {
    let text = format!("START{}END", "\"x\n".repeat(5000));
    let cut = stored(&text).unwrap();
    assert!(cut.starts_with("START") && cut.ends_with("END"));
    assert!(serde_json::to_string(&cut).unwrap().len() - 2 <= MAX_MESSAGE_BYTES);
}

#[test]
fn a_match_in_the_middle_of_a_long_message_is_kept_with_its_line() {
    let lines = |word: &str, n: usize| format!("{word} of the import\n").repeat(n);
    let text = format!("FIRST\n{}java.io.IOException: HTTP 429\n\tat x\n{}LAST", lines("a", 60), lines("b", 60));
    let focus = text.find("HTTP 429").map(|start| start..start + 8);
    let cut = cut_around(&text, focus, MAX_MESSAGE_BYTES);
    assert!(cut.starts_with("FIRST") && cut.ends_with("LAST"), "{cut}");
    assert!(cut.contains(" … java.io.IOException: HTTP 429\n\tat x\nb of"), "{cut}");
    assert!(serde_json::to_string(&cut).unwrap().len() - 2 <= MAX_MESSAGE_BYTES);
    assert_eq!(cut.matches(GAP).count(), 2);

    let short = cut_around("abc", Some(1..2), MAX_MESSAGE_BYTES);
    assert_eq!(short, "abc");
}

#[test]
fn terminal_escapes_and_control_characters_are_dropped() {
    assert_eq!(stored("\u{1b}[31mred\u{1b}[0m\r\nnext\u{0}\u{7}\u{202e}line\u{1b}"), Some("red\nnextline".into()));
    assert_eq!(stored("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b\u{1b}]cut\nc"), Some("ab\nc".into()));
    assert_eq!(stored("\u{1b}[2J \n"), None);
}

#[test]
fn messages_that_differ_only_in_numbers_are_the_same() {
    assert!(same_but_for_numbers("used: pods=3, limited: pods=3", "used: pods=12, limited: pods=4"));
    assert!(!same_but_for_numbers("exceeded quota", "forbidden"));
    let sandbox = |id: &str| format!("failed to set up the network of sandbox \"{}\": no addresses", id.repeat(8));
    assert!(same_but_for_numbers(&sandbox("0a1b2c3d"), &sandbox("fe98dcba")));
    assert!(same_but_for_numbers("id deadbeef, ü", "id 12345678, ü"));
    assert!(!same_but_for_numbers("a bad face", "a bad cafe"), "words");
    assert!(!same_but_for_numbers("no deadbeefs", "no feedfaces"), "words");
}

proptest! {
    #[test]
    fn any_text_is_stored_within_its_bound(text in "\\PC{0,3000}|(?s).{0,3000}") {
        let stored = stored(&text).unwrap_or_default();
        prop_assert!(serde_json::to_string(&stored).unwrap().len() - 2 <= MAX_MESSAGE_BYTES);
        prop_assert!(!stored.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    }

    #[test]
    fn any_part_of_a_text_is_kept_within_the_bound(text in "[a\n\"é]{0,4000}", from in 0_usize..4000, length in 0_usize..40) {
        let (from, to) = (from.min(text.len()), (from + length).min(text.len()));
        let focus = text.get(from..to).map(|_| from..to);
        let cut = cut_around(&text, focus.clone(), MAX_MESSAGE_BYTES);
        prop_assert!(serde_json::to_string(&cut).unwrap().len() - 2 <= MAX_MESSAGE_BYTES);
        let part = focus.and_then(|focus| text.get(focus)).unwrap_or_default();
        prop_assert!(cut.contains(part), "{:?} is not in {:?}", part, cut);
    }
}
