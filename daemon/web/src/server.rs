//! The server: who is let in, and what is served where.

use crate::door::{Caller, SILENT_FOR};
use crate::gate::{Gate, Refused};
use crate::kept::{Kept, now};
use crate::keyring::{BROWSER_LASTS, Secret};
use crate::manager::Manager;
use crate::seats::Seats;
use crate::{api, assets, plain, relay};
use axum::extract::{FromRequestParts, Json, Query, Request, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, http};
use serde::Deserialize;
use sessd_proto::docs::{Error, Kind};
use sessd_proto::messages::Inherited;
use std::collections::HashMap;
use std::sync::Arc;

/// What a server knows.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) manager: Manager,
    pub(crate) kept: Arc<Kept>,
    pub(crate) gate: Gate,
    /// Which connection is which view.
    pub(crate) seats: Seats,
    /// Nobody types, whoever comes.
    pub(crate) read_only: bool,
    /// The cookie's name: two servers on one machine have one each.
    pub(crate) cookie: String,
    pub(crate) hosts: fn() -> Vec<String>,
    /// What a session on this machine has from whoever makes it.
    pub(crate) environment: HashMap<String, String>,
    pub(crate) inherited: Inherited,
}

/// A browser that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    id: String,
    /// It only looks.
    pub(crate) read_only: bool,
    kept: Arc<Kept>,
}

impl Visitor {
    /// Still?
    pub(crate) fn is_let_in(&self) -> bool {
        self.kept.look(|ring| ring.has(&self.id))
    }

    /// Which one it is.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// It may change something.
    ///
    /// # Errors
    /// When it only looks.
    pub(crate) fn may_act(&self) -> Result<(), Failure> {
        if self.read_only {
            let why = "this browser may only look";
            return Err(Failure(
                StatusCode::FORBIDDEN,
                Error::failed(why, "open an address printed without --read-only"),
            ));
        }
        Ok(())
    }
}

/// What is answered when something fails: the contract's error document.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) StatusCode, pub(crate) Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            Kind::Usage => StatusCode::BAD_REQUEST,
            Kind::NoSuchSession => StatusCode::NOT_FOUND,
            Kind::NameTaken | Kind::Ambiguous => StatusCode::CONFLICT,
            Kind::Unreachable | Kind::HostKey | Kind::VersionSkew => StatusCode::BAD_GATEWAY,
            Kind::NeedsLogin => StatusCode::FAILED_DEPENDENCY,
            Kind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Kind::NoCommand | Kind::NotExecutable | Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        document(self.0, self.1.json())
    }
}

/// A JSON document that was written already.
pub(crate) fn document(status: StatusCode, json: String) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, kind, json).into_response()
}

fn not_let_in(why: &str) -> Failure {
    Failure(
        StatusCode::UNAUTHORIZED,
        Error::failed(
            why,
            "open the address that `sessd web` prints; `sessd web tokens --new` prints another",
        ),
    )
}

impl FromRequestParts<Arc<Server>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Server>) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| not_let_in("this browser is not let in"))
    }
}

/// The whole server.
pub(crate) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(assets::page))
        .route("/s/{session}", get(assets::page))
        .route("/at/{hash}/{*path}", get(assets::file))
        .route("/manifest.webmanifest", get(manifest))
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .route("/plain/{session}", get(plain::page))
        .route("/frames", get(frames))
        .merge(api::router())
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn_with_state(Arc::clone(&server), enter))
        .with_state(server)
}

/// So that a phone can put the page among its programs.
async fn manifest() -> Response {
    let icon = format!("{}/style/icon.svg", assets::ROOT);
    let json = serde_json::json!({
        "name": "sessd", "short_name": "sessd", "start_url": "/", "display": "standalone",
        "background_color": "#101418", "theme_color": "#101418",
        "icons": [{"src": icon, "sizes": "any", "type": "image/svg+xml"}],
    });
    ([(header::CONTENT_TYPE, "application/manifest+json")], json.to_string()).into_response()
}

fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Every request passes here: whether it is looked at at all, who asks, and what no answer goes without.
async fn enter(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_page = path == "/" || path.starts_with("/s/") || path.starts_with("/plain/");
    let mut answer = match server.gate.check(request.method(), request.headers(), is_page) {
        Err(refused) => {
            let status = if refused == Refused::Host {
                StatusCode::MISDIRECTED_REQUEST
            } else {
                StatusCode::FORBIDDEN
            };
            Failure(
                status,
                Error::failed(
                    refused.sentence(),
                    "open the address that `sessd web` prints; another name of it is for --allow-host",
                ),
            )
            .into_response()
        }
        Ok(()) => {
            let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let token = shown.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
            let known = cookie_of(request.headers(), &server.cookie).and_then(|cookie| server.who(cookie));
            let mut cookie = None;
            let visitor = match (known, token) {
                (None, Some(token)) => server.admit(&token, request.headers()).map(|(visitor, set)| {
                    cookie = Some(set);
                    visitor
                }),
                (known, _) => known,
            };
            let is_stranger = visitor.is_none();
            if let Some(visitor) = visitor {
                if let Some(caller) = request.extensions().get::<Arc<Caller>>() {
                    caller.lets_in();
                }
                request.extensions_mut().insert(visitor);
            }
            // For who follows an address without running the page: the token as a query, which goes at once.
            let query = request.uri().query().filter(|_| request.uri().path() == "/").unwrap_or_default();
            let queried = query.split('&').find_map(|pair| pair.strip_prefix("token="));
            let queried = queried.filter(|_| *request.method() == Method::GET).map(str::to_owned);
            let mut answer = match queried.and_then(|token| server.admit(&token, request.headers())) {
                Some((_, set)) => {
                    cookie = Some(set);
                    Redirect::to("/").into_response()
                }
                // Whoever may not come in is not waited for.
                None if is_stranger => match tokio::time::timeout(SILENT_FOR, next.run(request)).await {
                    Ok(answer) => answer,
                    Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
                },
                None => next.run(request).await,
            };
            if let Some(cookie) = cookie {
                answer.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            answer
        }
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&assets::policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

impl Server {
    fn who(&self, cookie: &str) -> Option<Visitor> {
        let now = now();
        let (id, read_only) =
            self.kept.look(|ring| ring.who(cookie, now).map(|b| (b.id.clone(), b.read_only)))?;
        // A disk that is full keeps nobody out.
        if self.kept.look(|ring| ring.clone().used(&id, now)) {
            let _ = self.kept.change(|ring| ring.used(&id, now).then_some(()));
        }
        Some(Visitor { id, read_only: read_only || self.read_only, kept: Arc::clone(&self.kept) })
    }

    /// A token is shown: the browser it lets in, and the cookie that says so from now on.
    fn admit(&self, token: &str, headers: &HeaderMap) -> Option<(Visitor, HeaderValue)> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let agent = text(header::USER_AGENT).unwrap_or_default();
        let cookie = Secret::new()?;
        self.kept.change(|ring| ring.admit(token, &cookie, agent, now()).then_some(())).ok()??;
        let secure =
            if text(header::ORIGIN).is_some_and(|o| o.starts_with("https:")) { "; Secure" } else { "" };
        let set = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={BROWSER_LASTS}{secure}",
            self.cookie,
            cookie.shown()
        );
        Some((self.who(cookie.shown())?, HeaderValue::from_str(&set).ok()?))
    }
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

async fn login(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Failure> {
    let (_, cookie) = server
        .admit(&login.token, &headers)
        .ok_or_else(|| not_let_in("this address was used already, or is older than a day"))?;
    let mut answer = StatusCode::NO_CONTENT.into_response();
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

async fn logout(State(server): State<Arc<Server>>, visitor: Visitor) -> Result<StatusCode, Failure> {
    server.kept.change(|ring| Some(ring.revoke(Some(visitor.id()))))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Frames {
    /// A manager that does not run is started: 1, or 0.
    #[serde(default)]
    start: u8,
}

/// A WebSocket with frames of our protocol.
async fn frames(
    State(server): State<Arc<Server>>,
    visitor: Visitor,
    Query(frames): Query<Frames>,
    caller: Option<Extension<Arc<Caller>>>,
    upgrade: WebSocketUpgrade,
) -> http::Response<axum::body::Body> {
    let (manager, seat) = (server.manager.clone(), server.seats.seat());
    upgrade.max_message_size(relay::MESSAGE_MAX).max_frame_size(relay::MESSAGE_MAX).on_upgrade(
        async move |socket| {
            relay::run(socket, manager, visitor, seat, frames.start != 0).await;
            // Its place was taken until now.
            drop(caller);
        },
    )
}
