-- The last screen of a session that has ended, with the end of its scrollback, as escape sequences. Beside the records and
-- not in them: a list reads none of it.

CREATE TABLE screens (
    session_id TEXT PRIMARY KEY NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    cols       BIGINT NOT NULL,
    rows       BIGINT NOT NULL,
    snapshot   BYTEA NOT NULL
);
