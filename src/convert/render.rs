//! Writes a manifest as YAML, with comments above fields of the task's spec.

use super::Output;

/// Longest line of a comment, in characters.
const WIDTH: usize = 110;

/// Appends a document.
pub(super) fn append(out: &mut String, output: &Output) -> Result<(), serde_yaml_ng::Error> {
    if !out.is_empty() {
        out.push_str("---\n");
    }
    let yaml = serde_yaml_ng::to_string(&output.manifest)?;
    let mut path: Vec<(usize, &str)> = vec![];
    for line in yaml.lines() {
        let indent = line.len() - line.trim_start().len();
        // Lines of a text that is a value are deeper than its key, so they are never children of the spec itself.
        if let Some((key, _)) = line.trim_start().split_once(':') {
            path.retain(|(above, _)| *above < indent);
            for (parents, notes) in &output.notes {
                if path.iter().map(|(_, key)| key).eq(parents.iter()) {
                    notes.comments_on(key).for_each(|text| comment(out, indent, text));
                }
            }
            path.push((indent, key));
        }
        out.push_str(line);
        out.push('\n');
    }
    Ok(())
}

fn comment(out: &mut String, indent: usize, text: &str) {
    let mut width = usize::MAX;
    // A sentence begins with a capital, a name of a field with its own letter.
    let is_word = text.split(' ').next().is_some_and(|first| first.chars().all(|c| c.is_ascii_lowercase()));
    let mut letters = text.chars();
    let capital = letters.next().filter(|_| is_word).map(|first| first.to_ascii_uppercase());
    let text = capital.map_or_else(|| text.to_owned(), |capital| format!("{capital}{}", letters.as_str()));
    for word in text.split_whitespace() {
        let length = word.chars().count() + 1;
        if width.saturating_add(length) > WIDTH {
            if width != usize::MAX {
                out.push('\n');
            }
            out.push_str(&" ".repeat(indent));
            out.push('#');
            width = indent + 1;
        }
        out.push(' ');
        out.push_str(word);
        width += length;
    }
    out.push('\n');
}
