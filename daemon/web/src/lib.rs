//! The web view: a process of its own between browsers and the manager.
