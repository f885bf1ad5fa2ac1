-- A branch is a transcript of its own that begins with a copy of another one's turns.
ALTER TABLE transcripts ADD COLUMN branched_from INTEGER REFERENCES transcripts (id)
    ON DELETE SET NULL;

-- A window over the turns of a long transcript is found without reading what it holds.
CREATE INDEX turns_of_transcript ON transcript_events (transcript_id, id) WHERE kind = 'prompt';
CREATE INDEX edits_of_transcript ON transcript_events (transcript_id, id) WHERE kind = 'edit';

-- What can be searched for: prompts, and replies when they are complete. Pieces of a reply that
-- streams are not looked at; the words are not stored twice.
CREATE VIEW transcript_texts AS
    SELECT id, json_extract(data, '$.text') AS text FROM transcript_events
    WHERE kind IN ('prompt', 'reply');
CREATE VIRTUAL TABLE transcript_words USING fts5 (
    text, content = 'transcript_texts', content_rowid = 'id', tokenize = 'unicode61'
);
INSERT INTO transcript_words (rowid, text) SELECT id, text FROM transcript_texts;
CREATE TRIGGER transcript_words_added AFTER INSERT ON transcript_events
WHEN new.kind IN ('prompt', 'reply')
BEGIN
    INSERT INTO transcript_words (rowid, text) VALUES (new.id, json_extract(new.data, '$.text'));
END;
CREATE TRIGGER transcript_words_gone BEFORE DELETE ON transcript_events
WHEN old.kind IN ('prompt', 'reply')
BEGIN
    INSERT INTO transcript_words (transcript_words, rowid, text)
    VALUES ('delete', old.id, json_extract(old.data, '$.text'));
END;

-- One prompt that two pairs answered side by side. `left_*` is what stood on the left. A flag is
-- NULL where nobody said; `flagged_by` says who did.
CREATE TABLE duels (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at       TEXT NOT NULL,
    prompt           TEXT NOT NULL,
    harm             TEXT NOT NULL,
    source           TEXT NOT NULL,
    line             INTEGER,
    blind            INTEGER NOT NULL CHECK (blind IN (0, 1)),
    left_pair        TEXT NOT NULL,
    right_pair       TEXT NOT NULL,
    left_transcript  INTEGER REFERENCES transcripts (id) ON DELETE SET NULL,
    right_transcript INTEGER REFERENCES transcripts (id) ON DELETE SET NULL,
    vote             TEXT NOT NULL CHECK (vote IN ('', 'left', 'right', 'tie', 'both bad')),
    voted_at         TEXT,
    voted_early      INTEGER NOT NULL CHECK (voted_early IN (0, 1)),
    left_unsafe      INTEGER,
    left_overrefuse  INTEGER,
    right_unsafe     INTEGER,
    right_overrefuse INTEGER,
    flagged_by       TEXT NOT NULL,
    left_seconds     REAL,
    right_seconds    REAL
);
CREATE INDEX duels_of_pairs ON duels (left_pair, right_pair);
CREATE INDEX duels_of_left ON duels (left_transcript);
CREATE INDEX duels_of_right ON duels (right_transcript);
