-- Times are UTC ISO-8601 text with milliseconds and "Z"; JSON is text; truth is 0 or 1.

CREATE TABLE samples (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at    TEXT NOT NULL,
    source        TEXT NOT NULL,
    source_sha256 TEXT NOT NULL,
    recipe        TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    rows          INTEGER NOT NULL CHECK (rows >= 0)
);

CREATE TABLE files (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
    role      TEXT NOT NULL CHECK (role IN ('conversation', 'feedback')),
    split     TEXT NOT NULL CHECK (split IN ('train', 'valid')),
    path      TEXT NOT NULL,
    rows      INTEGER NOT NULL CHECK (rows >= 0),
    tokens    INTEGER,
    sha256    TEXT NOT NULL,
    recipe    TEXT NOT NULL
);
CREATE INDEX files_of_sample ON files (sample_id);

CREATE TABLE jobs (
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT NOT NULL UNIQUE,
    tag              TEXT NOT NULL UNIQUE,
    kind             TEXT NOT NULL,
    role             TEXT NOT NULL CHECK (role IN ('conversation', 'feedback', 'both')),
    provider         TEXT NOT NULL,
    model            TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN (
        'draft', 'approved', 'uploading', 'submitting', 'queued',
        'running', 'succeeded', 'failed', 'cancelled'
    )),
    reason           TEXT NOT NULL,
    provider_state   TEXT NOT NULL,
    provider_job_id  TEXT NOT NULL,
    depends_on       TEXT NOT NULL,
    params           TEXT NOT NULL,
    sample_id        INTEGER REFERENCES samples (id) ON DELETE SET NULL,
    step             INTEGER NOT NULL,
    total_steps      INTEGER NOT NULL,
    eta_seconds      REAL,
    estimate_usd     REAL NOT NULL,
    cost_usd         REAL NOT NULL,
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    started_at       TEXT,
    ended_at         TEXT,
    error            TEXT NOT NULL,
    result_model     TEXT NOT NULL,
    agent            TEXT NOT NULL
);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_of_sample ON jobs (sample_id);

CREATE TABLE job_events (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at     TEXT NOT NULL,
    level  TEXT NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    text   TEXT NOT NULL
);
CREATE INDEX events_of_job ON job_events (job_id, id);

-- `number` grows with every write, also when a resumed job writes a step again, so that a
-- reader with a cursor sees the step once more.
CREATE TABLE metrics (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id            TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step              INTEGER NOT NULL,
    at                TEXT NOT NULL,
    epoch             REAL NOT NULL,
    loss              REAL,
    valid_loss        REAL,
    learning_rate     REAL,
    tokens_per_second REAL,
    tokens            INTEGER NOT NULL,
    memory_bytes      INTEGER,
    eta_seconds       REAL,
    UNIQUE (job_id, step)
);

CREATE TABLE agents (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL CHECK (role IN ('conversation', 'feedback')),
    kind       TEXT NOT NULL,
    base       TEXT NOT NULL,
    adapter    TEXT NOT NULL,
    prompt     TEXT NOT NULL,
    url        TEXT NOT NULL,
    key_env    TEXT NOT NULL,
    job_id     TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE pairs (
    name         TEXT PRIMARY KEY,
    conversation TEXT NOT NULL REFERENCES agents (name),
    feedback     TEXT REFERENCES agents (name),
    rounds       INTEGER NOT NULL CHECK (rounds >= 0),
    created_at   TEXT NOT NULL
);
CREATE INDEX pairs_of_conversation ON pairs (conversation);
CREATE INDEX pairs_of_feedback ON pairs (feedback);

CREATE TABLE transcripts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    title      TEXT NOT NULL,
    pair       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    turns      INTEGER NOT NULL
);
CREATE INDEX transcripts_by_use ON transcripts (updated_at);

CREATE TABLE transcript_events (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    transcript_id INTEGER NOT NULL REFERENCES transcripts (id) ON DELETE CASCADE,
    at            TEXT NOT NULL,
    kind          TEXT NOT NULL,
    data          TEXT NOT NULL
);
CREATE INDEX events_of_transcript ON transcript_events (transcript_id, id);

CREATE TABLE evaluations (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    pair         TEXT NOT NULL,
    judge        TEXT NOT NULL,
    suite        TEXT NOT NULL,
    suite_sha256 TEXT NOT NULL,
    n            INTEGER NOT NULL,
    created_at   TEXT NOT NULL,
    seconds      REAL NOT NULL,
    report       TEXT NOT NULL,
    items_path   TEXT NOT NULL
);
CREATE INDEX evaluations_of_pair ON evaluations (pair, id);
