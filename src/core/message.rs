//! Text that came from a container: made safe to store and to show.

use std::ops::Range;

/// Most bytes that a stored message takes in JSON, quotes apart.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Most bytes of a short word: an error type, a reason.
pub const MAX_WORD_BYTES: usize = 128;
/// Most bytes of a message before it is cut for the store. The kubelet leaves less; others may write more into a Pod.
const MAX_FULL_BYTES: usize = 16 * 1024;
/// As many hex digits as this are no word, but an ID.
const LEAST_ID_DIGITS: usize = 8;
const GAP: &str = " … ";
/// How much of a cut message is its beginning; the rest is its end, where a log's last lines are.
const HEAD_BYTES: usize = 300;
/// The same where something in its middle is to be kept.
const OUTER_BYTES: usize = 200;

/// The message without control characters and terminal escapes, and no longer than 1 KiB in JSON; nothing if nothing is
/// left.
pub fn stored(text: &str) -> Option<String> {
    Some(short(text, MAX_MESSAGE_BYTES)).filter(|text| !text.is_empty())
}

/// The message without control characters and terminal escapes, in full; nothing if nothing is left.
pub fn full(text: &str) -> Option<String> {
    Some(short(text, MAX_FULL_BYTES)).filter(|text| !text.is_empty())
}

/// The text made harmless, and cut in the middle to `max` bytes of JSON.
pub fn short(text: &str, max: usize) -> String {
    let clean = harmless(text);
    cut_around(clean.trim(), None, max)
}

/// A harmless text cut to `max` bytes of JSON: its beginning, what is in `focus` (a range of its bytes) and what follows
/// that, and its end.
pub fn cut_around(text: &str, focus: Option<Range<usize>>, max: usize) -> String {
    if json_len(text) <= max {
        return text.to_owned();
    }
    let head = prefix(text, HEAD_BYTES.min(max / 3));
    let tail = suffix(text, max.saturating_sub(json_len(head) + GAP.len()));
    let tail_start = text.len() - tail.len();
    let hidden = focus.filter(|focus| focus.end > head.len() && focus.start < tail_start);
    match hidden.and_then(|focus| text.get(..focus.start)) {
        Some(before) => cut_at(text, before, max),
        None => [head, GAP, tail].concat(),
    }
}

/// The text's beginning, what follows `before`, and its end.
fn cut_at(text: &str, before: &str, max: usize) -> String {
    let outer = OUTER_BYTES.min(max / 5);
    let (head, tail) = (prefix(text, outer), suffix(text, outer));
    let room = max.saturating_sub(json_len(head) + json_len(tail) + 2 * GAP.len());
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    // The beginning of the line is kept if the line's end can be, too.
    let is_near = before.get(line..).is_some_and(|part| json_len(part) <= room / 2);
    let start = if is_near { line } else { before.len() }.max(head.len());
    let tail_start = text.len() - tail.len();
    let middle = prefix(text.get(start..).unwrap_or_default(), room);
    let gap = |is: bool| if is { GAP } else { "" };
    let (middle, end) = match text.get(start..tail_start) {
        Some(all) if all.len() > middle.len() => (middle, gap(true)),
        Some(all) => (all, ""),
        None => ("", gap(true)),
    };
    [head, gap(start > head.len()), middle, end, tail].concat()
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

/// Whether two messages say the same but for their numbers, and for IDs such as that of a Pod's sandbox.
pub fn same_but_for_numbers(a: &str, b: &str) -> bool {
    a == b || without_numbers(a) == without_numbers(b)
}

fn without_numbers(text: &str) -> String {
    let is_end = |c: char| !c.is_alphanumeric();
    let mut rest = String::with_capacity(text.len());
    for part in text.split_inclusive(is_end) {
        let word = part.trim_end_matches(is_end);
        let is_id = word.len() >= LEAST_ID_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let said = if is_id { part.get(word.len()..).unwrap_or_default() } else { part };
        rest.extend(said.chars().filter(|c| !c.is_ascii_digit()));
    }
    rest
}

/// The longest beginning of the text that takes at most `max` bytes of JSON.
fn prefix(text: &str, max: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += escaped_len(*c);
        used > max
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The longest end of the text that takes at most `max` bytes of JSON.
fn suffix(text: &str, max: usize) -> &str {
    let mut used = 0;
    let before = text.char_indices().rev().find(|(_, c)| {
        used += escaped_len(*c);
        used > max
    });
    before.and_then(|(at, c)| text.get(at + c.len_utf8()..)).unwrap_or(text)
}

fn json_len(text: &str) -> usize {
    text.chars().map(escaped_len).sum()
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
mod tests;
