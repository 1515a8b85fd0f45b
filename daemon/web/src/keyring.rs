//! Who may come in: one-time tokens that were printed, and the browsers that came in with one. Only hashes are kept. Pure:
//! time is an argument, in seconds since the epoch.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long a token may wait for its browser.
const TOKEN_LASTS: u64 = 24 * 3600;
/// How long a browser may stay away.
pub(crate) const BROWSER_LASTS: u64 = 30 * 24 * 3600;
/// The most of each; beyond, the one that was used longest ago goes.
const TOKENS_MAX: usize = 16;
const BROWSERS_MAX: usize = 64;
/// Characters of what a browser says it is.
const AGENT_MAX: usize = 200;
/// How exactly it is known when a browser was here last, so that not every request writes.
const USED_WITHIN: u64 = 60;

/// A secret that was made here: 256 bits, as hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// A new one; `None`: the system has no chance to give.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(hex(&bytes)))
    }

    /// What whoever has it shows.
    pub(crate) fn shown(&self) -> &str {
        &self.0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// A one-time token that was not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    hash: String,
    until: u64,
    read_only: bool,
}

/// A browser that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Browser {
    /// What people name it by.
    pub(crate) id: String,
    hash: String,
    /// When it came, and when it was here last.
    pub(crate) since: u64,
    pub(crate) used: u64,
    /// It only looks.
    pub(crate) read_only: bool,
    /// What it says it is.
    pub(crate) agent: String,
}

/// All of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Keyring {
    tokens: Vec<Token>,
    browsers: Vec<Browser>,
}

impl Keyring {
    fn forget_old(&mut self, now: u64) {
        self.tokens.retain(|token| token.until > now);
        self.browsers.retain(|browser| browser.used + BROWSER_LASTS > now);
    }

