//! The ssh-agent: its keys, and its signatures.

use std::{
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use ::russh::{
    AgentAuthError, Signer,
    client::{Handle, Handler},
    keys::{
        Certificate, HashAlg, PublicKey,
        agent::{
            AgentIdentity,
            client::{AgentClient, AgentStream},
        },
        ssh_encoding::Decode as _,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::{AGENT_TIMEOUT, Notes, Remarks};
use crate::{clean, config::HostConfig};
use sessd_base::asking::AGENT;

/// A signature that takes longer waited for somebody: a touch, a confirmation.
const TOUCH: Duration = Duration::from_millis(500);
/// Identities taken from an agent.
const MAX_KEYS: usize = 256;
/// The longest answer of an agent, in bytes: OpenSSH's bound.
const MAX_ANSWER: usize = 256 << 10;
/// How deep certificates may be in one another: decoding goes down as deep.
const MAX_NESTING: usize = 8;
/// Numbers of the agent's protocol.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

type Stream = Box<dyn AgentStream + Send + Unpin>;
/// A connection to an agent.
pub(super) type Agent = AgentClient<Stream>;

/// The agent as a signer; while it is asked, the notes say so.
pub(super) struct Signing<'a> {
    pub(super) agent: &'a mut Agent,
    pub(super) notes: &'a Mutex<Notes>,
}

impl Signing<'_> {
    fn note(&self, signing: bool) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.signing = signing;
        }
    }
}

impl Signer for Signing<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        self.note(true);
        let began = Instant::now();
        let signed = self.agent.auth_sign(key, hash, to_sign).await;
        self.note(false);
        if let Ok(mut notes) = self.notes.lock() {
            notes.touched |= began.elapsed() >= TOUCH;
            (notes.offered, notes.after) = (signed.is_ok(), None);
        }
        signed
    }
}

/// Whether the ssh-agent at `socket` answers and has a key.
pub async fn agent_has_keys(socket: &Path) -> bool {
    let look = async {
        let mut stream: Stream = Box::new(UnixStream::connect(socket).await.ok()?);
        blobs(&mut stream).await
    };
    matches!(timeout(AGENT_TIMEOUT, look).await, Ok(Some(keys)) if !keys.is_empty())
}

/// A signer that failed: a lost connection stays one, everything else is the agent's refusal.
pub(super) fn refused(e: AgentAuthError, remarks: &mut Remarks) -> ::russh::Error {
    match e {
        AgentAuthError::Send(_) => ::russh::Error::SendError,
        AgentAuthError::Key(e) => {
            remarks.others.push(format!("the ssh-agent would not sign ({})", clean(&e.to_string(), 80)));
            ::russh::Error::RequestDenied
        }
    }
}

/// Connects to the agent that the config names, and lists its keys.
pub(super) async fn connect<H: Handler>(
    handle: &Handle<H>,
    host: &HostConfig,
    remarks: &mut Remarks,
) -> Option<(Agent, Vec<AgentIdentity>)> {
    let Some(socket) = host.identity_agent.as_ref() else {
        if let Some(variable) = &host.agent_variable {
            remarks.no_agent = variable == AGENT;
            remarks.others.push(format!(
                "there is no ssh-agent: {} is not set where this was asked from",
                clean(variable, 80)
            ));
        }
        return None;
    };
    let stream = match timeout(AGENT_TIMEOUT, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) | Err(_) => {
            remarks.no_agent = true;
            remarks.others.push(format!("the ssh-agent at {} does not answer", socket.display()));
            return None;
        }
    };
    let mut stream: Stream = Box::new(stream);
    // Lets the agent apply its destination constraints; agents without them say no, which does not matter.
    if let Some(binding) = handle.agent_session_binding() {
        let mut agent = AgentClient::connect(stream);
        timeout(AGENT_TIMEOUT, agent.bind_session(binding, false)).await.ok();
        stream = agent.into_inner();
    }
    let listed = match timeout(AGENT_TIMEOUT, blobs(&mut stream)).await {
        Ok(Some(blobs)) => blobs,
        Ok(None) | Err(_) => {
            remarks.no_agent = true;
            remarks.others.push("the ssh-agent does not list its keys".to_owned());
            return None;
        }
    };
    if listed.is_empty() {
        remarks.no_agent = true;
        remarks.others.push("the ssh-agent has no key".to_owned());
    }
    // As ssh: a key of a type that is not known here is passed over.
    let known = listed.iter().filter_map(|blob| identity(blob)).collect();
    Some((AgentClient::connect(stream), known))
}

