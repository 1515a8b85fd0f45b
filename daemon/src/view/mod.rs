//! One terminal that shows a session.
//!
//! No async runtime here: a view is one loop around `poll(2)`, so that a key goes from the terminal to the manager without a
//! thread in between. It knows the manager's protocol and nothing of its rooms.
//!
//! * [`attach`]: the loop · [`words`]: what is said when something is amiss, pure · [`plain`]: text for a terminal that can only be
//!   written to, pure · [`terminal`]: the user's terminal, given back as it was · `borrowed`: what a session put on the
//!   terminal's stacks, pure · `before`: what it changed, and what that was, pure ·
//!   [`abilities`]: what it can do · [`signals`]: what comes from outside

pub mod abilities;
pub mod attach;
mod before;
mod borrowed;
pub mod plain;
pub mod signals;
pub mod terminal;
pub mod words;
