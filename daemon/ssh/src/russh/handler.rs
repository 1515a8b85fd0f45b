//! Our side of a connection's events: the host's key, what it says beside the protocol, what it would open towards us.

use std::sync::{Arc, Mutex};

use ::russh::{
    client::{self, ChannelOpenHandle, DisconnectReason, Handler, Msg, Session},
    keys::PublicKeyOrCertificate,
};

use crate::{
    Failure,
    auth::Notes,
    clean,
    config::HostConfig,
    known_hosts::{KnownHosts, Trust},
    prompt::{Asker, lines},
};

/// Channels a host may try to open towards us before it is hung up on. None is ever granted.
const UNASKED_MAX: u32 = 8;

/// Why a handshake ended: the library's word, or our refusal of the key.
#[derive(Debug)]
pub(super) enum Stop {
    Ssh(::russh::Error),
    Refused(Failure),
}

impl From<::russh::Error> for Stop {
    fn from(e: ::russh::Error) -> Self {
        Self::Ssh(e)
    }
}

/// Our side of one connection's events.
pub(super) struct Client {
    pub(super) known: KnownHosts,
    pub(super) config: HostConfig,
    pub(super) asker: Arc<Asker>,
    pub(super) notes: Arc<Mutex<Notes>>,
    /// Channels it tried to open towards us.
    pub(super) unasked: u32,
}

impl Client {
    fn note(&self, write: impl FnOnce(&mut Notes)) {
        if let Ok(mut notes) = self.notes.lock() {
            write(&mut notes);
        }
    }

    /// The host opens a channel towards us. We forward nothing, so there is nothing it could be for: it is refused (its
    /// handle does so when it is dropped), and who goes on is hung up on.
    fn refuse(&mut self) -> Result<(), Stop> {
        self.unasked += 1;
        if self.unasked <= UNASKED_MAX {
            return Ok(());
        }
        let detail = "it keeps opening channels towards this machine, which forwards nothing".to_owned();
        self.note(|n| n.fault = Some(detail.clone()));
        Err(Stop::Refused(Failure::Protocol { host: self.config.name(), detail }))
    }
}

impl Handler for Client {
    type Error = Stop;

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_session(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_x11(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ::russh::ChannelId, _: &str) -> bool {
        // The library can be told to stop only by what follows a yes, which refuses as well.
        true
    }

    async fn server_channel_open_unknown(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Stop> {
        let trust = self.known.decide(shown, &self.config, &self.asker).await.map_err(Stop::Refused)?;
        self.note(|n| n.changed = trust == Trust::Changed);
        Ok(true)
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Stop> {
        self.note(|n| {
            n.banner = Some(clean(banner, 200)).filter(|b| !b.is_empty());
            n.after = n.banner.clone().filter(|_| n.offered);
            n.shown = Some(lines(banner)).filter(|b| !b.is_empty());
        });
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &::russh::Names,
        _: &mut client::Session,
    ) -> Result<(), Stop> {
        self.note(|n| n.cipher = Some(names.cipher.as_ref().to_owned()));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Stop>) -> Result<(), Stop> {
        self.note(|n| n.ended.notify_one());
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.note(|n| n.goodbye = Some(clean(&info.message, 120)));
                Ok(())
            }
            DisconnectReason::Error(e) => {
                self.note(|n| {
                    n.no_method = matches!(e, Stop::Ssh(::russh::Error::NoAuthMethod));
                    n.broken = Some(match &e {
                        Stop::Ssh(e) => clean(&e.to_string(), 120),
                        Stop::Refused(e) => e.to_string(),
                    });
                });
                Err(e)
            }
        }
    }
}
