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
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

impl Asset {
    /// As small as it may be sent, and how that is encoded.
    fn encoded(&self, takes: impl Fn(&str) -> bool) -> (&'static [u8], Option<&'static str>) {
        for (small, encoding) in [(self.brotli, "br"), (self.gzip, "gzip")] {
            if let Some(small) = small.filter(|_| takes(encoding)) {
                return (small, Some(encoding));
            }
        }
        (self.bytes, None)
    }
}

/// Does a browser take what is encoded so? One that forbids it says so by a weight of nothing.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let value = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    value.into_iter().flat_map(|value| value.split(',')).any(|word| {
        let (name, weight) = word.split_once(';').unwrap_or((word, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.unwrap_or(1.0) > 0.0
    })
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
    let (bytes, encoding) = asset.encoded(|encoding| takes(&headers, encoding));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_smallest_that_it_takes() {
        let asset = Asset { path: "a.js", bytes: b"plain", brotli: Some(b"br"), gzip: Some(b"gz") };
        for (said, sent) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip, deflate", "gz"),
            ("GZIP;q=0.5", "gz"),
            ("br;q=0, gzip", "gz"),
            ("identity", "plain"),
            ("", "plain"),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(said))]);
            assert_eq!(asset.encoded(|one| takes(&headers, one)).0, sent.as_bytes(), "{said}");
        }
        assert_eq!(asset.encoded(|one| takes(&HeaderMap::new(), one)).1, None);
        let large = Asset { brotli: None, gzip: None, ..asset };
        assert_eq!(large.encoded(|_| true), (b"plain".as_slice(), None));
    }

    /// What a person on a phone waits for.
    #[test]
    fn the_page_is_small() {
        if !are_here() {
            eprintln!("SKIPPED: built without the page");
            return;
        }
        let all: usize = FILES.iter().map(|asset| asset.encoded(|_| true).0.len()).sum();
        assert!(all + INDEX.len() <= 200_000, "{all} bytes");
    }
}