/// The keys that an agent lists, as they are on the wire. The library's own reading ends at the first that it does not know.
async fn blobs(stream: &mut Stream) -> Option<Vec<Vec<u8>>> {
    stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).await.ok()?;
    stream.flush().await.ok()?;
    let length = stream.read_u32().await.ok()? as usize;
    if length == 0 || length > MAX_ANSWER {
        return None;
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await.ok()?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (&IDENTITIES_ANSWER, mut rest) = answer.split_first()? else { return None };
    let number = |rest: &mut &[u8]| {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    };
    let count = number(&mut rest)?;
    let mut blobs = Vec::new();
    for _ in 0..count {
        let mut string = || {
            let length = number(&mut rest)?;
            let (bytes, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(bytes)
        };
        let (blob, _comment) = (string()?, string()?);
        if blobs.len() < MAX_KEYS {
            blobs.push(blob.to_vec());
        }
    }
    Some(blobs)
}

/// A listed key, if it is of a type that can be used.
fn identity(blob: &[u8]) -> Option<AgentIdentity> {
    const MARK: &[u8] = b"-cert-v01@openssh.com";
    let length = usize::try_from(u32::from_be_bytes(*blob.first_chunk::<4>()?)).ok()?;
    let name = blob.get(4..)?.get(..length)?;
    let comment = String::new();
    if !name.ends_with(MARK) {
        let key: PublicKey = ::russh::keys::key::parse_public_key(blob).ok()?;
        // A type that the library only carries along cannot be signed with.
        let known = !matches!(key.algorithm(), ::russh::keys::Algorithm::Other(_));
        return known.then_some(AgentIdentity::PublicKey { key, comment });
    }
    if blob.windows(MARK.len()).filter(|window| *window == MARK).count() > MAX_NESTING {
        return None;
    }
    let certificate = Certificate::decode(&mut &*blob).ok()?;
    Some(AgentIdentity::Certificate { certificate, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(out: &mut Vec<u8>, text: &[u8]) {
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text);
    }

    fn answer(keys: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![IDENTITIES_ANSWER];
        out.extend((keys.len() as u32).to_be_bytes());
        for key in keys {
            string(&mut out, key);
            string(&mut out, b"a comment");
        }
        out
    }

    fn ed25519() -> Vec<u8> {
        data_encoding::BASE64
            .decode(b"AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ")
            .unwrap()
    }

    #[test]
    fn a_key_of_a_type_that_nobody_knows_hides_no_other() {
        let mut odd: Vec<Vec<u8>> = Vec::new();
        for name in ["ssh-mldsa-65", "ssh-ed448", "ssh-foo-cert-v01@openssh.com", "x@y"] {
            let mut blob = Vec::new();
            string(&mut blob, name.as_bytes());
            string(&mut blob, &[7; 64]);
            odd.push(blob);
        }
        odd.extend([vec![], vec![0, 0, 0, 200, 1], ed25519()]);
        let listed = parse(&answer(&odd)).unwrap();
        assert_eq!(listed.len(), 7);
        let known: Vec<AgentIdentity> = listed.iter().filter_map(|blob| identity(blob)).collect();
        assert_eq!(known.len(), 1);
        assert!(
            matches!(&known[0], AgentIdentity::PublicKey { key, .. } if key.algorithm().as_str() == "ssh-ed25519")
        );
    }

    #[test]
    fn an_answer_that_is_cut_off_or_of_another_kind_is_none() {
        let whole = answer(&[ed25519()]);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(&[5]), None);
        // A count that the bytes do not bear out asks for no memory.
        assert_eq!(parse(&[IDENTITIES_ANSWER, 255, 255, 255, 255]), None);
    }
}
