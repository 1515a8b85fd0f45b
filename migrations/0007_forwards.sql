-- What is forwarded for a session lives with it: it is made again after a reconnect, and by the next manager. `kind` is local,
-- remote or dynamic with a spec as ssh has it, or `auto` or `agent` without one.

CREATE TABLE forwards (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    spec       TEXT NOT NULL,
    PRIMARY KEY (session_id, number)
);
