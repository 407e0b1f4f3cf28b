//! The tables in the pages. A row stays until it is measured again, and each says of which tree it is.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- make bench: begin -->\n";
const END: &str = "<!-- make bench: end -->";
const HEAD: &str =
    "| measure | RetryableTask | Job | Job ÷ ours | target | met | tree |\n|---|---|---|---|---|---|---|\n";

/// A table, and what it was measured on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// A line for each tree: its commit in backquotes, and the circumstances.
    trees: Vec<String>,
    /// The cells of each row: the measure first, the tree last.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Rows that were measured of one tree.
    pub fn new(tree: &str, circumstances: &str, rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let with_tree = |mut row: Vec<String>| {
            row.push(tree.to_owned());
            row
        };
        Self { trees: vec![format!("- `{tree}`: {circumstances}")], rows: rows.into_iter().map(with_tree).collect() }
    }

    /// The table of a page.
    fn parse(text: &str) -> Self {
        let cells = |line: &str| {
            let inner = line.strip_prefix("| ")?.trim_end().strip_suffix('|')?;
            Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        };
        let rows = text.lines().filter_map(cells).skip(1).collect();
        Self { trees: text.lines().filter(|line| line.starts_with("- `")).map(ToOwned::to_owned).collect(), rows }
    }

    /// With the rows of `newer` in the place of the older ones of the same measure, and those that are new at the end.
    fn with(mut self, newer: Self) -> Self {
        for row in newer.rows {
            match self.rows.iter_mut().find(|old| old.first() == row.first()) {
                Some(old) => *old = row,
                None => self.rows.push(row),
            }
        }
        self.trees.retain(|line| !newer.trees.contains(line));
        self.trees.extend(newer.trees);
        let is_used = |line: &String| {
            self.rows.iter().any(|row| row.last().is_some_and(|tree| line.starts_with(&format!("- `{tree}`"))))
        };
        self.trees.retain(is_used);
        self
    }

    /// Without the rows whose measure is not among `wanted`, in that order.
    fn only(&self, wanted: &[&str]) -> Self {
        let row =
            |measure: &&str| self.rows.iter().find(|row| row.first().is_some_and(|first| first == measure)).cloned();
        Self { rows: wanted.iter().filter_map(row).collect(), trees: self.trees.clone() }
    }

    /// In Markdown.
    pub fn markdown(&self) -> String {
        let mut text = self.trees.join("\n") + "\n\n" + HEAD;
        for row in &self.rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// Puts the rows into the table of all rows beside `page`, and the `main` ones of what it has then into the page. A whole
/// run leaves no older rows.
pub fn publish(page: &Path, measured: &Table, main: &[&str], whole: bool) -> Result<()> {
    let beside = page.with_extension("").join("table.md");
    let text = fs::read_to_string(&beside).with_context(|| beside.display().to_string())?;
    let old = if whole { Table::default() } else { Table::parse(block(&text)?) };
    let all = old.with(measured.clone());
    replace(&beside, &all.markdown())?;
    // What only older trees say of rows that the page leaves out is left out too.
    replace(page, &Table::default().with(all.only(main)).markdown())
}

/// The text between the marks.
fn block(text: &str) -> Result<&str> {
    let after = text.split_once(BEGIN).map(|(_, after)| after);
    after.and_then(|after| after.split_once(END)).map(|(block, _)| block).context("no marks for the table")
}

/// Replaces the text between the file's marks.
fn replace(file: &Path, new: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let old = block(&text).with_context(|| file.display().to_string())?;
    Ok(fs::write(file, text.replacen(&format!("{BEGIN}{old}{END}"), &format!("{BEGIN}{new}{END}"), 1))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(tree: &str, rows: &[(&str, &str)]) -> Table {
        Table::new(tree, "here", rows.iter().map(|(measure, value)| vec![(*measure).to_owned(), (*value).to_owned()]))
    }

    #[test]
    fn a_row_stays_until_it_is_measured_again_and_says_of_which_tree_it_is() {
        let old = table("old", &[("memory", "9"), ("writes", "4")]);
        let both = Table::parse(&old.markdown()).with(table("new", &[("writes", "3"), ("size", "1")]));
        let expected = format!(
            "- `old`: here\n- `new`: here\n\n{HEAD}| memory | 9 | old |\n| writes | 3 | new |\n| size | 1 | new |\n"
        );
        assert_eq!(both.markdown(), expected);
        let all_new = both.with(table("new", &[("memory", "8")]));
        assert_eq!(all_new.trees, ["- `new`: here"]);
        assert_eq!(all_new.only(&["size", "memory"]).rows.len(), 2);
    }
}
