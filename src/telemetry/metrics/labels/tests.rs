use super::*;

fn settings(labels: &[&str]) -> Result<MetricsSettings, SameLabel> {
    let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
    MetricsSettings::new(&labels, true)
}

fn values(labeller: &Labeller, labels: &[(&str, &str)]) -> Vec<(String, String)> {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let task = TaskIdentity { namespace: "shop", queue: "", labels: Some(&labels) };
    let all = labeller.task(&task).into_iter().map(|(name, value)| (name.into_owned(), value.into_owned()));
    all.filter(|(name, _)| name.starts_with("label_")).collect()
}

#[test]
fn chosen_labels_are_named_as_kube_state_metrics_names_them() {
    let labeller = Labeller::new(settings(&["team", "app.kubernetes.io/part-of", "team"]).unwrap());
    let expected = [("label_team", "a"), ("label_app_kubernetes_io_part_of", "")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(values(&labeller, &[("team", "a"), ("other", "b")]), expected);
}

#[test]
fn two_labels_of_one_name_are_refused() {
    let error = settings(&["a.b", "a_b"]).unwrap_err().to_string();
    assert!(error.contains("a.b and a_b would both be the metrics' label label_a_b"), "{error}");
}

#[test]
fn only_keys_of_labels_are_accepted() {
    for key in ["team", "Team_1.x", "example.com/team", "a"] {
        assert_eq!(check_label_key(key), Ok(key.to_owned()));
    }
    for key in ["", "-team", "team-", "a/b/c", "Example.com/team", "/team", "example.com/", "te am", "team=a", "a..b/c"]
    {
        let error = check_label_key(key).unwrap_err();
        assert!(error.contains("is not the key of a label"), "{key}: {error}");
    }
    assert!(check_label_key(&"x".repeat(64)).is_err());
}

#[test]
fn further_values_count_as_other() {
    let labeller = Labeller::new(settings(&["team"]).unwrap());
    let value = |n: usize| values(&labeller, &[("team", &format!("team-{n}"))]).remove(0).1;
    for n in 0..MAX_VALUES {
        assert_eq!(value(n), format!("team-{n}"));
    }
    assert_eq!((value(MAX_VALUES), value(0)), (OTHER.to_owned(), "team-0".to_owned()));
    assert_eq!(values(&labeller, &[]).remove(0).1, "", "a task without the label has none");
}

#[test]
fn further_combinations_count_as_other() {
    let labeller = Labeller::new(settings(&["team", "app"]).unwrap());
    let mut seen = HashSet::new();
    for team in 0..150 {
        for app in 0..150 {
            seen.insert(values(&labeller, &[("team", &team.to_string()), ("app", &app.to_string())]));
        }
    }
    assert_eq!(seen.len(), MAX_COMBINATIONS + 1);
}
