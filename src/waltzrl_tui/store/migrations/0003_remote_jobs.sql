-- What a job at a provider needs beyond its row in `jobs`.
CREATE TABLE remote_jobs (
    job_id      TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    url         TEXT NOT NULL,
    method      TEXT NOT NULL,
    files       TEXT NOT NULL,
    request     TEXT NOT NULL,
    payload     TEXT NOT NULL,
    vendor_usd  REAL,
    vendor_says TEXT NOT NULL,
    sent_at     TEXT,
    seen_at     TEXT,
    tokens      INTEGER,
    fraction    REAL,
    cursor      TEXT NOT NULL
);

-- Files that a provider has, so that none is sent twice.
CREATE TABLE uploads (
    provider   TEXT NOT NULL,
    account    TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    remote_id  TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (provider, account, sha256)
);

-- Events of a provider that were kept already, by its own key.
CREATE TABLE remote_events (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
) WITHOUT ROWID;

-- Models that are up and billed. `usd_before` is what earlier hours cost.
CREATE TABLE deployments (
    tag          TEXT PRIMARY KEY,
    provider     TEXT NOT NULL,
    url          TEXT NOT NULL,
    remote_id    TEXT NOT NULL,
    agent        TEXT NOT NULL,
    model        TEXT NOT NULL,
    base_model   TEXT NOT NULL,
    endpoint     TEXT NOT NULL,
    state        TEXT NOT NULL,
    words        TEXT NOT NULL,
    usd_per_hour REAL,
    idle_minutes REAL NOT NULL,
    created_at   TEXT NOT NULL,
    up_since     TEXT,
    used_at      TEXT NOT NULL,
    ended_at     TEXT
);

-- What a provider last said of this account.
CREATE TABLE probes (
    provider TEXT PRIMARY KEY,
    key_ok   INTEGER,
    may_tune INTEGER,
    words    TEXT NOT NULL,
    account  TEXT NOT NULL,
    at       TEXT NOT NULL
);
