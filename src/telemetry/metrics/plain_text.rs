//! The older text format of Prometheus, for clients that do not ask for `OpenMetrics`.

/// The content type of [`plain_text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `OpenMetrics` text as text of version 0.0.4. There the name of a counter has its suffix in the descriptions too, an info
/// is a gauge, and there are no units.
pub fn plain_text(open_metrics: &str) -> String {
    let types: Vec<(&str, &str)> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let suffix = |name: &str| match types.iter().find(|(other, _)| *other == name) {
        Some((_, "counter")) => "_total",
        Some((_, "info")) => "_info",
        _ => "",
    };
    let described = |line: &str| {
        let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
        let (name, rest) = rest.split_once(' ').filter(|_| matches!(keyword, "HELP" | "TYPE"))?;
        let rest = if keyword == "TYPE" && rest == "info" { "gauge" } else { rest };
        Some(format!("# {keyword} {name}{} {rest}", suffix(name)))
    };
    let mut plain = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        plain.push_str(described(line).as_deref().unwrap_or(line));
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
mod tests;