    /// A token was printed.
    pub(crate) fn issue(&mut self, token: &Secret, read_only: bool, now: u64) {
        self.forget_old(now);
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.remove(0);
        }
        self.tokens.push(Token { hash: hash(token.shown()), until: now + TOKEN_LASTS, read_only });
    }

    /// A browser shows a token, which nobody can show again: it is known by `cookie` from now on. False: there is no such token.
    pub(crate) fn admit(&mut self, token: &str, cookie: &Secret, agent: &str, now: u64) -> bool {
        self.forget_old(now);
        let shown = hash(token);
        let Some(at) = self.tokens.iter().position(|token| token.hash == shown) else { return false };
        let token = self.tokens.remove(at);
        if self.browsers.len() >= BROWSERS_MAX {
            let oldest = self.browsers.iter().enumerate().min_by_key(|(_, b)| b.used).map_or(0, |(n, _)| n);
            self.browsers.remove(oldest);
        }
        let hash = hash(cookie.shown());
        self.browsers.push(Browser {
            // Of the hash, which tells nothing of the cookie.
            id: hash[..8].to_owned(),
            hash,
            since: now,
            used: now,
            read_only: token.read_only,
            agent: sessd_proto::docs::text::clean(agent, AGENT_MAX),
        });
        true
    }

    /// Whose cookie this is.
    pub(crate) fn who(&self, cookie: &str, now: u64) -> Option<&Browser> {
        let shown = hash(cookie);
        self.browsers.iter().find(|b| b.hash == shown && b.used + BROWSER_LASTS > now)
    }

    /// Is it still let in?
    pub(crate) fn has(&self, id: &str) -> bool {
        self.browsers.iter().any(|browser| browser.id == id)
    }

    /// It was here. False: that is known well enough.
    pub(crate) fn used(&mut self, id: &str, now: u64) -> bool {
        let browser = self.browsers.iter_mut().find(|b| b.id == id && now >= b.used + USED_WITHIN);
        browser.is_some_and(|browser| {
            browser.used = now;
            true
        })
    }

    /// It is let in no more; without an id, nobody is, and no token is good. How many browsers that were.
    pub(crate) fn revoke(&mut self, id: Option<&str>) -> usize {
        let before = self.browsers.len();
        match id {
            Some(id) => self.browsers.retain(|browser| browser.id != id),
            None => (self.tokens, self.browsers) = (Vec::new(), Vec::new()),
        }
        before - self.browsers.len()
    }

    /// Everybody who is let in, the one that was here last first.
    pub(crate) fn browsers(&self, now: u64) -> Vec<&Browser> {
        let mut all: Vec<_> = self.browsers.iter().filter(|b| b.used + BROWSER_LASTS > now).collect();
        all.sort_by_key(|browser| std::cmp::Reverse(browser.used));
        all
    }

    /// Tokens that wait for a browser.
    pub(crate) fn waiting(&self, now: u64) -> usize {
        self.tokens.iter().filter(|token| token.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    #[test]
    fn a_token_lets_one_browser_in_once_and_for_a_day() {
        let mut ring = Keyring::default();
        ring.issue(&secret("t"), false, 100);
        assert!(!ring.admit("T", &secret("c"), "agent", 101) && ring.who("c", 101).is_none());
        assert!(ring.admit("t", &secret("c"), "agent", 101));
        assert!(!ring.admit("t", &secret("d"), "agent", 102), "a second time");
        assert_eq!(ring.who("c", 103).map(|b| b.read_only), Some(false));
        assert!(ring.who("t", 103).is_none() && ring.who("", 103).is_none());
        ring.issue(&secret("u"), true, 200);
        assert!(!ring.admit("u", &secret("e"), "", 200 + TOKEN_LASTS), "a day later");
    }

    #[test]
    fn who_only_looks_stays_so_and_who_stays_away_is_forgotten() {
        let mut ring = Keyring::default();
        ring.issue(&secret("t"), true, 0);
        assert!(ring.admit("t", &secret("c"), "a\u{1b}[2Jgent", 0));
        let (id, read_only) = ring.who("c", 1).map(|b| (b.id.clone(), b.read_only)).unwrap();
        assert!(read_only && !ring.browsers(1)[0].agent.contains('\u{1b}'));
        assert!(!ring.used(&id, USED_WITHIN - 1) && ring.used(&id, USED_WITHIN));
        assert!(ring.who("c", USED_WITHIN + BROWSER_LASTS - 1).is_some());
        assert!(ring.who("c", USED_WITHIN + BROWSER_LASTS).is_none());
    }

    #[test]
    fn a_revoked_browser_is_out_at_once_and_nothing_kept_lets_anybody_in() {
        let mut ring = Keyring::default();
        for n in 0..3 {
            ring.issue(&secret(&format!("t{n}")), false, n);
            assert!(ring.admit(&format!("t{n}"), &secret(&format!("c{n}")), "", n));
        }
        ring.issue(&secret("waits"), false, 3);
        let kept = serde_json::to_string(&ring).unwrap();
        assert!(!kept.contains("\"c1\"") && !kept.contains("waits"), "{kept}");
        assert!(ring.browsers.iter().all(|b| ring.who(&b.hash, 4).is_none()));
        let id = ring.who("c1", 4).unwrap().id.clone();
        assert_eq!((ring.revoke(Some(&id)), ring.who("c1", 4).is_some(), ring.has(&id)), (1, false, false));
        assert!(ring.who("c2", 4).is_some());
        assert_eq!((ring.revoke(None), ring.waiting(4), ring.browsers(4).len()), (2, 0, 0));
    }

    #[test]
    fn there_is_a_bound_for_each() {
        let mut ring = Keyring::default();
        for n in 0..200 {
            let (token, cookie) = (Secret::new().unwrap(), Secret::new().unwrap());
            ring.issue(&token, false, n);
            ring.issue(&Secret::new().unwrap(), false, n);
            assert!(ring.admit(token.shown(), &cookie, "", n));
        }
        assert!(ring.tokens.len() <= TOKENS_MAX && ring.browsers.len() == BROWSERS_MAX);
        assert_eq!(ring.browsers.iter().map(|b| b.used).min(), Some(200 - BROWSERS_MAX as u64));
    }
}
