//! What the page asks for by address: the command line's documents and verbs.

use crate::kept::now;
use crate::keyring::Secret;
use crate::server::{Failure, Server, Visitor, document};
use axum::Router;
use axum::extract::{Json, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{Error, Result};
use sessd_proto::messages::{self as m, Act, SendWhat};
use sessd_proto::{Uuid, bounds};
use std::collections::HashMap;
use std::sync::Arc;

type Asked<T = Response> = Result<T, Failure>;
type Here = State<Arc<Server>>;

pub(crate) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route("/api/me", get(me))
        .route("/api/sessions", get(list).post(create))
        .route("/api/sessions/{session}", get(info).delete(delete))
        .route("/api/sessions/{session}/tag", post(tag))
        .route("/api/sessions/{session}/restart", post(restart))
        .route("/api/sessions/{session}/detach", post(detach))
        .route("/api/sessions/{session}/send", post(send))
        .route("/api/delete-all", post(delete_all))
        .route("/api/status", get(status))
        .route("/api/hosts", get(hosts))
        .route("/api/token", post(token))
}

async fn answer(server: &Server, act: Act) -> Asked {
    Ok(document(StatusCode::OK, server.manager.ask(act).await?))
}

fn select(session: String) -> m::Select {
    m::Select { session, ..m::Select::default() }
}

/// Who asks, and of whom.
async fn me(State(_): Here, visitor: Visitor) -> Response {
    let me =
        json!({"id": visitor.id(), "read_only": visitor.read_only, "version": env!("CARGO_PKG_VERSION")});
    document(StatusCode::OK, me.to_string())
}

#[derive(Deserialize)]
struct List {
    /// 0: without anonymous sessions and those that have ended, as `sessd list`.
    #[serde(default = "one")]
    all: u8,
}

fn one() -> u8 {
    1
}

async fn list(State(server): Here, _: Visitor, Query(List { all }): Query<List>) -> Asked {
    answer(&server, Act::List(m::List { all: all != 0, ..m::List::default() })).await
}

async fn info(State(server): Here, _: Visitor, Path(session): Path<String>) -> Asked {
    answer(&server, Act::Info(select(session))).await
}

async fn status(State(server): Here, _: Visitor) -> Asked {
    answer(&server, Act::DaemonStatus(m::Empty {})).await
}

#[derive(Deserialize)]
#[serde(default)]
struct Create {
    name: Option<String>,
    host: String,
    tags: HashMap<String, String>,
    command: Vec<String>,
    cwd: String,
    cols: u32,
    rows: u32,
    /// Chosen by the page, so that it can ask again.
    id: Option<String>,
}

impl Default for Create {
    fn default() -> Self {
        Self {
            name: None,
            host: LOCAL.to_owned(),
            tags: HashMap::new(),
            command: Vec::new(),
            cwd: String::new(),
            cols: 0,
            rows: 0,
            id: None,
        }
    }
}

async fn create(State(server): Here, visitor: Visitor, Json(asked): Json<Create>) -> Asked {
    visitor.may_act()?;
    let side = |n: u32| n.min(sessd_proto::limits::SIDE_MAX.into());
    let is_local = asked.host == LOCAL;
    let create = m::Create {
        name: asked.name.unwrap_or_default(),
        tags: asked.tags,
        cwd: asked.cwd,
        cols: side(asked.cols),
        rows: side(asked.rows),
        command: asked.command,
        environment: if is_local { server.environment.clone() } else { HashMap::new() },
        inherited: is_local.then(|| server.inherited.clone()),
        session_id: asked
            .id
            .and_then(|id| Uuid::parse_str(&id).ok())
            .unwrap_or_else(Uuid::now_v7)
            .to_string(),
        job_id: Uuid::now_v7().to_string(),
        host: asked.host,
        ..m::Create::default()
    };
    bounds::check_create(&create).map_err(Error::too_long)?;
    answer(&server, Act::Create(create)).await
}

async fn restart(State(server): Here, visitor: Visitor, Path(session): Path<String>) -> Asked {
    visitor.may_act()?;
    let restart = m::Select {
        session,
        job_id: Uuid::now_v7().to_string(),
        // For one on this machine, which is not known here.
        environment: server.environment.clone(),
        inherited: Some(server.inherited.clone()),
    };
    answer(&server, Act::Restart(restart)).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tag {
    /// Empty: it has no name any more.
    name: Option<String>,
    set: HashMap<String, String>,
    remove: Vec<String>,
}

async fn tag(
    State(server): Here,
    visitor: Visitor,
    Path(session): Path<String>,
    Json(tag): Json<Tag>,
) -> Asked {
    visitor.may_act()?;
    let Tag { name, set, remove } = tag;
    answer(&server, Act::Tag(m::Tag { session, name, set, remove })).await
}

async fn detach(State(server): Here, visitor: Visitor, Path(session): Path<String>) -> Asked {
    visitor.may_act()?;
    answer(&server, Act::DetachViews(m::DetachViews { session, view: String::new() })).await
}

#[derive(Deserialize)]
struct Force {
    #[serde(default)]
    force: u8,
}

async fn delete(
    State(server): Here,
    visitor: Visitor,
    Path(session): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Asked {
    visitor.may_act()?;
    answer(&server, Act::Delete(m::Delete { sessions: vec![session], all: false, force: force != 0 })).await
}

/// Ends the sessions that the person was asked about, and no other that began meanwhile.
async fn delete_all(State(server): Here, visitor: Visitor, Json(ids): Json<Vec<String>>) -> Asked {
    visitor.may_act()?;
    answer(&server, Act::Delete(m::Delete { sessions: ids, all: false, force: false })).await
}

/// What is typed without attaching: an answer to a job that waits.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Send {
    /// In one piece, as a terminal pastes it.
    text: String,
    /// Then these, by their names.
    keys: Vec<String>,
}

async fn send(
    State(server): Here,
    visitor: Visitor,
    Path(session): Path<String>,
    Json(asked): Json<Send>,
) -> Asked {
    visitor.may_act()?;
    let text = (!asked.text.is_empty()).then(|| SendWhat::Paste(asked.text.into_bytes()));
    let what = text.into_iter().chain(asked.keys.into_iter().map(SendWhat::Key));
    let send = m::Send {
        id: Uuid::now_v7().as_bytes().to_vec(),
        parts: what.map(|what| m::SendPart { what: Some(what) }).collect(),
        ..m::Send::default()
    };
    answer(&server, Act::Type(m::Type { session, send: Some(send) })).await
}

/// What the ssh config and the manager know of, by name.
async fn hosts(State(server): Here, _: Visitor) -> Asked {
    let hosts = server.hosts;
    let names = server.manager.on_a_thread(move |_| Ok(hosts())).await?;
    Ok(document(StatusCode::OK, json!(names).to_string()))
}

/// A token for another device, for which this one answers.
async fn token(State(server): Here, visitor: Visitor) -> Asked {
    visitor.may_act()?;
    let failed = || Error::failed("no token can be made", "try again");
    let token = Secret::new().ok_or_else(failed)?;
    server.kept.issue(&token, false, now())?;
    Ok(document(StatusCode::CREATED, json!({"token": token.shown()}).to_string()))
}
