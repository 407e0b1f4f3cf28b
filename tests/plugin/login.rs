//! Who the plugin says that it is, and by which way it reaches the API server: all by the kubeconfig.

use crate::server::{Answer, Server, refusal};
use crate::tasks::succeeded;
use crate::{Said, said_with};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

/// Has a task for whoever has that token.
fn server(token: &'static str) -> Server {
    Server::new(move |request| {
        if request.authorization.as_deref() != Some(&format!("Bearer {token}")) {
            return refusal(401, "Unauthorized", "Unauthorized");
        }
        let metadata = json!({"resourceVersion": "9"});
        Answer::Json(
            200,
            json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": [succeeded("backup")]}),
        )
    })
}

/// A program for `users[].user.exec` that runs that script.
fn program(name: &str, script: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn exec(command: &str) -> Value {
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never",
        "env": [{"name": "SECRET", "value": "sesame"}], "installHint": "install it with brew",
    }})
}

fn list(server: &Server, user: &Value, cluster: &Value) -> Said {
    said_with(server, user, cluster, &["list", "-o", "name"])
}

const BACKUP: &str = "retryabletask.retryable.dev/backup\n";

#[test]
fn a_program_of_the_kubeconfig_gives_the_token() {
    let server = server("sesame");
    let credential =
        r#"{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}"#;
    let login = program("login", &format!("printf '{credential}' \"$SECRET\""));
    let Said { code, out, err } = list(&server, &exec(login.to_str().unwrap()), &json!({}));
    assert_eq!((code, &*out, &*err), (Some(0), BACKUP, ""));
}

#[test]
fn a_program_that_is_missing_or_fails_is_named() {
    let server = server("sesame");
    let Said { code, err, .. } = list(&server, &exec("no-such-login"), &json!({}));
    let expected = "error: the cluster cannot be reached by this configuration: no-such-login, which the kubeconfig names to log in \
        with (user.exec), cannot be started: No such file or directory (os error 2)\ninstall it with brew\n";
    assert_eq!((code, &*err), (Some(1), expected));
    let fails = program("fails", "echo a-token; echo session expired: run aws sso login >&2; exit 255");
    let Said { code, err, .. } = list(&server, &exec(fails.to_str().unwrap()), &json!({}));
    assert!(err.ends_with("failed with exit status: 255: session expired: run aws sso login\n"), "{err}");
    assert_eq!((code, err.contains("a-token")), (Some(1), false), "{err}");
    // One that gives a token which is no longer valid.
    let Said { code, err, .. } = list(&server, &json!({"token": "old"}), &json!({}));
    assert!(code == Some(1) && err.contains("Unauthorized"), "{err}");
}

/// A token of an OpenID provider that is valid until the year 2100.
#[test]
fn an_id_token_is_used_as_long_as_it_is_valid() {
    const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln";
    let provider = json!({"auth-provider": {"name": "oidc", "config": {
        "id-token": TOKEN, "idp-issuer-url": "https://login.invalid", "client-id": "kubernetes"}}});
    let Said { code, out, err } = list(&server(TOKEN), &provider, &json!({}));
    assert_eq!((code, &*out, &*err), (Some(0), BACKUP, ""));
}

/// A proxy that leads everything to that server. Answers its address.
fn proxy(to: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, to) = (listener.local_addr().unwrap(), to.trim_start_matches("http://").to_owned());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
            assert!(line.starts_with("CONNECT kubernetes.invalid:6443 "), "{line}");
            let (mut client, server) = (client, TcpStream::connect(&to).unwrap());
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut from_server, mut to_server) = (server.try_clone().unwrap(), server);
            let mut to_client = client.try_clone().unwrap();
            thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
            thread::spawn(move || std::io::copy(&mut reader, &mut to_server));
        }
    });
    format!("http://{address}")
}

#[test]
fn the_proxy_of_the_kubeconfig_leads_to_the_server() {
    let server = server("sesame");
    let behind = json!({"server": "http://kubernetes.invalid:6443", "proxy-url": proxy(&server.url)});
    let Said { code, out, err } = list(&server, &json!({"token": "sesame"}), &behind);
    assert_eq!((code, &*out, &*err), (Some(0), BACKUP, ""));
}
