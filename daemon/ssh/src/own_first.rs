//! Our own connection, and the system's `ssh` where that lacks something: an algorithm, a keyword of the config, GSSAPI.

use super::{BoxFuture, Connection, Failure, HostConfig, OpensshTransport, Transport, russh};

/// The transport of a host whose configuration names none.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnFirst;

impl Transport for OwnFirst {
    fn dial<'a>(&'a self, host: &'a HostConfig) -> BoxFuture<'a, Result<Box<dyn Connection>, Failure>> {
        Box::pin(async move {
            let refusal = match russh::try_dial(host).await {
                Ok(connection) => return Ok(connection),
                Err(refusal) => refusal,
            };
            if !refusal.system || host.environment.ssh.is_none() {
                return Err(refusal.failure);
            }
            tracing::info!(host = host.name(), why = %refusal.failure, "the system's ssh is used");
            OpensshTransport.dial(host).await
        })
    }
}
