//! A message without what differs from failure to failure.

use crate::core::message::short;

/// What stands for a number, an id or a name that is made up.
const VARIABLE: char = '#';
/// What stands for a value in quotes.
const QUOTED: &str = "\"…\"";
/// Most bytes of a pattern. Messages that go on differ in their ends, where they were cut.
const MAX_PATTERN_BYTES: usize = 240;
/// From this length on, a word of hex digits is an id.
const LEAST_HEX_DIGITS: usize = 8;
/// From this length on, a word is a token or a hash.
const LEAST_TOKEN_CHARS: usize = 32;
/// The length of what Kubernetes adds to a generated name, at least.
const LEAST_SUFFIX_CHARS: usize = 5;
/// The lengths of the parts of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The message in one line, where
/// - `#` stands for a number, a time, an address, a UUID, a hex id, a token, a generated suffix, an address of mail, and the part of a path
///   below `/tmp`, `/home`, `/Users` or `/proc`;
/// - `"…"` stands for a value in quotes, and `?…` for the query of a URL.
///
/// No ASCII digit is left. The same message gives the same pattern in every process.
pub fn pattern(message: &str) -> String {
    let chars: Vec<char> = short(message, usize::MAX).chars().collect();
    let mut scan = Scan { chars: &chars, at: 0, out: String::new() };
    while scan.at < chars.len() {
        scan.step();
    }
    let text = scan.out.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&joined(&text))
}

struct Scan<'a> {
    chars: &'a [char],
    at: usize,
    out: String,
}

impl Scan<'_> {
    fn step(&mut self) {
        let Some(c) = self.chars.get(self.at).copied() else { return };
        if let Some(end) = self.end_of_quoted(c) {
            self.out.push_str(QUOTED);
            self.at = end;
        } else if is_word(c) {
            self.word();
        } else if c == '?' && self.is_in_url() {
            self.out.push_str("?…");
            self.at = self.end_of_query();
        } else {
            self.out.push(c);
            self.at += 1;
        }
    }

    /// The next character after a value in quotes that begins here. An apostrophe begins none.
    fn end_of_quoted(&self, quote: char) -> Option<usize> {
        let close = match quote {
            '"' | '\'' | '`' => quote,
            '“' => '”',
            '‘' => '’',
            '«' => '»',
            _ => return None,
        };
        let before = self.at.checked_sub(1).and_then(|before| self.chars.get(before));
        if quote == close && before.is_some_and(|before| is_word(*before)) {
            return None;
        }
        let is_close = |at: usize| {
            let is_escaped = self.chars.get(at - 1) == Some(&'\\');
            let goes_on = self.chars.get(at + 1).is_some_and(|after| is_word(*after)) && quote == '\'';
            self.chars.get(at) == Some(&close) && !is_escaped && !goes_on
        };
        let closed = (self.at + 1..self.chars.len()).find(|at| is_close(*at))?;
        Some(closed + 1)
    }

    fn word(&mut self) {
        let end = self.end_of(self.at, is_word);
        if let Some(end) = self.end_of_uuid(end) {
            return self.replace(end);
        }
        if let Some(end) = self.end_of_mail_address() {
            return self.replace(end);
        }
        let word: String = self.chars.get(self.at..end).unwrap_or_default().iter().collect();
        let is_made_up = is_id(&word) || self.is_generated_suffix(&word) || self.is_below_variable_directory();
        if is_made_up {
            return self.replace(end);
        }
        // A name that is numbered, such as worker12.
        let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
        self.out.push_str(name);
        if name.len() < word.len() {
            self.out.push(VARIABLE);
        }
        self.at = end;
    }

    fn replace(&mut self, end: usize) {
        self.out.push(VARIABLE);
        self.at = end;
    }

    fn end_of(&self, from: usize, is: impl Fn(char) -> bool) -> usize {
        let length = self.chars.iter().skip(from).take_while(|c| is(**c)).count();
        from + length
    }

    fn end_of_query(&self) -> usize {
        let end = self
            .end_of(self.at, |c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '`' | ')' | ']' | '}' | '>' | ','));
        let query = self.chars.get(self.at + 1..end).unwrap_or_default();
        end - query.iter().rev().take_while(|c| matches!(c, ':' | '.' | ';')).count()
    }

    /// What has been written of the token that is being read.
    fn token(&self) -> &str {
        self.out.rsplit(char::is_whitespace).next().unwrap_or_default()
    }

    fn is_in_url(&self) -> bool {
        self.token().contains("://")
    }

    fn end_of_uuid(&self, first_end: usize) -> Option<usize> {
        let (mut from, mut end) = (self.at, first_end);
        for (nth, length) in UUID.into_iter().enumerate() {
            if nth > 0 {
                from = (self.chars.get(end) == Some(&'-')).then_some(end + 1)?;
                end = self.end_of(from, is_word);
            }
            let part = self.chars.get(from..end)?;
            if part.len() != length || !part.iter().all(char::is_ascii_hexdigit) {
                return None;
            }
        }
        Some(end)
    }

    fn end_of_mail_address(&self) -> Option<usize> {
        let is_local = |c: char| is_word(c) || matches!(c, '.' | '+' | '-');
        let at = self.end_of(self.at, is_local);
        let end = self.end_of(at + 1, |c| c.is_alphanumeric() || matches!(c, '.' | '-'));
        let host = self.chars.get(at + 1..end)?;
        let is_host = host.first().is_some_and(|c| c.is_alphanumeric()) && host.contains(&'.');
        // user:password@host of a URL is no address of mail, but it differs just the same.
        (self.chars.get(at) == Some(&'@') && is_host).then_some(end)
    }

    /// Such as the last parts of `orders-7d4b9c6f5-x2x9z`.
    fn is_generated_suffix(&self, word: &str) -> bool {
        const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";
        self.out.ends_with('-') && word.len() >= LEAST_SUFFIX_CHARS && word.chars().all(|c| ALPHABET.contains(c))
    }

    fn is_below_variable_directory(&self) -> bool {
        ["/tmp/", "/home/", "/Users/", "/proc/"].iter().any(|directory| self.token().ends_with(directory))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the word is a number, has a unit, or is an id: it has digits before letters, or nothing but hex digits, or is very long.
fn is_id(word: &str) -> bool {
    let starts_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
    let is_hex = word.len() >= LEAST_HEX_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    starts_with_digit || is_hex || word.len() >= LEAST_TOKEN_CHARS || digits > 0
}

/// Several variables in a row, with at most one mark between them, are one: `#-#-#T#:#:#` is a time.
fn joined(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        let is_sign = matches!(c, '-' | '+')
            && chars.get(at) == Some(&VARIABLE)
            && !out.ends_with(|before: char| is_word(before) || matches!(before, ')' | ']'));
        if !is_sign {
            out.push(c);
        }
        if c == VARIABLE {
            at = end_of_row(&chars, at);
        }
    }
    out
}

/// Where a row of variables ends, of which the first is before `at`.
fn end_of_row(chars: &[char], mut at: usize) -> usize {
    let is_mark = |c: &char| matches!(c, '.' | ',' | ':' | '-' | '_' | '/' | '+' | ' ');
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (Some(&VARIABLE), _) => at += 1,
            (Some(mark), Some(&VARIABLE)) if is_mark(mark) => at += 2,
            _ => return at,
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_PATTERN_BYTES {
        return text.to_owned();
    }
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_PATTERN_BYTES - '…'.len_utf8()).last();
    [text.get(..end.unwrap_or_default()).unwrap_or_default(), "…"].concat()
}
