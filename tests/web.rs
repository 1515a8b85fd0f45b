//! The web view's server without a browser: who is let in, what other sites cannot do, and that it says what the command line says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sessd_tests::{SOON, World, until};

/// A running `sessd web`.
struct Server {
    child: Child,
    address: String,
    token: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was answered.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (one, value) = line.split_once(':')?;
            one.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The cookie it sets, as it is sent back.
    fn cookie(&self) -> String {
        let set = self.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", self.head));
        set.split(';').next().expect("a cookie").to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.head, self.body))
    }
}

impl Server {
    fn start(world: &World, more: &[&str]) -> Self {
        let args = [&["web", "--no-open", "--listen", "127.0.0.1:0"], more].concat();
        let mut child = world.command(&args).stdout(Stdio::piped()).spawn().expect("sessd web");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let (address, token) =
            line.trim().split_once("/#token=").unwrap_or_else(|| panic!("printed {line:?}"));
        let address = address.strip_prefix("http://").expect("http").to_owned();
        Self { child, address, token: token.to_owned() }
    }

    /// Sends a request with these headers, as they are.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("the server");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            text += "Connection: close\r\n";
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).expect("the server");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).expect("an answer") > 2 {}
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut body = Vec::new();
        // A connection that was to become a WebSocket stays open where it is refused.
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        body.resize(length.unwrap_or(0), 0);
        reader.read_exact(&mut body).expect("an answer");
        Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn login(&self, token: &str) -> Answer {
        let body = json!({ "token": token }).to_string();
        self.ask("POST", "/api/login", &[("Origin", &self.origin())], &body)
    }

    fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask("GET", path, &[("Cookie", cookie)], "")
    }

    fn post(&self, path: &str, cookie: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("Cookie", cookie), ("Origin", &self.origin())], body)
    }

    /// Asks for a WebSocket.
    fn upgrade(&self, headers: &[(&str, &str)]) -> Answer {
        let usual = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        self.ask("GET", "/frames?start=1", &[&usual[..], headers].concat(), "")
    }
}

#[test]
fn one_browser_is_let_in_by_the_printed_address_once_and_nothing_else_is() {
    let world = World::new();
    world.create("dev", "exec sleep 100");
    let server = Server::start(&world, &[]);
    for path in ["/api/sessions", "/api/me", "/api/status", "/api/hosts", "/plain/dev", "/api/sessions/dev"] {
        assert_eq!(server.ask("GET", path, &[], "").status, 401, "{path} without a cookie");
    }
    assert_eq!(server.upgrade(&[("Origin", &server.origin())]).status, 401);
    assert_eq!(server.login("guessed").status, 401);
    let came = server.login(&server.token);
    assert_eq!(came.status, 204);
    let set = came.header("set-cookie").expect("a cookie");
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(word), "{set}");
    }
    assert_eq!(server.login(&server.token).status, 401, "the same address again");
    let cookie = came.cookie();
    // The same documents as the command line's.
    let listed = server.get("/api/sessions", &cookie).json();
    let by_verb = Value::Array(world.list());
    let still = |list: &Value| list[0]["idle_seconds"].is_number() || list[0]["idle_seconds"].is_null();
    assert!(still(&listed));
    for key in
        ["id", "name", "host", "state", "command", "tags", "created_at", "job_id", "link", "size", "views"]
    {
        assert_eq!(listed[0][key], by_verb[0][key], "{key}");
    }
    assert_eq!(server.get("/api/sessions/dev", &cookie).json()["name"], "dev");
    assert_eq!(server.get("/api/sessions/nobody", &cookie).status, 404);
    assert_eq!(server.upgrade(&[("Origin", &server.origin()), ("Cookie", &cookie)]).status, 101);
    // Followed by a program that runs no page: the token as a query, once.
    let token = world.json(&["web", "tokens", "--new"])["token"].as_str().expect("a token").to_owned();
    let followed = server.ask("GET", &format!("/?token={token}"), &[], "");
    assert_eq!((followed.status, followed.header("location")), (303, Some("/")));
    assert_eq!(server.get("/api/me", &followed.cookie()).status, 200);
    assert_eq!(server.ask("GET", &format!("/?token={token}"), &[], "").header("set-cookie"), None);
    // For a script: the token as a bearer's, once.
    let another = world.json(&["web", "tokens", "--new"])["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Bearer {another}");
    let answer = server.ask("GET", "/api/sessions", &[("Authorization", &bearer)], "");
    assert_eq!((answer.status, server.get("/api/me", &answer.cookie()).status), (200, 200));
    assert_eq!(server.ask("GET", "/api/sessions", &[("Authorization", &bearer)], "").status, 401);
}

