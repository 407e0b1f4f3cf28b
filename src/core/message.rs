//! Text that comes from a container: sanitizes it, and cuts it to the size that is stored.

use std::ops::Range;

/// Most bytes that a stored message takes in JSON, without the quotes.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Most bytes of an error type or a reason.
pub const MAX_WORD_BYTES: usize = 128;
/// Most bytes of a message before it is cut for the status. The kubelet writes less, but others may write more into a
/// Pod's status.
const MAX_FULL_BYTES: usize = 16 * 1024;
/// From this length on, a word of hex digits is an ID.
const LEAST_ID_DIGITS: usize = 8;
const GAP: &str = " … ";
/// Bytes of a cut message that its beginning gets. The rest is its end, where a log's last lines are.
const HEAD_BYTES: usize = 300;
/// Bytes that its beginning and its end get each, if a part of its middle is kept too.
const OUTER_BYTES: usize = 200;

/// The message without control characters and terminal escapes, cut to 1 KiB in JSON. None if nothing is left.
pub fn stored(text: &str) -> Option<String> {
    Some(short(text, MAX_MESSAGE_BYTES)).filter(|text| !text.is_empty())
}

/// The message without control characters and terminal escapes, uncut up to 16 KiB. None if nothing is left.
pub fn full(text: &str) -> Option<String> {
    Some(short(text, MAX_FULL_BYTES)).filter(|text| !text.is_empty())
}

/// The text, sanitized and cut in the middle to `max` bytes of JSON.
pub fn short(text: &str, max: usize) -> String {
    let clean = sanitized(text);
    cut_around(clean.trim(), None, max)
}

/// A sanitized text cut to `max` bytes of JSON: its beginning, what is in `focus` (a range of its bytes) and after it,
/// and its end.
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

/// The text's beginning, what comes after `before`, and its end.
fn cut_at(text: &str, before: &str, max: usize) -> String {
    let outer = OUTER_BYTES.min(max / 5);
    let (head, tail) = (prefix(text, outer), suffix(text, outer));
    let room = max.saturating_sub(json_len(head) + json_len(tail) + 2 * GAP.len());
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    // The line is kept from its beginning if there is room for the match too.
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

/// An upper bound of the bytes that a text takes as JSON in etcd, quotes included. It is close to the real size.
pub fn most_stored_bytes(text: &str) -> usize {
    const FIRST_OF_LINE_SEPARATORS: u8 = 0xe2;
    let most = |byte| match byte {
        FIRST_OF_LINE_SEPARATORS => 4,
        byte if byte.is_ascii() => escaped_len(char::from(byte)),
        _ => 1,
    };
    text.bytes().map(most).sum::<usize>() + 2
}

/// Whether two messages differ at most in numbers and in IDs, such as that of a Pod's sandbox.
pub fn same_but_for_numbers(a: &str, b: &str) -> bool {
    a == b || without_numbers(a) == without_numbers(b)
}

fn without_numbers(text: &str) -> String {
    let is_end = |c: char| !c.is_alphanumeric();
    let mut rest = String::with_capacity(text.len());
    for part in text.split_inclusive(is_end) {
        let word = part.trim_end_matches(is_end);
        let is_id = word.len() >= LEAST_ID_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kept = if is_id { part.get(word.len()..).unwrap_or_default() } else { part };
        rest.extend(kept.chars().filter(|c| !c.is_ascii_digit()));
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
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6, // Go's JSON encoder escapes them, and so they are in etcd
        c if c.is_ascii_control() => 6,
        c => c.len_utf8(),
    }
}

/// Whether a character can make a terminal or a page show something else than the text: control characters but the tab,
/// Unicode's line separators, and marks that change the direction of the text.
pub fn misleads(c: char) -> bool {
    let changes_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    (c.is_control() && c != '\t') || changes_direction || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The text without terminal escape sequences and without characters that mislead ([`misleads`]). Line ends stay.
fn sanitized(text: &str) -> String {
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
