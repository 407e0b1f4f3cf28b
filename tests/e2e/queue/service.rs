//! A service over HTTP that does as the test says, and keeps a record of its requests.

use crate::support::manifest::{IMAGE, sh};
use crate::support::operator::log_folder;
use crate::support::{Scene, eventually};
use jiff::Timestamp;
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
    /// Each request waits until the test answers it, or sets another mode.
    Held,
}

/// The beginning or the end of a request.
#[derive(Clone, Debug)]
pub struct Request {
    pub task: String,
    /// The code of the answer. None: it begins.
    pub code: Option<u16>,
    /// In milliseconds.
    pub at: u64,
}

impl Request {
    pub fn begins(&self) -> bool {
        self.code.is_none()
    }
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
echo "$QUERY_STRING $(now)" >>/state/requests
while [ "$mode" = Held ]; do
  sleep 0.2
  answer=/state/answer-$QUERY_STRING
  if [ -e "$answer" ]; then mode=$(cat "$answer"); rm "$answer"; else mode=$(cat /state/mode); fi
done
case $mode in
  Up) sleep 1; status='200 OK' ;;
  Slow) sleep 8; status='200 OK' ;;
  Down) status='503 Service Unavailable' ;;
  Limits) status='429 Too Many Requests' ;;
esac
echo "$QUERY_STRING $(now) ${status%% *}" >>/state/requests
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
        self.say("mode", mode);
    }

    /// Answers the request of that task, which is held.
    pub fn answer(&self, task: &str, mode: Mode) {
        self.say(&format!("answer-{task}"), mode);
    }

    /// In one step: a request reads it at any time.
    fn say(&self, file: &str, mode: Mode) {
        let new = self.folder.join("new");
        fs::write(&new, format!("{mode:?}")).unwrap();
        fs::rename(new, self.folder.join(file)).unwrap();
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
            let mut words = line.split(' ');
            let (task, at) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
            Some(Request { task, code: words.next().and_then(|code| code.parse().ok()), at })
        };
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(request).collect()
    }

    /// That time by the clock of the requests.
    pub fn clock(time: Timestamp) -> u64 {
        let up = fs::read_to_string("/proc/uptime").unwrap();
        let now: f64 = up.split(' ').next().unwrap().parse().unwrap();
        let ago = Timestamp::now().duration_since(time).as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // since the machine's start
        let at = ((now - ago) * 1000.0) as u64;
        at
    }

    /// The tasks whose requests have begun, in their order.
    pub fn callers(&self) -> Vec<String> {
        self.requests().into_iter().filter(Request::begins).map(|request| request.task).collect()
    }

    /// The tasks whose requests have begun and not ended, in their order.
    pub fn pending(&self) -> Vec<String> {
        let mut pending: Vec<String> = vec![];
        for request in self.requests() {
            if request.begins() {
                pending.push(request.task);
            } else {
                pending.retain(|task| *task != request.task);
            }
        }
        pending
    }

    /// Most requests at a time.
    pub fn most_at_a_time(&self) -> usize {
        let (mut now, mut most) = (0usize, 0);
        for request in self.requests() {
            now = if request.begins() { now + 1 } else { now.saturating_sub(1) };
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