#[test]
fn a_page_of_another_site_reads_nothing_and_does_nothing() {
    let world = World::new();
    let server = Server::start(&world, &[]);
    let cookie = server.login(&server.token).cookie();
    let (own, port) = (server.origin(), server.address.rsplit(':').next().expect("a port").to_owned());
    let rebound = format!("evil.example:{port}");
    let neighbour = "http://127.0.0.1:3000".to_owned();
    // DNS rebinding: another name leads here, and the browser believes that it is at home.
    for path in ["/", "/api/sessions", "/s/dev", "/api/me"] {
        let answer = server.ask("GET", path, &[("Host", &rebound), ("Cookie", &cookie)], "");
        assert_eq!(answer.status, 421, "{path}");
    }
    let origin = format!("http://{rebound}");
    let ws = [("Host", rebound.as_str()), ("Origin", origin.as_str()), ("Cookie", cookie.as_str())];
    assert_eq!(server.upgrade(&ws).status, 421);
    // Another origin, even with the cookie: of another site, of another port of this machine, of none.
    for origin in ["http://evil.example", &neighbour, "null", "https://127.0.0.1"] {
        let headers = [("Origin", origin), ("Cookie", cookie.as_str())];
        assert_eq!(server.ask("GET", "/api/sessions", &headers, "").status, 403, "{origin}");
        assert_eq!(server.ask("POST", "/api/sessions", &headers, "{}").status, 403, "{origin}");
        assert_eq!(server.upgrade(&headers).status, 403, "a WebSocket from {origin}");
    }
    assert_eq!(server.ask("POST", "/api/sessions", &[("Cookie", &cookie)], "{}").status, 403, "no origin");
    assert_eq!(server.upgrade(&[("Cookie", &cookie)]).status, 403, "a WebSocket without an origin");
    let site = [("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(server.ask("GET", "/api/sessions", &site, "").status, 403);
    assert_eq!(world.list().len(), 0, "nothing was made");
    // What is served allows nothing from elsewhere.
    let page = server.ask("GET", "/", &[], "");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src")).expect("scripts");
    assert!(!scripts.contains("unsafe") && !scripts.contains("http"), "{scripts}");
    assert!(!page.body.contains("://"), "the page loads from elsewhere: {}", page.body);
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(server.ask("GET", "/api/sessions", &[("Cookie", &cookie), ("Origin", &own)], "").status, 200);
}

#[test]
fn sessions_are_made_named_and_ended_as_by_the_verbs_and_who_only_looks_does_not() {
    let world = World::new();
    let server = Server::start(&world, &[]);
    let cookie = server.login(&server.token).cookie();
    let made =
        server.post("/api/sessions", &cookie, r#"{"name":"dev","cols":90,"rows":20,"tags":{"team":"ml"}}"#);
    assert_eq!((made.status, made.json()["name"].clone()), (200, json!("dev")), "{}", made.body);
    assert_eq!(server.post("/api/sessions", &cookie, r#"{"name":"dev"}"#).status, 409);
    assert_eq!(
        server
            .post("/api/sessions/dev/tag", &cookie, r#"{"name":"work","set":{"a":"b"},"remove":["team"]}"#)
            .status,
        200
    );
    let info = world.info("work").expect("the session");
    assert_eq!((&info["tags"], &info["size"]["cols"]), (&json!({"a": "b"}), &json!(90)));
    assert_eq!(
        server
            .post("/api/sessions/work/send", &cookie, r#"{"text":"echo 'a<b>'$((40+2))","keys":["Enter"]}"#)
            .status,
        200
    );
    until("the screen as text", SOON, || {
        let page = server.get("/plain/work", &cookie);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(!page.body.contains("<script") && !page.body.contains("a<b>"), "{}", page.body);
        page.body.contains("\na&lt;b&gt;42").then_some(())
    });
    // Another browser, which only looks.
    let token =
        world.json(&["web", "tokens", "--new", "--read-only"])["token"].as_str().expect("a token").to_owned();
    let looker = server.login(&token).cookie();
    assert_eq!(server.get("/api/me", &looker).json()["read_only"], true);
    assert_eq!(server.get("/api/sessions", &looker).status, 200);
    for (path, body) in [
        ("/api/sessions", "{}"),
        ("/api/sessions/work/tag", r#"{"name":"x"}"#),
        ("/api/sessions/work/send", r#"{"text":"x"}"#),
        ("/api/sessions/work/restart", "{}"),
        ("/api/sessions/work/detach", "{}"),
        ("/api/delete-all", "[]"),
        ("/api/token", "{}"),
    ] {
        assert_eq!(server.post(path, &looker, body).status, 403, "{path}");
    }
    let own = server.origin();
    let delete = |cookie: &str| {
        server.ask("DELETE", "/api/sessions/work", &[("Cookie", cookie), ("Origin", &own)], "").status
    };
    assert_eq!(delete(&looker), 403);
    assert_eq!(delete(&cookie), 200);
    assert!(world.info("work").is_none());
}

#[test]
fn who_is_let_in_is_listed_and_can_be_put_out_at_once() {
    let world = World::new();
    let server = Server::start(&world, &[]);
    let agent = [("Origin", server.origin()), ("User-Agent", "Somebody's Browser".to_owned())];
    let agent: Vec<_> = agent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = json!({ "token": server.token }).to_string();
    let cookie = server.ask("POST", "/api/login", &agent, &body).cookie();
    let listed = world.json(&["web", "tokens"]);
    assert_eq!(listed["browsers"][0]["agent"], "Somebody's Browser");
    let id = listed["browsers"][0]["id"].as_str().expect("an id").to_owned();
    // A WebSocket that is open is closed, too.
    let mut stream = TcpStream::connect(&server.address).expect("the server");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let request = format!(
        "GET /frames?start=1 HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nCookie: {cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address,
        server.origin()
    );
    stream.write_all(request.as_bytes()).expect("the server");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 101");
    world.ok(&["web", "tokens", "--revoke", &id]);
    assert_eq!(server.get("/api/me", &cookie).status, 401);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the end of the WebSocket");
    world.fails(&["web", "tokens", "--revoke", &id], 1);
    // No secret is in a file or in the log.
    let kept = std::fs::read_to_string(world.sessd_home().join("web.json")).expect("the file");
    let secret = cookie.split('=').nth(1).expect("a cookie");
    let log = std::fs::read_to_string(world.log()).unwrap_or_default();
    for text in [&kept, &log] {
        assert!(!text.contains(secret) && !text.contains(&server.token), "{text}");
    }
    let unused = Server::start(&world, &["--read-only"]);
    world.ok(&["web", "tokens", "--revoke-all"]);
    assert_eq!(unused.login(&unused.token).status, 401);
}
