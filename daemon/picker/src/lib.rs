//! Every session on every host, to look at and to choose from.
