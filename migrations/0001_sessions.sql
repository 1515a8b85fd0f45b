-- The records: one row per session, its tags beside it. Ids are UUIDs as text, times are milliseconds since the epoch.
-- SQLite and PostgreSQL read the same text.

CREATE TABLE facts (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE sessions (
    id                TEXT PRIMARY KEY NOT NULL,
    name              TEXT,
    host              TEXT NOT NULL,
    command           TEXT NOT NULL,             -- JSON array of strings; empty: the login shell
    cwd               TEXT NOT NULL,
    env               TEXT NOT NULL,             -- JSON object of strings
    cols              BIGINT NOT NULL,
    rows              BIGINT NOT NULL,
    idle_timeout_ms   BIGINT,                    -- null: never
    reap_unattended   BIGINT NOT NULL,
    created_at_ms     BIGINT NOT NULL,
    job_id            TEXT NOT NULL,
    state             TEXT NOT NULL,             -- init, running, disconnected, done
    delete_requested  BIGINT NOT NULL,
    last_active_ms    BIGINT,
    place             TEXT NOT NULL,
    end_reason        TEXT,
    end_code          BIGINT,
    end_signal        BIGINT,
    end_at_ms         BIGINT,
    end_detail        TEXT
);

-- A name belongs to one session that is neither done nor on its way out.
CREATE UNIQUE INDEX sessions_live_name ON sessions (name) WHERE state <> 'done' AND delete_requested = 0;

CREATE INDEX sessions_done ON sessions (end_at_ms) WHERE state = 'done';

CREATE TABLE tags (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (session_id, key)
);
