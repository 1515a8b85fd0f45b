//! Questions of the system's `ssh`: it runs a program of ours with each, which brings it here, and a person answers.

use super::{
    HostConfig, clean,
    prompt::{Answer, Asker, lines},
};
use sessd_base::askpass::{GIVEN, LONGEST, NAME, NOTICE, SOCKET};
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Path, PathBuf},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    process::Command,
};
use zeroize::Zeroizing;

/// Answers of one dial, by question. A host whose agent has to be put there first is logged in to several times, one after
/// the other, and a person is asked once.
pub(super) type Given = HashMap<String, Zeroizing<String>>;

/// Where the questions of one ssh arrive. Its folder goes with it.
pub(super) struct Questions {
    folder: PathBuf,
    listener: UnixListener,
    /// What was answered from [`Given`] in this ssh: asked once more, it was wrong.
    used: Vec<String>,
}

impl Questions {
    /// A place for the questions of one ssh, where there is somebody to ask. `program`: this program.
    pub(super) fn new(host: &HostConfig, asker: &Asker) -> Option<Self> {
        let program = host.environment.asker.as_ref().filter(|_| asker.may_ask(host))?;
        match Self::in_a_folder(program) {
            Ok(questions) => Some(questions),
            Err(error) => {
                tracing::warn!(%error, "ssh can ask nobody: there is no folder for its questions");
                None
            }
        }
    }

    fn in_a_folder(program: &Path) -> io::Result<Self> {
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(io::Error::other)?;
        let folder =
            std::env::temp_dir().join(format!("sessd-ask-{}", data_encoding::HEXLOWER.encode(&chance)));
        // Fails where it is there already: nobody else has made it.
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let made = symlink(program, folder.join(NAME)).and_then(|()| UnixListener::bind(folder.join(SOCKET)));
        match made {
            Ok(listener) => Ok(Self { folder, listener, used: Vec::new() }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// This ssh asks here, and nowhere else.
    pub(super) fn of(&self, command: &mut Command) {
        command.env("SSH_ASKPASS", self.folder.join(NAME)).env("SSH_ASKPASS_REQUIRE", "force");
    }

    /// Answers what is asked, for as long as it is polled.
    pub(super) async fn answer(&mut self, host: &HostConfig, asker: &Asker, given: &mut Given) -> Infallible {
        loop {
            match self.listener.accept().await {
                // One question at a time, as a login asks one after the other.
                Ok((stream, _)) => {
                    if let Err(error) = self.one(stream, host, asker, given).await {
                        tracing::debug!(%error, "a question of ssh was not answered");
                    }
                }
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn one(
        &mut self,
        mut stream: UnixStream,
        host: &HostConfig,
        asker: &Asker,
        given: &mut Given,
    ) -> io::Result<()> {
        let mut asked = Vec::new();
        (&mut stream).take(LONGEST as u64).read_to_end(&mut asked).await?;
        let Some((kind, text)) = asked.split_first() else { return Ok(()) };
        let text = String::from_utf8_lossy(text).into_owned();
        if *kind == NOTICE {
            // It waits for a touch, and ends whom it told when that has come.
            asker.touched();
            stream.read_u8().await.ok();
            return Ok(());
        }
        let before = given.get(&text).filter(|_| !self.used.contains(&text)).cloned();
        let answer = match before {
            Some(answer) => {
                self.used.push(text);
                Some(answer)
            }
            None => {
                let (before, prompt) = text.trim_end_matches('\n').rsplit_once('\n').unwrap_or(("", &text));
                let echo = is_seen(prompt);
                match asker.ask(host, &lines(before), &clean(prompt, 400), echo).await {
                    Answer::Given(answer) => {
                        self.used.push(text.clone());
                        given.insert(text, answer.clone());
                        Some(answer)
                    }
                    Answer::Declined | Answer::Nobody => None,
                }
            }
        };
        if let Some(answer) = answer {
            let bytes = Zeroizing::new([&[GIVEN], answer.as_bytes()].concat());
            stream.write_all(&bytes).await?;
        }
        stream.shutdown().await
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether an answer may be seen while it is typed: ssh says so of none, and asks one thing that is no secret.
fn is_seen(prompt: &str) -> bool {
    prompt.contains("(yes/no") || prompt.contains("Please type 'yes'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_seen_is_no_secret() {
        assert!(is_seen("Are you sure you want to continue connecting (yes/no/[fingerprint])? "));
        assert!(is_seen("Please type 'yes', 'no' or the fingerprint: "));
        assert!(!is_seen("me@box's password: ") && !is_seen("Enter passphrase for key '/k': "));
    }

    #[tokio::test]
    async fn the_folder_of_questions_is_ours_alone_and_goes() {
        use std::os::unix::fs::MetadataExt as _;
        let questions = Questions::in_a_folder(Path::new("/bin/true")).unwrap();
        let folder = questions.folder.clone();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        let mut command = Command::new("true");
        questions.of(&mut command);
        let asks = command.as_std().get_envs().find(|(name, _)| *name == "SSH_ASKPASS").unwrap().1.unwrap();
        assert_eq!(std::fs::read_link(asks).unwrap(), Path::new("/bin/true"));
        drop(questions);
        assert!(!folder.exists());
    }
}
