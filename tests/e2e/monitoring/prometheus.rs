//! A real Prometheus that scrapes an operator.

use crate::support::operator::{Operator, free_address, http, log_folder};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where prometheus and promtool are.
fn tools() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/prometheus/tools");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{script} fails");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// What promtool finds in metrics.
pub fn check_metrics(text: &str) -> String {
    let file = log_folder().join(format!("metrics-{}.txt", std::process::id()));
    fs::write(&file, text).unwrap();
    let output = Command::new(tools().join("promtool"))
        .args(["check", "metrics"])
        .stdin(File::open(&file).unwrap())
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A running Prometheus. It ends with this value.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    address: String,
    folder: PathBuf,
}

impl Prometheus {
    /// Scrapes the operator, and evaluates these groups of rules, every second.
    pub fn start(operator: &Operator, rules: &Value) -> Self {
        let address = free_address();
        let folder = log_folder().join(format!("prometheus-{}", address.replace(':', "-")));
        fs::create_dir_all(&folder).unwrap();
        let scrape = json!({
            "job_name": "retryable-tasks", "honor_labels": true,
            "static_configs": [{"targets": [operator.address()]}],
        });
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [write(&folder, "rules.yaml", rules)],
            "scrape_configs": [scrape],
        });
        let config = write(&folder, "prometheus.yaml", &config);
        let log = File::create(folder.join("log")).unwrap();
        let process = Command::new(tools().join("prometheus"))
            .args([format!("--config.file={config}"), format!("--storage.tsdb.path={}", folder.join("data").display())])
            .args([format!("--web.listen-address={address}"), "--log.level=warn".into()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, address, folder }
    }

    /// The `data` of an answer of its API.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = format!("GET /api/v1/{path}?{} HTTP/1.0\r\nHost: {}\r\n\r\n", query.join("&"), self.address);
        let (code, body) = http(&self.address, &request).ok_or("no answer")?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|_| format!("{code} {body}"))?;
        if code == 200 { Ok(answer["data"].take()) } else { Err(format!("{code} {body}")) }
    }

    /// The result of an expression now.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.ask("query", &[("query", expression)])?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The alert if it fires for these labels.
    pub fn firing(&self, alert: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let data = self.ask("alerts", &[]).ok()?;
        let is_it = |one: &&Value| {
            let has = |(name, value): &(&str, &str)| one["labels"][*name] == *value;
            one["state"] == "firing" && has(&("alertname", alert)) && labels.iter().all(has)
        };
        data["alerts"].as_array()?.iter().find(is_it).cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("--- Prometheus' log, {}\n{log}---", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Writes JSON, which is YAML too. Returns the file's path.
fn write(folder: &Path, name: &str, content: &Value) -> String {
    let file = folder.join(name);
    fs::write(&file, content.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// As it is in the query of a URL.
fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}
