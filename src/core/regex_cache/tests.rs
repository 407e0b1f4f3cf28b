use super::*;

#[test]
fn the_cache_is_bounded_and_does_not_change_results() {
    let patterns: Vec<String> = (0..3 * REMEMBERED).map(|n| format!("code {n}$")).collect();
    for pattern in patterns.iter().chain(&patterns) {
        let text = pattern.trim_end_matches('$');
        assert!(compiled(pattern).unwrap().is_match(text) && !compiled(pattern).unwrap().is_match("other"));
        assert!(COMPILED.lock().unwrap().len() <= REMEMBERED);
    }
    let problem = || compiled("(").unwrap_err().to_string();
    assert_eq!(problem(), problem(), "what is wrong with it is remembered too");
}
