//! Names and tags.

use crate::doc;
use crate::manager::Manager;
use crate::session::ToSession;
use crate::verbs::find::{Selected, leaving};
use crate::verbs::{LOOKS, never_still};
use sessd_proto::Uuid;
use sessd_proto::docs::names::{check_name, check_tags};
use sessd_proto::docs::{InfoDoc, Result};
use sessd_proto::messages as m;

impl Manager {
    /// Names, renames, tags.
    ///
    /// # Errors
    /// What cannot be so named or tagged, and why.
    pub async fn tag(&self, tag: m::Tag) -> Result<InfoDoc> {
        for _ in 0..LOOKS {
            match self.find(&tag.session).await? {
                Selected::Live(session) => {
                    let asked = tag.clone();
                    match session.ask_if_there(|done| ToSession::Tag(asked, done)).await {
                        Some(answer) => {
                            answer?;
                            return Ok(doc::info_of_session(&session, &self.name));
                        }
                        None => continue,
                    }
                }
                Selected::Leaving(session) => return Err(leaving(&session)),
                Selected::Done(record) => {
                    if self.tag_done(record.id, &tag).await? {
                        return self.info(&record.id.to_string()).await;
                    }
                }
            }
        }
        Err(never_still(&tag.session))
    }

    /// Names or tags a session that is done; false when it is not, by now.
    async fn tag_done(&self, id: Uuid, tag: &m::Tag) -> Result<bool> {
        let _alone = self.registry.alone(id).await;
        if self.registry.get(id).is_some() {
            return Ok(false);
        }
        let Some(before) = self.store.get_done(id).await? else { return Ok(false) };
        let mut record = before.clone();
        if let Some(name) = &tag.name {
            check_name(name)?;
            record.name = Some(name.clone());
        }
        for key in &tag.remove {
            record.tags.remove(key);
        }
        record.tags.extend(tag.set.clone());
        check_tags(&record.tags)?;
        self.store.save(&record).await?;
        self.events.changed(&before, &record);
        Ok(true)
    }
}
