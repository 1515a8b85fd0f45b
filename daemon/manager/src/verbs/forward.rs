//! What is forwarded for a session.

use crate::doc;
use crate::manager::Manager;
use sessd_proto::docs::{InfoDoc, Result};
use sessd_proto::messages as m;

impl Manager {
    /// Adds to what is forwarded for a session, takes away from it, or only shows it.
    ///
    /// # Errors
    /// What cannot be; then all is as it was.
    pub async fn forward(&self, asked: &m::Forward) -> Result<InfoDoc> {
        let session = self.find_live(&asked.session).await?;
        session.forwards.change(asked).await?;
        Ok(doc::info_of_session(&session, &self.name))
    }
}
