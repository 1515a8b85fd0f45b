//! `sessd web`: the web view, and who may come in.

use super::args::{WebArgs, WebVerb};
use super::complete;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_proto::docs::Result;
use sessd_web::{Options, Tokens};

/// Carries it out.
///
/// # Errors
/// Why there is no web view.
pub fn web(paths: &Paths, args: WebArgs, json: bool) -> Result<u8> {
    if let Some(WebVerb::Tokens(args)) = args.verb {
        let what = match args.revoke {
            Some(id) => Tokens::Revoke(id),
            None if args.revoke_all => Tokens::RevokeAll,
            None if args.new => Tokens::New { read_only: args.read_only },
            None => Tokens::List,
        };
        return sessd_web::tokens(paths, &what, json).map(|()| 0);
    }
    let options = Options {
        listen: args.listen,
        open: !args.no_open && out::is_terminal(),
        read_only: args.read_only,
        names: args.allow_host,
        hosts,
    };
    sessd_web::serve(paths, &options).map(|()| 0)
}

/// The hosts that completion knows.
fn hosts() -> Vec<String> {
    complete::hosts().iter().map(|host| host.get_value().to_string_lossy().into_owned()).collect()
}
