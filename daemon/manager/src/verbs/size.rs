//! Who sizes a session.

use crate::doc;
use crate::manager::Manager;
use crate::session::ToSession;
use crate::verbs::{LOOKS, never_still};
use sessd_core::record::State;
use sessd_proto::docs::{Error, InfoDoc, Result, SizePolicy, Vocabulary};
use sessd_proto::limits::SIDE_MAX;
use sessd_proto::messages as m;
use std::time::{Duration, Instant};

/// How long the holder may take to say that it has resized: of one that is silent it is known by then.
const RESIZED: Duration = Duration::from_millis(2500);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A policy by its word; none: the default.
///
/// # Errors
/// When it is none.
pub(super) fn policy(word: &str) -> Result<SizePolicy> {
    if word.is_empty() {
        return Ok(SizePolicy::Latest);
    }
    SizePolicy::from_word(word).ok_or_else(|| {
        Error::usage(format!(
            "`{word}` is none of latest, largest, smallest, fixed, and no size such as 120x40"
        ))
    })
}

impl Manager {
    /// Who sizes a session from now on.
    ///
    /// # Errors
    /// When that cannot be, or is not written.
    pub async fn set_size(&self, asked: m::SetSize) -> Result<InfoDoc> {
        let policy = policy(&asked.policy)?;
        let side = |n: u32| u16::try_from(n).ok().filter(|n| (1..=SIDE_MAX).contains(n));
        let size = side(asked.cols).zip(side(asked.rows));
        if size.is_none() && (asked.cols, asked.rows) != (0, 0) {
            let (cols, rows) = (asked.cols, asked.rows);
            return Err(Error::usage(format!(
                "no terminal has {cols}x{rows}: at most {SIDE_MAX}x{SIDE_MAX}"
            )));
        }
        for _ in 0..LOOKS {
            let session = self.find_live(&asked.session).await?;
            if let Some(answer) = session.ask_if_there(|done| ToSession::SetSize(policy, size, done)).await {
                answer?;
                // What is answered is what is, and not what was; over a link that is silent it may be the old one for long.
                let began = Instant::now();
                let is_other = |(cols, rows): (u16, u16)| {
                    let live = session.live.borrow();
                    if live.holder_silent_since.is_some() || live.record.state != State::Running {
                        return false;
                    }
                    let status = live.status.as_ref().map(|(status, _)| (status.cols, status.rows));
                    status.is_some_and(|now| now != (cols.into(), rows.into()))
                };
                while size.is_some_and(is_other) && began.elapsed() < RESIZED {
                    tokio::time::sleep(LOOK).await;
                }
                return Ok(doc::info_of_session(&session, &self.name));
            }
        }
        Err(never_still(&asked.session))
    }
}
