-- What chat endpoints answered, by content: the same question to the same model is paid once.
CREATE TABLE answers (
    key           TEXT PRIMARY KEY,
    at            TEXT NOT NULL,
    text          TEXT NOT NULL,
    tokens        INTEGER,
    prompt_tokens INTEGER,
    seconds       REAL NOT NULL,
    first_seconds REAL
);

-- Suites by subjects by judges. `key` is a hash of what is asked for, by which a run goes on.
CREATE TABLE evaluation_runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'stopped', 'failed')),
    spec       TEXT NOT NULL,
    total      INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    seconds    REAL NOT NULL,
    error      TEXT NOT NULL,
    stop       INTEGER NOT NULL CHECK (stop IN (0, 1))
);
CREATE INDEX evaluation_runs_by_key ON evaluation_runs (key, state);

CREATE TABLE evaluation_items (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id   INTEGER NOT NULL REFERENCES evaluation_runs (id) ON DELETE CASCADE,
    subject  INTEGER NOT NULL,
    suite    INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (run_id, subject, suite, number)
);

-- What a person said of a reply, by the content of prompt and reply.
CREATE TABLE hand_labels (
    key     TEXT PRIMARY KEY,
    at      TEXT NOT NULL,
    harmful INTEGER NOT NULL CHECK (harmful IN (0, 1)),
    refusal INTEGER NOT NULL CHECK (refusal IN (0, 1))
);

-- USD per 1M tokens read and written.
CREATE TABLE agent_prices (
    agent   TEXT PRIMARY KEY REFERENCES agents (name) ON DELETE CASCADE,
    usd_in  REAL NOT NULL CHECK (usd_in >= 0),
    usd_out REAL NOT NULL CHECK (usd_out >= 0)
);
