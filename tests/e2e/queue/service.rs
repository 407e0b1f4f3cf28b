//! A service over HTTP that does as the test says, and keeps a record of its requests.

use crate::support::manifest::{IMAGE, sh};
use crate::support::operator::log_folder;
use crate::support::{Scene, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// What the service does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// 200, after a second.
    Up,
    /// 200, after eight seconds.
    Slow,
    /// 503.
    Down,
    /// 429 with `Retry-After: 5`.
    Limits,
}

/// One request, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Request {
    pub task: String,
    pub begins: bool,
    /// In milliseconds.
    pub at: u64,
}

/// The service. Its folder goes with this value.
pub struct Service {
    folder: PathBuf,
    address: String,
}

/// Answers by the mode that stands in a file, and notes when each request begins and ends.
const ANSWER: &str = r#"#!/bin/sh
now() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}0"; }
mode=$(cat /state/mode)
echo "begin $QUERY_STRING $(now)" >>/state/requests
case $mode in
  Up) sleep 1; status='200 OK' ;;
  Slow) sleep 8; status='200 OK' ;;
  Down) status='503 Service Unavailable' ;;
  Limits) status='429 Too Many Requests' ;;
esac
echo "end $QUERY_STRING $(now)" >>/state/requests
printf 'HTTP/1.0 %s\r\nRetry-After: 5\r\nContent-Length: 3\r\n\r\nok\n' "$status"
"#;

impl Service {
    /// Starts the service. It is up.
    pub async fn start(scene: &Scene) -> Self {
        let folder = log_folder().join(format!("service-{}", scene.namespace));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("answer"), ANSWER).unwrap();
        fs::write(folder.join("requests"), "").unwrap();
        let mut service = Self { folder, address: String::new() };
        service.set(Mode::Up);
        let script = "mkdir -p /tmp/www/cgi-bin && cp /state/answer /tmp/www/cgi-bin/call && \
            chmod +x /tmp/www/cgi-bin/call && exec httpd -f -p 8080 -h /tmp/www";
        scene.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "service"}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "state", "hostPath": {"path": service.folder}}],
            "containers": [{"name": "service", "image": IMAGE, "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "state", "mountPath": "/state"}],
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}}));
        service.address = eventually("the service", async || {
            let pod = scene.pods().get("service").await.map_err(|error| error.to_string())?;
            let status = pod.status.unwrap_or_default();
            let is_ready = status.container_statuses.iter().flatten().any(|container| container.ready);
            status.pod_ip.filter(|_| is_ready).ok_or_else(|| "it is not ready".to_owned())
        })
        .await;
        service
    }

    pub fn set(&self, mode: Mode) {
        fs::write(self.folder.join("mode"), format!("{mode:?}")).unwrap();
    }

    /// A task that calls it, and says what it got.
    pub fn task(&self, name: &str, more: &Value) -> Value {
        let address = &self.address;
        let script = format!(
            "said=$(wget -S -O /dev/null 'http://{address}:8080/cgi-bin/call?{name}' 2>&1) && exit 0; \
             case $said in *' 429 '*) echo '{{\"errorType\": \"RateLimited\", \"retryAfterSeconds\": 5}}' ;; \
             *) echo '{{\"errorType\": \"Unavailable\"}}' ;; esac >/dev/termination-log; exit 1"
        );
        sh(name, &script, more)
    }

    /// All requests, in their order.
    pub fn requests(&self) -> Vec<Request> {
        let text = fs::read_to_string(self.folder.join("requests")).unwrap();
        let request = |line: &str| {
            let [what, task, at] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
            Some(Request { task: task.into(), begins: what == "begin", at: at.parse().ok()? })
        };
        text.lines().filter_map(request).collect()
    }

    /// The tasks whose requests have begun, in their order.
    pub fn callers(&self) -> Vec<String> {
        self.requests().into_iter().filter(|request| request.begins).map(|request| request.task).collect()
    }

    /// Most requests at a time.
    pub fn most_at_a_time(&self) -> usize {
        let (mut now, mut most) = (0usize, 0);
        for request in self.requests() {
            now = if request.begins { now + 1 } else { now.saturating_sub(1) };
            most = most.max(now);
        }
        most
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
