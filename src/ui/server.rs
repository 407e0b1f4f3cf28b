//! The routes and their headers.

use super::auth::{Auth, Denied, TokenAuth, Viewer, cookie_name, session_of};
use super::cache::{Cache, Live};
use super::live::{May, Topic, messages};
use super::lookups::{Replicas, read_task};
use super::query::{Place, Query};
use super::record::Key;
use super::sight::Sight;
use super::store::Kind;
use super::views::login::{login, problem};
use super::views::task::{Answer, task};
use super::views::{Look, errors, list, queues, schedules, workers};
use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;
use kube::Client;
use std::sync::Arc;
use std::time::Duration;

/// How long a page waits for a store that is being read.
const READING: Duration = Duration::from_secs(5);
/// Most bytes of the form to log in.
const MAX_FORM_BYTES: usize = 32 * 1024;
/// Nothing that a page shows can run, be framed, or load from elsewhere.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'";

/// What the page needs.
pub struct App {
    /// What is known of the cluster.
    pub cache: Arc<Cache>,
    /// Who may see it.
    pub auth: Auth,
    /// The client of the API server.
    pub client: Client,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    /// The operator's replicas.
    pub replicas: Replicas,
    /// The options by which kubectl means this cluster, such as `--context prod`.
    pub options: String,
}

type Shared = Arc<App>;

/// All routes.
pub fn router(app: App) -> Router {
    let mut router = Router::new()
        .route("/events", get(events))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/healthz", get(async || "ok\n"))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", include_str!("assets/style.css"))))
        .route("/page.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/page.js"))))
        .route("/icon.svg", get(async || asset("image/svg+xml", include_str!("assets/icon.svg"))));
    for place in Place::ALL {
        let show = get(move |State(app): State<Shared>, uri: Uri, headers: HeaderMap| async move {
            show(&app, place, &uri, &headers).await
        });
        router = router.route(&format!("/{}", place.path()), show);
    }
    router.fallback(nowhere).layer(map_response(protect)).with_state(Arc::new(app))
}

async fn nowhere() -> Response {
    page(StatusCode::NOT_FOUND, &problem("There is no such page", "The address may be mistyped.".into()))
}

/// The headers of every answer.
async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A file of this program. Its URL has the version, so it may be kept; but not for long, since versions are built anew.
fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "max-age=300")];
    (headers, text).into_response()
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be rendered\n").into_response()
        }
    }
}

async fn show(app: &App, place: Place, uri: &Uri, headers: &HeaderMap) -> Response {
    match try_show(app, place, uri, headers).await {
        Ok(response) => response,
        Err(denied) => refusal(&denied, place, uri),
    }
}

async fn try_show(app: &App, place: Place, uri: &Uri, headers: &HeaderMap) -> Result<Response, Denied> {
    let viewer = app.auth.viewer(headers).await?;
    let query = Query::parse(uri.query().unwrap_or_default());
    let live = app.cache.look();
    wait_until_read(app, &live).await;
    let sight = app.auth.sight(&viewer, &live).await?;
    Ok(app.render(place, &query, &viewer, &live, &sight).await)
}

