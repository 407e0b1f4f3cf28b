//! The page as the chart serves it, through `kubectl port-forward`.

use super::release::{NAME, Release};
use crate::support::operator::{free_address, http};
use crate::support::{Scene, eventually, task};
use kube::ResourceExt;
use serde_json::json;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A port of this machine that leads to the page's Service, to the end of this value.
struct Forward {
    process: Child,
    address: String,
}

impl Forward {
    async fn to(release: &Release) -> Self {
        let address = free_address();
        let port = address.rsplit_once(':').unwrap().1;
        let process = Command::new("kubectl")
            .args(["port-forward", "--namespace", &release.scene.home])
            .args([&format!("service/{NAME}-ui"), &format!("{port}:80")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the port to be forwarded", async || TcpStream::connect(&address)).await;
        Self { process, address }
    }

    /// Status code and text of a page, for the owner of that token.
    fn get(&self, path: &str, token: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        http(&self.address, &request).unwrap_or_default()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The token of a new account of the scene's namespace.
fn account(scene: &Scene, name: &str) -> String {
    scene.kubectl(&["create", "serviceaccount", name]).ok();
    scene.kubectl(&["create", "token", name]).ok().trim().to_owned()
}

#[tokio::test]
async fn the_page_shows_each_what_they_may_list_and_the_replicas() {
    let release = Release::install(Scene::with_home("chart-page").await, &["ui.enabled=true"]).await;
    let scene = &release.scene;
    scene.apply(&task("shown", &json!({"image": "busybox:1", "suspend": true})));
    let [nobody, reader] = ["nobody", "reader"].map(|name| account(scene, name));
    let subject = format!("--serviceaccount={}:reader", scene.namespace);
    let list = |what: &str| {
        ["create".to_owned(), "role".into(), "reader".into(), "--verb=list".into(), format!("--resource={what}")]
    };
    let bind = ["create", "rolebinding", "reader", "--role=reader", &subject];
    scene.kubectl(&list("retryabletasks.retryable.dev").each_ref().map(String::as_str)).ok();
    scene.kubectl(&bind).ok();
    let page = Forward::to(&release).await;

    assert_eq!(page.get("/tasks", "nonsense").0, 401);
    let (code, text) = page.get("/tasks", &nobody);
    assert_eq!((code, text.contains("shown")), (200, false), "{text}");
    eventually("the task", async || {
        let (code, text) = page.get("/tasks", &reader);
        if code == 200 && text.contains(">shown</a>") { Ok(()) } else { Err(format!("{code} {text}")) }
    })
    .await;
    let (code, text) = page.get("/workers", &reader);
    let refused = format!("You may not list the Pods of namespace {}", scene.home);
    assert!(code == 200 && text.contains(&refused), "{code} {text}");

    release.kubectl(&list("pods").each_ref().map(String::as_str)).ok();
    release.kubectl(&bind).ok();
    let leader = release.leader().await;
    let pods = release.operators().await;
    assert_eq!(pods.len(), 2);
    // An answer of the API server on what somebody may list holds for 30 s.
    eventually("the replicas", async || {
        let (_, text) = page.get("/workers", &reader);
        let row = |pod: &str| {
            text.split("<tr id=\"").find(|row| row.starts_with(&format!("r-{pod}\""))).unwrap_or_default().to_owned()
        };
        let is_right = |pod: &String| row(pod).contains(if *pod == leader { ">Leads<" } else { ">Stands by<" });
        if pods.iter().map(ResourceExt::name_any).all(|pod| is_right(&pod)) { Ok(()) } else { Err(text.clone()) }
    })
    .await;
}
