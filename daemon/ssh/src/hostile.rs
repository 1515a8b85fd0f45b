//! A server that lets us in and then does to us what no sshd does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::russh::{
    Channel, ChannelId,
    keys::PrivateKey,
    server::{self, Auth, ChannelOpenHandle, Handler, Msg, Session, VerifiedPublicKey},
};

use super::{testbed::*, *};

/// Opens channels towards whoever runs a command, of each kind in turn, until it is hung up on.
struct Opener {
    refused: Arc<AtomicU32>,
    granted: Arc<AtomicU32>,
}

impl Handler for Opener {
    type Error = ::russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let (handle, refused, granted) = (session.handle(), self.refused.clone(), self.granted.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let opened = match n % 5 {
                    0 => handle.channel_open_forwarded_tcpip("a", 1, "b", 2).await,
                    1 => handle.channel_open_session().await,
                    2 => handle.channel_open_direct_tcpip("a", 1, "b", 2).await,
                    3 => handle.channel_open_agent().await,
                    _ => handle.channel_open_forwarded_streamlocal("/x").await,
                };
                match opened {
                    Ok(_) => granted.fetch_add(1, Ordering::Relaxed),
                    Err(::russh::Error::ChannelOpenFailure(_)) => refused.fetch_add(1, Ordering::Relaxed),
                    Err(_) => return,
                };
            }
        });
        Ok(())
    }
}

#[tokio::test]
async fn a_server_that_opens_channels_towards_us_gets_none_and_is_hung_up_on() {
    let mut world = World::new();
    world.keygen("hostkey-evil", &["-t", "ed25519", "-N", ""]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world.host("evil", port, "");
    world.note(&format!("[127.0.0.1]:{port} {}", world.public("hostkey-evil")));
    let key = PrivateKey::from_openssh(std::fs::read(world.path("hostkey-evil")).unwrap()).unwrap();
    let config = Arc::new(server::Config { keys: vec![key], ..server::Config::default() });
    let (refused, granted) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let opener = Opener { refused: refused.clone(), granted: granted.clone() };
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        server::run_stream(config, stream, opener).await.unwrap().await.ok();
    });

    let host = world.resolve("evil").await;
    let mut connection = RusshTransport.dial(&host).await.unwrap();
    let (mut reader, _writer) = connection.exec("anything").await.unwrap().into_parts();
    let end = tokio::time::timeout(Duration::from_secs(20), reader.chunk()).await.expect("it is hung up on");
    let why = end.expect_err("the stream breaks").to_string();
    assert!(why.contains("opening channels towards this machine"), "{why}");
    serving.await.unwrap();
    assert_eq!(granted.load(Ordering::Relaxed), 0);
    assert!(refused.load(Ordering::Relaxed) <= 9);
    let error = connection.exec("more").await.err().unwrap().to_string();
    assert!(error.contains("opening channels towards this machine"), "{error}");
}