/// Until all is read, or something is wrong, or it takes too long.
async fn wait_until_read(app: &App, live: &Live) {
    let mut changes = live.changes();
    let read = async {
        loop {
            let is_read = {
                let store = live.store();
                let watched = app.cache.watched();
                let all = store.tasks.is_listed(watched) && store.pods.is_listed(watched);
                let others = store.queues.is_listed(watched) && store.schedules.is_listed(watched);
                (all && others) || !store.problems.is_empty() || store.away.is_some()
            };
            if is_read || changes.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(READING, read).await;
}

impl App {
    async fn render(&self, place: Place, query: &Query, viewer: &Viewer, live: &Live, sight: &Sight) -> Response {
        // What the API server is asked comes before the store is locked.
        let replicas = match place {
            Place::Workers => Some(self.replicas.find(&self.client, sight.replicas).await),
            _ => None,
        };
        let answer = match place {
            Place::Task => Some(self.ask(query, sight).await),
            _ => None,
        };
        let store = live.store();
        let look = Look {
            store: &store,
            sight,
            query,
            now: (self.clock)(),
            watched: self.cache.watched(),
            user: viewer.user.as_deref(),
            options: &self.options,
        };
        match place {
            Place::Now | Place::Failed | Place::Tasks => page(StatusCode::OK, &list::list(look, place)),
            Place::Errors => page(StatusCode::OK, &errors::errors(look)),
            Place::Queues => page(StatusCode::OK, &queues::queues(look)),
            Place::Schedules => page(StatusCode::OK, &schedules::schedules(look)),
            Place::Workers => page(StatusCode::OK, &workers::workers(look, replicas.unwrap_or_else(|| Ok(Vec::new())))),
            Place::Task => {
                let answer = answer.unwrap_or(Answer::Missing);
                let status = match &answer {
                    Answer::Found(_) => StatusCode::OK,
                    Answer::Missing => StatusCode::NOT_FOUND,
                    Answer::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                };
                page(status, &task(look, answer))
            }
        }
    }

    /// What the sender of these headers may see of what they follow. While the API server is away nobody is sent to log in again.
    async fn may_follow(&self, headers: &HeaderMap, topic: &Topic) -> May {
        let viewer = match self.auth.viewer(headers).await {
            Ok(viewer) => viewer,
            Err(Denied::Unavailable(_)) => return May::See,
            Err(_) => return May::LogIn,
        };
        let Topic::Task(key) = topic else { return May::See };
        match self.auth.sight(&viewer, &self.cache.look()).await {
            Ok(sight) if !sight.covers(Kind::Tasks, &key.namespace) => May::SeeOthers,
            Ok(_) | Err(_) => May::See,
        }
    }

    /// The task that the query names, read now.
    async fn ask(&self, query: &Query, sight: &Sight) -> Answer {
        let (Some(namespace), Some(name)) = (&query.namespace, &query.name) else { return Answer::Missing };
        if !is_name(namespace) || !is_name(name) || !sight.covers(Kind::Tasks, namespace) {
            return Answer::Missing;
        }
        read_task(&self.client, namespace, name).await
    }
}

/// Whether an object can have that name. Any other would be a path in the request to the API server.
fn is_name(name: &str) -> bool {
    let is_fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(is_fine) && !name.contains("..") && !name.starts_with('.')
}

/// What somebody sees who may not look.
fn refusal(denied: &Denied, place: Place, uri: &Uri) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let next = format!("{}{query}", place.path());
    match denied {
        Denied::Host(_) => page(StatusCode::FORBIDDEN, &problem("Not here", format!("{denied}."))),
        Denied::Unavailable(_) => {
            page(StatusCode::SERVICE_UNAVAILABLE, &problem("The API server is away", format!("{denied}.")))
        }
        Denied::NoToken => log_in_again(None, next),
        Denied::SessionEnded | Denied::Rejected(_) => log_in_again(Some(denied.to_string()), next),
    }
}

fn log_in_again(problem: Option<String>, next: String) -> Response {
    let mut response = page(StatusCode::UNAUTHORIZED, &login(problem, next));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Changes of all, or of the task that the query names.
async fn events(State(app): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(denied) = app.auth.viewer(&headers).await {
        return refusal(&denied, Place::Now, &Uri::default());
    }
    let Query { namespace, name, .. } = Query::parse(uri.query().unwrap_or_default());
    let topic = match (namespace, name) {
        (Some(namespace), Some(name)) => Topic::Task(Key { namespace: namespace.into(), name: name.into() }),
        _ => Topic::All,
    };
    let (cache, clock, followed) = (app.cache.clone(), app.clock, topic.clone());
    let may = move || {
        let (app, headers, topic) = (app.clone(), headers.clone(), followed.clone());
        async move { app.may_follow(&headers, &topic).await }
    };
    let mut response = Sse::new(messages(cache, clock, topic, may)).keep_alive(KeepAlive::default()).into_response();
    // A proxy must not keep what is to be told at once.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Whether a form was sent by a page of somebody else's.
fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

async fn log_in(State(app): State<Shared>, headers: HeaderMap, body: Body) -> Response {
    let Auth::Token(auth) = &app.auth else { return nowhere().await };
    if is_foreign(&headers) {
        return page(StatusCode::FORBIDDEN, &problem("Not from here", "Log in by this page's own form.".into()));
    }
    let Ok(form) = axum::body::to_bytes(body, MAX_FORM_BYTES).await else {
        return log_in_again(Some("the token is too long".into()), String::new());
    };
    let (mut token, mut next) = (String::new(), String::new());
    for (name, value) in form_urlencoded::parse(&form) {
        match &*name {
            "token" => token = value.trim().to_owned(),
            "next" => next = value.into_owned(),
            _ => {}
        }
    }
    match auth.log_in(&token).await {
        Ok(session) => begin_session(&session, &next, &headers),
        Err(denied @ Denied::Unavailable(_)) => {
            page(StatusCode::SERVICE_UNAVAILABLE, &problem("The API server is away", format!("{denied}.")))
        }
        Err(denied) => log_in_again(Some(denied.to_string()), next),
    }
}

/// Leads to where the viewer wanted to go, of this page's own places.
fn begin_session(session: &str, next: &str, headers: &HeaderMap) -> Response {
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    let place = Place::ALL.into_iter().find(|place| place.path() == path).unwrap_or(Place::Now);
    let cookie = format!("{}={session}; HttpOnly; SameSite=Lax{}", cookie_name(headers), secure(headers));
    redirect(&Query::parse(query).link(place), &cookie)
}

/// Where the page was reached by TLS, the cookie is for TLS alone.
fn secure(headers: &HeaderMap) -> &'static str {
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|protocol| protocol == "https");
    if is_tls { "; Secure" } else { "" }
}

async fn log_out(State(app): State<Shared>, headers: HeaderMap) -> Response {
    let Auth::Token(auth) = &app.auth else { return nowhere().await };
    if is_foreign(&headers) {
        return page(StatusCode::FORBIDDEN, &problem("Not from here", "Log out by this page's own button.".into()));
    }
    end_session(auth, &headers);
    let cookie = format!("{}=; HttpOnly; SameSite=Lax; Max-Age=0{}", cookie_name(&headers), secure(&headers));
    redirect("./", &cookie)
}

fn end_session(auth: &TokenAuth, headers: &HeaderMap) {
    if let Some(session) = session_of(headers) {
        auth.sessions.end(session);
    }
}

fn redirect(to: &str, cookie: &str) -> Response {
    let values = [to, cookie].map(HeaderValue::from_str);
    let [Ok(to), Ok(cookie)] = values else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    (StatusCode::SEE_OTHER, [(LOCATION, to), (SET_COOKIE, cookie)]).into_response()
}

#[cfg(test)]
mod tests;
