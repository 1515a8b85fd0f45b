//! One terminal that shows a session, and the blocking client that every verb talks to the manager with.
//!
//! No async runtime here: a view is one loop around `poll(2)`, so that a key goes from the terminal to the manager without a
//! thread in between. It knows the manager's protocol and nothing of its rooms.
//!
//! * [`client`]: connect, start the manager if there is none, ask · [`attach`]: the loop
//! * [`keys`]: the detach key, pure · [`typed`]: input until it is acknowledged, pure · [`silence`]: who owes an answer,
//!   pure · [`words`]: what is said of it, pure · [`plain`]: text for a terminal that can only be written to, pure · [`terminal`]: the user's terminal, given back as it was · `borrowed`: what a
//!   session put on the terminal's stacks, pure

pub mod attach;
mod borrowed;
pub mod client;
pub mod keys;
pub mod plain;
pub mod silence;
pub mod terminal;
pub mod typed;
pub mod words;
