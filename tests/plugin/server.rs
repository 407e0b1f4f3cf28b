//! An API server that answers by a script, on a port of its own.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request: `GET /api/v1/pods?limit=500`, its header `Authorization`, and its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub line: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// What is answered.
pub enum Answer {
    /// That code and object.
    Json(u16, Value),
    /// A log, or the events of a watch.
    Text(String),
    /// A log whose connection breaks after that.
    Cut(String),
    /// A log that is no text.
    Bytes(Vec<u8>),
    /// Nothing: the connection ends.
    Nothing,
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers from now on by that script.
    pub fn new(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (script, requests): (Arc<Script>, Arc<Mutex<Vec<Request>>>) = (Arc::new(script), Arc::default());
        let log = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log) = (script.clone(), log.clone());
                thread::spawn(move || serve(stream, &*script, &log));
            }
        });
        Self { url, requests }
    }

    /// Has these objects: a list of them, and each by its name. `objects` are the plural and the items.
    pub fn with(objects: &[(&'static str, Vec<Value>)]) -> Self {
        let objects = objects.to_vec();
        Self::new(move |request| stored(&objects, request))
    }

    /// The requests so far, but for reads.
    pub fn writes(&self) -> Vec<Request> {
        self.requests.lock().unwrap().iter().filter(|request| !request.line.starts_with("GET ")).cloned().collect()
    }

    /// The lines of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.line.clone()).collect()
    }
}

/// The answer of a server that has these objects.
pub fn stored(objects: &[(&'static str, Vec<Value>)], request: &Request) -> Answer {
    let path = request.line.split([' ', '?']).nth(1).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let namespace = parts.iter().position(|part| *part == "namespaces").and_then(|at| parts.get(at + 1)).copied();
    for (plural, items) in objects {
        let Some(at) = parts.iter().position(|part| part == plural) else { continue };
        let is_here = |item: &&Value| namespace.is_none_or(|namespace| item["metadata"]["namespace"] == namespace);
        let mut found = items.iter().filter(is_here);
        return match parts.get(at + 1) {
            None => {
                let items: Vec<&Value> = found.filter(|item| is_selected(item, &request.line)).collect();
                Answer::Json(
                    200,
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "9"}, "items": items}),
                )
            }
            Some(name) => match found.find(|item| item["metadata"]["name"] == *name) {
                Some(item) => Answer::Json(200, item.clone()),
                None => refusal(404, "NotFound", &format!("{plural} \"{name}\" not found")),
            },
        };
    }
    refusal(404, "NotFound", "the server could not find the requested resource")
}

/// Whether the object is one of those that the field selector means.
fn is_selected(item: &Value, line: &str) -> bool {
    let is = |field: &str, value: &Value| {
        let wanted = line.split(&format!("fieldSelector={field}%3D")).nth(1).and_then(|rest| rest.split('&').next());
        wanted.is_none_or(|wanted| value == wanted)
    };
    is("metadata.name", &item["metadata"]["name"]) && is("spec.queue.name", &item["spec"]["queue"]["name"])
}

/// A refusal.
pub fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message});
    Answer::Json(code, status)
}

fn serve(stream: TcpStream, script: &Script, log: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        let answer = script(&request);
        log.lock().unwrap().push(request);
        let (code, type_, body, missing) = match answer {
            Answer::Json(code, body) => (code, "application/json", body.to_string().into_bytes(), 0),
            Answer::Text(body) => (200, "text/plain", body.into_bytes(), 0),
            Answer::Cut(body) => (200, "text/plain", body.into_bytes(), 1),
            Answer::Bytes(body) => (200, "text/plain", body, 0),
            Answer::Nothing => return,
        };
        let length = body.len() + missing;
        let head = format!("HTTP/1.1 {code} X\r\nContent-Type: {type_}\r\nContent-Length: {length}\r\n\r\n");
        if writer.write_all(&[head.as_bytes(), &body].concat()).is_err() || missing > 0 {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.trim().to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request { line, authorization, body: serde_json::from_slice(&body).unwrap_or_default() })
}
