use super::*;

#[test]
fn descriptions_have_the_names_of_their_series() {
    let open_metrics = "\
# HELP a_attempts Attempts. That ended.
# TYPE a_attempts counter
a_attempts_total{reason=\"# TYPE x counter\"} 1
# HELP a_wait_seconds Wait.
# TYPE a_wait_seconds histogram
# UNIT a_wait_seconds seconds
a_wait_seconds_count 2
# HELP a_build Version.
# TYPE a_build info
a_build_info{version=\"1\"} 1
# EOF
";
    let plain = "\
# HELP a_attempts_total Attempts. That ended.
# TYPE a_attempts_total counter
a_attempts_total{reason=\"# TYPE x counter\"} 1
# HELP a_wait_seconds Wait.
# TYPE a_wait_seconds histogram
a_wait_seconds_count 2
# HELP a_build_info Version.
# TYPE a_build_info gauge
a_build_info{version=\"1\"} 1
";
    assert_eq!(plain_text(open_metrics), plain);
}
