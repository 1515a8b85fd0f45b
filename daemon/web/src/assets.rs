//! The files of the page, which this program carries.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// One file.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Below [`ROOT`].
    path: &'static str,
    bytes: &'static [u8],
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Was this program built with the page?
pub(crate) fn are_here() -> bool {
    !INDEX.is_empty()
}

/// What the page may load and do: nothing that does not come from here, and no script that stands in a page but the import
/// map. xterm.js makes style sheets, hence inline styles.
pub(crate) fn policy() -> String {
    format!(
        "default-src 'none'; script-src 'self' '{IMPORTS_HASH}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// The page.
pub(crate) async fn page() -> Response {
    ([(header::CACHE_CONTROL, "no-cache")], Html(INDEX)).into_response()
}

/// A file of it. Its address has the hash of all of them, so that it never changes.
pub(crate) async fn file(Path((hash, path)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let asset = FILES.iter().find(|asset| asset.path == path);
    let Some(asset) = asset.filter(|_| ROOT.strip_prefix("/at/") == Some(&hash)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let takes_gzip = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|word| word.trim().split(';').next() == Some("gzip")));
    let (bytes, encoding) = match asset.gzip {
        Some(small) if takes_gzip => (small, Some("gzip")),
        _ => (asset.bytes, None),
    };
    let mut answer = Response::new(Body::from(bytes));
    let mut put = |name, value| drop(answer.headers_mut().insert(name, HeaderValue::from_static(value)));
    put(header::CONTENT_TYPE, kind(asset.path));
    put(header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    put(header::VARY, "accept-encoding");
    if let Some(encoding) = encoding {
        put(header::CONTENT_ENCODING, encoding);
    }
    answer
}
