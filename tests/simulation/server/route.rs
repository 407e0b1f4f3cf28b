//! Parses an HTTP request.

use super::{error::ApiError, resource::Resource, selector::Selector};
use http::{Method, request::Parts};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all objects.
    List,
    /// Follow the changes.
    Watch,
    /// Add an object.
    Create,
    /// Replace an object.
    Update,
    /// Change a part of an object.
    Patch,
    /// Remove an object.
    Delete,
}

impl Verb {
    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

/// How the body of a PATCH is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, for its built-in resources.
    Strategic,
}

/// A request that the server understands.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to do.
    pub verb: Verb,
    /// To what.
    pub resource: Resource,
    /// In which namespace; in all of them (or none) when absent.
    pub namespace: Option<String>,
    /// To which object; absent for a collection, and for a create.
    pub name: Option<String>,
    /// Whether only the status is meant.
    pub status: bool,
    /// The query's parameters.
    pub query: BTreeMap<String, String>,
    /// What a list or a watch is limited to.
    pub selector: Selector,
    /// Whether only metadata is wanted back.
    pub metadata_only: bool,
    /// How to read the body of a PATCH.
    pub patch: PatchKind,
    /// The body; Null without one.
    pub body: Value,
}

impl Call {
    /// Reads a request.
    pub fn parse(head: &Parts, body: &[u8]) -> Result<Self, ApiError> {
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        let (group, version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(ApiError::no_route()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_string()), rest),
            rest => (None, rest),
        };
        let (plural, name, status) = match rest {
            [plural] => (*plural, None, false),
            [plural, name] => (*plural, Some((*name).to_string()), false),
            [plural, name, "status"] => (*plural, Some((*name).to_string()), true),
            _ => return Err(ApiError::no_route()),
        };
        let resource = Resource::find(group, version, plural).ok_or_else(ApiError::no_route)?;
        if status && !resource.has_status() {
            return Err(ApiError::no_route());
        }
        let query = parse_query(head.uri.query().unwrap_or(""));
        let verb = verb(&head.method, name.is_some(), &query)?;
        if namespace.is_none() && resource.namespaced() && (name.is_some() || verb == Verb::Create) {
            return Err(ApiError::no_route());
        }
        let header = |name: http::HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        let format = match header(http::header::CONTENT_TYPE) {
            "application/strategic-merge-patch+json" if !resource.custom() => PatchKind::Strategic,
            other if verb == Verb::Patch && other != "application/merge-patch+json" => {
                let why = format!("the body of the request was in an unknown format - {other}");
                return Err(ApiError::new(415, "UnsupportedMediaType", why));
            }
            _ => PatchKind::Merge,
        };
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|e| ApiError::bad_request(format!("the body is not JSON: {e}")))?
        };
        let selector = Selector::parse(resource, &query)?;
        let metadata_only = header(http::header::ACCEPT).contains("as=PartialObjectMetadata");
        Ok(Self { verb, resource, namespace, name, status, query, selector, metadata_only, patch: format, body })
    }

    /// A request of the cluster's own components, which reach the store without a network.
    pub fn internal(verb: Verb, resource: Resource, namespace: &str, name: &str, body: Value) -> Self {
        Self {
            verb,
            resource,
            namespace: resource.namespaced().then(|| namespace.to_string()),
            name: (verb != Verb::Create).then(|| name.to_string()),
            status: false,
            query: BTreeMap::new(),
            selector: Selector::default(),
            metadata_only: false,
            patch: PatchKind::Merge,
            body,
        }
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The version of a read: `None` when it is not given.
    pub fn version(&self) -> Result<Option<u64>, ApiError> {
        let given = self.parameter("resourceVersion").filter(|v| !v.is_empty());
        given
            .map(|v| v.parse().map_err(|_| ApiError::bad_request(format!("Invalid value: \"{v}\": resourceVersion"))))
            .transpose()
    }
}

fn verb(method: &Method, named: bool, query: &BTreeMap<String, String>) -> Result<Verb, ApiError> {
    let watch = query.get("watch").is_some_and(|w| w == "true" || w == "1");
    Ok(match (method.as_str(), named) {
        ("GET", true) => Verb::Get,
        ("GET", false) if watch => Verb::Watch,
        ("GET", false) => Verb::List,
        ("POST", false) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        _ => {
            let why = "the server does not allow this method on the requested resource";
            return Err(ApiError::new(405, "MethodNotAllowed", why));
        }
    })
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// Decodes `application/x-www-form-urlencoded`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        let (byte, taken) = match (first, hex) {
            (b'%', Some(byte)) => (byte, 2),
            (b'+', _) => (b' ', 0),
            (byte, _) => (*byte, 0),
        };
        bytes.push(byte);
        rest = &tail[taken..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
