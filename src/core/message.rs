//! Text that came from a container: made safe to store and to show, and read for what the task says of itself.

use serde_json::Value;

/// Most bytes that a stored message takes in JSON, quotes apart.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Most bytes of a short word: an error type, a reason.
pub const MAX_WORD_BYTES: usize = 128;
const GAP: &str = " … ";
/// How much of a cut message is its beginning; the rest is its end, where a log's last lines are.
const HEAD_BYTES: usize = 300;

/// What a task said of its own failure or success: a JSON object as its termination message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// `errorType`: what kind of error it was.
    pub error_type: Option<String>,
    /// `message`: what happened.
    pub message: Option<String>,
    /// `retryAfterSeconds`: do not come back earlier.
    pub retry_after_seconds: Option<i64>,
    /// `doNotRetry`: trying again cannot help.
    pub do_not_retry: bool,
    /// `result`: what came out.
    pub result: Option<String>,
}

/// The task's own word in its termination message. Whatever is not a JSON object, or not of the right type in it, is
/// just text.
pub fn word(termination_message: &str) -> Word {
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(termination_message.trim()) else {
        return Word::default();
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|s| !s.is_empty());
    Word {
        error_type: text("errorType").map(|s| short(s, MAX_WORD_BYTES)).filter(|s| !s.is_empty()),
        message: text("message").and_then(stored),
        retry_after_seconds: object.get("retryAfterSeconds").and_then(Value::as_i64).filter(|seconds| *seconds >= 0),
        do_not_retry: object.get("doNotRetry").and_then(Value::as_bool).unwrap_or(false),
        result: object.get("result").filter(|value| !value.is_null()).map(|value| match value {
            Value::String(s) => short(s, MAX_MESSAGE_BYTES),
            other => short(&other.to_string(), MAX_MESSAGE_BYTES),
        }),
    }
}

/// The message without control characters and terminal escapes, and no longer than 1 KiB in JSON; nothing if nothing is
/// left.
pub fn stored(text: &str) -> Option<String> {
    Some(short(text, MAX_MESSAGE_BYTES)).filter(|text| !text.is_empty())
}

/// The text made harmless, and cut in the middle to `max` bytes of JSON.
pub fn short(text: &str, max: usize) -> String {
    let clean = harmless(text);
    let clean = clean.trim();
    if clean.chars().map(escaped_len).sum::<usize>() <= max {
        return clean.to_owned();
    }
    let head_max = HEAD_BYTES.min(max / 3);
    let head = take(clean.chars(), head_max);
    let tail: Vec<char> = take(clean.chars().rev(), max.saturating_sub(head_max + GAP.len()));
    head.into_iter().chain(GAP.chars()).chain(tail.into_iter().rev()).collect()
}

/// Most bytes that a text takes as JSON in the API server's store, quotes included, and few more than it does take.
pub fn most_stored_bytes(text: &str) -> usize {
    const FIRST_OF_LINE_SEPARATORS: u8 = 0xe2;
    let most = |byte| match byte {
        FIRST_OF_LINE_SEPARATORS => 4,
        byte if byte.is_ascii() => escaped_len(char::from(byte)),
        _ => 1,
    };
    text.bytes().map(most).sum::<usize>() + 2
}

/// Whether two messages say the same but for their numbers.
pub fn same_but_for_numbers(a: &str, b: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    a == b || words(a) == words(b)
}

fn take(chars: impl Iterator<Item = char>, max: usize) -> Vec<char> {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += escaped_len(*c);
            used <= max
        })
        .collect()
}

fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\t' => 2,
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6, // as Go writes them, and so etcd keeps them
        c if c.is_ascii_control() => 6,
        c => c.len_utf8(),
    }
}

/// Whether a character does something else than show itself: control characters but the tab, other ends of lines, and
/// marks that turn the direction of the text around.
pub fn misleads(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    (c.is_control() && c != '\t') || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Drops terminal escape sequences, control characters but line ends and tabs, and marks that turn the direction of the
/// text around.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' | '\u{9b}' => {
                if chars.next_if_eq(&']').is_some() {
                    // An operating system command, such as a window's title: up to BEL or ESC \.
                    while chars.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\n')).is_some() {}
                    if chars.next_if_eq(&'\u{1b}').is_some() {
                        chars.next_if_eq(&'\\');
                    }
                } else if c == '\u{9b}' || chars.next_if_eq(&'[').is_some() {
                    while chars.next_if(|c| !('\u{40}'..='\u{7e}').contains(c)).is_some() {}
                    chars.next();
                }
            }
            c if c != '\n' && misleads(c) => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_tasks_own_word_is_read_from_a_json_object() {
        let said = word(
            r#" {"errorType":"RateLimit","message":"slow down","retryAfterSeconds":30,"doNotRetry":true,"result":{"rows":3}} "#,
        );
        let expected = Word {
            error_type: Some("RateLimit".into()),
            message: Some("slow down".into()),
            retry_after_seconds: Some(30),
            do_not_retry: true,
            result: Some(r#"{"rows":3}"#.into()),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_malformed_is_just_text() {
        for text in ["", "oops", "[1]", "{\"doNotRetry\":true", "\"doNotRetry\"", "{} trailing"] {
            assert_eq!(word(text), Word::default(), "{text}");
        }
        let wrong_types = r#"{"errorType":5,"message":[],"retryAfterSeconds":"soon","doNotRetry":"yes","result":null}"#;
        assert_eq!(word(wrong_types), Word::default());
        assert_eq!(word(r#"{"retryAfterSeconds":-1}"#).retry_after_seconds, None);
    }

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let text = format!("START{}END", "\"x\n".repeat(5000));
        let cut = stored(&text).unwrap();
        assert!(cut.starts_with("START") && cut.ends_with("END"));
        assert!(serde_json::to_string(&cut).unwrap().len() - 2 <= MAX_MESSAGE_BYTES);
    }

    #[test]
    fn terminal_escapes_and_control_characters_are_dropped() {
        assert_eq!(stored("\u{1b}[31mred\u{1b}[0m\r\nnext\u{0}\u{7}\u{202e}line\u{1b}"), Some("red\nnextline".into()));
        assert_eq!(stored("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b\u{1b}]cut\nc"), Some("ab\nc".into()));
        assert_eq!(stored("\u{1b}[2J \n"), None);
        assert_eq!(word("{\"errorType\": \"\\u0000\", \"message\": \"\\u001b[2J\"}"), Word::default());
    }

    #[test]
    fn numbers_alone_do_not_make_another_message() {
        assert!(same_but_for_numbers("used: pods=3, limited: pods=3", "used: pods=12, limited: pods=4"));
        assert!(!same_but_for_numbers("exceeded quota", "forbidden"));
    }

    proptest! {
        #[test]
        fn any_text_is_stored_within_its_bound(text in "\\PC{0,3000}|(?s).{0,3000}") {
            let stored = stored(&text).unwrap_or_default();
            prop_assert!(serde_json::to_string(&stored).unwrap().len() - 2 <= MAX_MESSAGE_BYTES);
            prop_assert!(!stored.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            word(&text);
        }
    }
}
