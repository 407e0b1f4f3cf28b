//! The operator's rights, as the chart gives them: it uses every one, needs every one, and asks for nothing beside.

mod each_right_is_needed;
mod each_right_is_used;

use crate::support::audit::Request;
use crate::support::{Operator, Scene, eventually, kubectl_with};
use serde_json::Value;
use std::fmt;

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    /// The plural, with the subresource after a slash.
    resource: String,
    group: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

impl Right {
    fn used_by(request: &Request) -> Self {
        let Request { verb, resource, group, .. } = request.clone();
        Self { verb, resource, group }
    }
}

fn texts(rule: &Value, field: &str) -> Vec<String> {
    let list = rule[field].as_array().unwrap_or_else(|| panic!("{field} of {rule}"));
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// What a rule grants.
fn of_rule(rule: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in texts(rule, "apiGroups") {
        for resource in texts(rule, "resources") {
            let (group, resource) = (&group, &resource);
            let right = |verb| Right { verb, resource: resource.clone(), group: group.clone() };
            rights.extend(texts(rule, "verbs").into_iter().map(right));
        }
    }
    rights
}

/// The operator's Roles in the scene, as the chart makes them.
fn roles(scene: &Scene) -> Vec<Value> {
    let mut namespaces = vec![&scene.namespace, &scene.home];
    namespaces.dedup();
    let lists = namespaces.into_iter().map(|namespace| {
        let args = ["get", "roles", "--selector", "app.kubernetes.io/component=controller", "-o", "json"];
        let list = crate::support::kubectl(&[&args[..], &["--namespace", namespace]].concat()).ok();
        serde_json::from_str::<Value>(&list).unwrap()["items"].as_array().unwrap().clone()
    });
    lists.flatten().collect()
}

/// All that is granted to the operator of the scene.
fn granted(scene: &Scene) -> Vec<Right> {
    let rules: Vec<Value> = roles(scene).iter().flat_map(|role| role["rules"].as_array().unwrap().clone()).collect();
    assert!(rules.iter().all(|rule| !rule.to_string().contains('*')), "{rules:#?}");
    let mut rights: Vec<Right> = rules.iter().flat_map(of_rule).collect();
    rights.sort();
    rights
}

/// A place whose operator lacks one right.
struct Place {
    scene: Scene,
    right: Right,
}

impl Place {
    async fn without(right: &Right) -> Self {
        let place = Self { scene: Scene::new("without").await, right: right.clone() };
        place.take_away();
        place.until_taken().await;
        place
    }

    fn take_away(&self) {
        let mut taken = 0;
        for mut role in roles(&self.scene) {
            let rules = role["rules"].as_array_mut().unwrap();
            for rule in &mut *rules {
                assert_eq!(texts(rule, "resources").len(), 1, "a rule of several resources cannot lose a verb of one");
                if of_rule(rule).contains(&self.right) {
                    rule["verbs"].as_array_mut().unwrap().retain(|verb| *verb != *self.right.verb);
                    taken += 1;
                }
            }
            rules.retain(|rule| !texts(rule, "verbs").is_empty());
            kubectl_with(&["replace", "-f", "-"], &role.to_string()).ok();
        }
        assert_eq!(taken, 1, "{} was granted so often", self.right);
    }

    /// The API server's authorizer learns of a change by a watch of its own.
    async fn until_taken(&self) {
        let Right { verb, resource, group } = &self.right;
        let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let name = if group == "coordination.k8s.io" && verb != "create" { "/retryable-tasks" } else { "" };
        let dot = if group.is_empty() { "" } else { "." };
        let what = format!("{plural}{dot}{group}{name}");
        let sub = format!("--subresource={sub}");
        let ask = ["auth", "can-i", verb, &what, &sub, "--as", &self.scene.operator_user()];
        eventually("the right to be taken away", async || {
            let answer = self.scene.kubectl(&ask).stdout;
            if answer.trim() == "no" { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    /// The operator's requests that were denied.
    fn denials(&self) -> Vec<Request> {
        let mut requests = self.scene.operators_requests(self.scene.audit);
        requests.retain(|request| request.code == 403);
        requests
    }

    /// Waits until the operator has been denied what it lacks `times` times, by the audit log and by its own metrics.
    /// It is denied nothing else.
    async fn denied(&self, operator: &Operator, times: usize) {
        eventually("the denial", async || {
            let denials = self.denials();
            let other: Vec<_> = denials.iter().filter(|denial| Right::used_by(denial) != self.right).collect();
            assert!(other.is_empty(), "without {}, denied: {other:#?}", self.right);
            let Right { verb, resource, .. } = &self.right;
            let labels = format!(r#"verb="{verb}",resource="{resource}",code="403""#);
            let recorded =
                operator.get("/metrics").1.contains(&format!("retryabletask_api_requests_total{{{labels}}}"));
            if denials.len() >= times && recorded {
                Ok(())
            } else {
                Err(format!("denied {} times, told: {recorded}", denials.len()))
            }
        })
        .await;
    }

    /// Waits until the liveness probe tells of what it lacks.
    async fn is_not_alive(&self, operator: &Operator) {
        eventually("the liveness probe to fail", async || {
            let (code, body) = operator.get("/healthz");
            let plural = &self.right.resource;
            if code == 503 && body.contains(&format!("/{plural} ")) { Ok(()) } else { Err(format!("{code} {body}")) }
        })
        .await;
    }
}
